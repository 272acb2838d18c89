"""A report as HTML files that need no network: all of it, one page of it, and `audit.json`.

Pages become PDF files, too, where there is a browser that prints them.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from latentpath.audit.report.board_summary import summary_context
from latentpath.audit.report.page_context import page_context
from latentpath.audit.report.report_model import Report
from latentpath.core import InputError, OutputExistsError, check_extra, require_extra, write_file

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


JSON_NAME, SUMMARY_NAME, PRINT_NAME = "audit.json", "summary.html", "summary.pdf"
# What measures and their report import where they need it.
_PACKAGES = ("PIL", "jinja2", "matplotlib", "monai", "safetensors", "scipy", "torchmetrics")


def check_packages() -> None:
    """Raise MissingExtraError unless all that measures and reports need later is installed."""
    check_extra("pipeline", *_PACKAGES)


def check_report(path: str | Path, *, overwrite: bool = False) -> None:
    """Find out before any measure whether `write_report` will be possible.

    Args:
        path: the HTML file to be.
        overwrite: whether an earlier report there may be replaced.

    Raises:
        MissingExtraError: a package that measures or reports need is not installed.
        InputError: no file can be written there.
        OutputExistsError: the report, or what goes beside it, exists.
    """
    check_packages()
    path = Path(path)
    folder = next(place for place in path.absolute().parents if os.path.lexists(place))
    if path.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(
            expected="a report file that can be written",
            got=f"{path}, which is a folder or lies in one that cannot be written to",
            fix="choose another place",
        )
    for file in (path, *map(path.with_name, (JSON_NAME, SUMMARY_NAME, PRINT_NAME))):
        if os.path.lexists(file) and not overwrite:
            raise OutputExistsError(
                expected=f"no file at {file}",
                got="one that would be replaced",
                fix="choose another folder, or pass --overwrite",
            )


def write_report(path: str | Path, report: Report, *, include_real: bool = True) -> Path:
    """Write the report as one self-contained HTML file, and `audit.json` beside it.

    Of a report with verdicts there is a `summary.html`, too: one page without any image that names
    the set by its seal, and where there is a Chromium the same as `summary.pdf`. Each file is
    written under a temporary name and renamed, so none is ever half there.

    Args:
        path: the HTML file; its folder is created. An older report there is replaced.
        report: what to show.
        include_real: show real images beside the samples. Such a report is for the data holder
            and says so at its top; False leaves every real image out.

    Returns:
        the path of the HTML file.

    Raises:
        MissingExtraError: jinja2, matplotlib or Pillow is not installed.
        InputError: the folder cannot be written to.
    """
    path = Path(path)
    jinja2 = require_extra("jinja2", "pipeline")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "page"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("report.html").render(page_context(report, include_real))
    summary, printed = path.with_name(SUMMARY_NAME), path.with_name(PRINT_NAME)
    for older in (summary, printed):
        older.unlink(missing_ok=True)
    numbers = json.dumps(report.as_dict(), indent=2, allow_nan=False, ensure_ascii=False)
    _write_whole(path.with_name(JSON_NAME), numbers + "\n")
    _write_whole(path, page)
    if report.verdicts:
        sheet = environment.get_template("summary.html")
        _write_whole(summary, sheet.render(summary_context(report, include_real)))
        print_page(summary, printed)
    return path


def summary_line(report: Path) -> str:
    """Return a line to print: where the summary of a report lies, and who it is for."""
    printed = report.with_name(PRINT_NAME)
    beside = f", to print: {printed}" if printed.exists() else ""
    return f"summary: {report.with_name(SUMMARY_NAME)} (one page, no image: for the board){beside}"


def _write_whole(path: Path, text: str) -> None:
    """Write a file for the owner alone: it may show real images."""
    try:
        write_file(path, text.encode())
    except OSError as error:
        raise InputError(
            expected=f"that {path} can be written",
            got=str(error.strerror).lower(),
            fix="make room or choose another place",
        ) from error
