"""A tiny experiment from its data to its tables, stopped and gone on with."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from latentpath.audit.attacks.group_attack import attack_sources
from latentpath.core.errors import DataError, InputError, OutputExistsError
from latentpath.data import load_digits_split
from latentpath.experiments import SETS, CompareConfig, run_experiment
from latentpath.experiments.sets import SetMaker
from latentpath.experiments.splits import read_splits
from latentpath.experiments.table import COLUMNS
from latentpath.production import ASSETS, GateConfig, ProduceConfig, load_bundle
from latentpath.similarity import prepare_real


class StoppedError(Exception):
    pass


def stop_at(stage, times):
    """A progress that stops the work when a stage ends for the n-th time."""
    seen = []

    def tell(name, done, total, figures):
        if name == stage and done == total:
            seen.append(name)
            if len(seen) == times:
                raise StoppedError

    return tell


def read(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return tmp_path_factory.mktemp("experiment") / "out"


@pytest.fixture(scope="module")
def begun(recipe, npz, weights, out):
    """Stopped while the fifth set is measured; returns what was finished by then."""
    with pytest.raises(StoppedError):
        run_experiment(recipe, out, data=npz, weights=weights, progress=stop_at("utility", 4))
    files = sorted((out / "results").glob("*.json"))
    return {path.name: path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def result(begun, recipe, npz, weights, out):
    return run_experiment(recipe, out, data=npz, weights=weights, tradeoff=True)


def test_what_was_finished_before_the_stop_stays(begun, result, out):
    assert len(begun) == 4
    for name, content in begun.items():
        assert (out / "results" / name).read_bytes() == content


def test_a_row_per_seed_and_set(result, out):
    rows = read(out / "results.csv")
    assert [(int(r["seed"]), r["set"]) for r in rows] == [(s, n) for s in (0, 1) for n in SETS]
    assert {"seed", "set", *COLUMNS, "membership", "torch", "threads", "when"} <= set(rows[0])
    assert len(result.rows) == 20
    for row in rows:
        if row["set"] == "unprotected":
            # An untrained classifier puts all of an untrained generator's images into one class.
            assert (row["images"], row["accuracy"], row["group_auc"]) == ("24", "", "")
            continue
        for name in (
            "lpips_mean",
            "lpips_p5",
            "accuracy",
            "identity_rank1",
            "witness_rank1",
            "gradients_p5",
        ):
            assert np.isfinite(float(row[name])), (row["set"], name)
        assert 0 <= float(row["lira_online_ba"]) <= 1
        # Who is behind an image is known for all that is made of groups of people.
        assert (row["identity_source1"] == row["record_ratio"] == "") == (row["set"] == "real")
        assert (row["group_auc"] == "") == (row["set"] == "real")
    # The attacks on a set itself mean nothing for the private set, which is in it.
    assert rows[0]["set_distance_ba"] == ""
    assert rows[0]["lpips_min"] != "0"


def test_the_attack_on_groups_is_the_one_of_the_audit(result, recipe, npz, weights, tmp_path):
    splits, bundle = read_splits(recipe, npz), load_bundle(weights)
    maker = SetMaker(splits.private, bundle, recipe.produce, recipe.compare, tmp_path / "style.npz")
    made = maker.make(0, ["centroids"])["centroids"]
    sets = (prepare_real(part, bundle.lpips) for part in (splits.private, splits.holdout))
    found = attack_sources(made.images, made.sources, *sets).scores
    row = next(row for row in result.rows if (row["seed"], row["set"]) == (0, "centroids"))
    assert row["group_auc"] == found["images_holdout"].auc.value
    assert row["group_auc_private"] == found["images_private"].auc.value
    assert row["group_tpr1"] == found["images_holdout"].tpr_at_1_percent.value
    assert row["group_top1"] == found["images_private"].hits[1].value
    assert row["group_top1_chance"] == found["images_private"].chance[1]


def test_earlier_results_without_it_make_a_table(
    result, recipe, npz, weights, out, tmp_path, without_pictures
):
    shutil.copytree(out, tmp_path / "out")
    for path in (tmp_path / "out" / "results").glob("*.json"):
        earlier = json.loads(path.read_text())
        earlier.get("measures", {}).pop("group_attack", None)
        path.write_text(json.dumps(earlier))
    again = run_experiment(recipe, tmp_path / "out", data=npz, weights=weights, tradeoff=True)
    assert {row["group_auc"] for row in again.rows} == {None}
    assert {row["group_auc"] for row in read(tmp_path / "out" / "results.csv")} == {""}
    assert "group_auc" not in {row["measure"] for row in again.summary}


def test_equally_many_images_where_use_is_compared(result):
    trained = {(row["seed"], row["set"]): row["trained_on"] for row in result.rows}
    for seed in (0, 1):
        names = ("real", "line", "gated-line", "ungated", "walk")
        assert {trained[seed, n] for n in names} == {24}
        assert {trained[seed, n] for n in ("style-line", "style-walk")} == {24}
        # As many as there are: 12 people of each class in groups of three; nine were aligned.
        assert trained[seed, "centroids"] == 12
        assert trained[seed, "style-centroids"] == 9


def test_samples_of_the_generator_have_the_private_shares(tmp_path):
    private = load_digits_split().private
    private = private.subset(np.r_[np.flatnonzero(private.labels == 3)[:8], 0:12])
    config = ProduceConfig(count=50)  # two and a half times as many
    maker = SetMaker(private, load_bundle(ASSETS), config, CompareConfig(), tmp_path / "style.npz")
    made, other = (maker.make(seed, ["unprotected"])["unprotected"] for seed in (0, 1))
    counts, own = (
        np.bincount(labels, minlength=10) for labels in (made.images.labels, private.labels)
    )
    assert counts.sum() == 50
    assert np.all(np.abs(counts - 2.5 * own) < 1)
    assert made.images.images.shape == (50, 32, 32, 1)
    assert not np.array_equal(made.images.images, other.images.images)


def test_lines_behind_the_gate_where_it_turns_all_of_them_away(
    recipe, npz, weights, tmp_path, without_pictures
):
    strict = replace(recipe.produce, gate=GateConfig(identity=1e-6))
    few = replace(
        recipe,
        produce=strict,
        compare=CompareConfig(seeds=1, sets="gated-line"),
        measure=replace(recipe.measure, use_witness=False, shadows=0),
    )
    result = run_experiment(few, tmp_path / "out", data=npz, weights=weights)
    assert [row["set"] for row in result.rows] == ["real"]
    assert result.rows[0]["witness_rank1"] is None
    assert np.isfinite(result.rows[0]["identity_rank1"])


def test_seeds_differ_in_their_sets(result):
    means = {(row["seed"], row["set"]): row["lpips_mean"] for row in result.rows}
    for name in ("line", "walk", "style-walk"):
        assert means[0, name] != means[1, name]
    # Averages do not depend on the seed, nor do the real images.
    assert means[0, "centroids"] == means[1, "centroids"]
    assert means[0, "real"] == means[1, "real"]


def test_summary_and_scoreboard(result, out):
    summary = read(out / "summary.csv")
    found = {(r["set"], r["measure"]): r for r in summary}
    values = [row["accuracy"] for row in result.rows if row["set"] == "walk"]
    row = found["walk", "accuracy"]
    assert float(row["mean"]) == pytest.approx(np.mean(values), rel=1e-5)
    rounding = 1e-6  # of the file's six digits, where all seeds agree
    assert float(row["low"]) - rounding <= min(values)
    assert max(values) <= float(row["high"]) + rounding
    scores = read(out / "scoreboard.csv")
    assert [s["key"] for s in scores] == [
        *("mml", "p5", "named", "calibrated", "rank1", "membership", "utility")
    ] * 2
    assert {s["walk"] for s in scores} == {"walk", "style-walk"}
    stored = json.loads((out / "results.json").read_text())
    assert stored["scoreboard"] == [s.as_dict() for s in result.scores]
    assert stored["settings"]["produce.count"] == 24


def test_pictures(result, out):
    for name in ("samples", "bars", "walk", "tradeoff"):
        with Image.open(out / f"{name}.png") as picture:
            assert picture.width > 600
            assert len(np.unique(np.asarray(picture.convert("L")))) > 20


def test_the_grid(result, out):
    rows = read(out / "tradeoff.csv")
    points = {(row["knob"], row["value"]) for row in rows}
    assert {("reference", n) for n in ("real", "line", "centroids")} <= points
    assert {("recipe", "recipe"), ("identity", "0"), ("identity", "1"), ("k", "5")} <= points
    assert ("surrogate", "off") in points
    # The gate is open in this recipe, so endpoints cannot be moved until it passes them; and k of
    # ten leaves one group per class. Both are told in the results instead of stopping the rest.
    assert not {("endpoints", "safe"), ("k", "10")} & points
    told = json.loads((out / "results" / "tradeoff_k=10.json").read_text())
    assert "smaller k" in told["impossible"]
    counts = {(r["knob"], r["value"]): int(r["images"]) for r in rows}
    assert counts["recipe", "recipe"] == 9
    assert counts["count", "2x"] == 18


def test_a_finished_experiment_computes_nothing(
    result, recipe, npz, weights, out, tmp_path, monkeypatch, without_pictures
):
    shutil.copytree(out, tmp_path / "out")
    monkeypatch.setattr("latentpath.experiments.experiment.produce_set", None)
    monkeypatch.setattr("latentpath.experiments.sets.produce_set", None)
    again = run_experiment(recipe, tmp_path / "out", data=npz, weights=weights, tradeoff=True)
    assert again.rows == result.rows
    fewer = replace(recipe, compare=replace(recipe.compare, seeds=1, sets="line,walk"))
    assert len(run_experiment(fewer, tmp_path / "out", data=npz, weights=weights).rows) == 3


@pytest.mark.parametrize(
    ("part", "changes", "named"),
    [
        ("produce", {"balanced": True}, "produce.balanced"),
        ("measure", {"threshold": 0.4}, "measure.threshold"),
        ("compare", {"style_centroids": 3}, "style_centroids"),
    ],
)
def test_other_settings_are_refused(result, recipe, npz, weights, out, part, changes, named):
    other = replace(recipe, **{part: replace(getattr(recipe, part), **changes)})
    with pytest.raises(InputError, match=named):
        run_experiment(other, out, data=npz, weights=weights)


def test_other_data_networks_and_grids_are_refused(result, recipe, npz, weights, out, tmp_path):
    with np.load(npz) as file:
        arrays = dict(file)
    arrays["test_images"] = arrays["test_images"] ^ 1
    np.savez(tmp_path / "other.npz", **arrays)
    with pytest.raises(InputError, match=r"settings \(data\).*holdout"):
        run_experiment(recipe, out, data=tmp_path / "other.npz", weights=weights)
    other = replace(recipe, tradeoff=replace(recipe.tradeoff, count=12))
    with pytest.raises(InputError, match=r"settings \(tradeoff\).*count"):
        run_experiment(other, out, data=npz, weights=weights, tradeoff=True)


def test_a_folder_of_something_else_is_refused(recipe, npz, tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(OutputExistsError):
        run_experiment(recipe, tmp_path, data=npz)
    with pytest.raises(OutputExistsError):
        run_experiment(recipe, tmp_path / "letter.txt", data=npz)


def test_a_damaged_result_is_named(result, recipe, npz, weights, out):
    path = out / "results" / "seed0_walk.json"
    content = path.read_bytes()
    path.write_bytes(content[:50])
    try:
        with pytest.raises(DataError, match=r"seed0_walk\.json"):
            run_experiment(recipe, out, data=npz, weights=weights)
    finally:
        path.write_bytes(content)
