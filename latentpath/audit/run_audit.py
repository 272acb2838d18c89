"""Would you share this set? One call measures it, its yardsticks and baselines, and answers."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch

from latentpath.audit.audit_config import AuditConfig
from latentpath.audit.audit_setup import AuditSetup, IdentityClassifier, Sources, checked_sources
from latentpath.audit.image_forms import named_in_both, shared_images, without_shared
from latentpath.audit.question_costs import warn_of_open_questions
from latentpath.audit.registry import all_measures, chosen_measures
from latentpath.audit.set_audit import SetAudit, measure_real, measure_set
from latentpath.audit.verdict import (
    AspectVerdict,
    Colour,
    QuestionVerdict,
    answer,
    headline,
    overall,
)
from latentpath.core import InputError, LatentpathWarning, Progress, silent, tf32_allowed
from latentpath.data import ImageSet
from latentpath.similarity import LPIPS, RealReference

# The report's own rows, whose names no baseline may have.
_OWN_ROWS = ("real", "holdout", "synthetic")
_NUMBERED_APART = "say --numbered-apart"


@dataclass(frozen=True, eq=False, kw_only=True)
class Audit(SetAudit):
    """The measures of a set, what they are read against, and the answers.

    Attributes:
        yardstick: the real set's own measures.
        holdout: the holdout, measured as if it were the set; None without one.
        baselines: other sets, measured likewise, by name.
        verdicts: an answer to every question.
        setup: what they were held against.
        sets: the images of the set ("synthetic") and of the baselines, by name.
    """

    yardstick: SetAudit
    holdout: SetAudit | None
    baselines: Mapping[str, SetAudit]
    verdicts: tuple[QuestionVerdict, ...]
    setup: AuditSetup
    sets: Mapping[str, ImageSet] = field(repr=False)

    @property
    def headline(self) -> tuple[AspectVerdict, ...]:
        """One verdict on privacy and one on use."""
        return headline(self.verdicts)

    @property
    def overall(self) -> Colour:
        """The worse of the two, for scripts; see `latentpath.audit.verdict`."""
        return overall(self.verdicts)


def audit_set(
    synthetic: ImageSet,
    *,
    real: ImageSet | RealReference,
    holdout: ImageSet | None = None,
    test: ImageSet | None = None,
    baselines: Mapping[str, ImageSet] | None = None,
    sources: Sources | None = None,  # n x int64, the people behind each image
    measures: Iterable[str] | None = None,
    lpips: LPIPS | None = None,
    identity: IdentityClassifier | None = None,
    config: AuditConfig | None = None,
    device: torch.device | str = "cpu",
    progress: Progress = silent,
) -> Audit:
    """Measure how close a synthetic set comes to real people, and whether it is any good.

    People of the holdout and of the test images of whom an image is also in the real set, or whom a
    table or files name as somebody in it, are left out, with a warning. The result holds the
    figures of the set, of the real set itself, of the holdout and of the baselines, and an answer
    for every question: green, amber or red.

    Args:
        synthetic: the set in question.
        real: the private set it was made from, or `prepare_real(...)` of it.
        holdout: real images of other people. Without them only copies are told, which a warning
            says, and nothing is trained for the other questions.
        test: real images of other people, for utility, left out without; the holdout if None.
        baselines: other sets to compare with, by name, of one size and the same classes.
        sources: for every image of `synthetic` the people of `real` behind it, as its identities
            number them: those of a centroid's group, or of both ends' groups of a walk. Then it
            is also measured whether these people can be told. None where they are not known.
        measures: names out of `measure_names()`; None takes all that are possible.
        lpips: the distance; the weights that ship if None.
        identity: the walk's classifier over the real set's N people; None leaves recognition to
            the witness alone.
        config: limits, thresholds, seeds, schedules, memory; `AuditConfig.short()` if None, and
            `AuditConfig()` trains for longer.
        device: where networks are trained and run.
        progress: told about every stage of every measure.

    Raises:
        ShapeError: image sizes differ, the classifier is not one over N people, or there are not
            as many sources as images.
        DataError: the sets' classes differ.
        InputError: an unknown measure, a baseline with the name of another set, sources who are
            not in `real`, or a holdout or test images that are all in `real`.
    """
    source, prepared = (real.images, real) if isinstance(real, RealReference) else (real, None)
    setup = AuditSetup(
        real=source,
        holdout=other_people(source, holdout, "holdout"),
        test=other_people(source, test, "test"),
        identity=identity,
        lpips=lpips,
        config=config or AuditConfig.short(),
        measures=chosen_measures(measures),
        device=device,
        prepared=prepared,
        progress=progress,
    )
    with tf32_allowed(False, device):
        return _audited(synthetic, setup, dict(baselines or {}), sources)


def _audited(
    synthetic: ImageSet,
    setup: AuditSetup,
    baselines: Mapping[str, ImageSet],
    sources: Sources | None,
) -> Audit:
    _check_names(baselines)
    # All sets first: a mistake in the last one should not cost the measures of the others.
    for images in (synthetic, *baselines.values()):
        setup.check(images)
    if sources is not None:
        checked_sources(sources, synthetic, setup.real)
    warn_of_open_questions(setup)
    yardstick = measure_real(setup, name="real")
    holdout = None
    if setup.holdout is not None:
        asked = [name for name, measure in all_measures().items() if measure.of_holdout]
        holdout = measure_set(setup.holdout, setup, only=asked, name="holdout")
    measured = {name: measure_set(images, setup, name=name) for name, images in baselines.items()}
    own = measure_set(synthetic, setup, sources=sources)
    return Audit(
        **vars(own),
        yardstick=yardstick,
        holdout=holdout,
        baselines=measured,
        verdicts=answer(own, yardstick, holdout),
        setup=setup,
        sets={"synthetic": synthetic, **baselines},
    )


def _check_names(baselines: Mapping[str, ImageSet]) -> None:
    taken = [name for name in baselines if name in _OWN_ROWS]
    if taken:
        raise InputError(
            expected="baselines with names of their own",
            got=taken[0],
            fix=f"{', '.join(_OWN_ROWS)} are the report's own rows: choose another name",
        )


def other_people(real: ImageSet, images: ImageSet | None, what: str) -> ImageSet | None:
    """The images of people of whom the real set has none, and a warning where some were left out.

    Raises:
        InputError: there is nobody else.
    """
    if images is None:
        return None
    shared, named = shared_images(real, images), named_in_both(real, images)
    people = len(np.unique(images.identities[named]))
    if not shared and not people:
        return images
    found = [f"{shared:,} of {len(images):,} {what} images"] if shared else []
    if people:
        found.append(f"{people:,} of {images.num_identities:,} {what} people, by name or number,")
    apart = "where a name or number means another person in each set, " + _NUMBERED_APART
    left = without_shared(real, images)
    if left is None:
        raise InputError(
            expected=f"{what} images of people who are not in the real set",
            got=f"{' and '.join(found)} that are, and nobody else",
            fix="give images of other people, or none" + (f"; {apart}" if people else ""),
        )
    warnings.warn(
        f"{' and '.join(found)} are also in the real set: the people in them are left out, "
        f"{len(left):,} images remain" + (f" ({apart})" if people else ""),
        LatentpathWarning,
        stacklevel=3,
    )
    return left
