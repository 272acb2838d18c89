"""Put what `gpu_check.py` measured into the repository's tables, pages and pictures.

    python3 scripts/gpu_tables.py gpu-out

`make gpu` calls it. New rows of `times.csv` are appended to `benches/results/gpu.csv`; the table
and picture of docs/gpu.md and the projection of docs/benchmarks.md are made anew from all rows that
are there. What was not measured stays empty, and so does all of it without rows of a GPU.
"""

from __future__ import annotations

import argparse
import csv
import sys
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "benches"))

# ruff: noqa: E402
import plan_produce

Row = dict[str, str]

# The part of a page between these two lines is written here.
BEGIN, END = "<!-- from here on by scripts/gpu_tables.py -->", "<!-- to here -->"
PICTURE = "gpu.svg"
NOTHING = "Nothing was measured yet."


def read(path: Path) -> list[Row]:
    """Rows of a table; none where there is no file."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def merge(new: Path, kept: Path) -> list[Row]:
    """Append the rows of GPUs that `kept` does not have yet; all rows that it has then."""
    known = read(kept)
    fresh = [row for row in read(new) if not row["card"].startswith("cpu") and row not in known]
    if fresh:
        columns = list(known[0] if known else fresh[0])
        with kept.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns)
            if not known:
                writer.writeheader()
            writer.writerows(fresh)
    return known + fresh


def latest(rows: list[Row]) -> list[Row]:
    """The newest row of everything that was measured, on each card."""
    names = ("card", "op", "shape", "dtype", "implementation")
    return list({tuple(row[name] for name in names): row for row in rows}.values())


def table(rows: list[Row]) -> str:
    """Rows as Markdown."""
    columns = ("card", "op", "shape", "dtype", "implementation", "ms", "p20 to p80",
               "GB/s", "TFLOP/s", "torch", "commit")  # fmt: skip
    lines = [" | ".join(columns), " | ".join("---" for _ in columns)]
    for row in rows:
        spread = f"{row['p20_ms']} to {row['p80_ms']}" if row["p20_ms"] else ""
        cells = [row[name] for name in ("card", "op", "shape", "dtype", "implementation")]
        # A rate of 0 is one that says nothing of this op.
        rates = ("" if row[name] == "0" else row[name] for name in ("gb_per_s", "tflop_per_s"))
        cells += [row["median_ms"], spread, *rates]
        lines.append(" | ".join([*cells, row["torch"], row["commit"]]))
    return "\n".join(f"| {line} |" for line in lines)


def rewrite(page: Path, text: str) -> None:
    """Replace the part of a page that is written here.

    Raises:
        ValueError: the page has no such part.
    """
    before, mark, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not mark or not end:
        raise ValueError(f"{page.name}: no lines {BEGIN!r} and {END!r}")
    page.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", encoding="utf-8")


def main() -> int:
    """Merge, and draw everything anew."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="the folder that gpu_check.py wrote")
    parser.add_argument("--root", type=Path, default=ROOT, help="of the repository [this one]")
    given = parser.parse_args()
    results, docs = given.root / "benches" / "results", given.root / "docs"
    rows = latest(merge(given.out / "times.csv", results / "gpu.csv"))
    text = NOTHING
    if rows:
        text = table(rows)
        if find_spec("matplotlib") is None:
            print("no picture: matplotlib is not installed")
        else:
            from plots import draw_gpu

            draw_gpu(rows, docs / PICTURE)
        if (docs / PICTURE).is_file():
            text = f"![Bytes a second of every kernel, against a copy]({PICTURE})\n\n{text}"
    rewrite(docs / "gpu.md", text)
    projection = plan_produce.write(results)
    rewrite(docs / "benchmarks.md", projection.partition("\n\n")[2].strip())
    print(f"{len(rows)} figures of GPUs in the pages")
    return 0


if __name__ == "__main__":
    sys.exit(main())
