"""What was found, in sentences."""

from __future__ import annotations

from latentpath.audit.report.cell_formats import share
from latentpath.audit.report.report_model import Report, ReportSet


def summary(report: Report) -> list[str]:
    """Say in plain sentences what was found about the report's subject."""
    subject = report.find(report.subject)
    if subject is None:  # Report makes sure that there is one
        return []
    baseline, yardstick = report.find(report.baseline), report.find(report.yardstick)
    sentences = [_distance_sentence(subject, baseline)]
    sentences += _identity_sentence(subject, baseline, yardstick)
    sentences += _outsiders_sentence(report.find(report.outsiders))
    sentences += _utility_sentence(subject, yardstick)
    return sentences


def _distance_sentence(subject: ReportSet, baseline: ReportSet | None) -> str:
    count = subject.audit.images
    sentence = f"The set “{subject.title}” holds {count:,} image{'' if count == 1 else 's'}."
    if subject.audit.nearest is None:
        return sentence
    own = subject.audit.nearest.mean
    sentence += f" The mean LPIPS distance to the nearest real image (mmL) is {own:.3f}"
    if baseline is None or baseline.audit.nearest is None:
        return sentence + "."
    other = baseline.audit.nearest.mean
    sentence += f"; for “{baseline.title}” it is {other:.3f}"
    if other > 0:
        percent = round(100 * (own / other - 1))
        words = f"{abs(percent)}% {'further away' if percent > 0 else 'closer'}"
        sentence += f" ({words if percent else 'the same within 1%'})"
    return sentence + "."


def _identity_sentence(
    subject: ReportSet, baseline: ReportSet | None, yardstick: ReportSet | None
) -> list[str]:
    found = subject.audit.reidentification
    if found is None:
        return []
    sentence = (
        f"The identity classifier names one real person with more than {found.threshold:.0%} "
        f"probability for {share(found.rate)} of the images"
    )
    others = [
        f"{share(row.audit.reidentification.rate)} of “{row.title}”"
        for row in (baseline, yardstick)
        if row is not None and row.audit.reidentification is not None
    ]
    return [sentence + (f", against {' and '.join(others)}." if others else ".")]


def _outsiders_sentence(outsiders: ReportSet | None) -> list[str]:
    """What the same measures say of people who cannot have leaked."""
    if outsiders is None or outsiders.audit.nearest is None:
        return []
    sentence = (
        "Real images of people who took no part, from whom nothing can have leaked, have an mmL of "
        f"{outsiders.audit.nearest.mean:.3f}"
    )
    found = outsiders.audit.reidentification
    if found is not None:
        sentence += f", and the classifier (wrongly) names one for {share(found.rate)} of them"
    return [sentence + "."]


def _utility_sentence(subject: ReportSet, yardstick: ReportSet | None) -> list[str]:
    utility = subject.audit.utility
    if utility is None:
        return []
    sentence = (
        "A class classifier that has seen only this set is right on "
        f"{share(utility.accuracy)} of {utility.test_images:,} real test images"
    )
    if yardstick is not None and yardstick.audit.utility is not None:
        sentence += (
            f"; one trained on the real images, on {share(yardstick.audit.utility.accuracy)}"
        )
    return [sentence + "."]


def caution(report: Report) -> str:
    """Say so where the identity classifier is too weak to be a witness."""
    yardstick = report.find(report.yardstick)
    found = yardstick and yardstick.audit.reidentification
    if not found or found.rate >= 0.8:
        return ""
    return (
        f"The identity classifier names only {share(found.rate)} of the real images with "
        "confidence. It is a weak witness: low re-identification rates in this report mean little."
    )
