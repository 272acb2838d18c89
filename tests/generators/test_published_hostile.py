"""Hostile pickles are refused by name; nothing in them runs and no memory is taken for them."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import tarfile
import zipfile
from pathlib import Path

import pytest
import torch

import latentpath
from latentpath.core.errors import WeightsError
from latentpath.generators.published import (
    DamagedPickleError,
    ForeignFileError,
    OversizedPickleError,
    read_published,
)
from latentpath.generators.published.bounded_reading import Limits
from support import (
    hostile_files as hostile,
    pickle_assembler as assembler,
    published_files as published,
    published_networks as networks,
    watching,
)
from support.fresh import python

COLLECTION = hostile.collection()
MEMORY = 300 << 20


@pytest.fixture(scope="module", autouse=True)
def warm(tmp_path_factory):
    """Import what a valid file needs, so that imports of hostile ones are seen."""
    path = tmp_path_factory.mktemp("warm") / "valid.pkl"
    for protocol in (0, 4):  # each has codecs of its own
        path.write_bytes(assembler.valid(protocol=protocol))
        latentpath.load_generator(path)


@pytest.fixture
def refuse(tmp_path, monkeypatch):
    """Load a hostile file under watch; returns the line that refuses it."""
    monkeypatch.chdir(tmp_path)

    def refuse_(data, kind, words=""):
        path = tmp_path / "hostile.pkl"
        if data is not None:
            path.write_bytes(data)
        memory = watching.Memory()
        with watching.nothing_happens(), pytest.raises(kind) as error:
            latentpath.load_generator(path)
        assert memory.growth() < MEMORY
        assert isinstance(error.value, WeightsError)
        line = str(error.value)
        assert "\n" not in line
        assert len(line) < 1000
        assert line.isprintable()
        assert words in line
        assert str(path) in line
        assert not Path(assembler.MARKER).exists()
        assert networks.SENTINEL not in os.environ
        return line

    return refuse_


@pytest.mark.parametrize("title", COLLECTION)
def test_the_collection(refuse, title):
    data, kind, words = COLLECTION[title]
    refuse(data, kind, words)


def test_the_collection_is_no_collection_of_typos():
    """Most of it is what Python's own unpickler would carry out."""
    short = [data for data, _, _ in COLLECTION.values() if len(data) < 100_000]
    assert len(short) > 250
    assert sum(map(hostile.as_pickle_sees, short)) > 0.8 * len(short)


def test_a_call_that_would_work_does(tmp_path, monkeypatch):
    """The watch itself works: Python's unpickler runs the same file, and is seen."""
    import pickle

    monkeypatch.chdir(tmp_path)
    data, _, _ = COLLECTION["call os.system"]
    with pytest.raises(AssertionError, match=r"os\.system"), watching.nothing_happens():
        pickle.loads(data)
    assert Path(assembler.MARKER).exists()


def test_within_the_address_space(tmp_path):
    """The whole collection once more, in a process that cannot have more memory."""
    pytest.importorskip("resource")
    for number, (data, _, _) in enumerate(COLLECTION.values()):
        (tmp_path / f"{number}.pkl").write_bytes(data)
    (tmp_path / "valid.pkl").write_bytes(assembler.valid())
    code = f"""
import resource, sys
from pathlib import Path
import latentpath
from latentpath.core.errors import WeightsError
folder = Path({str(tmp_path)!r})
latentpath.load_generator(folder / "valid.pkl")
pages = int(Path("/proc/self/statm").read_text().split()[0])
most = pages * resource.getpagesize() + {MEMORY}
resource.setrlimit(resource.RLIMIT_AS, (most, most))
refused = 0
for number in range({len(COLLECTION)}):
    try:
        latentpath.load_generator(folder / f"{{number}}.pkl")
    except WeightsError:
        refused += 1
print(refused)
"""
    if not Path("/proc/self/statm").exists():
        pytest.skip("needs Linux's /proc")
    found = python(code)
    assert found.stdout.strip() == str(len(COLLECTION)), found.stderr[-2000:]


@pytest.mark.parametrize("choices", [{}, {"zipped": True}, {"protocol": 0}, {"share": True}])
def test_cut_off_anywhere(refuse, choices):
    data = assembler.valid(**choices)
    step = max(1, len(data) // 50)
    for length in [*range(1, len(data), step), len(data) - 1]:
        refuse(data[:length], (DamagedPickleError, ForeignFileError))


def archive_of(data, kind):
    file = io.BytesIO()
    if kind == "tar":
        with tarfile.open(fileobj=file, mode="w") as tar:
            entry = tarfile.TarInfo("network.pkl")
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    else:
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("network.pkl", data)
    return file.getvalue()


@pytest.mark.parametrize(
    ("words", "make"),
    [
        ("an empty file", lambda data: b""),
        ("a tar archive", lambda data: archive_of(data, "tar")),
        ("a zip archive", lambda data: archive_of(data, "zip")),
        ("a zip archive", lambda data: assembler.saved({"a": torch.zeros(2)}, zipped=True)),
        ("a file of torch.save", lambda data: assembler.saved({"a": torch.zeros(2)})),
        ("a gzip archive", gzip.compress),
        ("a bzip2 archive", bz2.compress),
        ("an xz archive", lzma.compress),
        ("a web page", lambda data: b"<!DOCTYPE html>\n<html><title>Quota exceeded</title>"),
        ("a web page", lambda data: b"\xef\xbb\xbf\r\n <HTML>"),
        ("Git LFS", lambda data: b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n"),
        ("a NumPy file", lambda data: b"\x93NUMPY\x01\x00"),
        ("no pickle", lambda data: b"\x00\x01\x02\x03" * 20),
        ("no pickle", lambda data: b"{\"z_dim\": 64}"),
        ("a safetensors file", lambda data: b"\x10\0\0\0\0\0\0\0{\"a\": {}}      "),
    ],
)  # fmt: skip
def test_in_disguise(refuse, words, make):
    refuse(make(assembler.valid()), ForeignFileError, words)


class TestPlaces:
    def test_absent(self, refuse):
        refuse(None, WeightsError, "no such file")

    def test_a_folder(self, refuse, tmp_path):
        (tmp_path / "hostile.pkl").mkdir()
        refuse(None, WeightsError, "director")

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
    def test_a_pipe_that_nobody_writes_to(self, refuse, tmp_path):
        os.mkfifo(tmp_path / "hostile.pkl")
        refuse(None, WeightsError, "no file")

    def test_a_file_that_is_too_large(self, tmp_path):
        path = tmp_path / "large.pkl"
        path.write_bytes(assembler.valid())
        with pytest.raises(WeightsError, match="more than 100 bytes"):
            read_published(path, Limits(file_bytes=100))


def test_limits_are_far_above_a_real_network(tmp_path):
    """A snapshot of networks for 1024x1024 takes about 80,000 instructions."""
    path = tmp_path / "valid.pkl"
    stand_in = published.small(
        img_resolution=64, mapping_kwargs={"num_layers": 8}, c_dim=3,
        synthesis_kwargs={"channel_base": 64, "channel_max": 4},
    )  # fmt: skip
    path.write_bytes(published.pickled({"G": published.small(), "G_ema": stand_in}))
    limits = Limits()
    read_published(path, Limits(opcodes=limits.opcodes // 12, stack=limits.stack // 100))
    with pytest.raises(OversizedPickleError, match="1,000 instructions"):
        read_published(path, Limits(opcodes=1000))
    with pytest.raises(OversizedPickleError, match="10,000 bytes of text"):
        read_published(path, Limits(all_text_bytes=10_000))
