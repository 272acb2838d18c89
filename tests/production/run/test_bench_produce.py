"""The benchmark of runs and the projection from it still run."""

from __future__ import annotations

import bench_produce
import plan_produce
import pytest

from latentpath.production import EndpointsConfig, GateConfig
from support import tiny_models


def test_rates_of_files_alone():
    row = bench_produce._files_row(32, 1, count=4)
    assert set(bench_produce.COLUMNS) <= set(row)
    assert all(row[name] > 0 for name in ("encode", "write", "set_written", "bytes_per_image"))


@pytest.mark.parametrize("engine", ["local:1"])
def test_rates_of_a_run(data, tiny_lpips, tmp_path, monkeypatch, engine):
    options = bench_produce._parser().parse_args(
        ["--engines", engine, "--images", "9", "--steps", "5", "--passes", "2"]
    )
    quick = bench_produce.ProduceConfig
    monkeypatch.setattr(bench_produce, "ProduceConfig", lambda **given: quick(**{**given, **OPEN}))
    options.data = str(tiny_models.write_folder(tmp_path / "images", data))
    bundle = tiny_models.bundle_for(data, lpips=tiny_lpips)
    options.weights = tiny_models.save_bundle(tmp_path / "weights", bundle)
    (row,) = bench_produce._runs(options)
    assert row["what"] == engine
    assert row["images"] == 9
    for name in ("walk", "generate", "gate", "encode", "write", "images_per_second"):
        assert row[name] > 0, name


OPEN = {"endpoints": EndpointsConfig(k=3), "gate": GateConfig(0.0, 1.0, False)}


def test_the_projection_is_arithmetic_and_leaves_out_what_was_not_measured():
    gpu = {"walk": "300", "generate": "600", "gate": "600", "images": "50", "tested": "100"}
    files = {"encode": "80", "write": "1000", "set_written": "1000", "worker_threads": "2",
             "bytes_per_image": "100000"}  # fmt: skip
    # 1/300 + 2/600 seconds a sample, two samples an image: 75 images a second on one GPU.
    one = plan_produce._row(1, gpu, files).split(" | ")
    assert one == ["| 1", "3.7", "1.9", "0.6", "100 |"]
    eight = plan_produce._row(8, gpu, files).split(" | ")
    assert eight[1:3] == ["0.5", "15.0"]
    assert plan_produce._row(64, None, None).count("not measured") == 4
    assert "projection" in plan_produce.table(None, files)
