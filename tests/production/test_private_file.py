"""The private file: apart from the set, for its owner alone, and never lost."""

from __future__ import annotations

import os
import shutil
import stat
from dataclasses import replace

import numpy as np
import pytest

from latentpath.cli import main
from latentpath.core import hash_file
from latentpath.core.errors import OutputExistsError
from latentpath.data import number_people, write_image_set
from latentpath.production import RunFolder, RunOptions, produce, produce_set
from latentpath.production.private_file import pending_files, read_record, settle
from latentpath.production.verification import verify_set
from support import tiny_models
from support.tiny_models import quick_config


@pytest.fixture(scope="module")
def runs(data, bundle, tmp_path_factory):
    """The folders of two runs; no test changes them."""
    root = tmp_path_factory.mktemp("runs")
    configs = [quick_config(count=9, seed=seed) for seed in (0, 1)]
    return [produce(data, bundle, root / str(c.seed), c).folder for c in configs]


def test_owner_only_and_apart_from_the_set(data, bundle, tmp_path):
    before = os.umask(0)
    try:
        folder = produce(data, bundle, tmp_path, quick_config(count=9)).folder
    finally:
        os.umask(before)
    assert stat.S_IMODE(folder.private_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.private.stat().st_mode) == 0o700
    assert sorted(p.name for p in tmp_path.iterdir()) == ["private", "set"]


def test_it_holds_groups_centroids_and_pairs(runs, data, bundle):
    result = produce_set(data, bundle, quick_config(count=9))
    record = read_record(runs[0].private_file)
    assert np.array_equal(record.people.assignment, result.endpoints.grouping.assignment)
    assert np.array_equal(record.people.classes, data.labels)
    same = record.people.identities[:, None] == record.people.identities
    assert np.array_equal(same, data.identities[:, None] == data.identities)
    assert np.array_equal(record.pairs, result.walks.pairs)
    assert np.array_equal(record.centroids, result.endpoints.centroids.numpy())


def test_the_set_holds_nothing_of_it(runs):
    """Neither latents nor centroids nor the salt lie in the set as bytes."""
    record = read_record(runs[0].private_file)
    secrets = [record.salt, record.salt.hex().encode(), record.centroids[0].tobytes()]
    secrets.append(record.people.latents[0].tobytes())
    for path in runs[0].set.rglob("*"):
        if path.is_file():
            assert not any(secret in path.read_bytes() for secret in secrets)


def test_the_salt_is_the_datas_own(runs, data, bundle, tmp_path):
    """One pixel of one private image changes it."""
    images = data.images.copy()
    images[0, 0, 0, 0] ^= 1
    other = replace(data, images=images)
    folder = produce(other, bundle, tmp_path, quick_config(count=9)).folder
    salts = [read_record(run.private_file).salt for run in (runs[0], folder)]
    assert salts[0] != salts[1]
    assert len(salts[0]) == 32


def test_people_are_numbered_by_their_first_rows():
    assert number_people(np.array([7, 2, 7, 5, 2])).tolist() == [0, 1, 0, 2, 1]


class TestOverwriting:
    @pytest.fixture
    def run(self, runs, tmp_path):
        shutil.copytree(runs[0].root, tmp_path / "run")
        return RunFolder(tmp_path / "run")

    def test_both_are_replaced_together(self, run, runs, data, bundle):
        options = RunOptions(overwrite=True)
        produce(data, bundle, run.root, quick_config(count=9, seed=1), options)
        assert verify_set(run.set, run.private_file).ok
        assert hash_file(run.private_file) == hash_file(runs[1].private_file)
        with pytest.raises(OutputExistsError):
            produce(data, bundle, run.root, quick_config(count=9))

    @pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
    def test_a_run_that_fails_leaves_both_as_they_were(self, run, data, bundle, error):
        def fail(stage, *_):
            if stage == "write set":
                raise error

        config, options = quick_config(count=9, seed=1), RunOptions(overwrite=True)
        with pytest.raises(error):
            produce(data, bundle, run.root, config, options, progress=fail)
        assert verify_set(run.set, run.private_file).ok


class TestKilled:
    """What a run leaves that dies between the set and its private file."""

    NAME = ".set.safetensors.pending-0123456789abcdef"

    @pytest.fixture
    def killed(self, runs, tmp_path):
        shutil.copytree(runs[0].root, tmp_path / "run")
        folder = RunFolder(tmp_path / "run")
        folder.private_file.rename(folder.private / self.NAME)
        shutil.copy(runs[1].private_file, folder.private_file)
        return folder

    def test_verify_says_where_it_is(self, killed):
        found = verify_set(killed.set, killed.private_file)
        assert self.NAME in str(found.findings[0])

    def test_the_next_run_puts_it_in_place(self, killed, data, bundle):
        waiting = hash_file(pending_files(killed.private_file)[0])
        produce(data, bundle, killed.root, quick_config(count=9), RunOptions(resume=True))
        assert hash_file(killed.private_file) == waiting
        assert verify_set(killed.set, killed.private_file).ok

    def test_of_a_set_that_never_came_is_removed(self, runs):
        leftover = runs[0].private / ".set.safetensors.pending-00"
        leftover.write_bytes(b"half")
        settle(runs[0].private_file, runs[0].set)
        assert not leftover.exists()
        assert runs[0].private_file.exists()


def test_from_the_command_line(data, bundle, tmp_path, capsys):
    """`produce` keeps it in the run, prints the seal, and `verify` takes both."""
    tiny_models.save_bundle(tmp_path, bundle)
    write_image_set(
        tmp_path / "data", data.images, data.labels, data.class_names, manifest={}, layouts="folder"
    )
    options = "--k 3 --steps 5 --optim-steps 1 --count 9 --gate-quantile 0 --gate-identity 1"
    command = ["produce", "--data", str(tmp_path / "data"), "--weights", str(tmp_path), "--quiet"]
    command += ["--no-gate-class", *options.split(), "--out", str(tmp_path / "set")]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert "never hand it on" in printed
    seal = printed.split("seal: ")[1].split()[0]
    private = tmp_path / "set/private/set.safetensors"
    check = ["verify", str(tmp_path / "set/set"), "--private", str(private), "--quiet"]
    assert main([*check, "--seal", seal]) == 0
    assert main([*check, "--seal", "0" * 64]) == 2
