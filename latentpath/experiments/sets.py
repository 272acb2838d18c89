"""The sets of one seed: samples, centroids, lines and walks, from averages or style centroids."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from latentpath.core import PrivacyError, Progress, new_file, silent
from latentpath.data import ImageSet, to_tensor
from latentpath.experiments.recipe import STYLE, CompareConfig
from latentpath.experiments.splits import rows_in_shares
from latentpath.ksame import Grouping
from latentpath.models import predict
from latentpath.production import (
    Bundle,
    Endpoints,
    ProduceConfig,
    PublishedOptions,
    StyleConfig,
    SyntheticSet,
    align_style,
    group_people,
    make_baselines,
    prepare_endpoints,
    produce_set,
    render,
    safe_endpoints,
    walk_people,
)


@dataclass(frozen=True)
class MadeSet:
    """A set, and who is behind each image."""

    images: ImageSet
    """The set."""
    sources: list[np.ndarray] | None = None
    """People behind each image: those of its centroid's group, or of both ends' groups. None
    where nobody can be told (differentially private endpoints)."""
    walks: np.ndarray | None = None
    """[n] walk of each image; None for centroids, which are independent of each other."""


@dataclass
class SetMaker:
    """Makes the sets of any seed; what does not depend on the seed is made once.

    Attributes:
        data: the private people.
        bundle: their networks.
        config: how sets are made; each call puts its seed in.
        compare: how many centroids are aligned in style.
        cache: private file that keeps the aligned latents for the next session.
        progress: told about every stage.
    """

    data: ImageSet
    bundle: Bundle
    config: ProduceConfig
    compare: CompareConfig
    cache: Path
    progress: Progress = silent
    _kept: dict[str, Endpoints] = field(default_factory=dict)

    def make(self, seed: int, wanted: Iterable[str]) -> dict[str, MadeSet]:
        """The wanted sets of one seed; "real" is not among them.

        Lines and walks without the gate have as many images as the walks behind the gate. Lines
        behind the gate are absent where it turns all of them away.
        """
        names = [name for name in wanted if name not in ("real", "unprotected", "gated-line")]
        arms = {name: STYLE if name.startswith(STYLE) else "" for name in names}
        made: dict[str, MadeSet] = {}
        for arm in sorted(set(arms.values())):
            parts = [name.removeprefix(arm) for name in names if arms[name] == arm]
            of_arm = self._arm(arm, seed, parts)
            made |= {arm + part: of_arm[part] for part in parts}
        if "unprotected" in wanted:
            made["unprotected"] = self._unprotected(seed)
        if "gated-line" in wanted:
            with suppress(PrivacyError):  # not a point of a line passes the gate: no such set
                made["gated-line"] = self._gated_line(seed)
        return made

    def endpoints(self, arm: str = "") -> Endpoints:
        """Averages, or for the arm "style-" those with the style of their people's images."""
        if arm not in self._kept:
            if arm:
                self._kept[arm] = self._styled(self.endpoints())
            else:
                self._kept[arm] = prepare_endpoints(
                    self.data, self.bundle, self.config, self.progress
                )
        return self._kept[arm]

    def _arm(self, arm: str, seed: int, parts: list[str]) -> dict[str, MadeSet]:
        config = replace(self.config, seed=seed)
        if arm:
            config = replace(config, endpoints=replace(config.endpoints, aggregation="style"))
        # Differentially private endpoints are drawn anew for every set.
        shared = None if config.uses_dp else self.endpoints(arm)
        if shared is not None and parts == ["centroids"]:
            return {"centroids": made_centroids(shared, self.bundle)}
        result = produce_set(self.data, self.bundle, config, self.progress, endpoints=shared)
        return sets_of(result, self.bundle)

    def _unprotected(self, seed: int) -> MadeSet:
        """Random samples of the generator: what it gives without any promise.

        In the private set's shares, or balanced; those of a generator without classes are labelled
        by the class classifier.
        """
        data, generator = self.data, self.bundle.generator
        count = self.config.count or len(data)
        labels = np.arange(count) % data.num_classes
        if not self.config.balanced:
            rest = data.labels[rows_in_shares(data.labels, count % len(data), seed)]
            labels = np.concatenate([*[data.labels] * (count // len(data)), rest])
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(seed)
            if generator.c_dim:
                images = render(self.bundle, generator.sample(count, torch.as_tensor(labels)))
            else:
                images = render(self.bundle, generator.sample(count))
                scores = predict(self.bundle.classifier, to_tensor(images))
                labels = scores.argmax(dim=1).cpu().numpy()
        return MadeSet(ImageSet(images, labels, np.arange(count), data.class_names))

    def _gated_line(self, seed: int) -> MadeSet:
        """As many images of straight lines as of walks, from the same endpoints and gate.

        Raises:
            PrivacyError: no point of a line passes the gate.
        """
        walk = replace(self.config.walk, solver="published", published=PublishedOptions(0))
        config = replace(self.config, seed=seed, walk=walk)
        shared = None if config.uses_dp else self.endpoints()
        result = produce_set(self.data, self.bundle, config, self.progress, endpoints=shared)
        return on_walks(result, result.samples, result.path)

    def _styled(self, averages: Endpoints) -> Endpoints:
        """Align some or all of the averages, or read what an earlier session aligned."""
        options = self.config.endpoints
        assert averages.grouping is not None, "style needs groups of people"
        rows = chosen_groups(averages.labels, self.compare.style_centroids)
        grouping = part_of(averages.grouping, rows)
        start = averages.averages if averages.averages is not None else averages.centroids
        start = start[torch.as_tensor(rows, device=start.device)]
        if self.cache.exists():
            with np.load(self.cache, allow_pickle=False) as file:
                latents = torch.from_numpy(file["latents"]).to(start)
        else:
            style = StyleConfig(options.style.steps, style_weight=options.style.weight)
            latents = align_style(
                start,
                averages.real,
                grouping,
                self.bundle.generator,
                self.bundle.lpips,
                style,
                self.progress,
            ).latents
            self._keep(latents)
        if options.kind == "safe":
            latents = safe_endpoints(
                latents, averages.latents, grouping, self.bundle, self.config, self.progress
            ).latents
        return replace(
            averages,
            centroids=latents,
            labels=grouping.group_labels,
            grouping=grouping,
            averages=start,
            relaxed=None,
        )

    def _keep(self, latents: torch.Tensor) -> None:
        with new_file(self.cache) as partial, partial.open("wb") as stream:
            np.savez(stream, latents=latents.cpu().numpy())


def sets_of(result: SyntheticSet, bundle: Bundle) -> dict[str, MadeSet]:
    """A produced set beside its baselines, by name."""
    baselines = make_baselines(result, bundle)
    return {
        "centroids": MadeSet(baselines.centroids, group_people(result.endpoints)),
        "line": on_walks(result, baselines.line, baselines.places[:, 0]),
        "ungated": on_walks(result, baselines.ungated, baselines.places[:, 0]),
        "walk": on_walks(result, result.samples, result.path),
    }


def on_walks(result: SyntheticSet, images: ImageSet, walks: np.ndarray) -> MadeSet:
    """Images on a result's walks, or on the straight lines between the same endpoints.

    Args:
        result: the produced set.
        images: n images.
        walks: [n] walk of each, a row of `result.walks.pairs`.
    """
    return MadeSet(images, walk_people(result, walks), walks)


def made_centroids(endpoints: Endpoints, bundle: Bundle) -> MadeSet:
    """One image per centroid."""
    images = render(bundle, endpoints.centroids)
    names = endpoints.real.class_names
    samples = ImageSet(images, endpoints.labels, np.arange(len(images)), names)
    return MadeSet(samples, group_people(endpoints))


def chosen_groups(labels: np.ndarray, most: int) -> np.ndarray:  # [G] -> [g], ascending
    """The groups that are aligned: all of them, or `most` in the classes' shares.

    >>> chosen_groups(np.array([0, 0, 0, 1]), 0).tolist()
    [0, 1, 2, 3]
    """
    if not 0 < most < len(labels):
        return np.arange(len(labels))
    return rows_in_shares(labels, most, seed=0)


def part_of(grouping: Grouping, rows: np.ndarray) -> Grouping:
    """The same groups without those that are not in `rows`, numbered anew.

    The people of the others belong to no group of it.
    """
    number = np.full(grouping.num_groups + 1, -1, dtype=np.int64)  # the last is for -1
    number[rows] = np.arange(len(rows))
    return replace(
        grouping,
        assignment=number[grouping.assignment],
        group_labels=grouping.group_labels[rows],
        identity_counts=grouping.identity_counts[rows],
    )
