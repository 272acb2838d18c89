"""A page in headless Chromium: its real layout at a width, its picture, its print."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")

# Headless windows have a smallest width of their own, so the page is laid out in a frame.
_FRAME = """<!doctype html><meta charset="utf-8"><body style="margin:0">
<iframe id="page" style="border:0;width:{width}px;height:2000px" srcdoc="{page}"></iframe>
<pre id="found"></pre>
<script>
const frame = document.getElementById("page");
frame.onload = () => {{
  const page = frame.contentDocument, view = frame.contentWindow;
  const wide = [...page.body.querySelectorAll("*")].filter(
    (part) => part.getBoundingClientRect().right > view.innerWidth + 0.5
      && !part.closest("thead")); // on phones it is there for screen readers alone
  const pictures = [...page.images];
  document.getElementById("found").textContent = JSON.stringify({{
    inner: view.innerWidth,
    scroll: page.documentElement.scrollWidth,
    height: page.documentElement.scrollHeight,
    beyond: wide.slice(0, 5).map((part) => part.outerHTML.slice(0, 120)),
    broken: pictures.filter((picture) => !picture.naturalWidth).length,
    pictures: pictures.length,
  }});
}};
</script>"""


def browser() -> str:
    """The browser's path; skips the test where there is none."""
    for name in NAMES:
        if found := shutil.which(name):
            return found
    pytest.skip(f"needs a Chromium: none of {', '.join(NAMES)} is on the PATH")


def _run(folder: Path, *arguments: str) -> str:
    command = [
        browser(),
        "--headless=new",
        "--no-sandbox",  # a container's root user may not make one; the page is our own
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--hide-scrollbars",
        f"--user-data-dir={folder / 'profile'}",
        *arguments,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    if done.returncode:
        pytest.skip(f"Chromium does not start here: {done.stderr.strip()[-200:]}")
    return done.stdout


def layout(page: Path, width: int, folder: Path) -> dict:
    """What a reader with a screen of `width` pixels gets.

    Returns:
        inner (width of the view), scroll (width of the content), height, beyond (what reaches past
        the right edge), pictures, broken (pictures that did not load).
    """
    text = page.read_text(encoding="utf-8").replace("&", "&amp;").replace('"', "&quot;")
    # The page forbids scripts, also in its frame; a copy without that rule can be measured.
    text = re.sub(r"<meta http-equiv=&quot;Content-Security-Policy.*?>", "", text)
    frame = folder / f"frame-{width}.html"
    frame.write_text(_FRAME.format(width=width, page=text), encoding="utf-8")
    shown = _run(folder, "--virtual-time-budget=20000", "--dump-dom", frame.as_uri())
    found = re.search(r'<pre id="found">(.*?)</pre>', shown, re.DOTALL)
    assert found, "the page was not laid out"
    assert found.group(1), "the page was not measured"
    return json.loads(
        found.group(1).replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    )


def print_pdf(page: Path, target: Path) -> bytes:
    """The page as it is printed."""
    _run(target.parent, "--no-pdf-header-footer", f"--print-to-pdf={target}", page.as_uri())
    return target.read_bytes()
