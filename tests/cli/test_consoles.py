"""Whatever the console is, a command ends as its work did, and says what the console can show."""

from __future__ import annotations

import errno
import io
import os
import pty
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("monai")
pytest.importorskip("safetensors")
pytest.importorskip("PIL")

from PIL import Image

from latentpath.cli import main
from latentpath.cli.console import Bars, Console
from latentpath.core import LatentpathWarning
from support import tiny_models

ROOT = Path(__file__).parents[2]
QUICK = ["--quiet", "--k", "3", "--steps", "4", "--passes", "1", "--count", "4",
         "--gate-quantile", "0", "--gate-identity", "1", "--no-gate-class"]  # fmt: skip
# Two folders of classes: one in Chinese, one whose name is no text at all.
CLASSES = ("正常", os.fsdecode(b"\xff\xfe-pneumonia"))


class FullDisk(io.RawIOBase):
    """Where nothing fits any more."""

    def writable(self):
        return True

    def write(self, data):
        raise OSError(errno.ENOSPC, "No space left on device")


def in_code_page(encoding):
    return lambda: io.TextIOWrapper(io.BytesIO(), encoding=encoding)


def left_pipe():
    reader, writer = os.pipe()
    os.close(reader)
    return open(writer, "w", encoding="utf-8")


def closed():
    stream = io.StringIO()
    stream.close()
    return stream


def full():
    return io.TextIOWrapper(io.BufferedWriter(FullDisk()), encoding="utf-8")


CONSOLES = {
    "cp1252": in_code_page("cp1252"),
    "ascii": in_code_page("ascii"),
    "utf-8": in_code_page("utf-8"),
    "utf-16": in_code_page("utf-16"),
    "none": lambda: None,
    "left": left_pipe,
    "closed": closed,
    "full": full,
    "text": io.StringIO,
}


def run(monkeypatch, argv, output, errors=None):
    """Exit code and both streams of a command in this process, on these streams."""
    streams = output(), (errors or output)()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", streams[0])
        patch.setattr(sys, "stderr", streams[1])
        try:
            code = main([str(word) for word in argv])
        except SystemExit as stop:
            code = stop.code
        assert (sys.stdout, sys.stderr) == streams  # as they were
    return code, *streams


def text_of(stream):
    stream.flush()
    return stream.buffer.getvalue().decode(stream.encoding)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    try:
        for name in CLASSES:
            (folder / name).mkdir()
            for number in range(3):
                pixels = rng.integers(0, 256, (6, 5), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / name / f"{number}.png")
    except OSError:
        pytest.skip("this file system takes no such names")
    return folder


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Data, weights and a finished run whose classes have names that no code page holds."""
    folder = tmp_path_factory.mktemp("finished")
    private = tiny_models.private_set((6, 6))
    data = tiny_models.write_folder(folder / "data", private)
    for old, new in zip(tiny_models.CLASSES, ("正常", "肺炎"), strict=False):
        (data / old).rename(data / new)
    weights = tiny_models.save_bundle(folder / "weights", tiny_models.bundle_for(private))
    argv = ["produce", "--data", data, "--weights", weights, "--out", folder / "run", *QUICK]
    assert main([str(word) for word in argv]) == 0
    return folder


# What every command prints, with the exit code that its work has: reports, help and errors.
COMMANDS = {
    "scan": (["scan", "--data", "IMAGES"], 0),
    "scan --json": (["scan", "--data", "IMAGES", "--json"], 0),
    "verify": (["verify", "RUN", "--quiet"], 0),
    "verify --json": (["verify", "RUN", "--json"], 0),
    "verify --seal": (["verify", "RUN", "--quiet", "--seal", "0" * 64], 2),
    "status": (["status", "RUN"], 0),
    "info": (["info"], 0),
    "--version": (["--version"], 0),
    "--help": (["--help"], 0),
    "train --help": (["train", "generator", "--help"], 0),
    "produce --help": (["produce", "--help"], 0),
    "unknown option": (["scan", "--option正"], 2),
    "no such folder": (["verify", os.fsdecode(b"/nowhere/\xff\xfe")], 2),
    "named files": (["scan", "--data", "IMAGES", "--csv", "正常.csv", "--verbose"], 2),
}


@pytest.mark.parametrize("console", CONSOLES)
@pytest.mark.parametrize("words", COMMANDS)
def test_the_exit_code_is_that_of_the_work(words, console, images, finished, monkeypatch):
    argv, wanted = COMMANDS[words]
    places = {"IMAGES": images, "RUN": finished / "run"}
    argv = [places.get(word, word) for word in argv]
    code, *_ = run(monkeypatch, argv, CONSOLES[console])
    # An answer that did not fit on the disk was not given.
    lost = console == "full" and words.split()[0] in ("scan", "verify", "status", "info")
    assert code == (2 if lost else wanted)


@pytest.mark.parametrize("console", ["ascii", "none", "left", "full"])
def test_a_set_is_made_whatever_becomes_of_its_seal(console, finished, monkeypatch, tmp_path):
    data, weights = finished / "data", finished / "weights"
    out = tmp_path / "正常"
    argv = ["produce", "--data", data, "--weights", weights, "--out", out, *QUICK]
    code, output, _ = run(monkeypatch, argv, CONSOLES[console])
    assert code == 0
    assert main(["verify", str(out), "--quiet"]) == 0
    if console == "ascii":
        shown = text_of(output)
        assert "\\u6b63\\u5e38" in shown
        assert shown.splitlines()[-1].startswith("seal: ")


@pytest.mark.parametrize(
    ("encoding", "first", "second"),
    [
        ("ascii", r"class '\u6b63\u5e38': 3 images", r"class '\udcff\udcfe-pneumonia': 3 images"),
        ("cp1252", r"class '\u6b63\u5e38': 3 images", r"class '\udcff\udcfe-pneumonia': 3 images"),
        ("utf-8", "class '正常': 3 images", r"class '\udcff\udcfe-pneumonia': 3 images"),
    ],
)
def test_what_a_console_lacks_is_escaped(encoding, first, second, images, monkeypatch):
    _, output, errors = run(monkeypatch, ["scan", "--data", images], in_code_page(encoding))
    shown = text_of(output)
    assert first in shown
    assert second in shown
    assert text_of(errors).startswith("read images: 6/6")


@pytest.mark.parametrize(
    ("text", "shown"),
    [("0.5 ± 0.1 – “a” … 3 × ∞", '0.5 +- 0.1 - "a" ... 3 x inf'), ("正", r"\u6b63")],
)
def test_signs_of_our_texts_stay_readable(text, shown, monkeypatch):
    stream = in_code_page("ascii")()
    monkeypatch.setattr(sys, "stdout", stream)
    with Console():
        print(text)
    assert text_of(stream) == f"{shown}\n"


def test_warnings_and_tracebacks(monkeypatch, images):
    def fails(*_, **__):
        warnings.warn("正常 is – odd", LatentpathWarning, stacklevel=1)
        raise RuntimeError("肺炎")

    monkeypatch.setattr("latentpath.data.scan", fails)
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        argv = ["scan", "--data", images, "--verbose"]
        code, _, errors = run(monkeypatch, argv, in_code_page("ascii"))
    assert code == 1
    lines = text_of(errors).splitlines()
    assert lines[0] == r"latentpath: warning: \u6b63\u5e38 is - odd"
    assert r"RuntimeError: \u80ba\u708e" in lines


@pytest.mark.parametrize(("words", "code"), [("scan", 2), ("convert", 0)])
def test_a_full_disk_is_told(words, code, images, finished, monkeypatch, tmp_path):
    weights = finished / "weights" / "generator.safetensors"
    argv = [words, weights, tmp_path / "g.safetensors"]
    if words == "scan":
        argv = ["scan", "--data", images]
    found, _, errors = run(monkeypatch, argv, full, in_code_page("utf-8"))
    assert found == code
    last = text_of(errors).splitlines()[-1]
    assert last == ("latentpath: warning: standard output is incomplete (No space left on device)")


def test_a_signal_in_the_middle_of_a_write(monkeypatch, tmp_path):
    """Python's buffers refuse the handler's text; it goes past them."""
    with (tmp_path / "log").open("w", encoding="ascii") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        with Console():

            def refuse(*_):
                raise RuntimeError("reentrant call inside <_io.BufferedWriter>")

            monkeypatch.setattr(sys.stderr, "_stream", _Refusing(stream, refuse))
            print("stopping – now", file=sys.stderr, flush=True)
    assert (tmp_path / "log").read_text(encoding="ascii") == "stopping - now\n"


class _Refusing:
    def __init__(self, stream, refuse):
        self.stream, self.write, self.flush = stream, refuse, refuse
        self.encoding = stream.encoding

    def fileno(self):
        return self.stream.fileno()


class TestBars:
    def progress(self, bars):
        with bars:
            bars("read images", 0, 3, {})
            bars("read images", 3, 3, {"unreadable": 0.0})

    def on_a_terminal(self, monkeypatch, term="xterm", **names):
        class Terminal(io.StringIO):
            encoding = "utf-8"

            def isatty(self):
                return True

        stream = Terminal()
        monkeypatch.setattr(sys, "stderr", stream)
        for name, value in {"TERM": term, "COLUMNS": "40", **names}.items():
            monkeypatch.setenv(name, value)
        return stream

    @pytest.mark.parametrize("term", ["dumb", "unknown"])
    def test_lines_where_the_cursor_cannot_move(self, monkeypatch, term):
        stream = self.on_a_terminal(monkeypatch, term)
        self.progress(Bars())
        assert stream.getvalue() == "read images: 3/3 in 0 s  unreadable 0\n"

    def test_lines_without_rich(self, monkeypatch):
        stream = self.on_a_terminal(monkeypatch)
        monkeypatch.setitem(sys.modules, "rich.progress", None)
        self.progress(Bars())
        assert stream.getvalue() == "read images: 3/3 in 0 s  unreadable 0\n"

    def test_bars_at_forty_columns_without_colours(self, monkeypatch):
        stream = self.on_a_terminal(monkeypatch, NO_COLOR="1")
        self.progress(Bars())
        assert "read images" in stream.getvalue()
        assert "\x1b[3" not in stream.getvalue()  # a colour

    def test_text_goes_to_standard_output_and_in_whole_lines(self, monkeypatch):
        errors = self.on_a_terminal(monkeypatch)
        output = io.StringIO()
        monkeypatch.setattr(sys, "stdout", output)
        with Console() as console, Bars() as bars:
            console.before_output = bars.leave
            bars("walk", 1, 3, {})
            print("seal: " + "0123456789abcdef" * 4)
            bars("walk", 2, 3, {})
        assert output.getvalue() == "seal: " + "0123456789abcdef" * 4 + "\n"
        assert "seal" not in errors.getvalue()
        assert errors.getvalue().count("walk") >= 2


def test_a_report_goes_where_it_was_sent_from_a_terminal(images, tmp_path):
    """Progress on a terminal, the report in a file."""
    ours, theirs = pty.openpty()
    with (tmp_path / "report.txt").open("wb") as report:
        process = subprocess.Popen(
            [sys.executable, "-m", "latentpath", "scan", "--data", str(images)],
            stdout=report, stderr=theirs, env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
    os.close(theirs)
    with open(ours, "rb", buffering=0) as terminal:
        try:
            while terminal.read(4096):
                pass
        except OSError:  # how Linux says that the other side has gone
            pass
    assert process.wait() == 0
    assert (tmp_path / "report.txt").read_bytes().startswith(b"format: folder\n")


@pytest.mark.parametrize(
    ("redirections", "names"),
    [
        ("<&- >&- 2>&-", {}),
        ("2>/dev/null | true", {}),
        (">report.txt 2>&1", {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}),
        (">report.txt 2>&1", {"PYTHONIOENCODING": "cp1252", "COLUMNS": "40", "TERM": "dumb"}),
    ],
)
def test_in_a_shell(redirections, names, images, tmp_path):
    command = f'"$0" -m latentpath scan --data "$1" {redirections}; exit ${{PIPESTATUS[0]}}'
    ended = subprocess.run(
        ["bash", "-c", command, sys.executable, str(images)],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT), **names}, check=False,
    )  # fmt: skip
    assert ended.returncode == 0
    if "report" in redirections:
        assert "-pneumonia" in (tmp_path / "report.txt").read_text(encoding="ascii")
