"""What happens to machines, disks and files, and that a run survives it."""

from __future__ import annotations

import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

if sys.platform == "win32":
    pytest.skip("needs signals and mounts", allow_module_level=True)

import resource

from latentpath.core import files
from latentpath.core.errors import IntegrityError, RunError
from latentpath.production import RunFolder
from latentpath.production.plan import read_plan
from latentpath.production.run.ledger import Ledger
from latentpath.production.run.run_status import read_status
from latentpath.production.run.run_verification import verify_run
from support import killable
from support.tiny_runs import same_set


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.002)


class TestKilled:
    def test_at_random_moments(self, finished, tmp_path):
        """`benches/fault_table.py` does it more often."""
        expected = killable.outcome(finished.folder)
        for tally in killable.kill_again_and_again(tmp_path, 8, expected):
            assert (tally.lost, tally.different, tally.failed) == (0, 0, 0)
        assert tally.tries == 8
        assert tally.finished >= 1
        assert set(tally.phases) >= {"shards"}

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_asked_to_stop_it_stops_at_a_shard(self, finished, tmp_path, number):
        folder = RunFolder(tmp_path / "run")
        slow = {"config": {"solver": "published", "optim_steps": 15}, "run": {"portion_walks": 2}}
        process = killable.start(folder.root, **slow)
        wait_for(lambda: folder.shard_numbers())
        os.kill(process.pid, number)
        assert killable.finish(process) == 128 + number
        assert read_status(folder.root).state == "stopped"
        assert read_status(folder.root).shards.keys() == {"done"}
        assert list(folder.private.rglob("*.partial-*")) == []
        assert killable.finish(killable.start(folder.root, **slow)) == 0
        assert read_status(folder.root).state == "finished"

    def test_asked_twice_at_a_time_it_gives_up_what_would_take_long(self, tmp_path):
        folder = RunFolder(tmp_path / "run")
        endless = {"solver": "published", "optim_steps": 1_000_000}
        process = killable.start(folder.root, config=endless)
        wait_for(lambda: folder.ledger.exists() and read_status(folder.root).shards)
        os.kill(process.pid, signal.SIGINT)
        os.kill(process.pid, signal.SIGINT)  # as one from `timeout`, which tells its group, too
        assert killable.finish(process, 20) == 130
        assert read_status(folder.root).state == "stopped"


class TestDisk:
    @pytest.fixture
    def small_disk(self, tmp_path):
        """Mount a disk of some kilobytes; returns its folder and a function that enlarges it."""
        place = tmp_path / "disk"
        place.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)]
        if subprocess.run(mount, capture_output=True, check=False).returncode:
            pytest.skip("may not mount a disk here")

        def enlarge(kilobytes, *more):
            choice = ",".join([f"remount,size={kilobytes}k", *more])
            subprocess.run(["mount", "-o", choice, str(place)], check=True)

        yield place, enlarge
        subprocess.run(["umount", "-l", str(place)], check=True)

    def test_full_again_and_again(self, finished, small_disk, tmp_path):
        """It is enlarged little by little, so that it is full at every stage."""
        place, enlarge = small_disk
        codes = []
        for number, kilobytes in enumerate(range(64, 4096, 112)):
            enlarge(kilobytes)
            process = killable.start(place / "run", said=tmp_path / f"said-{number}")
            codes.append(killable.finish(process))
            if codes[-1] == 0:
                break
        assert set(codes[:-1]) == {3}
        assert len(codes) > 3
        assert codes[-1] == 0
        said = [path.read_text() for path in tmp_path.glob("said-*")]
        assert all("make room" in words or "sound" in words for words in filter(None, said))
        assert same_set(RunFolder(place / "run"), finished.folder)

    def test_read_only(self, finished, small_disk, tmp_path):
        place, enlarge = small_disk
        enlarge(4096)
        folder = RunFolder(place / "run")
        shutil.copytree(finished.folder.root, folder.root)
        shutil.rmtree(folder.set)
        folder.shard(1).unlink()
        enlarge(4096, "ro")
        assert killable.finish(killable.start(folder.root, said=tmp_path / "said")) == 3
        assert "read-only" in (tmp_path / "said").read_text()
        assert read_status(folder.root).images == 45
        enlarge(4096, "rw")
        assert killable.finish(killable.start(folder.root)) == 0
        assert same_set(folder, finished.folder)

    def test_files_may_not_grow(self, finished, tmp_path):
        """As with a quota: where shards fit and the set's archive does not, and the other way."""
        folder = RunFolder(tmp_path / "run")
        largest = max(path.stat().st_size for path in finished.folder.shards.rglob("*.safetensors"))
        for limit in (largest - 1000, 60_000):
            bounds = {resource.RLIMIT_FSIZE: limit}
            process = killable.start(folder.root, said=tmp_path / "said", limits=bounds)
            assert killable.finish(process) == 3, limit
            assert "resume=True" in (tmp_path / "said").read_text()
        assert killable.finish(killable.start(folder.root)) == 0
        assert same_set(folder, finished.folder)


class TestLedger:
    def test_bits_that_flip_are_found_or_do_no_harm(self, perform, copied, finished):
        content, rng = copied.ledger.read_bytes(), random.Random(1)
        shutil.rmtree(copied.set)
        found = 0
        for _ in range(25):
            spoilt = bytearray(content)
            spoilt[rng.randrange(len(spoilt))] ^= 1 << rng.randrange(8)
            copied.ledger.write_bytes(spoilt)
            try:
                made = perform(resume=True)
            except IntegrityError:
                found += 1
            else:
                assert same_set(made.folder, finished.folder)
                shutil.rmtree(copied.set)
            for path in copied.private.glob("ledger.sqlite-*"):
                path.unlink()
        assert found

    @pytest.mark.parametrize("how", ["gone", "empty", "cut", "foreign", "row"])
    def test_damage_is_named_and_the_ledger_made_anew(self, perform, copied, finished, how):
        shutil.rmtree(copied.set)
        ledger = copied.ledger
        if how == "gone":
            ledger.unlink()
        elif how == "empty":
            ledger.write_bytes(b"")
        elif how == "cut":
            ledger.write_bytes(ledger.read_bytes()[:5000])
        elif how == "foreign":
            ledger.write_bytes(b"not a database" * 400)
        else:
            self.change_a_row(ledger)
        with pytest.raises(IntegrityError, match=r"ledger.*--rebuild-ledger"):
            perform(resume=True)
        files = list(copied.shards.rglob("*.safetensors"))
        before = [path.stat().st_mtime_ns for path in files]
        made = perform(resume=True, rebuild_ledger=True)
        assert same_set(made.folder, finished.folder)
        assert before == [path.stat().st_mtime_ns for path in files]
        assert verify_run(made.folder.root).ok

    def test_shards_in_each_others_place_are_made_anew(self, perform, copied, finished):
        """Without the ledger's hashes, what they hold says where they belong."""
        shutil.rmtree(copied.set)
        copied.ledger.unlink()
        first, second = (copied.shard(number) for number in (0, 1))
        content = first.read_bytes()
        first.write_bytes(second.read_bytes())
        second.write_bytes(content)
        made = perform(resume=True, rebuild_ledger=True)
        assert same_set(made.folder, finished.folder)
        assert verify_run(made.folder.root).ok

    @staticmethod
    def change_a_row(path: Path):
        """As whoever wants a shard to count for more than it is."""
        import sqlite3

        with sqlite3.connect(path) as connection:
            connection.execute("UPDATE shards SET accepted = accepted + 1 WHERE number = 1")
        connection.close()

    def test_the_ledger_of_another_run(self, perform, copied, finished):
        other = perform("other", config=killable.config(seed=9))
        shutil.copy(other.folder.ledger, copied.ledger)
        with pytest.raises(IntegrityError, match="another plan"):
            perform(resume=True)


class TestTwoRuns:
    def test_the_second_is_refused(self, perform, tmp_path):
        folder = RunFolder(tmp_path / "run")
        endless = {"solver": "published", "optim_steps": 1_000_000}
        process = killable.start(folder.root, config=endless)
        wait_for(lambda: folder.ledger.exists() and read_status(folder.root).shards)
        for given in ({"resume": True}, {"overwrite": True}):
            with pytest.raises(RunError, match=f"the process {process.pid} at work") as error:
                perform(**given)
            assert error.value.exit_code == 3
        status = read_status(folder.root)
        assert (status.state, status.process) == ("at work", process.pid)
        process.kill()
        process.join()
        assert read_status(folder.root).state == "killed"

    def test_no_locks_are_told_from_a_run_at_work(self, perform, copied, monkeypatch):
        def flock(descriptor, operation):
            raise OSError(errno.ENOLCK, "No locks available")

        monkeypatch.setattr(files.fcntl, "flock", flock)
        assert read_status(copied.root).state == "finished"
        with pytest.raises(RunError, match=r"file system with locks .* got no locks available"):
            perform(resume=True)

    def test_looking_at_a_run_does_not_lock_it(self, finished, tmp_path):
        folder = RunFolder(tmp_path / "run")
        process = killable.start(folder.root)
        while process.is_alive():
            if folder.has_plan():
                read_status(folder.root)
        assert killable.finish(process) == 0


class TestDamagedAfterwards:
    def test_an_undisturbed_run_is_verified(self, finished):
        found = verify_run(finished.folder.root)
        assert found.ok, found.lines()
        assert any("finished shards" in line for line in found.verified)
        assert found.seal == finished.manifest["seal"]

    @pytest.mark.parametrize("how", ["flip", "cut", "gone", "swap"])
    def test_a_shard(self, copied, how):
        path = copied.shard(2)
        content = bytearray(path.read_bytes())
        if how == "flip":
            content[len(content) * 2 // 3] ^= 4
            path.write_bytes(content)
        elif how == "cut":
            path.write_bytes(content[:-1])
        elif how == "gone":
            path.unlink()
        else:
            path.write_bytes(copied.shard(3).read_bytes())
        found = verify_run(copied.root)
        assert [type(error) for error in found.findings] == [IntegrityError]
        assert "shard" in str(found.findings[0])

    def test_an_image_of_the_set(self, copied):
        path = next(copied.set.rglob("*.png"))
        path.write_bytes(path.read_bytes()[:-1])
        assert not verify_run(copied.root).ok

    def test_a_set_that_was_swapped_for_another_with_its_private_file(self, perform, copied):
        other = perform("other", config=killable.config(solver="published", optim_steps=2))
        shutil.rmtree(copied.set)
        shutil.copytree(other.folder.set, copied.set)
        shutil.copy(other.folder.private_file, copied.private_file)
        found = verify_run(copied.root)
        assert any("the set that plan and shards give" in str(e) for e in found.findings)

    def test_a_ledger_that_was_changed(self, copied):
        plan = read_plan(copied.plan)
        TestLedger.change_a_row(copied.ledger)
        with pytest.raises(IntegrityError, match="shard 1"):
            Ledger.read(copied.ledger, plan.hash)
        assert not verify_run(copied.root).ok
