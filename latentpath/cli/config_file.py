"""Configuration files: every option of a command as a line of TOML, and the schema of such files.

All of it is read off the command's parser, so that options and file never differ. What stands on
the command line counts more than the file.
"""

from __future__ import annotations

import argparse
import difflib
import json
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from latentpath.cli.command import PLACES, check_place
from latentpath.core import InputError, OutputExistsError, require_extra

EXAMPLE = "run.toml"
# Options that say what to do now; they make no sense in a file.
_NOT_KEPT = {"help", "config", "init", "schema", "quiet", "resume", "rebuild_ledger", "overwrite"}
_ADDRESSES = {"ray_address"}
_SCHEMA = "https://json-schema.org/draft/2020-12/schema"


def add_config_options(parser: argparse.ArgumentParser) -> None:
    """Add --config, --init and --schema."""
    parser.add_argument(
        "--config",
        metavar="FILE",
        help="TOML file with options of this command, named as here with _ for -; the command "
        "line counts more",
    )
    parser.add_argument(
        "--init",
        action=_print_and_leave(write_example),
        nargs="?",
        const=EXAMPLE,
        metavar="FILE",
        help=f"write an example of such a file, with comments, and leave [{EXAMPLE}]",
    )
    parser.add_argument(
        "--schema",
        action=_print_and_leave(lambda parser, _: json.dumps(schema(parser), indent=1)),
        nargs=0,
        help="print the JSON schema of such a file, and leave",
    )


def _print_and_leave(
    answer: Callable[[argparse.ArgumentParser, Any], str],
) -> type[argparse.Action]:
    class Leave(argparse.Action):
        def __call__(
            self,
            parser: argparse.ArgumentParser,
            namespace: argparse.Namespace,
            values: str | Sequence[Any] | None,
            option_string: str | None = None,
        ) -> None:
            print(answer(parser, values))
            parser.exit()

    return Leave


def use_config_file(parser: argparse.ArgumentParser, words: Sequence[str] | None) -> None:
    """Make the values of the file that --config names the parser's defaults.

    Raises:
        InputError: no such file, no TOML, unknown options or values of other types.
    """
    finder = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    finder.add_argument("--config")
    try:
        found, _ = finder.parse_known_args(sys.argv[1:] if words is None else list(words))
    except argparse.ArgumentError:
        return  # no value; the parser itself will say so
    if found.config is None:
        return
    check_place(found.config, "--config")
    options = {action.dest: action for action in kept_options(parser)}
    for name, value in _entries(read_toml(Path(found.config))):
        if name not in options:
            last = name.rpartition(".")[2]
            near = [known for known in options if known.rpartition(".")[2] == last]
            near = near or difflib.get_close_matches(name, options, 1)
            raise InputError(
                expected=f"options of this command in {Path(found.config).name}",
                got=repr(name),
                fix=f"did you mean {near[0]}?" if near else "see --schema",
            )
        action = options[name]
        action.default = _checked(action, value)
        action.required = False


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises:
        InputError: it cannot be read; the message says where.
    """
    module = "tomllib" if sys.version_info >= (3, 11) else "tomli"
    tomllib = require_extra(module, "pipeline")
    try:
        # Editors on Windows put a byte order mark before the text.
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        reason = str(error.strerror)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        reason = str(error)
    raise InputError(
        expected="a configuration file in TOML",
        got=f"{path.name} ({reason})",
        fix="correct it, or write an example with --init",
    )


def _entries(values: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Values of a file by the names of their options, such as "walk.steps"."""
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _entries(value, f"{before}{name}.")
        else:
            yield before + name, value


def kept_options(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Options that a file may hold, in the order of the help."""
    for action in parser._actions:
        # A word for one value of another option has that one's place.
        alias = type(action) is argparse._StoreConstAction
        if action.dest not in _NOT_KEPT and action.option_strings and not alias:
            yield action


def schema(parser: argparse.ArgumentParser) -> dict[str, Any]:
    """JSON schema of the command's configuration files."""
    return {
        "$schema": _SCHEMA,
        "title": f"Options of `{parser.prog}`",
        "type": "object",
        **_properties(parser),
    }


def _properties(parser: argparse.ArgumentParser) -> dict[str, Any]:
    """Options by name; those of a table as an object of their own."""
    content: dict[str, Any] = {"additionalProperties": False, "properties": {}}
    for action in kept_options(parser):
        *tables, name = action.dest.split(".")
        place = content
        for table in tables:
            place = place["properties"].setdefault(
                table, {"type": "object", "additionalProperties": False, "properties": {}}
            )
        place["properties"][name] = _property(action)
    return content


def _property(action: argparse.Action) -> dict[str, Any]:
    found: dict[str, Any] = {"type": _type_of(action), "description": _description(action)}
    if action.choices is not None:
        found["enum"] = list(action.choices)
    if action.default is not None:
        found["default"] = action.default
    return found


def _type_of(action: argparse.Action) -> str:
    if action.nargs == 0:  # store_true and its like
        return "boolean"
    names: dict[Any, str] = {int: "integer", float: "number", bool: "boolean"}
    return names.get(action.type, "string")


def _description(action: argparse.Action) -> str:
    text = (action.help or "").replace("[%(default)s]", "").replace("%%", "%")
    return " ".join(text.split())


def _checked(action: argparse.Action, value: Any) -> Any:
    kinds: dict[str, tuple[type, ...]] = {
        "boolean": (bool,),
        "integer": (int,),
        "number": (int, float),
        "string": (str,),
    }
    wanted = _type_of(action)
    good = isinstance(value, kinds[wanted]) and (wanted == "boolean" or not isinstance(value, bool))
    if good and action.choices is not None:
        good = value in action.choices
    if not good:
        choices = "" if action.choices is None else f" out of {list(action.choices)}"
        article = "an" if wanted == "integer" else "a"
        raise InputError(
            expected=f"{article} {wanted}{choices} as {action.dest} in the configuration file",
            got=ascii(value)[:80],
            fix="correct the file; --schema says what it may hold",
        )
    return float(value) if wanted == "number" else value


def write_example(parser: argparse.ArgumentParser, path: str) -> str:
    """Write a commented example; returns what to tell the user."""
    check_place(path, "--init")
    lines = [f"# Options of `{parser.prog} --config {Path(path).name}`.", ""]
    for table, actions in _tables(kept_options(parser)):
        lines += [f"[{table}]", ""] if table else []
        for action in actions:
            lines += [f"# {line}" for line in _wrapped(_description(action))]
            mark = "" if action.required else "# "
            value = action.default
            if value is None:
                value = {"integer": 0, "number": 0.0}.get(_type_of(action), action.metavar or "")
            lines += [f"{mark}{_key(action)} = {toml_value(value)}", ""]
    target = Path(path)
    if target.exists():
        raise OutputExistsError(
            expected="a new file for the example", got=f"{path}, which exists", fix="name another"
        )
    target.write_text("\n".join(lines), encoding="utf-8")
    return f"example: {path}; set what is not commented out, then `{parser.prog} --config {path}`"


def _tables(
    options: Iterable[argparse.Action],
) -> Iterator[tuple[str, list[argparse.Action]]]:
    """Options by their table, those of none first: TOML wants it so."""
    tables: dict[str, list[argparse.Action]] = {"": []}
    for action in options:
        tables.setdefault(action.dest.rpartition(".")[0], []).append(action)
    yield from tables.items()


def _key(action: argparse.Action) -> str:
    return action.dest.rpartition(".")[2]


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, 94)


def toml_value(value: Any) -> str:
    """A text, number or truth value in TOML."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    text = json.dumps(str(value), ensure_ascii=False)
    return text.replace("\x7f", "\\u007f")


def resolved(parser_options: Iterable[argparse.Action], values: Mapping[str, Any]) -> str:
    """The options of a run in TOML, without places: those are of the machine, not of the run."""
    lines = ["# The options of this run. Places of data, weights and outputs are not kept."]
    for table, actions in _tables(parser_options):
        lines += ["", f"[{table}]"] if table else []
        for action in actions:
            value = values.get(action.dest)
            if value is None or action.metavar in PLACES or _key(action) in _ADDRESSES:
                continue
            lines.append(f"{_key(action)} = {toml_value(value)}")
    return "\n".join(lines) + "\n"
