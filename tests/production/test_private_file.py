"""The private file: apart from the set, for its owner alone, and never lost."""

from __future__ import annotations

import os
import stat
from dataclasses import replace

import numpy as np
import pytest

from latentpath.cli import main
from latentpath.core import hash_file
from latentpath.core.errors import InputError, OutputExistsError
from latentpath.data import number_people, write_image_set
from latentpath.production import check_output, produce_set, write_set
from latentpath.production.private_file import (
    default_private_file,
    pending_files,
    read_record,
)
from latentpath.production.verification import verify_set
from support import tiny_models
from support.tiny_models import quick_config


@pytest.fixture(scope="module")
def results(data, bundle):
    return [produce_set(data, bundle, quick_config(count=9, seed=seed)) for seed in (0, 1)]


def test_owner_only_and_beside_the_set(results, tmp_path):
    before = os.umask(0)
    try:
        write_set(tmp_path / "set", results[0])
    finally:
        os.umask(before)
    path = tmp_path / "set.private.npz"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sorted(p.name for p in tmp_path.iterdir()) == ["set", "set.private.npz"]


def test_it_holds_groups_centroids_and_pairs(results, data, tmp_path):
    result = results[0]
    write_set(tmp_path / "set", result, private=tmp_path / "deep" / "secret.npz")
    record = read_record(tmp_path / "deep" / "secret.npz")
    assert np.array_equal(record.people.assignment, result.endpoints.grouping.assignment)
    assert np.array_equal(record.people.classes, data.labels)
    same = record.people.identities[:, None] == record.people.identities
    assert np.array_equal(same, data.identities[:, None] == data.identities)
    assert np.array_equal(record.pairs, result.walks.pairs)
    assert np.array_equal(record.centroids, result.endpoints.centroids.numpy())
    assert not (tmp_path / "set.private.npz").exists()


def test_the_set_holds_nothing_of_it(results, tmp_path):
    """Neither latents nor centroids nor the salt lie in the set as bytes."""
    write_set(tmp_path / "set", results[0])
    record = read_record(tmp_path / "set.private.npz")
    secrets = [record.salt, record.salt.hex().encode(), record.centroids[0].tobytes()]
    secrets.append(record.people.latents[0].tobytes())
    for path in (tmp_path / "set").rglob("*"):
        if path.is_file():
            assert not any(secret in path.read_bytes() for secret in secrets)


def test_the_salt_is_the_datas_own(results, data, bundle, tmp_path):
    """One pixel of one private image changes it."""
    images = data.images.copy()
    images[0, 0, 0, 0] ^= 1
    other = produce_set(replace(data, images=images), bundle, quick_config(count=9))
    for name, result in (("a", results[0]), ("b", other)):
        write_set(tmp_path / name, result)
    salts = [read_record(tmp_path / f"{name}.private.npz").salt for name in "ab"]
    assert salts[0] != salts[1]
    assert len(salts[0]) == 32


def test_people_are_numbered_by_their_first_rows():
    assert number_people(np.array([7, 2, 7, 5, 2])).tolist() == [0, 1, 0, 2, 1]


@pytest.mark.parametrize("name", ["set/private.npz", "set/a/b.npz", "set", "link/p.npz"])
def test_never_inside_the_set(results, tmp_path, name):
    (tmp_path / "link").symlink_to(tmp_path / "set")
    with pytest.raises(InputError, match="outside of the set"):
        write_set(tmp_path / "set", results[0], private=tmp_path / name)
    assert not (tmp_path / "set").exists()


class TestOverwriting:
    def test_an_existing_file_is_refused_before_any_work(self, results, tmp_path):
        (tmp_path / "set.private.npz").write_bytes(b"mine")
        for overwrite in (False, True):
            with pytest.raises(OutputExistsError):
                check_output(tmp_path / "set", overwrite=overwrite)
            with pytest.raises(OutputExistsError):
                write_set(tmp_path / "set", results[0], overwrite=overwrite)
        assert (tmp_path / "set.private.npz").read_bytes() == b"mine"
        assert not (tmp_path / "set").exists()

    def test_both_are_replaced_together(self, results, tmp_path):
        for result in results:
            write_set(tmp_path / "set", result, overwrite=True)
            assert verify_set(tmp_path / "set", tmp_path / "set.private.npz").ok
        with pytest.raises(OutputExistsError):
            write_set(tmp_path / "set", results[0])

    @pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
    def test_a_run_that_fails_leaves_both_as_they_were(self, results, tmp_path, error):
        write_set(tmp_path / "set", results[0])

        def fail(*_):
            raise error

        with pytest.raises(error):
            write_set(tmp_path / "set", results[1], overwrite=True, progress=fail)
        assert verify_set(tmp_path / "set", tmp_path / "set.private.npz").ok
        assert len(list(tmp_path.iterdir())) == 2


class TestKilled:
    """What a run leaves that dies between the set and its private file."""

    @pytest.fixture
    def killed(self, results, tmp_path):
        write_set(tmp_path / "set", results[0])
        path = tmp_path / "set.private.npz"
        path.rename(tmp_path / ".set.private.npz.pending-0123456789abcdef")
        write_set(tmp_path / "old", results[1])
        (tmp_path / "old.private.npz").rename(path)
        return tmp_path / "set"

    def test_verify_says_where_it_is(self, killed):
        found = verify_set(killed, default_private_file(killed))
        assert ".set.private.npz.pending-0123456789abcdef" in str(found.findings[0])

    def test_the_next_run_puts_it_in_place(self, killed):
        waiting = hash_file(pending_files(default_private_file(killed))[0])
        with pytest.raises(OutputExistsError):
            check_output(killed)
        assert hash_file(default_private_file(killed)) == waiting
        assert verify_set(killed, default_private_file(killed)).ok

    def test_of_a_set_that_never_came_is_removed(self, results, tmp_path):
        leftover = tmp_path / ".set.private.npz.pending-00"
        leftover.write_bytes(b"half")
        check_output(tmp_path / "set")
        assert not leftover.exists()


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
    private = tmp_path / "set/private/set.private.npz"
    check = ["verify", str(tmp_path / "set/set"), "--private", str(private), "--quiet"]
    assert main([*check, "--seal", seal]) == 0
    assert main([*check, "--seal", "0" * 64]) == 2
