"""The pipeline, with random networks on a made-up set."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

import latentpath
from latentpath.core.errors import InputError, OutputExistsError, PrivacyError, WeightsError
from latentpath.data import ImageSet, read_image_set, read_manifest
from latentpath.models import PathPredictor
from latentpath.production import ProduceConfig, RunOptions, produce, produce_set, synthetic_set
from latentpath.production.gate import NAMES_A_PERSON, OUT_OF_CLASS
from latentpath.production.plan import make_plan
from latentpath.production.selection import planned_steps
from support import tiny_models
from support.tiny_models import produce_config, quick_config
from support.tiny_runs import files_of


@pytest.fixture(scope="module")
def result(data, bundle):
    return produce_set(data, bundle, quick_config(count=40))


@pytest.fixture(scope="module")
def helped(data, bundle):
    predictor = PathPredictor(bundle.generator.latent_dim, data.num_classes, width=8, depth=1)
    torch.manual_seed(4)
    torch.nn.init.normal_(predictor.last.weight, std=0.02)
    predictor.trained_for = bundle.networks.fingerprint()
    return replace(bundle, predictor=predictor.eval().requires_grad_(False))


def one_line(error):
    assert "\n" not in str(error.value)
    return str(error.value)


def naming_class(classifier, label, sure=100.0):
    """The classifier, which now puts every image into one class."""
    torch.manual_seed(0)
    made = type(classifier)(**classifier.config).eval()
    with torch.no_grad():
        made.head.weight.zero_()
        made.head.bias.zero_()
        made.head.bias[label] = sure
    return made.requires_grad_(False)


class TestCounts:
    def test_as_many_as_wanted_in_the_classes_shares(self, result):
        assert len(result.samples) == 40
        # 20 : 14 : 10 of 44 people, by largest remainder.
        assert list(result.samples.class_counts().values()) == [18, 13, 9]
        assert result.shortage == {}
        assert result.samples.class_names == tiny_models.CLASSES

    def test_by_default_as_many_as_the_private_set(self, data, bundle):
        made = produce_set(data, bundle, quick_config())
        assert made.samples.class_counts() == data.class_counts()

    def test_balanced(self, data, bundle):
        made = produce_set(data, bundle, quick_config(count=31, balanced=True))
        counts = sorted(made.samples.class_counts().values())
        assert counts == [10, 10, 11]

    def test_every_place_is_used_once(self, result):
        places = np.stack([result.path, result.step], axis=1)
        assert len(np.unique(places, axis=0)) == len(places) == 40
        assert len(np.unique(result.places, axis=0)) == result.tested
        assert result.step.min() >= 0
        assert result.step.max() <= 4

    def test_every_endpoint_is_a_sample_at_most_once(self, result):
        path, step = result.places[:, 0], result.places[:, 1]
        ends = np.isin(step, [0, 4])
        groups = result.walks.pairs[path[ends], (step[ends] == 4).astype(int)]
        assert len(np.unique(groups)) == len(groups)
        # Every group on a walk was tried.
        assert set(groups) == set(result.walks.pairs.ravel())

    def test_no_pair_of_endpoints_twice_and_none_across_classes(self, result):
        pairs = np.sort(result.walks.pairs, axis=1)
        assert len(np.unique(pairs, axis=0)) == len(pairs)
        assert (pairs[:, 0] != pairs[:, 1]).all()
        labels = result.endpoints.labels
        assert (labels[result.walks.pairs] == result.walks.labels[:, None]).all()

    def test_labels_are_those_of_the_walks(self, result):
        assert np.array_equal(result.samples.labels, result.walks.labels[result.path])

    def test_images_are_the_generators(self, result, bundle):
        latents = result.walks.latents[result.path, result.step]
        with torch.no_grad():
            images = bundle.generator.synthesize(latents).clamp(-1, 1)
        shown = torch.from_numpy(result.samples.images.astype(np.float32)).permute(0, 3, 1, 2)
        assert float((shown / 127.5 - 1 - images).abs().max()) < 1.01 / 127.5

    def test_walks_start_and_end_at_centroids_of_k_people(self, result):
        ends = result.walks.latents[:, [0, -1]]
        assert torch.equal(ends, result.endpoints.centroids[result.walks.pairs])
        assert (result.walks.after.smoothness >= 0).all()

    @pytest.mark.parametrize("pairing", ["random", "nearest", "tour"])
    @pytest.mark.parametrize("grouping", ["farthest", "mdav"])
    def test_methods(self, data, bundle, pairing, grouping):
        config = quick_config(
            count=12, pairing=pairing, grouping=grouping, aggregation="geometric_median"
        )
        made = produce_set(data, bundle, config)
        assert len(made.samples) == 12
        assert made.endpoints.certificate.method == grouping
        assert made.endpoints.certificate.aggregation == "geometric_median"

    def test_projection(self, data, bundle):
        config = quick_config(count=6, projection_steps=1, steps=3)
        assert len(produce_set(data, bundle, config).samples) == 6

    def test_images_of_another_size_are_resized(self, bundle):
        large = tiny_models.private_set()
        large = replace(large, images=large.images.repeat(2, axis=1).repeat(2, axis=2))
        made = produce_set(large, bundle, quick_config(count=9))
        assert made.samples.images.shape[1:] == (16, 16, 1)


class TestReproducible:
    def test_the_seed_decides(self, data, bundle, result):
        again = produce_set(data, bundle, quick_config(count=40))
        assert np.array_equal(again.samples.images, result.samples.images)
        assert np.array_equal(again.path, result.path)
        assert np.array_equal(again.step, result.step)
        assert torch.equal(again.walks.latents, result.walks.latents)

    def test_another_seed(self, data, bundle, result):
        other = produce_set(data, bundle, quick_config(count=40, seed=1))
        assert not np.array_equal(other.walks.pairs, result.walks.pairs)

    def test_global_random_state_plays_no_part(self, data, bundle, result):
        torch.manual_seed(123)
        np.random.seed(5)
        again = produce_set(data, bundle, quick_config(count=40))
        assert np.array_equal(again.samples.images, result.samples.images)

    def test_a_set_in_memory_is_the_one_that_a_run_writes(self, data, bundle, result, written):
        again = synthetic_set(written, data, bundle)
        assert np.array_equal(again.samples.images, result.samples.images)
        for name in ("path", "step", "places"):
            assert np.array_equal(getattr(again, name), getattr(result, name))
        assert again.rejected == result.rejected
        assert torch.equal(again.walks.after.total, result.walks.after.total)


@pytest.fixture(scope="module")
def written(data, bundle, tmp_path_factory):
    """A run; no test changes it."""
    return produce(data, bundle, tmp_path_factory.mktemp("written"), quick_config(count=40))


class TestManifest:
    def test_what_it_says(self, result, data, written):
        manifest = read_manifest(written.folder.set)
        certificate = manifest["certificate"]
        sizes = np.bincount(data.labels)
        assert certificate["k"] == 3
        assert certificate["num_groups"] == len(result.endpoints.labels)
        assert certificate["num_groups"] <= sum(size // 3 for size in sizes)
        assert 3 <= certificate["smallest_group"] <= certificate["largest_group"] <= 5
        assert certificate["identities_used"] == 44
        assert manifest["software_version"] == latentpath.__version__
        assert certificate["software_version"] == latentpath.__version__
        assert manifest["config"] == asdict(quick_config(count=40))
        assert manifest["seeds"] == {"seed": 0}
        assert manifest["gate"]["tested"] == result.tested
        assert manifest["shortage"] == {}
        assert manifest["images"]["count"] == 40

    def test_who_is_in_which_group_is_nowhere(self, data, bundle, written, tmp_path):
        """Numbering the people differently changes not one byte of what is written."""
        rng = np.random.default_rng(3)
        renamed = replace(data, identities=rng.permutation(44)[data.identities])
        other = produce(renamed, bundle, tmp_path, quick_config(count=40))
        assert files_of(other.folder.set) == files_of(written.folder.set)

    def test_no_list_is_as_long_as_the_people_are_many(self, written):
        def lists(value):
            if isinstance(value, dict):
                for part in value.values():
                    yield from lists(part)
            elif isinstance(value, list | tuple):
                yield value
                for part in value:
                    yield from lists(part)

        told = {**written.manifest, "walks": None, "endpoints": None}
        assert all(len(found) <= 3 for found in lists(told))

    def test_table(self, result, written):
        with (written.folder.set / "labels.csv").open(newline="") as stream:
            rows = list(csv.DictReader(stream))
        assert set(rows[0]) == {"file", "label", "class_name", "path", "step"}
        assert [int(row["path"]) for row in rows] == result.path.tolist()
        assert [int(row["step"]) for row in rows] == result.step.tolist()
        again = read_image_set(written.folder.set)
        assert np.array_equal(again.images, result.samples.images)


class TestGate:
    def test_a_class_that_never_passes_is_reported_short(self, data, bundle):
        stubborn = replace(bundle, classifier=naming_class(bundle.classifier, 0))
        made = produce_set(data, stubborn, quick_config(count=22, gate_class=True))
        assert made.samples.class_counts() == {"left": 10, "middle": 0, "right": 0}
        assert made.shortage == {"middle": 7, "right": 5}
        assert made.rejected[OUT_OF_CLASS] == made.tested - 10 - self.spare(made)

    @staticmethod
    def spare(made):
        """Samples that passed and were not needed."""
        return made.tested - sum(made.rejected.values()) - len(made.samples)

    def test_nothing_passes(self, data, bundle):
        sure = replace(bundle, identity=naming_class(bundle.identity, 3))
        with pytest.raises(PrivacyError) as error:
            produce_set(data, sure, quick_config(count=5, gate_identity=0.5))
        text = one_line(error)
        assert "none out of" in text
        assert NAMES_A_PERSON in text

    def test_no_sample_is_as_close_as_the_threshold(self, data, bundle):
        made = produce_set(data, bundle, quick_config(count=9, gate_quantile=0.05))
        assert made.gate_threshold > 0
        distance, _ = bundle.lpips.nearest(
            torch.from_numpy(made.samples.images.transpose(0, 3, 1, 2).copy()),
            made.reference.embedded,
        )
        assert float(distance.min()) >= made.gate_threshold * (1 - 1e-4)

    def test_rejected_samples_are_replaced_by_further_walks(self, data, bundle):
        """Half of the samples are turned away, by a coin that the picture tosses."""

        class Coin(torch.nn.Module):
            num_classes, img_channels = 44, 1

            def __init__(self):
                super().__init__()
                self.nothing = torch.nn.Parameter(torch.zeros(1))

            def forward(self, images):
                heads = (images.flatten(1).sum(dim=1) * 1e4).frac().abs() > 0.5
                return 50.0 * torch.eye(44)[0] * heads[:, None] + 0 * images.flatten(1)[:, :1]

        picky = replace(bundle, identity=Coin())
        made = produce_set(data, picky, quick_config(count=20, gate_identity=0.5))
        assert len(made.samples) == 20
        assert made.rejected[NAMES_A_PERSON] > 5
        assert made.tested >= 20 + made.rejected[NAMES_A_PERSON]


class TestPredictor:
    """Walks begin on predicted paths where that was asked for."""

    def test_only_when_asked(self, data, bundle, helped):
        given = {"count": 40, "passes": 4.0, "exploration": 0.0}
        plain, left, used = (
            produce_set(data, networks, quick_config(**given, predictor=asked)).walks
            for networks, asked in ((bundle, False), (helped, False), (helped, True))
        )
        assert torch.equal(left.latents, plain.latents)
        walks = min(len(used.latents), len(plain.latents))
        assert not torch.equal(used.latents[:walks, 1:-1], plain.latents[:walks, 1:-1])
        assert bool((used.after.total <= used.before.total).all())

    def test_a_run_goes_on_beside_one_that_it_does_not_ask(self, data, bundle, helped, tmp_path):
        config, options = quick_config(count=12), RunOptions(resume=True)
        produce(data, bundle, tmp_path / "run", config)
        before = files_of(tmp_path / "run" / "set")
        produce(data, helped, tmp_path / "run", config, options=options)
        assert files_of(tmp_path / "run" / "set") == before

    def test_asked_for_and_absent(self, data, bundle):
        with pytest.raises(WeightsError, match="train predictor"):
            produce_set(data, bundle, quick_config(count=40, predictor=True))


class TestImpossible:
    def test_more_images_than_the_pairs_allow(self, data, bundle):
        with pytest.raises(InputError) as error:
            produce_set(data, bundle, quick_config(count=600))
        text = one_line(error)
        # The smallest class: 3 groups of its 10 people, 3 pairs with 3 points each, 3 endpoints.
        assert "'right'" in text or "'middle'" in text or "'left'" in text
        assert "at most" in text
        assert "--steps" in text

    def test_the_limit_that_is_named_can_be_reached(self, data, bundle):
        limits = {"left": 6 * 5 // 2 * 3 + 6, "middle": 4 * 3 // 2 * 3 + 4, "right": 3 * 3 + 3}
        assert len(produce_set(data, bundle, quick_config(count=36, balanced=True)).samples) == 36
        with pytest.raises(InputError, match=f"at most {limits['right']} images of class 'right'"):
            produce_set(data, bundle, quick_config(count=39, balanced=True))

    def test_a_class_with_one_group_has_nowhere_to_walk(self, tiny_lpips):
        data = tiny_models.private_set((9, 5))
        bundle = tiny_models.bundle_for(data, lpips=tiny_lpips)
        with pytest.raises(InputError, match="'middle'"):
            produce_set(data, bundle, quick_config(count=4))

    @pytest.mark.parametrize("where", ["error", "drop"])
    def test_too_few_people_for_k(self, data, bundle, where):
        config = quick_config(k=7, small_classes=where, steps=4, count=4)
        small = tiny_models.private_set((20, 18, 6))
        if where == "error":
            with pytest.raises(PrivacyError) as error:
                produce_set(small, bundle, config)
            text = one_line(error)
            assert "'right' has 6" in text
            assert "k = 7" in text
            return
        made = produce_set(small, bundle, config)
        assert made.endpoints.certificate.dropped_classes == ("right",)
        assert made.endpoints.certificate.identities_used == 38
        assert list(made.samples.class_counts().values()) == [2, 2, 0]

    def test_images_are_not_people(self, tiny_lpips):
        """Eight people with four images each are eight people."""
        data = tiny_models.private_set((9, 9, 8), per_person=4)
        bundle = tiny_models.bundle_for(data, lpips=tiny_lpips)
        with pytest.raises(PrivacyError, match="'right' has 8"):
            produce_set(data, bundle, quick_config(k=9))
        certificate = produce_set(
            data, bundle, quick_config(k=4, count=8, small_classes="drop", steps=9)
        ).endpoints.certificate
        assert certificate.identities_used == 26
        assert certificate.rows_used == 104
        assert certificate.smallest_group >= 4

    def test_every_class_dropped(self, data, bundle):
        with pytest.raises(PrivacyError) as error:
            produce_set(data, bundle, quick_config(k=21, small_classes="drop"))
        one_line(error)

    @pytest.mark.parametrize(
        "options",
        [
            {"count": -1},
            {"steps": 2},
            {"gate_quantile": 1.0},
            {"gate_quantile": -0.1},
            {"gate_identity": 0.0},
            {"gate_identity": 1.5},
        ],
    )
    def test_configuration(self, options):
        with pytest.raises(InputError):
            produce_config(**options)

    @pytest.mark.parametrize(
        "options",
        [
            {"k": 0},
            {"k": 1},
            {"grouping": "nonsense"},
            {"aggregation": "nonsense"},
            {"pairing": "nonsense"},
            {"small_classes": "nonsense"},
            {"solver": "nonsense"},
            {"lr": 0.0},
            {"optim_steps": -1},
            {"micro_batch": -1},
        ],
    )
    def test_options_of_the_parts(self, data, bundle, options):
        with pytest.raises(InputError) as error:
            produce_set(data, bundle, quick_config(count=6, **options))
        one_line(error)

    def test_the_output_folder_is_checked_before_any_work(self, data, bundle, tmp_path):
        (tmp_path / "set").mkdir()
        (tmp_path / "set" / "notes.txt").write_text("mine")
        told = []
        with pytest.raises(OutputExistsError):
            produce(
                data,
                bundle,
                tmp_path,
                quick_config(),
                progress=lambda *a: told.append(a),
            )
        assert told == []
        assert (tmp_path / "set" / "notes.txt").read_text() == "mine"


def test_produce_writes_what_it_returns(data, bundle, tmp_path):
    run = produce(data, bundle, tmp_path, quick_config(count=9))
    made, again = synthetic_set(run, data, bundle), read_image_set(tmp_path / "set")
    assert isinstance(again, ImageSet)
    assert np.array_equal(again.images, made.samples.images)
    assert np.array_equal(again.labels, made.samples.labels)
    with pytest.raises(OutputExistsError):
        produce(data, bundle, tmp_path, quick_config(count=9))
    produce(data, bundle, tmp_path, quick_config(count=6), RunOptions(overwrite=True))
    assert len(read_image_set(tmp_path / "set")) == 6


def test_times_of_the_stages_are_kept_apart_from_the_set(written):
    """They differ from run to run, and a set does not."""
    stored = json.loads(written.folder.times.read_text())
    assert {"encode", "embed", "produce", "write set"} <= stored.keys()
    assert all(seconds >= 0 for seconds in stored.values())
    assert "time" not in json.dumps(written.manifest)
    lines = written.times.lines()
    assert lines[0].startswith("produce: ")
    assert len(lines) == len(stored)


def test_progress_tells_of_every_stage(data, bundle):
    told = []
    produce_set(data, bundle, quick_config(count=9), lambda *a: told.append(a[0]))
    assert {"encode", "k-same", "embed", "produce"} <= set(told)


class TestPlannedSteps:
    """Walks are as many and as short as the images wanted allow."""

    @pytest.mark.parametrize(
        ("groups", "wanted", "steps"),
        [
            ({0: 40}, {0: 200}, 4),  # 780 pairs
            ({0: 40, 1: 3}, {0: 200, 1: 9}, 10),  # 3 pairs, of whose samples two in five may pass
            ({0: 2}, {0: 7}, 20),
            ({0: 40}, {0: 0}, 4),
        ],
    )
    def test_as_short_as_the_pairs_allow(self, groups, wanted, steps):
        labels = np.repeat(list(groups), list(groups.values()))
        assert planned_steps(labels, wanted, ProduceConfig()) == steps

    def test_a_wish_is_kept(self):
        config = tiny_models.quick_config(steps=31)
        assert planned_steps(np.zeros(40, int), {0: 10_000}, config) == 31

    def test_a_set_is_planned_with_them(self, data, bundle):
        few = tiny_models.quick_config(steps=0, count=6)
        made = produce_set(data, bundle, few)
        assert made.walks.latents.shape[1] == made.config.walk.steps == 4
        many = make_plan(data, bundle, replace(few, count=300))
        assert many.plan.settings["config"]["walk"]["steps"] == 0
        assert many.plan.config.walk.steps == many.plan.settings["steps"] > 4
