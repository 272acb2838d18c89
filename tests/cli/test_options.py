"""Options of the command line are the fields of the configuration classes."""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import re
import typing
from dataclasses import dataclass, field

import pytest

from latentpath.audit import AuditConfig
from latentpath.cli.config_options import add_options, read_options
from latentpath.core.errors import InputError
from latentpath.data.card_settings import CARD_SETTINGS
from latentpath.production import ProduceConfig
from latentpath.production.digits_demo import DEMO_CONFIG
from latentpath.training import (
    AugmentConfig,
    ClassifierConfig,
    EncoderConfig,
    GeneratorConfig,
    IdentityConfig,
)

CLASSES = [
    ProduceConfig,
    GeneratorConfig,
    EncoderConfig,
    IdentityConfig,
    ClassifierConfig,
    AugmentConfig,
    AuditConfig,
]


def parser_of(config, **options):
    parser = argparse.ArgumentParser()
    add_options(parser, config, **options)
    return parser


def parse(config, argv, **options):
    return read_options(parser_of(config, **options).parse_args(argv), config)


# Fields of one class that may not all be set together: each of these stays as it is once.
APART = {ProduceConfig: [("dp.epsilon",), ("endpoints.",)]}
# Other values of fields that take a few words alone.
WORDS = {
    "precision": "bfloat16",
    "solver": "fast",
    "latent_metric": "euclidean",
    "kind": "safe",
    "grouping": "mdav",
    "aggregation": "style",
    "small_classes": "drop",
    "pairing": "tour",
}


def changed(config, keep=(), before=""):
    """An instance that differs from `config` in every field but those to keep."""
    values = {}
    for item in dataclasses.fields(config):
        value, place = getattr(config, item.name), before + item.name
        if place.startswith(keep or "-"):
            values[item.name] = value
        elif dataclasses.is_dataclass(value):
            values[item.name] = changed(value, keep, f"{place}.")
        elif isinstance(value, bool):
            values[item.name] = not value
        elif isinstance(value, int):
            values[item.name] = value + 3  # a walk has three points at least
        elif isinstance(value, float):
            values[item.name] = value * 0.75 + 0.01
        elif isinstance(value, tuple):
            values[item.name] = (*value, 7)
        else:
            values[item.name] = WORDS.get(item.name, value + "x")
    return type(config)(**values)


def argv_of(config, prefix=""):
    argv = []
    for item in dataclasses.fields(config):
        value = getattr(config, item.name)
        name = item.metadata.get("option", item.name)
        flag = (prefix + name).replace("_", "-")
        if dataclasses.is_dataclass(value):
            argv += argv_of(value, f"{prefix}{name}_" if name else prefix)
        elif isinstance(value, bool):
            argv.append(f"--{flag}" if value else f"--no-{flag}")
        elif isinstance(value, tuple):
            argv += [f"--{flag}", *map(str, value)]
        else:
            argv += [f"--{flag}", str(value)]
    return argv


@pytest.mark.parametrize("config", CLASSES)
class TestEveryClass:
    def test_no_options_give_the_defaults(self, config):
        assert parse(config, []) == config()

    def test_every_field_travels(self, config):
        for keep in APART.get(config, [()]):
            wanted = changed(config(), keep)
            got = parse(config, argv_of(wanted))
            assert got == wanted
            for item in dataclasses.fields(config):
                assert type(getattr(got, item.name)) is type(getattr(wanted, item.name))

    def test_help_shows_every_docstring_and_default(self, config, monkeypatch):
        monkeypatch.setenv("COLUMNS", "2000")
        shown = " ".join(parser_of(config).format_help().split())
        for kind, values in self.flat(config, config()):
            source = "".join(inspect.getsource(base) for base in kind.__mro__[:-1])
            for item in dataclasses.fields(kind):
                value = getattr(values, item.name)
                if dataclasses.is_dataclass(value):
                    continue
                found = re.search(rf'\b{item.name}: [^\n]*\n\s+"""(.*?)"""', source, re.DOTALL)
                assert found, f"{kind.__name__}.{item.name} has no docstring"
                text = " ".join(found[1].split()).rstrip(".")
                assert f"{text} [{value}]" in shown

    def flat(self, kind, values):
        yield kind, values
        for item in dataclasses.fields(kind):
            value = getattr(values, item.name)
            if dataclasses.is_dataclass(value):
                yield from self.flat(type(value), value)


def test_other_defaults():
    assert parse(ProduceConfig, [], defaults=DEMO_CONFIG) == DEMO_CONFIG
    got = parse(ProduceConfig, ["--k", "7"], defaults=DEMO_CONFIG)
    assert got == dataclasses.replace(
        DEMO_CONFIG, endpoints=dataclasses.replace(DEMO_CONFIG.endpoints, k=7)
    )


def test_names_of_options_are_short_and_those_of_fields_lead_to_them():
    parsed = parser_of(ProduceConfig).parse_args(["--passes", "3", "--gate-identity", "0.25"])
    found = vars(parsed)
    assert (found["walk.fast.passes"], found["gate.identity"]) == (3.0, 0.25)
    assert found["walk.weights.identity"] == ProduceConfig().walk.weights.identity


def test_a_card_names_every_option_of_a_set_as_the_command_line_does():
    options = {action.dest: action.option_strings for action in parser_of(ProduceConfig)._actions}
    options.pop("help")
    assert set(CARD_SETTINGS) == set(options)
    assert all(told.option in options[name] for name, told in CARD_SETTINGS.items())
    others = {told.only_for[0] for told in CARD_SETTINGS.values()} - {""}
    assert others < set(options)


def test_nested_options_have_a_prefix():
    got = parse(GeneratorConfig, ["--augment-shift", "0.3", "--augment-flip"])
    assert got.augment == dataclasses.replace(GeneratorConfig().augment, shift=0.3, flip=True)
    assert got.batch == GeneratorConfig().batch


@dataclass(frozen=True)
class Percent:
    share: float = 0.5
    """A share of 100% of what there is."""
    name: str = "a"
    """A name,
    over two lines."""
    plain: int = 3


@dataclass(frozen=True)
class Outer:
    inner: Percent = field(default_factory=lambda: Percent(share=0.25))
    """What is inside."""


def test_percent_signs_and_missing_docstrings():
    shown = " ".join(parser_of(Percent).format_help().split())
    assert "A share of 100% of what there is [0.5]" in shown
    assert "A name, over two lines [a]" in shown
    assert "--plain INT" in shown


def test_nested_defaults():
    assert parse(Outer, []) == Outer()
    assert parse(Outer, ["--inner-plain", "9"]).inner == Percent(share=0.25, plain=9)


def test_the_class_checks_its_values():
    with pytest.raises(InputError, match="steps"):
        parse(ProduceConfig, ["--steps", "2"])


@pytest.mark.parametrize("argv", [["--k", "five"], ["--lr", "fast"], ["--no-such", "1"]])
def test_what_is_no_number_is_refused(argv, capsys):
    with pytest.raises(SystemExit) as stop:
        parse(ProduceConfig, argv)
    assert stop.value.code == 2
    assert argv[0] in capsys.readouterr().err


@pytest.mark.parametrize("config", CLASSES)
def test_fields_are_of_simple_types(config):
    for kind in typing.get_type_hints(config).values():
        assert kind in (int, float, bool, str, tuple[int, ...]) or dataclasses.is_dataclass(kind)
