"""An experiment from its data to its tables and pictures, or from where it stopped."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from latentpath.audit import check_packages, encode_png
from latentpath.core import InputError, Progress, flat_values, silent
from latentpath.data import ImageSet
from latentpath.experiments.pictures import (
    bars_picture,
    sample_sheet,
    samples_picture,
    tradeoff_picture,
    walk_picture,
)
from latentpath.experiments.recipe import REFERENCE, GridPoint, Recipe, grid_points
from latentpath.experiments.scoreboard import AimResult, judge
from latentpath.experiments.set_measures import SetMeasures
from latentpath.experiments.sets import MadeSet, SetMaker, on_walks, sets_of
from latentpath.experiments.splits import Splits, read_splits
from latentpath.experiments.store import ResultStore
from latentpath.experiments.table import as_csv, figures, summarise, worst_attack
from latentpath.production import (
    Bundle,
    ProduceConfig,
    absent_networks,
    arithmetic,
    at_resolution,
    check_promise,
    data_fingerprint,
    load_bundle,
    models_fingerprint,
    produce_set,
    ready_networks,
    write_durably,
)


@dataclass(frozen=True)
class ExperimentResult:
    """A finished experiment."""

    folder: Path
    """Where its tables and pictures are."""
    rows: list[dict[str, Any]]
    """A row per seed and set."""
    summary: list[dict[str, Any]]
    """Means over the seeds."""
    scores: list[AimResult]
    """The aims."""
    tradeoff: list[dict[str, Any]]
    """A row per point of the grid; none where it was not asked for."""


def run_experiment(
    recipe: Recipe,
    out: str | Path,
    *,
    data: str | Path | None = None,
    weights: str | Path | None = None,
    tradeoff: bool = False,
    device: torch.device | str = "cpu",
    progress: Progress = silent,
    **reading: Any,
) -> ExperimentResult:
    """Compare the sets of a recipe over its seeds, and go on where an earlier call stopped.

    Writes under `out`: `results.csv` (a row per seed and set), `summary.csv` (means and intervals
    over the seeds), `scoreboard.csv` (the aims), `results.json` (all of it, with the settings),
    `samples.png`, `bars.png`, `walk.png` (distances along long walks), and with `tradeoff`
    `tradeoff.csv` and `tradeoff.png`. Pictures show real images: they are for the data holder.
    `private/`, `weights/` and `results/` are kept for the next call.

    Args:
        recipe: what to do.
        out: the folder.
        data: a MedMNIST `.npz` file, for recipes without data of their own.
        weights: a folder of trained networks; absent ones are trained into it. The recipe's, or
            `out/weights`, if None.
        tradeoff: also go through the grid of privacy against utility.
        device: where to compute.
        progress: told about every stage.
        reading: options of `read_image_set` on who is who in the data.

    Raises:
        InputError: the folder holds results of other settings, data or networks.
        OutputExistsError: it holds anything else.
        DataError: the data cannot be used.
        PrivacyError: a class has fewer than k people.
        MissingExtraError: a package is not installed that is needed later.
    """
    check_packages()
    store = ResultStore(out)
    splits = read_splits(recipe, data, progress, **reading)
    if not recipe.produce.uses_dp:  # else noise decides how many endpoints there are
        check_promise(splits.private, recipe.produce)
    store.agree("comparison", _settings(recipe))
    store.agree("data", _hashes(splits))
    if weights is None and recipe.weights is not None:
        bundle = load_bundle(recipe.weights, device)  # nothing is ever trained into the package
    else:
        folder = store.folder / "weights" if weights is None else Path(weights)
        if absent_networks(folder, recipe.networks):
            store.agree("training", flat_values(asdict(recipe.training)))
        bundle = ready_networks(
            splits.private,
            folder,
            recipe.training,
            wanted=recipe.networks,
            device=device,
            progress=progress,
        )
    bundle = bundle.for_walks(recipe.produce.walk.fast.predictor)
    store.agree("networks", models_fingerprint(bundle))
    side = bundle.generator.img_resolution
    splits = Splits(at_resolution(splits.private, side), at_resolution(splits.holdout, side))
    bench = _Bench(recipe, store, splits, bundle, progress)
    for seed in recipe.seeds:
        bench.compare(seed)
    if tradeoff:
        grid = recipe.tradeoff
        store.agree("tradeoff", {"count": grid.count, "trainings": grid.trainings})
        for point in [None, *bench.grid_points()]:
            bench.trade(point)
    return bench.finish(tradeoff)


class _Bench:
    """The work of an experiment: what is not among the results yet is made."""

    def __init__(
        self,
        recipe: Recipe,
        store: ResultStore,
        splits: Splits,
        bundle: Bundle,
        progress: Progress,
    ) -> None:
        self.recipe, self.store, self.splits, self.bundle = recipe, store, splits, bundle
        self.progress = progress
        private = store.folder / "private"
        self.maker = SetMaker(
            splits.private, bundle, recipe.produce, recipe.compare, private / "style.npz", progress
        )
        self.measures = SetMeasures(
            splits, bundle, recipe.measure, private / "witness.checkpoint", progress
        )

    def compare(self, seed: int) -> None:
        """Make and measure the sets of one seed that have no result."""
        missing = [n for n in self.recipe.compare.chosen if self.store.get(_key(seed, n)) is None]
        if not missing:
            return
        began = time.perf_counter()
        made = self.maker.make(seed, missing)
        making = time.perf_counter() - began
        for name in missing:
            began = time.perf_counter()
            if name == "real":
                count = self.recipe.produce.count
                measured, shown = self.measures.of_real(count, seed), self.splits.private
            elif name not in made:
                reason = "no point of a straight line passes the gate"
                self.store.put(_key(seed, name), {"impossible": reason})
                continue
            else:
                measured, shown = self.measures.of(made[name], seed), made[name].images
            self._keep_sheet(name, seed, shown)
            seconds = {"making": making, "measuring": time.perf_counter() - began}
            self.store.put(
                _key(seed, name), {"measures": measured, "seconds": seconds, "by": self._by()}
            )

    def grid_points(self) -> list[GridPoint]:
        """The grid, with the number of images that its sets have."""
        config = self.recipe.produce
        count = self.recipe.tradeoff.count or config.count or len(self.splits.private)
        surrogate = self.bundle.surrogate is not None
        knobs = self.recipe.tradeoff.chosen
        return list(grid_points(replace(config, count=count), knobs, surrogate=surrogate))

    def trade(self, point: GridPoint | None) -> None:
        """Measure one point of the grid; None is for the sets that it stands beside."""
        if point is None:
            self._references()
        elif self.store.get(point.key) is None:
            bundle = self.bundle
            if not point.surrogate:
                bundle = replace(bundle, surrogate=None)
            try:
                made = produce_set(self.splits.private, bundle, point.config, self.progress)
            except InputError as error:
                # Too few people for this k, or nothing passes this gate: that is a result too.
                self.store.put(point.key, {"impossible": str(error)})
                return
            measured = self._traded(on_walks(made, made.samples, made.path))
            gate = {"tested": made.tested, "rejected": made.rejected}
            self.store.put(point.key, {**measured, "gate": gate, "by": self._by()})

    def _references(self) -> None:
        """Real images, and lines and centroids of the recipe, measured as the grid's points are."""
        names = ("real", "line", "centroids")
        missing = [n for n in names if self.store.get(_reference(n)) is None]
        if not missing:
            return
        config = self.grid_points()[0].config
        private = self.splits.private
        result = produce_set(private, self.bundle, config, self.progress)
        sets = {**sets_of(result, self.bundle), "real": None}
        for name in missing:
            self.store.put(_reference(name), {**self._traded(sets[name]), "by": self._by()})

    def _traded(self, made: MadeSet | None) -> dict[str, Any]:
        """The measures that the grid shows, of a set or (None) of the private people."""
        seed, trainings = self.recipe.produce.seed, self.recipe.tradeoff.trainings
        if made is None:
            count = self.grid_points()[0].config.count
            return {"measures": self.measures.traded_real(count, seed, trainings)}
        return {"measures": self.measures.traded(made, seed, trainings)}

    def rows(self) -> list[dict[str, Any]]:
        """A row per seed and set."""
        rows = []
        for seed in self.recipe.seeds:
            for name in self.recipe.compare.chosen:
                result = self.store.get(_key(seed, name))
                assert result is not None, "compare made it"
                if "impossible" in result:
                    continue
                row = {"seed": seed, "set": name, **figures(result["measures"])}
                row["membership"] = worst_attack(row)
                rows.append({**row, **_rounded(result["seconds"]), **result["by"]})
        return rows

    def tradeoff_rows(self) -> list[dict[str, Any]]:
        """A row per possible point of the grid."""
        points = [(REFERENCE, name, _reference(name)) for name in ("real", "line", "centroids")]
        points += [(point.knob, point.value, point.key) for point in self.grid_points()]
        rows = []
        for knob, value, key in points:
            result = self.store.get(key)
            if result is not None and "measures" in result:
                row = {"knob": knob, "value": value, **figures(result["measures"])}
                rows.append({**row, **result["by"]})
        return rows

    def finish(self, tradeoff: bool) -> ExperimentResult:
        """Write tables and pictures from the results."""
        rows, folder, title = self.rows(), self.store.folder, self.recipe.title
        scores, summary = judge(rows), summarise(rows)
        grid = self.tradeoff_rows() if tradeoff else []
        tables: dict[str, list[dict[str, Any]]] = {
            "results": rows,
            "summary": summary,
            "scoreboard": [result.as_dict() for result in scores],
        }
        if grid:
            tables["tradeoff"] = grid
        for name, table in tables.items():
            write_durably(folder / f"{name}.csv", as_csv(table).encode())
        settings = {"recipe": self.recipe.name, "settings": _settings(self.recipe)}
        text = json.dumps({**settings, **tables}, indent=1, allow_nan=False)
        write_durably(folder / "results.json", text.encode())
        sheets = {name: self._sheet(name) for name in self.recipe.compare.chosen}
        present = {name: path for name, path in sheets.items() if path.exists()}
        seeds = f"{len(self.recipe.seeds)} seed{'s' if len(self.recipe.seeds) > 1 else ''}"
        write_durably(folder / "samples.png", samples_picture(present, title))
        write_durably(folder / "bars.png", bars_picture(rows, f"{title}, {seeds}"))
        if "walk" in self.recipe.compare.chosen:
            kept = folder / "private" / "walk_picture.npz"
            write_durably(folder / "walk.png", walk_picture(self.maker, kept, self.progress))
        if grid:
            write_durably(folder / "tradeoff.png", tradeoff_picture(grid, title))
        return ExperimentResult(folder, rows, summary, scores, grid)

    def _keep_sheet(self, name: str, seed: int, shown: ImageSet) -> None:
        """Keep samples of the first seed for the picture of all sets."""
        if seed == self.recipe.seeds[0]:
            write_durably(self._sheet(name), encode_png(sample_sheet(shown)))

    def _sheet(self, name: str) -> Path:
        return self.store.folder / "private" / f"samples-{name}.png"

    def _by(self) -> dict[str, Any]:
        """What made a result."""
        device = self.bundle.encoder.centre.device
        made = arithmetic(device)
        return {
            "when": time.strftime("%Y-%m-%dT%H:%M", time.gmtime()),
            "device": made["device"],
            "threads": torch.get_num_threads(),
            "latentpath": made["latentpath"],
            "torch": made["torch"],
            "python": platform.python_version(),
        }


def _key(seed: int, name: str) -> str:
    return f"seed{seed} {name}"


def _reference(name: str) -> str:
    return f"tradeoff {REFERENCE}={name}"


def _rounded(seconds: Mapping[str, float]) -> dict[str, float]:
    return {f"{stage}_s": round(value, 1) for stage, value in seconds.items()}


def _settings(recipe: Recipe) -> dict[str, Any]:
    """What every result of the comparison depends on: not which seeds and sets there are."""
    produce: ProduceConfig = replace(recipe.produce, seed=0)
    return flat_values(
        {
            "recipe": recipe.name,
            "produce": asdict(produce),
            "measure": asdict(recipe.measure),
            "style_centroids": recipe.compare.style_centroids,
        }
    )


def _hashes(splits: Splits) -> dict[str, str]:
    return {
        "private": data_fingerprint(splits.private),
        "holdout": data_fingerprint(splits.holdout),
    }
