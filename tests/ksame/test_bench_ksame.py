"""The benchmark runs, and what it compares with is the published procedure."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

BENCH = Path(__file__).resolve().parents[2] / "benches" / "bench_ksame.py"


@pytest.fixture(scope="module")
def bench():
    if not BENCH.exists():
        pytest.skip("needs the folder benches/ of the repository")
    spec = importlib.util.spec_from_file_location("bench_ksame", BENCH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.filterwarnings("ignore:All-NaN")
def test_its_opponent_gives_the_published_clusters(bench, reference_dir):
    with np.load(reference_dir / "ksalsa_clusters.npz") as figures:
        names = [name for name in figures if name.startswith("x_")]
        for name in names:
            found = bench.published(figures[name], int(name.rsplit("_k", 1)[1]))
            np.testing.assert_array_equal(found, figures["cluster" + name[1:]])
    assert len(names) == 4


def test_rows_hold_what_was_measured(bench, monkeypatch, tmp_path):
    monkeypatch.setattr(bench, "peak_extra_mib", lambda *_: 1)
    monkeypatch.setattr(bench, "RESULTS", tmp_path / "results" / "ksame.csv")
    rows = bench.measure(["published", "farthest", "mdav"], 60, 8, 5, repeats=2)
    bench.append_rows(rows)
    bench.append_rows(rows)
    assert len((tmp_path / "results" / "ksame.csv").read_text().splitlines()) == 7
    assert all(row["smallest_group"] == 5 and row["median_s"] >= 0 for row in rows)
    assert rows[0]["variance_share"] == rows[1]["variance_share"]


def test_the_variance_share_is_the_textbook_one(bench):
    latents = np.array([[0.0], [2.0], [10.0], [14.0]], dtype=np.float32)
    share = bench.variance_share(latents, np.array([7, 7, 3, 3]))
    assert share == pytest.approx((1 + 1 + 4 + 4) / ((latents - 6.5) ** 2).sum())
