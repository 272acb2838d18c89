"""Redraw benches/results/kernels.svg and docs/walk.svg from the latest rows of their tables."""

from __future__ import annotations

import csv
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt

RESULTS = Path(__file__).parent / "results"
WALK = Path(__file__).parents[1] / "docs" / "walk.svg"
# The workload that stands for each kernel, and its title.
SHOWN = {
    "kl_uniform": ("3072x10000", "float32", "kl_uniform\n3,072 x 10,000, with gradient"),
    "bank_lse": ("3072x10000x512", "float32", "bank_lse\n3,072 x 10,000 x 512, with gradient"),
    "path_step": ("64x512x512", "float32", "path_step_\n64 paths x 512 points x 512"),
    "path_smooth": ("64x4096x512", "float32", "path_smooth_\n64 paths x 4,096 points x 512"),
}
OURS, OTHERS, BOUND = "#1b7a5a", "#9aa5b1", "#d8b45c"


def latest(op: str, shape: str, dtype: str) -> dict[str, dict[str, str]]:
    """Implementation -> its newest row (rows are appended in the order they were measured)."""
    with (RESULTS / f"{op}.csv").open() as file:
        chosen = [r for r in csv.DictReader(file) if (r["shape"], r["dtype"]) == (shape, dtype)]
    newest = chosen[-1]["when"]
    return {row["implementation"]: row for row in chosen if row["when"] == newest}


def is_ours(name: str) -> bool:
    return name.startswith(("native", "triton"))


def draw(axis, op: str) -> None:
    """Medians as bars, shortest last, with the spread from p20 to p80."""
    shape, dtype, title = SHOWN[op]
    found = latest(op, shape, dtype)
    names = sorted(found, key=lambda name: -float(found[name]["median_ms"]))
    medians = [float(found[name]["median_ms"]) for name in names]
    low = [m - float(found[name]["p20_ms"]) for name, m in zip(names, medians, strict=True)]
    high = [float(found[name]["p80_ms"]) - m for name, m in zip(names, medians, strict=True)]
    colours = [OURS if is_ours(n) else BOUND if n in ("copy", "matmul") else OTHERS for n in names]
    axis.barh(names, medians, color=colours, xerr=[low, high], error_kw={"lw": 0.8})
    for place, (median, above) in enumerate(zip(medians, high, strict=True)):
        axis.text(median + above, place, f"  {median:,.0f} ms", va="center", fontsize=8)
    axis.set_xlim(0, 1.2 * max(m + above for m, above in zip(medians, high, strict=True)))
    axis.set_title(title, fontsize=9)
    axis.tick_params(labelsize=8)
    axis.spines[["top", "right"]].set_visible(False)


def save(figure, target: Path) -> None:
    """Write an SVG; the same picture gives the same file."""
    plt.rcParams["svg.hashsalt"] = "latentpath"
    figure.savefig(target, metadata={"Date": None})


def draw_walk(table: Path, target: Path) -> None:
    """Energy against time of the published and the fast walk, from the newest curve's rows."""
    with table.open() as file:
        rows = [row for row in csv.DictReader(file) if row["part"] == "curve"]
    rows = [row for row in rows if row["when"] == rows[-1]["when"]]
    fast = [row for row in rows if row["solver"] == "fast"]
    alone = [row for row in fast if row["setting"].endswith("no surrogate")]
    published = [row for row in rows if row["solver"] == "published"]
    lines = {
        "published": (published, OTHERS, "s--"),
        "fast": ([row for row in fast if row not in alone], OURS, "o-"),
        "fast, no surrogate": (alone, BOUND, "o-"),
    }
    figure, axis = plt.subplots(figsize=(7.2, 3.8), layout="constrained")
    for name, (chosen, colour, style) in lines.items():
        chosen.sort(key=lambda row: float(row["passes"]))
        seconds = [float(row["seconds_per_path"]) for row in chosen]
        totals = [float(row["total"]) for row in chosen]
        axis.plot(seconds, totals, style, color=colour, label=name, ms=4, lw=1.5)
    axis.axhline(float(published[-1]["total"]), color=OTHERS, lw=0.8, ls=":")
    axis.set_xscale("log")
    axis.set_ylim(top=min(axis.get_ylim()[1], 1.6 * float(published[-1]["total"])))
    row = published[-1]
    axis.set_xlabel(
        f"seconds per path of {row['points']} points ({row['device']}, {row['threads']} threads, "
        f"PyTorch {row['torch']})",
        fontsize=8,
    )
    axis.set_ylabel(f"true energy, mean of {row['paths']} paths", fontsize=8)
    axis.tick_params(labelsize=8)
    axis.legend(frameon=False, fontsize=8)
    axis.spines[["top", "right"]].set_visible(False)
    save(figure, target)
    plt.close(figure)


def draw_gpu(rows: list[dict[str, str]], target: Path) -> None:
    """Bytes a second of all kernels of one card, the last one measured, against a copy."""
    card = rows[-1]["card"]
    rows = [row for row in rows if float(row["gb_per_s"] or 0) and row["card"] == card]
    figure, axis = plt.subplots(figsize=(10, 1 + 0.22 * len(rows)), layout="constrained")
    for place, row in enumerate(reversed(rows)):
        rate, is_bound = float(row["gb_per_s"]), row["implementation"] == "copy"
        axis.barh(place, rate, color=BOUND if is_bound else OURS)
        name = f"{row['op']} {row['shape']} {row['dtype']} {row['implementation']}"
        axis.text(rate, place, f"  {name}", va="center", fontsize=7)
    axis.set_yticks([])
    axis.set_xlim(0, 1.6 * max((float(row["gb_per_s"]) for row in rows), default=1.0))
    if rows:
        machine = f"{card}, PyTorch {rows[-1]['torch']}"
        axis.set_xlabel(f"gigabytes a second that have to move; {machine}", fontsize=8)
    axis.spines[["top", "right"]].set_visible(False)
    save(figure, target)
    plt.close(figure)


def main() -> None:
    """Draw all kernels that have rows, and the walk's curve."""
    if (RESULTS / "walk.csv").exists():
        draw_walk(RESULTS / "walk.csv", WALK)
    shown = [op for op in SHOWN if (RESULTS / f"{op}.csv").exists()]
    figure, axes = plt.subplots(2, 2, figsize=(10, 5.4), layout="constrained")
    for axis, op in zip(axes.flat, shown, strict=False):
        draw(axis, op)
    row = next(iter(latest(shown[0], *SHOWN[shown[0]][:2]).values()))
    figure.supxlabel(
        f"median milliseconds, bars p20 to p80; {row['device']}, {row['threads']} threads, "
        f"PyTorch {row['torch']}",
        fontsize=8,
    )
    save(figure, RESULTS / "kernels.svg")


if __name__ == "__main__":
    main()
