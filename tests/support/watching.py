"""Watching what a reader does: code run, files written, programs started, memory taken."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from pathlib import Path

# Events of Python's audit system (PEP 578) that no reader of data has a reason for.
_FORBIDDEN = ("exec", "compile", "import", "pickle.find_class", "marshal.", "code.", "function.")
_FORBIDDEN += ("os.", "subprocess.", "shutil.", "socket.", "ctypes.", "tempfile.", "pty.", "http.")
_FORBIDDEN += ("urllib.", "webbrowser.", "winreg.", "ftplib.", "glob.")
_ALLOWED = ("os.listdir", "os.scandir", "os.fstat", "os.stat")
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

_seen: list[str] = []
_watching = False


def _hook(event, arguments):
    if not _watching:
        return
    if event == "open":
        _, mode, flags = arguments
        if (isinstance(mode, str) and set(mode) & set("wax+")) or (flags or 0) & _WRITING:
            _seen.append(f"open {arguments}")
    elif event.startswith(_FORBIDDEN) and event not in _ALLOWED:
        _seen.append(f"{event} {arguments}"[:200])


sys.addaudithook(_hook)  # it cannot be removed, so it asks whether somebody is watching


@contextmanager
def nothing_happens():
    """Fail if the block runs code, imports, writes a file or starts a program.

    What the block needs must have been imported before: run it once unwatched.
    """
    global _watching
    _seen.clear()
    _watching = True
    try:
        yield
    finally:
        _watching = False
    assert not _seen, _seen


class Memory:
    """The process's resident memory, where Linux tells; elsewhere it is always 0."""

    def __init__(self):
        self.start = self._peak(reset=True)

    def growth(self):
        """Bytes by which the peak has risen above what was there at the start."""
        return self._peak() - self.start

    def _peak(self, reset=False):
        try:
            if reset:
                Path("/proc/self/clear_refs").write_text("5")
            status = Path("/proc/self/status").read_text()
        except OSError:
            return 0
        line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
