"""Command-line options made from configuration dataclasses.

A field's name, default and docstring are written once, in the dataclass; here they become an
option with its help text. Nested dataclasses become options with a prefix, their own name unless
the field's metadata have another as "option"; of any other field "option" is its name here. In
parsed arguments (and in configuration files, as tables) an option keeps the names of the fields
that lead to it, such as `walk.fast.passes`.
"""

from __future__ import annotations

import argparse
import ast
import dataclasses
import functools
import inspect
import itertools
import textwrap
import typing
from typing import Any, TypeVar

ConfigT = TypeVar("ConfigT")


@dataclasses.dataclass(frozen=True)
class Family:
    """The options of one dataclass."""

    about: str
    """What they are about; empty for the outermost dataclass."""
    prefix: str
    """What their names begin with, such as "train_generator_"; it may be empty."""
    actions: list[argparse.Action] = dataclasses.field(default_factory=list)
    """The options."""


def add_options(
    parser: argparse._ActionsContainer,
    config: type,
    *,
    defaults: Any = None,
    prefix: str = "",
    table: str | None = None,
    about: str = "",
) -> list[Family]:
    """Add one option for every field of the dataclass `config`.

    Args:
        parser: where to add them.
        config: the dataclass.
        defaults: an instance whose values are the defaults; `config()` if left out.
        prefix: put before each option's name.
        table: put before each field's name in parsed arguments, such as "walk."; the prefix if
            left out.
        about: what the options are about, as a short help has it.

    Returns:
        The options in families, those of a nested dataclass as one of their own.
    """
    table = prefix if table is None else table
    defaults = config() if defaults is None else defaults
    own = Family(about, prefix)
    families = [own]
    types, docs = _field_types(config), _field_docs(config)
    for field in dataclasses.fields(config):
        kind, value = types[field.name], getattr(defaults, field.name)
        name = field.metadata.get("option", field.name)
        if dataclasses.is_dataclass(kind):
            families += add_options(
                parser,
                typing.cast(type, kind),
                defaults=value,
                prefix=f"{prefix}{name}_" if name else prefix,
                table=f"{table}{field.name}.",
                about=docs.get(field.name, ""),
            )
            continue
        shown = {
            "dest": table + field.name,
            "default": value,
            "help": f"{docs.get(field.name, '')} [%(default)s]",
        }
        flag = "--" + (prefix + name).replace("_", "-")
        if kind == tuple[int, ...]:
            added = parser.add_argument(flag, type=int, nargs="+", metavar="INT", **shown)
        elif kind is bool:
            added = parser.add_argument(flag, action=argparse.BooleanOptionalAction, **shown)
        else:
            added = parser.add_argument(flag, type=kind, metavar=kind.__name__.upper(), **shown)
        own.actions.append(added)
    return families


def default_values(config: Any, table: str) -> dict[str, Any]:
    """Values of a configuration by the names that its options have in parsed arguments."""
    values: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            values |= default_values(value, f"{table}{field.name}.")
        else:
            values[table + field.name] = value
    return values


def read_options(
    arguments: argparse.Namespace, config: type[ConfigT], prefix: str = "", table: str | None = None
) -> ConfigT:
    """Build the dataclass from parsed arguments; its own checks raise InputError.

    Args:
        arguments: of a parser that `add_options` filled.
        config: the dataclass.
        prefix: as there.
        table: as there.
    """
    table = prefix if table is None else table
    types = _field_types(typing.cast(type, config))
    values: dict[str, Any] = {}
    for field in dataclasses.fields(config):  # type: ignore[arg-type]
        kind, name = types[field.name], field.metadata.get("option", field.name)
        if dataclasses.is_dataclass(kind):
            inner = f"{prefix}{name}_" if name else prefix
            nested = typing.cast(type, kind)
            values[field.name] = read_options(arguments, nested, inner, f"{table}{field.name}.")
        else:
            value = getattr(arguments, table + field.name)
            values[field.name] = tuple(value) if isinstance(value, list) else value
    return config(**values)


# These two read sources: once for each configuration, which belongs to several commands.
@functools.cache
def _field_types(config: type) -> dict[str, Any]:
    return typing.get_type_hints(config)


@functools.cache
def _field_docs(config: type) -> dict[str, str]:
    """The docstrings below the fields of a dataclass and its bases, with single spaces."""
    docs: dict[str, str] = {}
    for base in reversed(config.__mro__):
        if not dataclasses.is_dataclass(base):
            continue
        tree = ast.parse(textwrap.dedent(inspect.getsource(base)))
        body = typing.cast(ast.ClassDef, tree.body[0]).body
        for statement, following in itertools.pairwise(body):
            if (
                isinstance(statement, ast.AnnAssign)
                and isinstance(statement.target, ast.Name)
                and isinstance(following, ast.Expr)
                and isinstance(following.value, ast.Constant)
            ):
                text = " ".join(str(following.value.value).split()).replace("%", "%%")
                docs[statement.target.id] = text.rstrip(".")
    return docs
