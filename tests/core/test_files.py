"""Files that are there whole or not at all, and locks."""

import os
import stat
import threading

import pytest

from latentpath.core import files, make_locked, new_file, take_lock, write_file


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
