"""The fast walk against the published one: energy, time, generator passes.

    python benches/bench_walk.py                                  # all parts on the digits
    python benches/bench_walk.py --parts digits curve             # some of them
    python benches/bench_walk.py --parts resnet64                 # an hour of published walks first
    python benches/bench_walk.py --estimate                       # how long it will take, no more

Rows go to benches/results/walk.csv; `plots.py` draws docs/walk.svg from them. Parts:

- digits: the published walk, and the fast one with and without its surrogate, and with a path
  predictor, in turn;
- curve: energy against time, the published walk's by its steps, the fast one's by `passes`;
- ablation: the fast walk without each of its ideas, on more paths: each of them ends in one of
  many valleys, and the mean of a few says little about an idea;
- long: paths of up to thousands of points;
- short: many paths of a few points at once, smoothness weighed as `latentpath produce` does, on
  pairs of their own energies by the published walk, with and without a path predictor;
- resnet64: as digits, on a 64x64 StyleGAN2 with two ResNet-18, made and trained when first used.

The published walk takes the same time for each of its steps, so that is measured over windows of
a few steps of one path, one window before every other timing, and multiplied; `extrapolated_from`
says how many steps were timed. What it reaches is data (results/walk_published_digits.npz, of
`short` files beside it whose names end in the points) that is computed anew, by
`latentpath.walk(solver="published")`, when the networks have changed. A speed-up
is the median of the ratios of timings that follow each other. All energies are true ones, float32.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import math
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))

import walk_networks
import walk_published
import walk_timing
import workload
from walk_networks import WalkNetworks
from walk_published import CHUNK, STEPS
from walk_timing import ABLATIONS, Bench, Row, Setting, ratio_error

from latentpath.energy import EnergyTerms, EnergyWeights, PathEnergy
from latentpath.training import PredictorConfig, SurrogateConfig
from latentpath.walks import FastConfig, WalkResult
from latentpath.walks.fast_schedule import plan_levels, resample
from latentpath.walks.requests_and_results import EPS_DISTANCE, chunk_weights

TABLE = workload.RESULTS / "walk.csv"
KEPT = workload.RESULTS / "walk_published_digits.npz"
RUNS = Path(__file__).parents[1] / "runs" / "bench_walk"
# Points of a walk; long ones are compared with it.
POINTS = 50
PASSES = (3.0, 6.0, 10.0, 16.0, 24.0, 36.0, 60.0)
LONG = (50, 200, 1000, 4000)
SHORT = (4, 8)
SHORT_PASSES = (1.0, 8.0, 16.0, 36.0)
DIGITS_PARTS = ("digits", "curve", "ablation", "long")
PARTS = (*DIGITS_PARTS, "short", "resnet64")

FIELDS = (
    *("when", "device", "isa", "threads", "latentpath", "torch", "python", "load", "part"),
    *("networks", "people", "latent_dim", "resolution", "solver", "setting", "precision"),
    *("paths", "points", "rounds", "total", "smoothness", "identity", "classification"),
    *("published_steps", "energy_ratio", "ratio_error", "lower_share", "passes"),
    *(
        "seconds_per_path",
        "p20_s",
        "p80_s",
        "extrapolated_from",
        "walks_per_hour",
        "speed_up",
        "training_s",
    ),
    *("amortised_walks", "amortised_passes", "amortised_speed_up", "scaled_total"),
    *("ms_per_point", "clock", "smoothness_weight", "host_share"),
)


def compare(bench: Bench) -> Iterator[Row]:
    """Published, fast, fast without surrogate, and from predicted paths, in turn."""
    settings = [Setting("default"), Setting("no surrogate", surrogate=False)]
    if bench.networks.predictor is not None:
        settings += [
            Setting(f"{passes:g} passes, predictor", {"passes": passes}, False, True)
            for passes in bench.options.predictor_passes
        ]
    results, seconds, steps = {}, {s.name: [] for s in settings}, {s.name: [] for s in settings}
    for _ in range(bench.options.turns):
        for setting in settings:
            steps[setting.name].append(bench.window())
            results[setting.name], taken = bench.fast(setting)
            seconds[setting.name].append(taken)
    yield bench.published_row(bench.published_steps)
    for setting in settings:
        name = setting.name
        yield bench.fast_row(setting, results[name], seconds[name], steps[name])


def curve(bench: Bench) -> Iterator[Row]:
    """Energy against time."""
    for passes in distinct_passes(bench.options.passes):
        for surrogate in (True, False):
            name = f"{passes:g} passes" + ("" if surrogate else ", no surrogate")
            setting = Setting(name, {"passes": passes}, surrogate)
            step = bench.window()
            result, taken = bench.fast(setting)
            yield bench.fast_row(setting, result, [taken], [step])
    for step in bench.reference.steps:
        if 0 < step <= bench.published_steps:
            yield bench.published_row(step)


def short(bench: Bench) -> Iterator[Row]:
    """Energy and time of many short walks at once, by passes, in turn."""
    most = bench.options.short_passes[-1]
    settings = [
        Setting(f"{passes:g} passes, predictor", {"passes": passes}, False, True)
        for passes in bench.options.short_passes
    ]
    settings += [
        Setting(f"{most:g} passes", {"passes": most}),
        Setting(f"{most:g} passes, no surrogate", {"passes": most}, surrogate=False),
    ]
    seconds, steps = ({s.name: [] for s in settings} for _ in range(2))
    shares: dict[str, list[float]] = {s.name: [] for s in settings}
    results = {}
    for _ in range(bench.options.turns):
        for setting in settings:
            steps[setting.name].append(bench.window())
            with bench.networks_timed() as inside:
                results[setting.name], taken = bench.fast(setting)
            seconds[setting.name].append(taken)
            whole = taken * len(results[setting.name].latents)
            shares[setting.name].append(1 - sum(inside) / whole)
    yield bench.published_row(bench.published_steps)
    for setting in settings:
        name = setting.name
        row = bench.fast_row(setting, results[name], seconds[name], steps[name])
        yield row | {"host_share": round(statistics.median(shares[name]), 3)}


def second_networks(bench: Bench) -> Iterator[Row]:
    """The same on other networks, and the fast walk with fewer passes."""
    yield from compare(bench)
    for passes in distinct_passes(bench.options.passes):
        if 10 <= passes < FastConfig().passes:
            setting = Setting(f"{passes:g} passes", {"passes": passes})
            step = bench.window()
            result, taken = bench.fast(setting)
            yield bench.fast_row(setting, result, [taken], [step])


def distinct_passes(passes: Sequence[float]) -> list[float]:
    """Those that make different walks: more passes than a walk can use change nothing."""
    usual = FastConfig()
    most_first = sorted(passes, reverse=True)
    return sorted(
        {
            plan_levels(POINTS, most, usual.coarsest, usual.starts): most for most in most_first
        }.values()
    )


def ablation(bench: Bench) -> Iterator[Row]:
    """The fast walk without each of its ideas, one run each."""
    for setting in ABLATIONS:
        step = bench.window()
        result, taken = bench.fast(setting)
        yield bench.fast_row(setting, result, [taken], [step])


def long(bench: Bench) -> Iterator[Row]:
    """Longer paths, the smoothness weighed so that they are the same curves with more points.

    `energy_ratio` compares with the walk of 50 points, filled up on straight lines to as many.
    """
    short: WalkResult | None = None
    for points in bench.options.long:
        weights = EnergyWeights(smoothness=stiffness(points))
        paths = max(bench.options.long_paths, bench.paths * POINTS // points)
        paths = min(paths, bench.paths)
        setting = Setting(f"{points} points", {"weights": weights})
        result, taken = bench.fast(setting, paths, points)
        if short is None:
            short = result
        energies = bench_energies(bench, result, short, points, weights)
        scaled, filled = energies[:, 0], energies[:, 1]
        yield bench.fast_row(setting, result, [taken], [math.nan]) | {
            "points": points,
            "speed_up": "",
            "published_steps": "",
            "amortised_passes": "",
            "amortised_speed_up": "",
            "scaled_total": round(float(scaled.mean()), 4),
            "energy_ratio": round(float(scaled.mean() / filled.mean()), 4),
            "ratio_error": ratio_error(scaled, filled),
            "lower_share": round(float((scaled <= filled).float().mean()), 3),
            "ms_per_point": round(1e3 * taken / (points - 2), 3),
        }


def stiffness(points: int) -> float:
    """Weight of smoothness under which a curve's energy is that of 50 points, times a factor.

    Smoothness falls as one over the segments T - 1, guides grow as the chunks of four points.
    """
    return (points - 1) / (POINTS - 1) * _chunks(points) / _chunks(POINTS)


def scaled_total(terms: EnergyTerms, points: int, weights: EnergyWeights) -> torch.Tensor:
    """Energy per unit of length: what the curve's total would be with 50 points."""
    guides = weights.identity * terms.identity + weights.classification * terms.classification
    return guides * _chunks(POINTS) / _chunks(points) + terms.smoothness * (points - 1) / (
        POINTS - 1
    )


def bench_energies(
    bench: Bench, result: WalkResult, short: WalkResult, points: int, weights: EnergyWeights
) -> torch.Tensor:  # -> [n, 2]
    """Scaled totals of the first paths, and of the short walk's with as many points."""
    n = min(len(result.latents), len(short.latents), bench.options.long_paths)
    networks, device = bench.networks, short.latents.device
    energy = PathEnergy(networks, weights=weights)
    filled = torch.stack([resample(path, points) for path in short.latents[:n]])
    per_point = chunk_weights(points, CHUNK).to(device)
    terms = energy.terms(filled, bench.reference.labels[:n], per_point, EPS_DISTANCE)
    return torch.stack(
        [scaled_total(result.after[:n], points, weights), scaled_total(terms, points, weights)], 1
    )


def _chunks(points: int) -> int:
    return math.ceil((points - 2) / CHUNK)


MEASURES = {
    "digits": compare,
    "curve": curve,
    "ablation": ablation,
    "long": long,
    "short": short,
    "resnet64": second_networks,
}


def estimate(bench: Bench, part: str) -> float:
    """Seconds that a part will take, from one published step and one batch of gradients now."""
    ref, options = bench.reference, bench.options
    step = walk_published.step_seconds(bench.published_walk(0), 1, bench.clock)
    networks = bench.networks
    energy = PathEnergy(networks, precision="auto", micro_batch=64)
    points = ref.start[:1].expand(64, -1).contiguous()
    labels, ones = ref.labels[:1].expand(64), torch.ones(64, device=points.device)
    energy.guide_gradient(points, labels, ones)
    began = time.perf_counter()
    energy.guide_gradient(points, labels, ones)
    per_point = (time.perf_counter() - began) / 64

    def walks(paths: int, count: int, passes: float, without: float = 0.0) -> float:
        """Seconds; two more forward passes in float32, and work between gradients."""
        return paths * (count - 2) * per_point * 1.5 * (passes + 2 + without)

    window = (options.window + 1) * step
    most = FastConfig().passes
    if part in ("digits", "resnet64"):
        fewer = [p for p in distinct_passes(options.passes) if 10 <= p < most]
        turns = 2 * options.turns * (window + walks(bench.paths, POINTS, most))
        if part == "digits":
            return turns
        return turns + sum(window + walks(bench.paths, POINTS, p) for p in fewer)
    if part == "curve":
        return sum(
            2 * (window + walks(bench.paths, POINTS, p)) for p in distinct_passes(options.passes)
        )
    if part == "short":
        count, walked = (
            bench.reference.points,
            len(ref.labels if bench.ends is None else bench.ends[2]),
        )
        passes = [*options.short_passes, *2 * [options.short_passes[-1]]]
        return options.turns * sum(window + walks(walked, count, p) for p in passes)
    if part == "ablation":
        return len(ABLATIONS) * (window + walks(bench.paths, POINTS, 1.2 * most))
    total = 0.0
    for count in options.long:
        levels = plan_levels(count, most, FastConfig().coarsest, FastConfig().starts)
        passes = sum(level.interior * level.evaluations for level in levels) / (count - 2)
        paths = min(bench.paths, max(options.long_paths, bench.paths * POINTS // count))
        total += walks(paths, count, passes, 2)
    return total


def benches(options: argparse.Namespace) -> Iterator[tuple[str, Bench]]:
    """A part's name and its bench, part by part; networks are made when they are needed."""
    device = workload.DEVICE
    if wanted := [part for part in DIGITS_PARTS if part in options.parts]:
        paths, steps = options.paths, options.published_steps
        networks = walk_networks.digits(options.surrogate, options.training_seconds, device)
        if "digits" in wanted and options.predictor_passes:
            networks = predicting(networks, options, POINTS)
        for part in wanted:
            many = max(paths, options.ablation_paths) if part == "ablation" else paths
            kept = walk_published.reference(networks, options.kept, many, POINTS, steps, device)
            yield part, Bench(part, networks, kept, options, many, steps)
    if "short" in options.parts:
        networks = walk_networks.digits(options.surrogate, options.training_seconds, device)
        networks = predicting(networks, options, max(options.short))
        ends = networks.make_ends(options.short_walks)
        for points in options.short:
            steps, weight = options.published_steps, ((points - 1) / (POINTS - 1)) ** 2
            file = options.kept.with_name(f"{options.kept.stem}_{points}.npz")
            kept = walk_published.reference(
                networks, file, options.short_paths, points, steps, device, weight
            )
            yield "short", Bench("short", networks, kept, options, options.short_paths, steps, ends)
    if "resnet64" in options.parts:
        paths, steps = options.paths, options.published_steps
        folder = options.runs / "resnet64"
        networks = walk_networks.stand_in(folder, device=device)
        kept = walk_published.reference(
            networks, folder / "walk_published.npz", paths, POINTS, steps, device
        )
        yield "resnet64", Bench("resnet64", networks, kept, options, paths, steps)


def predicting(networks: WalkNetworks, options: argparse.Namespace, points: int) -> WalkNetworks:
    """The networks with a predictor of paths of up to so many points, under published weights."""
    config = PredictorConfig(
        points=options.predictor_points, walk_steps=points, weights=EnergyWeights()
    )
    return networks.predicting(options.runs / f"predictor_{points}.safetensors", config)


def append(rows: list[Row], table: Path) -> None:
    """Add rows to the table; what a row lacks stays empty."""
    table.parent.mkdir(parents=True, exist_ok=True)
    new = not table.exists()
    with table.open("a", newline="") as file:
        writer = csv.DictWriter(file, FIELDS, restval="", lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerows(rows)


def summary(row: Row) -> str:
    """A row in one line."""
    shown = ("solver", "setting", "paths", "points", "total", "energy_ratio", "lower_share")
    shown += ("ratio_error", "passes", "seconds_per_path", "walks_per_hour", "speed_up")
    shown += ("amortised_speed_up", "scaled_total", "ms_per_point", "load")
    figures = (f"{name} {row[name]}" for name in shown if row.get(name, "") != "")
    return f"{row['part']}: {', '.join(figures)}"


def measure(options: argparse.Namespace) -> Iterator[Row]:
    """The rows of all parts that were asked for, each stored as soon as it is there."""
    warm: WalkNetworks | None = None
    for part, bench in benches(options):
        if bench.networks.surrogate is None:
            raise SystemExit("no surrogate: train one, or name its file with --surrogate")
        if bench.networks is not warm:
            bench.warm_up()
            warm = bench.networks
        seconds = estimate(bench, part)
        print(f"{part}: about {seconds / 60:.1f} minutes at the present load", flush=True)
        if options.estimate:
            continue
        for row in MEASURES[part](bench):
            if not options.dry_run:
                append([row], options.table)
            print(summary(row), flush=True)
            yield row


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = made.add_argument
    add("--parts", nargs="+", choices=PARTS, default=list(DIGITS_PARTS))
    add("--paths", type=int, default=16, help="walks at a time [16]")
    add("--ablation-paths", type=int, default=96, help="those of the ablation [96]")
    add("--published-steps", type=int, default=STEPS, help="published steps [500]")
    add("--turns", type=int, default=3, help="times round the solvers, digits and resnet64 [3]")
    add("--window", type=int, default=10, help="published steps per window [10]")
    add("--passes", type=float, nargs="+", default=PASSES, help="of the curve")
    add("--long", type=int, nargs="+", default=LONG, help="points of the long paths")
    add("--long-paths", type=int, default=8, help="walks of the longest [8]")
    add("--short", type=int, nargs="+", default=SHORT, help="points of the short paths")
    add("--short-paths", type=int, default=32, help="of them walked as published, too [32]")
    add("--short-walks", type=int, default=1000, help="of them in flight [1000]")
    add("--short-passes", type=float, nargs="+", default=SHORT_PASSES, help="of the short paths")
    add("--clock", choices=walk_timing.CLOCKS, default="wall", help="what seconds are [wall]")
    add("--surrogate", type=Path, help="file of the digits' surrogate [the one that ships]")
    add("--training-seconds", type=float, help="of it [what the file notes]")
    add("--training-points", type=int, default=_training_points(), help="passes it took")
    add("--predictor-points", type=int, default=400_000, help="of a predictor's training [400000]")
    add("--predictor-passes", type=float, nargs="*", default=(6.0, 12.0, 24.0, 36.0), help="digits")
    add("--amortise", type=int, default=10_000, help="walks that share the training [10000]")
    add("--threads", type=int, default=torch.get_num_threads())
    add("--table", type=Path, default=TABLE)
    add("--kept", type=Path, default=KEPT, help="energies of the published walk on the digits")
    add("--runs", type=Path, default=RUNS, help="where predictors and second networks are kept")
    add("--estimate", action="store_true", help="say how long it takes, measure nothing")
    add("--dry-run", action="store_true", help="store no rows")
    add("--json", action="store_true", help="print the rows as JSON lines, the rest on stderr")
    return made


def _training_points() -> int:
    """Generator passes of a surrogate's training: one for each point, one more on walks."""
    config = SurrogateConfig()
    return config.points + 2 * config.rounds * config.walk_points


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line, measure, append rows and print them."""
    options = parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    with contextlib.redirect_stdout(sys.stderr if options.json else sys.stdout):
        rows = list(measure(options))
    if options.json:
        for row in rows:
            print(json.dumps(row))


if __name__ == "__main__":
    main()
