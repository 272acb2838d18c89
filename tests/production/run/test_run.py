"""A run from its plan to its set."""

from __future__ import annotations

import os
import shutil
import stat
import sys
from dataclasses import replace

import numpy as np
import pytest

from latentpath.core import unpack
from latentpath.core.errors import (
    InputError,
    IntegrityError,
    MissingExtraError,
    OutputExistsError,
    PrivacyError,
    UnsupportedError,
)
from latentpath.data import read_image_set
from latentpath.production import OutputConfig, RunOptions, produce, synthetic_set
from latentpath.production.plan import read_plan
from latentpath.production.private_file import read_record
from latentpath.production.verification import verify_set
from support import tiny_models
from support.tiny_runs import config, files_of, same_set


class TestTheSet:
    def test_counts_in_the_classes_shares(self, finished):
        made = read_image_set(finished.folder.set)
        assert len(made) == 45
        # 20 : 14 : 10 of 44 people, by largest remainder.
        assert list(made.class_counts().values()) == [21, 14, 10]
        assert finished.chosen.shortage == {}

    def test_it_is_verified_with_its_private_file(self, finished):
        found = verify_set(finished.folder.set, finished.folder.private_file)
        assert found.ok, found.lines()
        assert any("at least 3 distinct people" in line for line in found.verified)

    def test_every_endpoint_is_a_sample_of_the_first_walk_that_visits_it(self, finished):
        plan = finished.plan
        first, pairs = plan.arrays["first"], plan.arrays["pairs"]
        visited = pairs[first]
        assert sorted(visited) == sorted(np.unique(pairs))
        seen: set[int] = set()
        for row, ends in enumerate(pairs.tolist()):
            for place, end in enumerate(ends):
                assert first[row, place] == (end not in seen)
                seen.add(end)

    def test_shards_of_the_plan_hold_every_pair_once(self, finished):
        plan = finished.plan
        rows = [range(*bounds) for bounds in plan.arrays["shard_rows"].tolist()]
        assert sorted(row for part in rows for row in part) == list(
            range(len(plan.arrays["pairs"]))
        )
        for number in range(plan.num_shards):
            task = plan.task(number)
            assert len(task.pairs) <= 2
            assert set(plan.arrays["labels"][task.pairs].ravel()) == {task.label}

    def test_images_are_the_generators(self, finished, data, bundle):
        import torch

        made = synthetic_set(finished, data, bundle)
        latents = made.walks.latents[made.path, made.step]
        with torch.no_grad():
            images = bundle.generator.synthesize(latents).clamp(-1, 1)
        shown = torch.from_numpy(made.samples.images.astype(np.float32)).permute(0, 3, 1, 2)
        assert float((shown / 127.5 - 1 - images).abs().max()) < 1.01 / 127.5

    def test_the_report_is_told_what_the_set_holds(self, finished, data, bundle):
        made = synthetic_set(finished, data, bundle)
        written = read_image_set(finished.folder.set)
        order = np.argsort([int(name) for name in self.numbers(finished)])
        assert len(order) == len(made.samples)
        assert made.samples.class_counts() == written.class_counts()
        assert made.tested == finished.manifest["gate"]["tested"]
        assert made.endpoints.certificate.as_dict() == finished.manifest["certificate"]
        ends = made.walks.latents[:, [0, -1]]
        assert np.array_equal(ends, made.endpoints.centroids[made.walks.pairs])
        assert made.walks.pairs.tolist() == finished.manifest["walks"]["pairs"]

    @staticmethod
    def numbers(result):
        return [path.stem for path in result.folder.set.rglob("*.png")]

    def test_the_seed_decides_and_shards_do_not_know_each_other(self, perform, finished):
        again = perform("again")
        assert same_set(again.folder, finished.folder)
        for number in finished.folder.shard_numbers():
            assert (
                again.folder.shard(number).read_bytes()
                == finished.folder.shard(number).read_bytes()
            )
        other = perform("other", config=config(seed=1))
        assert not same_set(other.folder, finished.folder)

    def test_layouts(self, perform):
        from latentpath.production import OutputConfig

        output = OutputConfig(layouts="webdataset, npz", images_per_file=25)
        made = perform(output=output)
        names = sorted(name for name in files_of(made.folder.set) if "." in name)
        assert [name for name in names if name.endswith(".tar")] == [
            f"webdataset/shard-{i:06d}.tar" for i in range(2)
        ]
        assert len(read_image_set(made.folder.set / "medmnist.npz", split="all")) == 45

    def test_style_and_projection(self, perform):
        made = perform(config=config(count=9, aggregation="style", style_steps=1))
        assert made.plan.arrays["averages"].shape == made.plan.arrays["centroids"].shape


class TestProgress:
    def test_it_is_told_of_what_comes_before_the_first_walk(self, perform):
        told = []
        options = config(gate_quantile=0.01, gate_identity=1.0)
        made = perform(config=options, progress=lambda *step: told.append(step[:3]))
        stages = list(dict.fromkeys(stage for stage, *_ in told))
        assert stages.index("embed") + 1 == stages.index("nearest people")
        assert [step for step in told if step[0] == "nearest people"] == [
            ("nearest people", 0, 44),
            ("nearest people", 44, 44),
        ]
        assert told.count(("produce", 45, 45)) == 1
        # Whoever goes on embeds again.
        made.folder.shard(made.folder.shard_numbers()[0]).unlink()
        shutil.rmtree(made.folder.set)
        told.clear()
        perform(config=options, progress=lambda *step: told.append(step[:3]), resume=True)
        assert [step[0] for step in told[:2]] == ["embed", "produce"]


class TestThinning:
    @pytest.fixture
    def short(self, data, bundle):
        import torch

        made = type(bundle.classifier)(**bundle.classifier.config).eval()
        with torch.no_grad():
            made.head.weight.zero_()
            made.head.bias.copy_(torch.tensor([9.0, 0.0, 0.0]))
        return replace(bundle, classifier=made.requires_grad_(False))

    def test_a_class_that_never_passes_is_short(self, perform, short):
        made = perform(config=config(count=22, gate_class=True), bundle=short)
        assert made.chosen.class_counts == (10, 0, 0)
        assert made.chosen.shortage == {"middle": 7, "right": 5}
        assert made.manifest["shortage"] == {"middle": 7, "right": 5}

    def test_nothing_passes(self, perform, short):
        import torch

        sure = type(short.identity)(**short.identity.config).eval()
        with torch.no_grad():
            sure.head.weight.zero_()
            sure.head.bias.zero_()
            sure.head.bias[3] = 100.0
        nobody = replace(short, identity=sure.requires_grad_(False))
        with pytest.raises(PrivacyError, match="none out of"):
            perform(config=config(count=5, gate_identity=0.5), bundle=nobody)


class TestPlaces:
    def test_private_parts_are_the_owners_alone(self, finished):
        folder = finished.folder
        assert stat.S_IMODE(folder.private.stat().st_mode) == 0o700
        for path in folder.private.rglob("*"):
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0 or path.is_dir(), path

    def test_nothing_private_is_in_the_set(self, finished):
        names = {path.name for path in finished.folder.set.iterdir()}
        assert names == {"README.md", "images", "labels.csv", "manifest.json", "medmnist.npz"}

    def test_a_run_is_not_started_twice(self, perform, copied):
        with pytest.raises(OutputExistsError, match="--resume"):
            perform()

    @pytest.mark.parametrize("overwrite", [False, True])
    def test_foreign_content(self, perform, tmp_path, overwrite):
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "thesis.tex").write_text("mine")
        with pytest.raises(OutputExistsError, match="other files"):
            perform(overwrite=overwrite)
        (tmp_path / "other" / "private").mkdir(parents=True)
        (tmp_path / "other" / "private" / "diary.txt").write_text("mine")
        with pytest.raises(OutputExistsError, match="'private'"):
            perform("other", overwrite=overwrite)
        (tmp_path / "file").write_text("mine")
        with pytest.raises(OutputExistsError, match="a file"):
            perform("file", overwrite=overwrite)
        assert files_of(tmp_path) == {
            "run/thesis.tex": b"mine",
            "other/private/diary.txt": b"mine",
            "file": b"mine",
        }

    def test_a_set_of_the_older_kind(self, perform, copied, tmp_path):
        copied.set.rename(tmp_path / "set")
        with pytest.raises(OutputExistsError, match="holds a set"):
            perform("set")

    def test_bad_input_leaves_nothing(self, perform, tmp_path):
        with pytest.raises(InputError, match="at most"):
            perform("deep/run", config=config(count=100_000))
        assert not (tmp_path / "deep" / "run").exists()

    @pytest.mark.parametrize(
        ("wrong", "words"),
        [
            ({"title": "two\nlines"}, "title of one line"),
            ({"license": "My own: yes"}, "licence by its identifier"),
        ],
    )
    def test_what_the_card_cannot_say(self, wrong, words):
        with pytest.raises(InputError, match=words):
            OutputConfig(**wrong)

    def test_layouts_that_cannot_be_written_are_found_before_any_work(
        self, perform, tmp_path, data, monkeypatch
    ):
        monkeypatch.setitem(sys.modules, "pyarrow", None)
        with pytest.raises(MissingExtraError, match="pyarrow"):
            perform(output=OutputConfig(layouts="folder,parquet"))
        monkeypatch.setattr("latentpath.data.writers.archive_layouts.MAX_CLASSES", 2)
        with pytest.raises(InputError, match="at most 2 classes for the layout 'npz'"):
            perform(output=OutputConfig(layouts="npz"))
        assert not (tmp_path / "run").exists()

    def test_overwrite(self, perform, copied, finished):
        made = perform(config=config(seed=1), overwrite=True)
        assert not same_set(made.folder, finished.folder)
        assert verify_set(made.folder.set, made.folder.private_file).ok
        back = perform(overwrite=True)
        assert same_set(back.folder, finished.folder)

    def test_killed_while_it_was_overwritten(self, perform, copied, finished):
        """The old plan is gone, the new one is not there yet; the old set still is."""
        copied.forget()
        with pytest.raises(OutputExistsError):
            perform()
        with pytest.raises(InputError, match="at most"):
            perform(overwrite=True, config=config(count=10**6))
        assert verify_set(copied.set, copied.private_file).ok
        made = perform(overwrite=True, config=config(seed=1))
        assert verify_set(made.folder.set, made.folder.private_file).ok
        assert not same_set(made.folder, finished.folder)

    def test_overwrite_with_other_networks_of_the_same_certificate(self, perform, copied, data):
        other = tiny_models.bundle_for(data, seed=5)
        made = perform(bundle=other, overwrite=True)
        assert verify_set(made.folder.set, made.folder.private_file).ok
        centroids = read_record(made.folder.private_file).centroids
        assert np.array_equal(centroids, made.plan.arrays["centroids"])


class TestResume:
    def test_a_finished_run_is_left_alone(self, perform, copied):
        before = {path: path.stat().st_mtime_ns for path in copied.set.rglob("*")}
        made = perform(resume=True)
        assert {path: path.stat().st_mtime_ns for path in copied.set.rglob("*")} == before
        assert made.chosen.count == 45

    @pytest.mark.parametrize("how", ["image", "gone", "table", "card", "manifest", "private"])
    def test_a_damaged_set_is_written_again(self, perform, copied, finished, how):
        place = copied.set
        image = next(place.rglob("*.png"))
        if how == "gone":
            image.unlink()
        elif how == "manifest":
            file = place / "manifest.json"
            file.write_text(file.read_text().replace('"labels.csv"', '"../x"'))
        else:
            file = {
                "image": image,
                "table": place / "labels.csv",
                "card": place / "README.md",
                "private": copied.private_file,
            }[how]
            content = bytearray(file.read_bytes())
            content[len(content) // 2] ^= 0xFF
            file.write_bytes(content)
        assert same_set(perform(resume=True).folder, finished.folder)

    @pytest.mark.parametrize("given", [{"resume": True}, {"overwrite": True}])
    def test_what_is_no_set_is_not_replaced_and_found_before_any_work(self, perform, copied, given):
        (copied.set / "manifest.json").write_bytes(b"{")
        copied.shard(0).unlink()
        before = files_of(copied.root)
        with pytest.raises(IntegrityError, match="move the folder 'set' away"):
            perform(**given)
        assert files_of(copied.root) == before

    def test_in_an_empty_place_it_starts(self, perform, finished):
        assert same_set(perform(resume=True).folder, finished.folder)

    def test_a_set_that_was_removed_is_written_again(self, perform, copied, finished):
        shutil.rmtree(copied.set)
        copied.private_file.unlink()
        shards = {
            number: copied.shard(number).stat().st_mtime_ns for number in copied.shard_numbers()
        }
        assert same_set(perform(resume=True).folder, finished.folder)
        assert shards == {
            number: copied.shard(number).stat().st_mtime_ns for number in copied.shard_numbers()
        }

    @pytest.mark.parametrize(
        "other", [{"title": "Eyes"}, {"license": "cc0-1.0"}, {"images_per_file": 20}]
    )
    def test_another_card_and_other_files_are_written(self, perform, copied, other):
        first = perform(resume=True, output=OutputConfig(layouts="webdataset"))
        shards = {number: copied.shard(number).stat().st_mtime_ns for number in (0, 1, 2)}
        made = perform(resume=True, output=OutputConfig(layouts="webdataset", **other))
        assert made.manifest["seal"] != first.manifest["seal"]
        card = (copied.set / "README.md").read_text()
        assert ("# Eyes" in card, "license: cc0-1.0" in card) == (
            "title" in other,
            "license" in other,
        )
        tars = [name for name in made.manifest["files"] if name.endswith(".tar")]
        assert len(tars) == (3 if "images_per_file" in other else 1)
        assert verify_set(made.folder.set, made.folder.private_file).ok
        assert shards == {number: copied.shard(number).stat().st_mtime_ns for number in (0, 1, 2)}

    def test_other_layouts_are_written_from_the_same_shards(self, perform, copied):
        made = perform(resume=True, output=OutputConfig(layouts="npz"))
        assert made.manifest["layouts"] == ["npz"]
        assert not (copied.set / "images").exists()

    @pytest.mark.parametrize(
        ("changed", "named"),
        [
            ({"config": config(seed=4)}, r"options .*\(seed\)"),
            ({"config": config(count=44, steps=6)}, r"options .*\(count, walk.steps\)"),
            ({"config": config(micro_batch=8)}, r"options .*\(micro_batch\)"),
        ],
    )
    def test_other_options_are_refused(self, perform, copied, changed, named):
        with pytest.raises(InputError, match=named):
            perform(resume=True, **changed)

    def test_other_threads_are_refused(self, data, bundle, copied):
        other = RunOptions(threads=8, resume=True)
        with pytest.raises(InputError, match=r"\(threads\)"):
            produce(data, bundle, copied.root, config(), other)

    def test_other_networks_are_refused(self, perform, copied, data, bundle):
        import copy

        other = copy.deepcopy(bundle.classifier)
        other.head.bias.data[0] += 1e-3
        with pytest.raises(InputError, match=r"networks .*\(classifier\)"):
            perform(resume=True, bundle=replace(bundle, classifier=other))

    def test_other_data_is_refused(self, perform, copied, data):
        images = data.images.copy()
        images[7, 3, 3] ^= 1
        with pytest.raises(InputError, match="private set"):
            perform(resume=True, data=replace(data, images=images))
        labels = data.labels.copy()
        labels[[0, 1]] = (labels[[0, 1]] + 1) % 3
        with pytest.raises(InputError, match="private set"):
            perform(resume=True, data=replace(data, labels=labels))

    def test_another_kind_of_machine_is_refused_unless_allowed(self, perform, copied, monkeypatch):
        from latentpath.production import worker as work
        from latentpath.production.run import produce_run as module

        real = work.arithmetic

        def elsewhere(device):
            return {**real(device), "torch": "1.0"}

        monkeypatch.setattr(work, "arithmetic", elsewhere, raising=True)
        monkeypatch.setattr(module, "arithmetic", elsewhere, raising=True)
        copied.shard(0).unlink()
        with pytest.raises(InputError, match=r"\(torch\)"):
            perform(resume=True)
        perform(resume=True, run={"any_machine": True})


class TestDamage:
    @pytest.mark.parametrize("how", ["cut", "settings", "arrays"])
    def test_plan(self, perform, copied, how):
        content = bytearray(copied.plan.read_bytes())
        if how == "cut":
            content = content[:-40]
        elif how == "settings":
            # A digit of a number, so that the file stays well formed.
            marker = b'\\"threads\\": 1'
            content[content.index(marker) + len(marker) - 1] ^= 3
        else:
            content[-9] ^= 3
        copied.plan.write_bytes(content)
        with pytest.raises(IntegrityError, match=r"plan\.safetensors"):
            perform(resume=True)

    def test_shards_gone_cut_or_changed_are_made_anew(self, perform, copied, finished):
        shutil.rmtree(copied.set)
        first, second, third = copied.shard_numbers()[:3]
        copied.shard(first).unlink()
        copied.shard(second).write_bytes(copied.shard(second).read_bytes()[:-9])
        content = bytearray(copied.shard(third).read_bytes())
        content[len(content) // 2] ^= 1
        copied.shard(third).write_bytes(content)
        assert same_set(perform(resume=True).folder, finished.folder)

    def test_files_that_are_no_shards(self, perform, copied, finished):
        shutil.rmtree(copied.set)
        partial = copied.shards / "000000" / ".000000001.safetensors.partial-77"
        partial.write_bytes(b"half")
        stray = copied.shard(finished.plan.num_shards + 5)
        stray.write_bytes(copied.shard(0).read_bytes())
        assert same_set(perform(resume=True).folder, finished.folder)
        assert not partial.exists()
        assert not stray.exists()


def test_what_is_stored_of_the_options(perform):
    made = perform(text="k = 3\n")
    assert made.folder.options.read_text() == "k = 3\n"
    assert os.path.basename(made.folder.log) == "run.log"


@pytest.mark.parametrize("change", [{"format": "latentpath-run/0"}, {"config": {"count": 3}}])
def test_the_plan_of_another_version(finished, tmp_path, change):
    plan = finished.plan
    other = replace(plan, settings={**plan.settings, **change})
    (tmp_path / "plan.safetensors").write_bytes(other.encode())
    with pytest.raises(UnsupportedError, match="the version of latentpath that planned it"):
        read_plan(tmp_path / "plan.safetensors")


def test_the_plan_reads_back(finished):
    again = read_plan(finished.folder.plan)
    assert again.hash == finished.plan.hash
    assert again.config == finished.plan.config
    stored, _ = unpack(finished.folder.plan, "a plan", "")
    assert stored["software_version"] == finished.manifest["software_version"]
