"""Recipes, their data, and the command line that changes them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from latentpath import cli
from latentpath.core import flat_values
from latentpath.core.errors import DataError, InputError
from latentpath.experiments import RECIPES, CompareConfig, MeasureConfig, TradeoffConfig
from latentpath.experiments.recipe import KNOBS, grid_points
from latentpath.experiments.sets import chosen_groups, part_of
from latentpath.experiments.splits import joined, read_splits, rows_in_shares, share_of
from latentpath.ksame import k_same
from latentpath.production import ProduceConfig
from support import tiny_models
from support.tiny_models import produce_config
from support.tiny_splits import write_npz

PNEUMONIA = RECIPES["pneumoniamnist"]


class TestSplits:
    @pytest.mark.parametrize(
        ("sizes", "others"),
        [
            ({"train": 4, "val": 2, "test": 3}, 15),
            ({"train": 4, "val": 2}, 6),
            ({"train": 4, "test": 3}, 9),
            ({"train": 4, "val": 0, "test": 3}, 9),
        ],
    )
    def test_the_other_splits_are_the_holdout(self, tmp_path, sizes, others):
        found = read_splits(PNEUMONIA, write_npz(tmp_path / "x.npz", **sizes))
        assert (len(found.private), len(found.holdout)) == (12, others)
        assert found.holdout.num_identities == others
        assert found.private.class_names == found.holdout.class_names
        private = {image.tobytes() for image in found.private.images}
        assert not private & {image.tobytes() for image in found.holdout.images}

    @pytest.mark.parametrize("sizes", [{"train": 4}, {"train": 4, "val": 0, "test": 0}])
    def test_without_other_people(self, tmp_path, sizes):
        with pytest.raises(DataError, match="val or test"):
            read_splits(PNEUMONIA, write_npz(tmp_path / "x.npz", **sizes))

    def test_without_people_to_train_on(self, tmp_path):
        with pytest.raises(DataError, match="train_images"):
            read_splits(PNEUMONIA, write_npz(tmp_path / "x.npz", test=4))

    def test_splits_of_other_arrays(self, shared_data):
        """The splits 0, 1 and 2 of one file, with people who have several images."""
        found = read_splits(RECIPES["chest-xray-64"], shared_data / "chest_xray_64.npz")
        assert (len(found.private), found.private.num_identities) == (3535, 2451)
        assert (len(found.holdout), found.holdout.num_identities) == (846 + 568, 614 + 422)
        assert found.private.class_names == found.holdout.class_names == ("normal", "pneumonia")

    def test_a_split_that_is_not_there(self, tmp_path):
        private = tiny_models.private_set((4, 4))
        split = np.zeros(len(private), np.int64)
        np.savez(
            tmp_path / "x.npz", images=private.images[..., 0], labels=private.labels, split=split
        )
        with pytest.raises(DataError, match=r"got '1', where the splits are 0 \(8 images\)"):
            read_splits(RECIPES["chest-xray-64"], tmp_path / "x.npz")

    def test_drawn_people_keep_all_of_their_images(self, tmp_path):
        recipe = RECIPES["chest-xray-64"]
        made = tiny_models.private_set((90, 60), per_person=3)
        kept = np.sort(np.random.default_rng(0).permutation(len(made))[:300])  # 1 to 3 a person
        other = tiny_models.private_set((4, 4), seed=1)
        path = tmp_path / "x.npz"
        np.savez(
            path,
            images=np.concatenate([made.images[kept], other.images])[..., 0],
            labels=np.concatenate([made.labels[kept], other.labels]),
            patients=np.concatenate([made.identities[kept], 1000 + other.identities]),
            split=np.repeat([0, 1, 2], [len(kept), 6, 2]),
        )
        whole = read_splits(recipe, path).private
        drawn = read_splits(replace(recipe, compare=CompareConfig(people=60)), path).private
        assert drawn.num_identities == 60
        rows = {image.tobytes(): row for row, image in enumerate(whole.images)}
        behind = whole.identities[[rows[image.tobytes()] for image in drawn.images]]
        assert len(set(behind.tolist())) == 60
        assert np.isin(whole.identities, behind).sum() == len(drawn) > 60
        share = np.mean(whole.labels[np.unique(whole.identities, return_index=True)[1]])
        first = drawn.labels[np.unique(drawn.identities, return_index=True)[1]]
        assert abs(np.mean(first) - share) < 1 / 60

    def test_more_people_than_there_are(self, tmp_path):
        recipe = replace(PNEUMONIA, compare=CompareConfig(people=13))
        with pytest.raises(InputError, match="at most 12 people"):
            read_splits(recipe, write_npz(tmp_path / "x.npz", train=4, test=3))

    @pytest.mark.parametrize("name", [None, "folder", "x.zip"])
    def test_no_npz(self, tmp_path, name):
        with pytest.raises(InputError, match=r"\.npz"):
            read_splits(PNEUMONIA, name and tmp_path / name)

    def test_the_digits_take_no_data(self, tmp_path):
        with pytest.raises(InputError, match="leave --data out"):
            read_splits(RECIPES["digits"], tmp_path / "x.npz")

    def test_people_of_joined_sets_stay_apart(self):
        first = tiny_models.private_set((2, 2, 2), per_person=2)
        both = joined(first, tiny_models.private_set((1, 1, 1), seed=1))
        assert both.num_identities == 9
        assert np.array_equal(both.identities[:12], first.identities)
        assert set(both.identities[12:]) == {6, 7, 8}
        with pytest.raises(DataError, match="same classes"):
            joined(first, tiny_models.private_set((2, 2)))


class TestShares:
    @pytest.mark.parametrize("count", [1, 7, 22, 43, 44, 0, 100])
    def test_every_class_has_its_share(self, count):
        data = tiny_models.private_set((20, 14, 10))
        found = share_of(data, count, seed=3)
        if not 0 < count < 44:
            assert found is data
            return
        assert len(found) == count
        for size, number in zip((20, 14, 10), found.class_counts().values(), strict=True):
            assert abs(number - count * size / 44) <= 1

    def test_rows_are_random_and_of_the_seed(self):
        labels = np.repeat([0, 1], [60, 40])
        first, again, other = (rows_in_shares(labels, 30, seed) for seed in (0, 0, 1))
        assert np.array_equal(first, again)
        assert not np.array_equal(first, other)
        assert len(set(first)) == 30
        assert np.array_equal(first, np.sort(first))

    def test_part_of_a_grouping(self):
        data = tiny_models.private_set((9, 9, 9))
        points = np.random.default_rng(0).normal(size=(27, 4))
        whole = k_same(points, data.identities, data.labels, 3)
        rows = chosen_groups(whole.group_labels, 5)
        part = part_of(whole, rows)
        assert part.num_groups == 5
        assert set(part.group_labels) == {0, 1, 2}
        for number, row in enumerate(rows):
            assert np.array_equal(part.rows(number), whole.rows(row))
            assert part.group_labels[number] == whole.group_labels[row]
        assert (part.assignment >= 0).sum() == part.identity_counts.sum()


class TestConfigurations:
    def test_sets_in_order_with_the_real_one(self):
        assert CompareConfig(sets=" walk,line,walk ").chosen == ("real", "line", "walk")

    @pytest.mark.parametrize("sets", ["walks", "line,style-ungated", "real;walk"])
    def test_unknown_sets(self, sets):
        with pytest.raises(InputError, match="sets among"):
            CompareConfig(sets=sets)

    @pytest.mark.parametrize("values", [{"seeds": 0}, {"style_centroids": -1}])
    def test_impossible_comparisons(self, values):
        with pytest.raises(InputError):
            CompareConfig(**values)

    @pytest.mark.parametrize("values", [{"threshold": 1.5}, {"trainings": 0}, {"shadows": -1}])
    def test_impossible_measures(self, values):
        with pytest.raises(InputError):
            MeasureConfig(**values)

    def test_style_twice_is_refused(self):
        produce = produce_config(aggregation="style")
        with pytest.raises(InputError, match="leave them out"):
            replace(PNEUMONIA, produce=produce)
        plain = CompareConfig(sets="line,walk")
        assert replace(PNEUMONIA, produce=produce, compare=plain).seeds == (0, 1, 2)

    def test_seeds_start_at_the_given_one(self):
        produce = replace(PNEUMONIA.produce, seed=5)
        assert replace(PNEUMONIA, produce=produce).seeds == (5, 6, 7)

    def test_the_grid_turns_one_option_at_a_time(self):
        base = produce_config(count=100, steps=26)
        found = list(grid_points(base, KNOBS, surrogate=True))
        assert found[0].config == base
        assert len({v.key for v in found}) == len(found)
        for variant in found[1:]:
            assert (variant.config == base) == (not variant.surrogate)
            ours, theirs = (flat_values(c.as_dict()) for c in (base, variant.config))
            different = [name for name in ours if ours[name] != theirs[name]]
            assert len(different) == variant.surrogate
        assert {v.knob for v in found} >= {"identity", "gate_quantile", "endpoints", "k"}
        assert all(v.surrogate for v in grid_points(base, KNOBS, surrogate=False))

    def test_knobs_are_chosen_by_name(self):
        chosen = TradeoffConfig(" k, count,k").chosen
        assert chosen == ("k", "count")
        found = {v.knob for v in grid_points(ProduceConfig(count=9), chosen, surrogate=True)}
        assert found == {"recipe", "k", "count"}
        with pytest.raises(InputError, match="'kk'"):
            TradeoffConfig("kk")

    def test_safe_endpoints_keep_their_gate(self):
        base = produce_config(count=100, endpoints="safe")
        assert "gate_identity=1" not in {v.key for v in grid_points(base, KNOBS, surrogate=False)}


class TestCommand:
    @pytest.mark.parametrize("name", RECIPES)
    def test_help_shows_every_option(self, name, capsys):
        with pytest.raises(SystemExit) as stop:
            cli.main(["experiment", name, "--help-all"])
        assert stop.value.code == 0
        shown = capsys.readouterr().out
        for flag in (
            "--seeds",
            "--sets",
            "--gate-quantile",
            "--endpoints",
            "--tradeoff",
            "--measure-shadows",
            "--measure-classifier-steps",
            "--tradeoff-count",
        ):
            assert flag in shown
        assert ("--data" in shown) == ("--train-generator-total-images" in shown)
        assert ("--data" in shown) == (RECIPES[name].data is None)

    def test_errors_are_one_line(self, tmp_path, capsys):
        argv = ["experiment", "pneumoniamnist", "--quiet", "--out", str(tmp_path / "out")]
        assert cli.main([*argv, "--data", str(tmp_path)]) == 2
        assert cli.main([*argv, "--data", "x.npz", "--sets", "walks"]) == 2
        told = capsys.readouterr().err.splitlines()
        assert len(told) == 2
        assert "an .npz file" in told[0]
        assert "'walks'" in told[1]

    def test_runs(self, npz, weights, recipe, tmp_path, capsys, without_pictures):
        argv = ["experiment", "pneumoniamnist", "--quiet", "--out", str(tmp_path / "out")]
        argv += ["--data", str(npz), "--weights", str(weights), "--seeds", "1", "--k", "3"]
        argv += ["--sets", "line,walk", "--count", "12", "--steps", "5", "--passes", "1"]
        argv += ["--gate-quantile", "0", "--gate-identity", "1", "--no-gate-class"]
        argv += ["--measure-shadows", "0", "--measure-trainings", "1"]
        argv += ["--measure-classifier-steps", "3", "--measure-classifier-width", "2"]
        argv += ["--measure-witness-steps", "2", "--measure-witness-width", "2"]
        for part, values in (("surrogate", recipe.training.surrogate),):
            for name, value in vars(values).items():
                argv += [f"--train-{part}-{name.replace('_', '-')}", str(value)]
        assert cli.main(argv) == 0
        shown = capsys.readouterr().out.splitlines()
        assert len(shown) == 8
        assert shown[5].startswith("not measured  walk: the strongest membership")
        assert "results.csv" in {path.name for path in (tmp_path / "out").iterdir()}
