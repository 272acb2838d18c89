"""The benchmark runs, and what it compares with is the published walk."""

from __future__ import annotations

import csv
import dataclasses
import functools
import importlib
import json
from pathlib import Path

import pytest
import torch

import latentpath
from latentpath.energy import EnergyTerms, EnergyWeights
from latentpath.training import SurrogateConfig
from latentpath.walks import FastConfig, PublishedConfig

BENCHES = Path(__file__).resolve().parents[2] / "benches"


@pytest.fixture(scope="module")
def modules():
    if not BENCHES.exists():
        pytest.skip("needs the folder benches/ of the repository")
    names = ("bench_walk", "walk_networks", "walk_published", "walk_timing")
    return {name: importlib.import_module(name) for name in names}


@pytest.fixture(scope="module")
def size(modules):
    surrogate = SurrogateConfig(points=32, rounds=0, steps=2, batch=8, width=8, depth=2)
    return modules["walk_networks"].StandIn(
        side=16,
        latent_dim=8,
        channel_base=64,
        channel_max=4,
        people=24,
        identity_steps=2,
        class_steps=2,
        batch=4,
        stages=(4, 4, 8, 8),
        surrogate=surrogate,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("networks")


@pytest.fixture(scope="module")
def networks(modules, size, folder):
    return modules["walk_networks"].stand_in(folder, size)


def test_the_second_networks_are_kept(modules, size, folder, networks):
    again = modules["walk_networks"].stand_in(folder, size)
    assert again.fingerprint() == networks.fingerprint()
    assert again.surrogate.trained_for == networks.fingerprint()
    assert again.training_seconds == networks.training_seconds > 0


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_its_opponent_is_the_published_walk(modules, networks, layout):
    published = modules["walk_published"]
    start, end, labels = networks.make_ends(1)
    networks = dataclasses.replace(networks)  # without the copy that was kept
    networks.generator.to(memory_format=layout)
    walk = published.PublishedWalk(networks, start[0], end[0], int(labels), 11)
    walk.step()
    assert published.disagreement(walk) < 0.005
    for _ in range(2):
        walk.step()
    ours = latentpath.walk(
        *(start, end, labels), networks, steps=11, config=PublishedConfig(optim_steps=3)
    )
    moved = (ours.latents[0] - walk.line).norm()
    assert float((walk.path().detach() - ours.latents[0]).norm()) < 1e-3 * float(moved)


def test_reference_energies(modules, networks, tmp_path):
    published = modules["walk_published"]
    file = tmp_path / "kept" / "published.npz"
    made = published.reference(networks, file, paths=3, points=7, steps=7)
    kept = published.PublishedReference.load(file, "cpu")
    assert kept.steps == made.steps == [0, 5, 7]
    for step in kept.steps:
        ours = latentpath.walk(
            *networks.make_ends(3),
            networks,
            steps=7,
            config=PublishedConfig(optim_steps=step),
        )
        torch.testing.assert_close(kept.at(step, 2).total, ours.after.total[:2], rtol=1e-4, atol=0)
    assert kept.serves(networks, 7, 5)
    assert not kept.serves(networks, 8, 5)
    assert not kept.serves(networks, 7, 6)
    other = dataclasses.replace(networks, classifier=networks.identity)
    assert not kept.serves(other, 7, 5)


def test_reference_energies_go_on_where_they_stopped(modules, networks, tmp_path):
    published, file = modules["walk_published"], tmp_path / "published.npz"
    first = published.reference(networks, file, paths=2, points=5, steps=5)
    more = published.reference(networks, file, paths=7, points=5, steps=5)
    assert len(more.labels) == 7
    torch.testing.assert_close(more.terms.total[:, :2], first.terms.total, rtol=0, atol=0)
    whole = published.reference(networks, tmp_path / "whole.npz", paths=7, points=5, steps=5)
    for name in ("start", "end", "labels"):
        assert torch.equal(getattr(more, name), getattr(whole, name))
    torch.testing.assert_close(more.terms.total, whole.terms.total, rtol=1e-4, atol=0)
    assert len(published.reference(networks, file, paths=3, points=5, steps=5).labels) == 7


def run(modules, networks, monkeypatch, tmp_path, capsys, *arguments):
    bench = modules["bench_walk"]
    monkeypatch.setattr(bench, "POINTS", 9)
    few_passes = functools.partial(FastConfig, passes=2.0)
    monkeypatch.setattr(bench, "FastConfig", few_passes)
    monkeypatch.setattr(modules["walk_timing"], "FastConfig", few_passes)
    monkeypatch.setattr(bench.walk_networks, "digits", lambda *_: networks)
    monkeypatch.setattr(bench.walk_networks, "stand_in", lambda *_, **__: networks)
    table = tmp_path / "results" / "walk.csv"
    places = ["--table", table, "--kept", tmp_path / "kept.npz", "--runs", tmp_path]
    threads = ["--threads", torch.get_num_threads(), "--json", "--window", 1, "--turns", 2]
    capsys.readouterr()
    bench.main([str(word) for word in (*places, *threads, *arguments)])
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    if not table.exists():
        return rows, []
    with table.open() as file:
        return rows, list(csv.DictReader(file))


def test_rows_of_the_comparison(modules, networks, monkeypatch, tmp_path, capsys):
    options = (
        "--parts digits resnet64 --paths 2 --published-steps 5 --amortise 10 "
        "--predictor-points 256 --predictor-passes 1"
    )
    rows, stored = run(modules, networks, monkeypatch, tmp_path, capsys, *options.split())
    assert [row["part"] for row in rows] == ["digits"] * 4 + ["resnet64"] * 3
    assert [row["total"] for row in rows] == [float(row["total"]) for row in stored]
    published, fast, without, predicted = rows[:4]
    assert predicted["setting"] == "1 passes, predictor"
    assert predicted["amortised_speed_up"] < predicted["speed_up"]
    assert published["energy_ratio"] == published["lower_share"] == published["speed_up"] == 1
    assert published["extrapolated_from"] == 6  # two turns, a window of one step for each setting
    assert published["passes"] == published["published_steps"] == 5
    assert fast["energy_ratio"] == pytest.approx(fast["total"] / published["total"], rel=1e-3)
    assert fast["amortised_speed_up"] < fast["speed_up"]
    assert fast["amortised_passes"] > fast["passes"]
    assert "amortised_passes" not in without
    assert fast["rounds"] == 2
    assert 0 < fast["ratio_error"] < 1
    assert fast["p20_s"] <= fast["seconds_per_path"] <= fast["p80_s"]


def test_rows_of_curve_and_long_paths(modules, networks, monkeypatch, tmp_path, capsys):
    options = (
        "--parts curve long --paths 2 --published-steps 5 --passes 3 1 110 100 "
        "--turns 1 --long 9 21"
    )
    rows, _ = run(modules, networks, monkeypatch, tmp_path, capsys, *options.split())
    curve, long = ([row for row in rows if row["part"] == part] for part in ("curve", "long"))
    # The walk cannot use 100 passes.
    assert [row["setting"] for row in curve if "no surrogate" in row["setting"]] == [
        f"{passes} passes, no surrogate" for passes in (1, 3, 100)
    ]
    assert [row["passes"] for row in curve if row["solver"] == "published"] == [5]
    assert [row["points"] for row in long] == [9, 21]
    assert long[0]["energy_ratio"] == 1
    assert long[0]["scaled_total"] == pytest.approx(long[0]["total"], rel=1e-4)
    picture = tmp_path / "walk.svg"
    importlib.import_module("plots").draw_walk(tmp_path / "results" / "walk.csv", picture)
    assert picture.read_text().count("no surrogate") > 0


def test_rows_of_short_walks(modules, networks, monkeypatch, tmp_path, capsys):
    """Their smoothness weighs what `produce` gives it; more walks are timed than are compared."""
    options = (
        "--parts short --short 4 6 --short-paths 2 --short-walks 3 --short-passes 1 2 "
        "--published-steps 5 --clock processor --predictor-points 512"
    )
    rows, stored = run(modules, networks, monkeypatch, tmp_path, capsys, *options.split())
    assert [row["points"] for row in rows] == [4] * 5 + [6] * 5
    settings = ["1 passes, predictor", "2 passes, predictor", "2 passes", "2 passes, no surrogate"]
    assert [row["setting"] for row in rows[:5]] == ["5 steps", *settings]
    assert all(float(row["training_s"]) > 0 for row in rows[1:4])
    for row in rows:
        weight = ((row["points"] - 1) / 8) ** 2
        assert row["smoothness_weight"] == pytest.approx(weight, abs=1e-6)
        parts = weight * row["smoothness"] + 0.1 * row["identity"] + row["classification"]
        assert row["total"] == pytest.approx(parts, abs=2e-4)
        assert (row["paths"], row["clock"]) == (2, "processor")
    assert all(0 < row["host_share"] < 1 for row in rows if row["solver"] == "fast")
    assert stored[1]["host_share"]
    start, end, labels = networks.make_ends(2)
    weights = EnergyWeights(smoothness=rows[0]["smoothness_weight"])
    config = PublishedConfig(optim_steps=5, weights=weights)
    whole = latentpath.walk(start, end, labels, networks, steps=4, config=config).after.total
    assert rows[0]["total"] == pytest.approx(float(whole.mean()), rel=1e-3)


def test_standard_error_of_a_ratio_is_the_spread_of_resampled_ones(modules):
    source = torch.Generator().manual_seed(0)
    goal = 10 + torch.rand(60, generator=source, dtype=torch.float64)
    total = 0.9 * goal + torch.randn(60, generator=source, dtype=torch.float64)
    rows = torch.randint(60, (4000, 60), generator=source)
    resampled = total[rows].mean(1) / goal[rows].mean(1)
    found = modules["walk_timing"].ratio_error(total, goal)
    assert found == pytest.approx(float(resampled.std()), rel=0.05)
    assert modules["walk_timing"].ratio_error(total[:1], goal[:1]) == ""


def test_nothing_is_stored_unless_wanted(modules, networks, monkeypatch, tmp_path, capsys):
    words = ["--parts", "ablation", "--paths", "1", "--published-steps", "1"]
    words += ["--ablation-paths", "1", "--estimate"]
    assert run(modules, networks, monkeypatch, tmp_path, capsys, *words) == ([], [])
    words[-1] = "--dry-run"
    assert all(setting.config() for setting in modules["bench_walk"].ABLATIONS)
    few = [s for s in modules["bench_walk"].ABLATIONS if s.options == {}]
    monkeypatch.setattr(modules["bench_walk"], "ABLATIONS", few)
    rows, stored = run(modules, networks, monkeypatch, tmp_path, capsys, *words)
    assert stored == []
    assert [row["setting"] for row in rows] == [setting.name for setting in few]
    assert {"default", "no surrogate", "no coarse levels", "float32"} == {s.name for s in few}


def curve_terms(points):
    """Terms of a quarter of a circle of radius 3, chunks of four, guides that grow along it."""
    t = torch.linspace(0, 1, points, dtype=torch.float64)
    path = 3 * torch.stack([torch.cos(1.6 * t), torch.sin(1.6 * t)], dim=1)
    smoothness = (path[1:] - path[:-1]).square().sum()
    a = latentpath.walks.requests_and_results.chunk_weights(points, 4).double()
    identity, classification = (a * 80 * t.sin()).sum(), (a * t).sum()
    return EnergyTerms(smoothness, identity, classification, torch.zeros(()))


def test_long_paths_are_measured_as_the_same_curve(modules):
    bench = modules["bench_walk"]
    scaled = []
    for points in (50, 202, 1002, 4002):
        weights = EnergyWeights(smoothness=bench.stiffness(points))
        terms = curve_terms(points)
        scaled.append(float(bench.scaled_total(terms, points, weights)))
        # What the walk lowers is the scaled energy, times how many more chunks there are.
        total = weights.smoothness * terms.smoothness
        total = total + 0.1 * terms.identity + terms.classification
        factor = -(-(points - 2) // 4) / 12
        assert float(total) == pytest.approx(factor * scaled[-1], rel=1e-12)
    assert bench.stiffness(50) == 1
    assert scaled == pytest.approx([scaled[0]] * 4, rel=2e-3)
