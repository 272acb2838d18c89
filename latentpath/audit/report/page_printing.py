"""Pages as PDF files, where there is a browser that prints them."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
VARIABLE = "LATENTPATH_BROWSER"
"""Environment variable that names the browser; empty, there is none."""

_SECONDS = 60


def browser() -> str | None:
    """Path of a Chromium: the one that `LATENTPATH_BROWSER` names, or one on the PATH."""
    named = os.environ.get(VARIABLE)
    names = BROWSERS if named is None else (named,) if named else ()
    return next((found for name in names if (found := shutil.which(name))), None)


def print_page(page: Path, target: Path) -> bool:
    """Print an HTML file of ours; False, and no file, where no browser is there or it fails.

    The browser gets a profile of its own that is removed, and the page forbids whatever it does not
    hold itself.

    Args:
        page: the HTML file.
        target: the PDF file to be; an older one there is replaced.
    """
    target.unlink(missing_ok=True)
    found = browser()
    if found is None:
        return False
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "page.pdf"
        options = [
            "--headless=new",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            f"--user-data-dir={Path(folder) / 'profile'}",
            "--no-pdf-header-footer",
            f"--print-to-pdf={made}",
        ]
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            options.append("--no-sandbox")  # root may not make one
        # A page that cannot be printed is still a page.
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            subprocess.run(
                [found, *options, page.resolve().as_uri()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=_SECONDS,
                check=True,
            )
        if not made.is_file():
            return False
        shutil.copyfile(made, target)
        target.chmod(0o600)
    return True
