"""The report on an audit."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from latentpath.audit.report.report_model import Report, ReportSet
from latentpath.audit.run_audit import Audit


def report_on(
    audit: Audit,
    *,
    title: str = "",
    created: str = "",
    certificate: Mapping[str, Any] | None = None,
    seal: str = "",
    networks: Mapping[str, Any] | None = None,
    reading: Mapping[str, Any] | None = None,
) -> Report:
    """Put an audit into a report: the set last, after the real one, the holdout and the baselines.

    Args:
        audit: from `audit_set`.
        title: headline; one that says what was audited if empty.
        created: date to show.
        certificate: of the set's manifest, where it has one.
        seal: of the set's manifest, likewise: it tells which set was audited.
        networks: of the set's manifest, likewise: what their own trainings said of those that made
            it.
        reading: of the set's manifest, likewise: what told people apart when it was made.
    """
    rows = [ReportSet("real", "Real images", audit.yardstick)]
    if audit.holdout is not None:
        rows.append(ReportSet("holdout", "Real images of other people", audit.holdout))
    for name, baseline in audit.baselines.items():
        rows.append(ReportSet(name, name, baseline, images=audit.sets[name]))
    rows.append(ReportSet("synthetic", "The synthetic set", audit, images=audit.sets["synthetic"]))
    return Report(
        title=title or f"Audit of a synthetic set of {audit.images:,} images",
        sets=tuple(rows),
        real=audit.setup.real,
        subject="synthetic",
        baseline=next(iter(audit.baselines), ""),
        certificate=certificate,
        seal=seal,
        networks=networks,
        reading=reading,
        settings=_settings(audit),
        created=created,
        verdicts=audit.verdicts,
    )


def _settings(audit: Audit) -> dict[str, Any]:
    setup = audit.setup
    sizes = {"real": setup.real, "holdout": setup.holdout, "test": setup.test}
    counts = {
        name: {
            "images": len(images),
            "people": images.num_identities,
            "counted_by": images.reading.counted_by,
        }
        for name, images in sizes.items()
        if images is not None
    }
    height, width, channels = setup.real.images.shape[1:]
    return {
        "sets": counts,
        "image": {"width": width, "height": height, "channels": channels},
        "measures": list(setup.measures),
        **dataclasses.asdict(setup.config),
    }
