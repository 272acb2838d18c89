"""The help of a command with many options: the most used ones in a line each, the others in groups.

`--help` shows it, `--help-all` every option with its whole text.
"""

from __future__ import annotations

import argparse
import re
import shutil
import textwrap
from collections.abc import Collection, Iterator, Sequence

from latentpath.cli.config_options import Family

# Where texts begin, and the widest line.
_COLUMN, _WIDEST = 26, 100
# Families of fewer options are named one by one, and those of more in their parts.
_FEWEST, _MOST = 5, 40
# Clauses of more characters are cut.
_LONG = 80
# The default at the end of a help text.
_NOTHING = ("[0]", "[0.0]", "[]", "[False]")
_DEFAULT = re.compile(r"\s*(\[[^\[\]]*\])$")


def short_help(
    parser: argparse.ArgumentParser, most_used: Collection[str], families: Sequence[Family]
) -> str:
    """What `--help` shows.

    Args:
        parser: of the command, with its options.
        most_used: names of the options that get a line each; all of them if none is named.
        families: groups of the others, as `add_options` returned them.
    """
    actions = parser._actions
    shown = [a for a in actions if not most_used or a.required or _names(a) & set(most_used)]
    left = [a for a in actions if a not in shown]
    needed = " ".join(_with_value(a) for a in actions if a.required)
    lines = [
        *_wrapped(f"usage: {parser.prog} {needed} [OPTIONS]", 7),
        "",
        *_wrapped(_sentence(parser.description or "")),
        "",
        *(line for a in shown for line in _entry(_with_value(a), _in_a_line(parser, a))),
    ]
    if left:
        lines += ["", f"{len(left)} more; `{parser.prog} --help-all` explains every option:"]
        lines += [line for each in _groups(left, families) for line in _entry(*each)]
    else:
        lines += ["", f"`{parser.prog} --help-all` says more of every option."]
    if parser.epilog:
        lines += ["", *_wrapped(parser.epilog)]
    return "\n".join(lines) + "\n"


def _groups(
    left: Sequence[argparse.Action], families: Sequence[Family]
) -> Iterator[tuple[str, str]]:
    """Names of options and what they are about: those of no family, then the families."""
    known = {id(action) for family in families for action in family.actions}
    if others := [action for action in left if id(action) not in known]:
        yield "", _listed(others)
    for prefix, members in _by_prefix(families).items():
        options = [a for family in members for a in family.actions if a in left]
        about = _sentence(_clause(members[0].about))
        if len(options) >= _FEWEST and prefix.startswith("--"):
            yield f"{prefix}*", f"{about} ({len(options)} options)"
        elif options:
            yield "", f"{about}: {_listed(options)}" if about else _listed(options)


def _by_prefix(families: Sequence[Family]) -> dict[str, list[Family]]:
    """Families by what their names begin with, those within another one with it; a number where
    that is nothing."""
    prefixes = [family.prefix for family in families if family.prefix]
    sizes = {
        prefix: sum(len(f.actions) for f in families if f.prefix.startswith(prefix))
        for prefix in prefixes
    }
    found: dict[str, list[Family]] = {}
    for number, family in enumerate(families):
        outer = [p for p in sizes if family.prefix.startswith(p) and sizes[p] <= _MOST]
        key = f"--{outer[0]}".replace("_", "-") if outer else f"{number}"
        found.setdefault(key, []).append(family)
    return found


def _in_a_line(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    """The first clause of an option's help, and its default where that is something."""
    text = (action.help or "") % {**vars(action), "prog": parser.prog}
    default = _DEFAULT.search(text)
    clause = _clause(_DEFAULT.sub("", text))
    shown = default[1] if default and default[1] not in _NOTHING else ""
    return f"{clause} {shown}".rstrip()


def _clause(text: str) -> str:
    """A text up to its first semicolon or full stop, and of a long one what stands before."""
    text = re.split(r"; |\. ", text, maxsplit=1)[0]
    for mark in (": ", ", such as ", " ("):
        if len(text) > _LONG:
            text = text.partition(mark)[0]
    return text


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _names(action: argparse.Action) -> set[str]:
    return set(action.option_strings)


def _name(action: argparse.Action) -> str:
    return max(action.option_strings, key=len) if action.option_strings else str(action.metavar)


def _with_value(action: argparse.Action) -> str:
    """An option as it is typed."""
    if isinstance(action, argparse.BooleanOptionalAction):
        return action.option_strings[0]
    names = ", ".join(action.option_strings)
    if action.nargs == 0 or not names:
        return names or str(action.metavar)
    metavar = action.metavar[0] if isinstance(action.metavar, tuple) else action.metavar
    return f"{names} {metavar or _choices(action)}"


def _choices(action: argparse.Action) -> str:
    if action.choices is None:
        return action.dest.rpartition("_")[2].upper()
    return "|".join(map(str, action.choices))


def _listed(actions: Sequence[argparse.Action]) -> str:
    """Names of options: of those that can be said and denied, what is said."""
    return ", ".join(
        a.option_strings[0] if isinstance(a, argparse.BooleanOptionalAction) else _name(a)
        for a in actions
    )


def _width() -> int:
    return min(_WIDEST, shutil.get_terminal_size().columns - 2)


def _wrapped(text: str, indent: int = 0) -> list[str]:
    return textwrap.wrap(
        text, _width(), subsequent_indent=" " * indent, break_on_hyphens=False
    )  # names of options stay whole


def _entry(head: str, text: str) -> list[str]:
    """A name and its text beside it, or below where the name is long."""
    body = textwrap.wrap(text, max(20, _width() - _COLUMN), break_on_hyphens=False) or [""]
    first = f"  {head}"
    lines = [f"{'':{_COLUMN}}{line}".rstrip() for line in body]
    if len(first) > _COLUMN - 2:
        return [first, *lines]
    return [f"{first:{_COLUMN}}{body[0]}".rstrip(), *lines[1:]]
