"""What is measured of every set: the audit's own measures, with what they share made once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from latentpath.audit import (
    AuditConfig,
    AuditSetup,
    MembershipConfig,
    SetAudit,
    measure_real,
    measure_set,
)
from latentpath.core import Progress, silent
from latentpath.data import ImageSet
from latentpath.experiments.recipe import MeasureConfig
from latentpath.experiments.sets import MadeSet
from latentpath.experiments.splits import Splits, share_of
from latentpath.experiments.table import MEASURED, PRIVACY
from latentpath.production import Bundle
from latentpath.training import ShadowConfig

_ATTACKED = (*PRIVACY, "membership")


@dataclass
class SetMeasures:
    """The same measures for every set.

    Attributes:
        splits: real people at the generator's resolution.
        bundle: the networks, for the walk's own identity classifier and LPIPS.
        config: what to measure with.
        checkpoint: where the training of the witness is kept.
        progress: told about every stage.
    """

    splits: Splits
    bundle: Bundle
    config: MeasureConfig
    checkpoint: Path
    progress: Progress = silent

    def of(self, made: MadeSet, seed: int) -> dict[str, Any]:
        """All figures of a set, as plain JSON values."""
        return self._with_utility(
            self._measured(made, _ATTACKED), made.images, seed, self.config.trainings
        )

    def of_real(self, count: int, seed: int) -> dict[str, Any]:
        """The same of the private people themselves: the yardstick.

        Utility is that of `count` random images: no set shall win by being larger.
        """
        trained_on = share_of(self.splits.private, count, seed)
        audit = measure_real(self._setup, only=_ATTACKED)
        return self._with_utility(audit, trained_on, seed, self.config.trainings)

    def traded(self, made: MadeSet, seed: int, trainings: int) -> dict[str, Any]:
        """What the grid of privacy against utility shows of a set."""
        return self._with_utility(self._measured(made, PRIVACY), made.images, seed, trainings)

    def traded_real(self, count: int, seed: int, trainings: int) -> dict[str, Any]:
        """The same of the private people, with the use of `count` of their images."""
        trained_on = share_of(self.splits.private, count, seed)
        audit = measure_real(self._setup, only=PRIVACY)
        return self._with_utility(audit, trained_on, seed, trainings)

    def _measured(self, made: MadeSet, names: tuple[str, ...]) -> SetAudit:
        images = made.images
        if made.walks is not None:
            # To every interval the points of one walk are one person's images.
            walks = np.unique(made.walks, return_inverse=True)[1]
            images = replace(images, identities=walks)
        return measure_set(images, self._setup, only=names, sources=made.sources)

    def _with_utility(
        self, audit: SetAudit, trained_on: ImageSet, seed: int, trainings: int
    ) -> dict[str, Any]:
        """An audit with the use of a set, of classifiers with this repetition's own seeds."""
        seeds = tuple(range(seed * trainings, (seed + 1) * trainings))
        setup = replace(self._setup, config=replace(self._setup.config, seeds=seeds))
        utility = measure_set(trained_on, setup, only=("utility",))
        results = {**audit.results, **utility.results}
        reasons = {**audit.not_measured, "utility": utility.not_measured.get("utility", "")}
        missing = {name: reasons[name] for name in reasons if name not in results}
        return replace(audit, results=results, not_measured=missing).as_dict()

    @cached_property
    def _setup(self) -> AuditSetup:
        config = self.config
        membership = MembershipConfig()
        if config.shadows:
            training = ShadowConfig(steps=config.shadow_steps)
            membership = MembershipConfig(config.shadows, config.targets, training=training)
        return AuditSetup(
            real=self.splits.private,
            holdout=self.splits.holdout,
            identity=self.bundle.identity,
            lpips=self.bundle.lpips,
            config=AuditConfig(
                threshold=config.threshold,
                classifier=config.classifier,
                use_witness=config.use_witness,
                witness=config.witness,
                membership=membership,
            ),
            measures=tuple(n for n in MEASURED if n != "membership" or config.shadows),
            device=self.bundle.encoder.centre.device,
            witness_checkpoint=self.checkpoint,
            progress=self.progress,
        )
