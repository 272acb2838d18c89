"""A page in headless Chromium: its real layout at a width, its picture, its print."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from latentpath.audit.report.report_html import BROWSERS as NAMES

# Headless windows have a smallest width of their own, so pages are laid out in frames.
_FRAME = '<iframe style="border:0;width:{width}px;height:2000px" srcdoc="{page}"></iframe>'
_FRAMES = """<!doctype html><meta charset="utf-8"><body style="margin:0">
{frames}
<pre id="found"></pre>
<script>
const lines = (part) => {{
  const text = new Range();
  text.selectNodeContents(part);
  return [...text.getClientRects()].map((line) => line.width);
}};
const measured = (frame) => {{
  const page = frame.contentDocument, view = frame.contentWindow;
  const wide = [...page.body.querySelectorAll("*")].filter(
    (part) => part.getBoundingClientRect().right > view.innerWidth + 0.5
      && !part.closest("thead")); // on phones it is there for screen readers alone
  const pictures = [...page.images];
  return {{
    inner: view.innerWidth,
    scroll: page.documentElement.scrollWidth,
    height: page.documentElement.scrollHeight,
    beyond: wide.slice(0, 5).map((part) => part.outerHTML.slice(0, 120)),
    broken: pictures.filter((picture) => !picture.naturalWidth).length,
    pictures: pictures.length,
    seal: [...page.querySelectorAll(".seal")].flatMap(lines),
  }};
}};
window.onload = () => {{ // after that of every frame
  const frames = [...document.querySelectorAll("iframe")];
  document.getElementById("found").textContent = JSON.stringify(frames.map(measured));
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


def layouts(screens: list[tuple[Path, int]], folder: Path) -> list[dict]:
    """What readers get of a page each on a screen of so many pixels' width.

    Returns:
        For every screen: inner (width of the view), scroll (width of the content), height, beyond
        (what reaches past the right edge), pictures, broken (pictures that did not load), seal
        (widths of its lines).
    """
    frames = []
    for page, width in screens:
        text = page.read_text(encoding="utf-8").replace("&", "&amp;").replace('"', "&quot;")
        # The page forbids scripts, also in its frame; a copy without that rule can be measured.
        text = re.sub(r"<meta http-equiv=&quot;Content-Security-Policy.*?>", "", text)
        frames.append(_FRAME.format(width=width, page=text))
    path = folder / "frames.html"
    path.write_text(_FRAMES.format(frames="\n".join(frames)), encoding="utf-8")
    shown = _run(folder, "--virtual-time-budget=20000", "--dump-dom", path.as_uri())
    found = re.search(r'<pre id="found">(.*?)</pre>', shown, re.DOTALL)
    assert found, "the page was not laid out"
    assert found.group(1), "the page was not measured"
    return json.loads(
        found.group(1).replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    )


_AXE = """<!doctype html><meta charset="utf-8"><title>pages</title><body>
{frames}
<pre id="found"></pre>
<script>
window.onload = async () => {{
  const found = [];
  try {{
  for (const frame of document.querySelectorAll("iframe")) {{
    const result = await frame.contentWindow.axe.run(frame.contentDocument, {{
      runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"],
    }});
    found.push({{
      passes: result.passes.length,
      violations: result.violations.map((rule) => [rule.id, rule.nodes[0].html.slice(0, 160)]),
    }});
  }}
  }} catch (error) {{ found.push(String(error)); }}
  document.getElementById("found").textContent = JSON.stringify(found);
}};
</script>"""


def axe_findings(pages: list[str], folder: Path, axe: Path) -> list[dict]:
    """What axe-core finds of each page's HTML: passes (rules) and violations (rule, element)."""
    shutil.copyfile(axe, folder / "axe.js")
    frames = []
    for text in pages:
        text = re.sub(r'<meta http-equiv="Content-Security-Policy.*?>', "", text)
        text = text.replace("</head>", '<script src="axe.js"></script></head>', 1)
        text = text.replace("&", "&amp;").replace('"', "&quot;")
        frames.append(_FRAME.format(width=1000, page=text).replace("<iframe", '<iframe title="p"'))
    path = folder / "axe.html"
    path.write_text(_AXE.format(frames="\n".join(frames)), encoding="utf-8")
    shown = _run(folder, "--virtual-time-budget=60000", "--dump-dom", path.as_uri())
    found = re.search(r'<pre id="found">(.+?)</pre>', shown, re.DOTALL)
    assert found, "the pages were not looked at"
    return json.loads(html.unescape(found.group(1)))


def print_pdf(page: Path, target: Path) -> bytes:
    """The page as it is printed."""
    _run(target.parent, "--no-pdf-header-footer", f"--print-to-pdf={target}", page.as_uri())
    return target.read_bytes()
