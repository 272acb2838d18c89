"""What the site's pages take from elsewhere, so that nothing is written twice.

A line `<!-- options: produce -->` becomes the options of that command,
`<!-- face: latentpath.walks -->` the public names of that package, and
`<!-- csv: walk.csv: device, solver, seconds -->` a table of columns of a file in `benches/results`,
or of all. Links that leave `docs/` become the places of files in the repository, which is not part
of the site.
"""

from __future__ import annotations

import argparse
import csv
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
_LINE = re.compile(r"^<!-- (options|face|csv): (.+?) -->$", re.MULTILINE)
_OUTSIDE = re.compile(r"(?<!!)\[([^\]]+)\]\(\.\./([^)#]+)\)")
_PICTURES = ("benches/results/kernels.svg",)


_ELSEWHERE = re.compile(r'<(?:script|link|img|iframe)[^>]+(?:src|href)="(?:https?:)?//')


def on_config(config: Any) -> Any:
    """Show pages that `mkdocs.yml` does not name at the end, so that none is out of sight."""
    named = re.findall(r"[\w/]+\.md", str(config.nav))
    more = sorted({path.name for path in (ROOT / "docs").glob("*.md")} - set(named))
    config.nav += [{"More": more}] if more else []
    return config


def on_post_page(output: str, page: Any, **_: Any) -> None:
    """Refuse pages that would load anything from elsewhere."""
    from mkdocs.exceptions import PluginError

    if found := _ELSEWHERE.search(output):
        raise PluginError(f"{page.file.src_uri} loads from elsewhere: {found[0]}")


def on_files(files: Any, config: Any) -> Any:
    """Take pictures along that lie outside of `docs/`."""
    from mkdocs.structure.files import File

    for place in _PICTURES:
        files.append(File.generated(config, place, abs_src_path=str(ROOT / place)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Fill in what a page asks for."""
    makers = {"options": options_text, "face": face_text, "csv": csv_text}
    markdown = markdown.replace("<!-- readme -->", readme_text())
    markdown = _LINE.sub(lambda found: makers[found[1]](found[2]), markdown)
    for place in _PICTURES:
        markdown = markdown.replace(f"(../{place})", f"({place})")
    return _OUTSIDE.sub(r"\1 (`\2` in the repository)", markdown)


def readme_text() -> str:
    """Return the README as a page of the site: its places are seen from `docs/`."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return re.sub(r"\]\((?!docs/|[a-z]+:|#)", "](../", text).replace("](docs/", "](")


def options_text(words: str) -> str:
    """Return the options of a command, such as "train generator", as Markdown."""
    from latentpath.cli import make_parser

    parser: argparse.ArgumentParser = make_parser()
    for word in words.split():
        parser = _commands(parser)[word]
        if declare := getattr(parser, "declare", None):
            parser.declare = None  # type: ignore[attr-defined]
            declare(parser)
    about = _plain(parser.description or "")
    parts = [f"{about[:1].upper()}{about[1:]}.\n"]
    for group in parser._action_groups:
        actions = [a for a in group._group_actions if not isinstance(a, _LEFT_OUT)]
        if actions:
            name = {"positional arguments": "arguments", "options": "general"}.get(
                group.title or "", group.title
            )
            parts.append(f"**{str(name).capitalize()}**\n")
            parts += [_option(action) for action in actions]
    return "\n".join(parts)


_LEFT_OUT = (argparse._HelpAction, argparse._SubParsersAction, argparse._VersionAction)


def _commands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    (found,) = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    return found.choices


def _option(action: argparse.Action) -> str:
    names = ", ".join(f"`{name}`" for name in action.option_strings) or f"`{action.metavar}`"
    value = "" if action.nargs == 0 or not action.option_strings else f" {_value(action)}"
    text = (action.help or "") % {**vars(action), "prog": "latentpath"}
    return f"{names}{value}\n:   {_plain(text)}\n"


def _value(action: argparse.Action) -> str:
    if action.choices:
        return "*" + " | ".join(map(str, action.choices)) + "*"
    return f"*{action.metavar or action.dest.upper()}*"


def _plain(text: str) -> str:
    """Return text that Markdown shows as it is, but for `code`."""
    parts = re.split(r"(`[^`]*`)", " ".join(text.split()))
    plain = [p if p.startswith("`") else re.sub(r"([\\*_<>\[\]#])", r"\\\1", p) for p in parts]
    return "".join(plain)


def face_text(package: str) -> str:
    """Return what mkdocstrings is to show of a package: each public name, where it is defined."""
    from latentpath.core.faces import face_names

    folder = ROOT.joinpath(*package.split("."))
    # A package that is eager lists its names in its module.
    stub = next(p for p in (folder / "__init__.pyi", folder / "__init__.py") if p.exists())
    own = {
        name: module
        for name, module in face_names(stub).items()
        if module.startswith("latentpath.") and name[:1] != "_"
    }
    return "\n".join(f"::: {module}.{name}\n" for name, module in sorted(own.items()))


def csv_text(words: str) -> str:
    """Return a file of `benches/results` as a table, of the columns that are named behind it."""
    name, _, columns = words.partition(": ")
    with (ROOT / "benches" / "results" / name).open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    chosen = [column.strip() for column in columns.split(",")] if columns else list(rows[0])
    lines = [chosen, ["---"] * len(chosen), *([_cell(row[c]) for c in chosen] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(text: str) -> str:
    try:
        number = float(text)
    except ValueError:
        return _plain(text).replace("|", "\\|")
    return text if len(text) < 8 else f"{number:.4g}"
