"""Files and folders that are there whole or not at all, and locks."""

import errno
import functools
import multiprocessing
import os
import random
import stat
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from latentpath.core import files, make_locked, new_file, take_lock, write_file
from latentpath.core.errors import InputError, OutputExistsError
from latentpath.data import is_written_set, read_image_set, write_image_set


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


class TestNewFile:
    def test_appears_whole_with_its_folder(self, tmp_path):
        place = tmp_path / "a" / "b.txt"
        with new_file(place) as partial:
            partial.write_text("whole")
            assert names_in(place.parent) == [partial.name]
            assert partial.name.startswith(".b.txt.partial-")
        assert names_in(place.parent) == ["b.txt"]
        assert place.read_text() == "whole"

    @pytest.mark.skipif(os.name != "posix", reason="permission bits")
    @pytest.mark.parametrize("mode", [0o600, 0o640])
    def test_mode(self, tmp_path, mode):
        (tmp_path / "x").write_text("for all")
        write_file(tmp_path / "x", b"new", mode)
        assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == mode

    @pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt(), OSError(5, "x")])
    def test_an_exception_keeps_what_was_there(self, tmp_path, error):
        write_file(tmp_path / "x", b"old")

        def fail():
            with new_file(tmp_path / "x") as partial:
                partial.write_bytes(b"half")
                raise error

        with pytest.raises(type(error)):
            fail()
        assert names_in(tmp_path) == ["x"]
        assert (tmp_path / "x").read_bytes() == b"old"

    def test_two_writers_of_one_file_do_not_meet(self, tmp_path):
        with new_file(tmp_path / "x") as first, new_file(tmp_path / "x") as second:
            first.write_text("first")
            second.write_text("second")
        assert (tmp_path / "x").read_text() == "first"
        assert names_in(tmp_path) == ["x"]


class TestWriteFile:
    def test_a_disk_that_gives_back_something_else(self, tmp_path, monkeypatch):
        write_file(tmp_path / "x", b"old")
        monkeypatch.setattr(files.Path, "read_bytes", lambda self: b"odd")
        with pytest.raises(OSError, match="reads back differently"):
            write_file(tmp_path / "x", b"new")
        monkeypatch.undo()
        assert (tmp_path / "x").read_bytes() == b"old"
        assert names_in(tmp_path) == ["x"]

    def test_is_forced_to_the_disk_before_it_has_its_name(self, tmp_path, monkeypatch):
        flushed = []
        fsync = os.fsync

        def watched(descriptor):
            flushed.append(names_in(tmp_path))
            fsync(descriptor)

        monkeypatch.setattr(os, "fsync", watched)
        write_file(tmp_path / "x", b"content")
        assert "x" not in flushed[0]
        assert flushed[-1] == ["x"]  # the folder's list of names, afterwards


class TestMakeLocked:
    def make(self, folder):
        path = files.partial_path(folder / "x")
        path.touch()
        return path

    def test_is_locked_until_closed(self, tmp_path):
        made, lock = make_locked(lambda: self.make(tmp_path))
        assert lock is not None
        assert take_lock(made) is None
        os.close(lock)
        again = take_lock(made)
        assert again is not None
        os.close(again)

    def test_what_another_took_for_a_leftover_is_made_again(self, tmp_path):
        made = []

        def make():
            path = self.make(tmp_path)
            made.append(path)
            if len(made) == 1:
                path.unlink()
            return path

        path, lock = make_locked(make)
        assert path == made[1]
        assert path.exists()
        os.close(lock)

    def test_a_lock_is_held_by_one_of_many(self, tmp_path):
        (tmp_path / "x").touch()
        held = []
        threads = [
            threading.Thread(target=lambda: held.append(take_lock(tmp_path / "x")))
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        locks = [lock for lock in held if lock is not None]
        assert len(held) == 8
        assert len(locks) == 1
        os.close(locks[0])


check_output_is_free = functools.partial(files.check_output_is_free, is_ours=is_written_set)
new_folder = functools.partial(files.new_folder, is_ours=is_written_set)


def write(out, value, n=3, **options):
    images = np.full((n, 8, 8, 1), value % 256, np.uint8)
    labels = np.arange(n) % 3
    write_image_set(out, images, labels, "abc", manifest={"value": value}, **options)


def value_of(out):
    """Return the one pixel value of a set that must be complete."""
    found = read_image_set(out)
    packed = read_image_set(Path(out, "medmnist.npz"))
    values = set(np.unique(found.images)) | set(np.unique(packed.images))
    assert len(values) == 1
    return values.pop()


class TestCheck:
    def test_absent_empty_and_nested_are_free(self, tmp_path):
        check_output_is_free(tmp_path / "new")
        check_output_is_free(str(tmp_path / "a" / "b" / "c"))
        check_output_is_free(tmp_path)
        assert names_in(tmp_path) == []

    def test_relative_path(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        check_output_is_free("new")
        write("new", 1)
        assert names_in(tmp_path) == ["new"]

    @pytest.mark.parametrize("overwrite", [False, True])
    def test_foreign_content_is_never_touched(self, tmp_path, overwrite):
        (tmp_path / "thesis.tex").write_text("x")
        with pytest.raises(OutputExistsError, match="other files") as error:
            write(tmp_path, 1, overwrite=overwrite)
        assert "\n" not in str(error.value)
        assert names_in(tmp_path) == ["thesis.tex"]

    @pytest.mark.parametrize("content", ["{}", "[]", '{"format": "npm/1"}', "no json"])
    def test_a_foreign_manifest_does_not_make_a_folder_ours(self, tmp_path, content):
        (tmp_path / "manifest.json").write_text(content)
        with pytest.raises(OutputExistsError, match="is not a set that latentpath wrote"):
            check_output_is_free(tmp_path, overwrite=True)

    def test_our_set_is_kept_unless_asked(self, tmp_path):
        write(tmp_path / "o", 1)
        with pytest.raises(OutputExistsError, match="ask to overwrite"):
            check_output_is_free(tmp_path / "o")
        check_output_is_free(tmp_path / "o", overwrite=True)

    def test_a_file(self, tmp_path):
        (tmp_path / "o").write_text("x")
        with pytest.raises(OutputExistsError, match="a file"):
            check_output_is_free(tmp_path / "o", overwrite=True)
        with pytest.raises(InputError, match="can be written"):
            check_output_is_free(tmp_path / "o" / "below")

    @pytest.mark.skipif(not os.path.ismount("/proc"), reason="needs a mounted file system")
    def test_a_mount_point(self):
        with pytest.raises(InputError, match="file system is mounted"):
            check_output_is_free("/proc")


class TestNewFolder:
    def test_appears_whole(self, tmp_path):
        with new_folder(tmp_path / "o") as folder:
            (folder / "x").write_text("x")
            assert not (tmp_path / "o").exists()
            assert folder.parent == tmp_path
            assert folder.name.startswith(".o.partial-")
        assert names_in(tmp_path) == ["o"]
        assert names_in(tmp_path / "o") == ["x"]

    def test_makes_parents_and_takes_an_empty_folder(self, tmp_path):
        (tmp_path / "a" / "o").mkdir(parents=True)
        for name in ("a/o", "b/c/o"):
            with new_folder(tmp_path / name) as folder:
                (folder / "x").write_text("x")
            assert names_in(tmp_path / name) == ["x"]

    @pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt(), OSError(5, "x")])
    def test_an_exception_leaves_nothing(self, tmp_path, error):
        def fail():
            with new_folder(tmp_path / "o") as folder:
                (folder / "x").write_text("x")
                raise error

        with pytest.raises(type(error)):
            fail()
        assert names_in(tmp_path) == []

    def test_a_full_disk_is_our_error(self, tmp_path):
        with pytest.raises(InputError, match="no space") as caught, new_folder(tmp_path / "o"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        assert "\n" not in str(caught.value)
        assert names_in(tmp_path) == []

    def test_the_slower_of_two_runs_is_refused_and_neither_disturbs_the_other(self, tmp_path):
        def slow():
            with new_folder(tmp_path / "o") as folder:
                (folder / "x").write_text("x")
                write(tmp_path / "o", 7)
                assert (folder / "x").exists(), "a run at work was taken for a leftover"

        with pytest.raises(OutputExistsError):
            slow()
        assert names_in(tmp_path) == ["o"]
        assert value_of(tmp_path / "o") == 7

    def test_a_linked_folder_stays_a_link(self, tmp_path):
        (tmp_path / "real").mkdir()
        (tmp_path / "link").symlink_to(tmp_path / "real")
        write(tmp_path / "link", 3)
        assert (tmp_path / "link").is_symlink()
        assert value_of(tmp_path / "real") == 3


class TestOverwrite:
    @pytest.mark.parametrize("exchange", [True, False], ids=["exchange", "two renames"])
    def test_replaces_only_when_complete(self, tmp_path, monkeypatch, exchange):
        if not exchange:
            monkeypatch.setattr(files, "_exchange", lambda *_: False)
        out = tmp_path / "o"
        write(out, 1, n=9)
        with new_folder(out, overwrite=True) as folder:
            write(folder, 2, n=2)
            assert value_of(out) == 1
        assert value_of(out) == 2
        assert names_in(tmp_path) == ["o"]

    def test_where_the_c_library_lacks_what_linux_has(self, tmp_path, monkeypatch):
        """As on macOS: every file is forced to the disk by itself, and two renames replace."""
        flushed, fsync = set(), os.fsync

        def absent(*_, **__):
            raise OSError("no such library")

        def watched(descriptor):
            flushed.add(os.fstat(descriptor).st_ino)
            fsync(descriptor)

        monkeypatch.setattr("ctypes.CDLL", absent)
        monkeypatch.setattr(os, "fsync", watched)
        for value in (1, 2):
            with new_folder(tmp_path / "o", overwrite=True) as folder:
                write(folder, value)
            assert value_of(tmp_path / "o") == value
            inside = [tmp_path / "o", *(tmp_path / "o").rglob("*")]
            assert {path.stat().st_ino for path in inside} <= flushed
        assert names_in(tmp_path) == ["o"]

    def test_failure_keeps_the_old_set(self, tmp_path):
        write(tmp_path / "o", 1)
        with pytest.raises(ZeroDivisionError), new_folder(tmp_path / "o", overwrite=True):
            raise ZeroDivisionError
        assert value_of(tmp_path / "o") == 1
        assert names_in(tmp_path) == ["o"]

    def test_failed_rename_puts_the_old_set_back(self, tmp_path, monkeypatch):
        monkeypatch.setattr(files, "_exchange", lambda *_: False)
        write(tmp_path / "o", 1)
        rename = Path.rename

        def failing(self, target):
            if ".partial-" in self.name:
                raise OSError(errno.EIO, "broken disk")
            return rename(self, target)

        monkeypatch.setattr(Path, "rename", failing)
        with pytest.raises(OSError, match="broken disk"):
            write(tmp_path / "o", 2, overwrite=True)
        assert value_of(tmp_path / "o") == 1
        assert names_in(tmp_path) == ["o"]


class TestLeftovers:
    def test_are_removed_by_the_next_run(self, tmp_path):
        (tmp_path / ".o.partial-0123").mkdir()
        (tmp_path / ".o.partial-0123" / "x").write_text("x")
        (tmp_path / ".other.partial-0123").mkdir()
        (tmp_path / ".o.partial-file").write_text("no folder")
        write(tmp_path / "o", 1)
        assert names_in(tmp_path) == [".o.partial-file", ".other.partial-0123", "o"]

    def test_of_names_with_wildcards(self, tmp_path):
        (tmp_path / ".ab.partial-0123").mkdir()
        (tmp_path / ".[ab]*.partial-0123").mkdir()
        write(tmp_path / "[ab]*", 1)
        assert names_in(tmp_path) == [".ab.partial-0123", "[ab]*"]

    def test_links_are_not_followed(self, tmp_path):
        (tmp_path / "precious").mkdir()
        (tmp_path / "precious" / "x").write_text("x")
        (tmp_path / ".o.partial-0123").symlink_to(tmp_path / "precious")
        write(tmp_path / "o", 1)
        assert names_in(tmp_path / "precious") == ["x"]


def _write_for_ever(out, ready):
    value = 0
    while True:
        value += 1
        write(out, value, n=40, overwrite=True)
        ready.set()


def _write_once(out, ready):
    ready.set()
    write(out, 5, n=400)


@pytest.mark.skipif(files.fcntl is None, reason="needs advisory locks")
class TestOtherFileSystems:
    @pytest.fixture
    def like_nfs(self, monkeypatch):
        """Locks for what is open for writing, which no folder is."""
        real = files.fcntl.flock

        def flock(descriptor, operation):
            if files.fcntl.fcntl(descriptor, files.fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
                raise OSError(errno.EBADF, os.strerror(errno.EBADF))
            real(descriptor, operation)

        monkeypatch.setattr(files.fcntl, "flock", flock)

    @pytest.fixture
    def without_locks(self, monkeypatch):
        def flock(descriptor, operation):
            raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

        monkeypatch.setattr(files.fcntl, "flock", flock)

    @pytest.mark.parametrize("kind", ["like_nfs", "without_locks"])
    def test_sets_are_written_and_what_others_may_need_is_left(self, tmp_path, kind, request):
        request.getfixturevalue(kind)
        (tmp_path / ".o.partial-0123456789abcdef").mkdir()
        write(tmp_path / "o", 1)
        write(tmp_path / "o", 2, overwrite=True)
        assert value_of(tmp_path / "o") == 2
        assert names_in(tmp_path) == [".o.partial-0123456789abcdef", "o"]

    def test_a_file_is_locked_once(self, tmp_path, like_nfs):
        (tmp_path / "lock").touch()
        lock = files.take_lock(tmp_path / "lock")
        assert lock is not None
        assert files.take_lock(tmp_path / "lock") is None
        os.close(lock)

    def test_no_locks_are_not_a_lock_that_is_held(self, tmp_path, without_locks):
        (tmp_path / "lock").touch()
        with pytest.raises(files.NoLocksError):
            files.take_lock(tmp_path / "lock")
        assert files.take_lock(tmp_path / "none") is None


@pytest.fixture(scope="module")
def processes():
    if "forkserver" not in multiprocessing.get_all_start_methods():
        pytest.skip("needs processes that start fast")
    context = multiprocessing.get_context("forkserver")
    # The modules themselves: the package's face would load none of them.
    needed = {write_image_set.__module__, read_image_set.__module__}
    context.set_forkserver_preload([*needed, "PIL.PngImagePlugin"])
    return context


def kill_after(processes, target, out, delay):
    ready = processes.Event()
    process = processes.Process(target=target, args=(out, ready))
    process.start()
    assert ready.wait(60)
    time.sleep(delay)
    process.kill()
    process.join(60)
    return process.exitcode


class TestKilled:
    """SIGKILL at random moments, which no clean-up code can answer."""

    def test_nothing_or_all_of_it(self, tmp_path, processes):
        moments, outcomes = random.Random(0), []
        for i in range(8):
            out = tmp_path / str(i) / "o"
            out.parent.mkdir()
            # From at once to a time at which fast machines have long finished.
            kill_after(processes, _write_once, out, moments.uniform(0, 0.15) * i / 7)
            outcomes.append(out.exists())
            if out.exists():
                assert len(read_image_set(out)) == 400
                assert value_of(out) == 5
            assert all(name.startswith(".o.partial-") for name in set(names_in(out.parent)) - {"o"})
            write(out, 6, overwrite=True)
            assert value_of(out) == 6
            assert names_in(out.parent) == ["o"]
        assert not all(outcomes), "no run was killed early enough to test anything"

    def test_old_or_new_while_overwriting(self, tmp_path, processes):
        moments = random.Random(1)
        out = tmp_path / "o"
        leftovers = 0
        for _ in range(8):
            exit_code = kill_after(processes, _write_for_ever, out, moments.uniform(0, 0.2))
            assert exit_code == -9
            assert len(read_image_set(out)) == 40
            value_of(out)
            leftovers += len(names_in(tmp_path)) - 1
        assert leftovers > 0, "no run was killed at work"
        assert len(names_in(tmp_path)) <= 2
