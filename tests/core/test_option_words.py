"""Errors and warnings name options on the command line, and arguments to callers from Python."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import re
import typing
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("monai")

import latentpath
from latentpath.cli import main
from latentpath.core import (
    InputError,
    LatentpathWarning,
    StoppedError,
    in_python,
    on_command_line,
    same_names,
)
from latentpath.data import DataSource, ImageSet, read_image_set
from latentpath.production import OutputConfig, RunOptions, TrainingConfig, produce
from latentpath.project import ProjectConfig, run_project
from support import tiny_models

ROOT = Path(latentpath.__file__).parent
PACKAGES = ("data", "generators", "training", "production", "project", "audit", "walks")
_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]+")

# Where options are of commands alone: lines to type, and what no caller from Python can meet.
_TYPED = {
    "audit/report/report_html.py",  # a browser's
    "production/comparison.py",  # `produce --test`
    "production/run/run_result.py",  # lines that name commands to type
    "project/run_words.py",  # a table of options
    "data/card_settings.py",  # another one
    "generators/inspection.py",  # what `info` says
}


@pytest.fixture(autouse=True)
def _from_python():
    with on_command_line(False):
        yield


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("say --class-folder 2 --identity-folder 1", "say class_folder=2, identity_folder=1"),
        ("go on with --resume; or --overwrite", "go on with resume=True; or overwrite=True"),
        ("say --identity-pattern '([^/]+)[.][^/]*$'", "say identity_pattern='([^/]+)[.][^/]*$'"),
        ("all of them with --split all", "all of them with split='all'"),
        ("as --hours says", "as hours says"),
        ("a GPU (--device cuda)", "a GPU (device='cuda')"),
        ("pass --no-conditional, for one", "pass conditional=False, for one"),
        ("(--count N --balanced)", "(count=N, balanced=True)"),
        ("--window CENTRE WIDTH, lung", "window=(CENTRE, WIDTH), lung"),
        ("--window full takes them", "window='full' takes them"),
        ("take longer walks (--steps)", "take longer walks (walk.steps)"),
        (
            "`latentpath train identity` with more --steps, or --anyway",
            "`latentpath train identity` with more --steps, or anyway=True",
        ),
        ("a larger --train-encoder-steps", "a larger training.encoder.steps"),
        ("its file '--odd-name.png', a--b and c --", "its file '--odd-name.png', a--b and c --"),
        ("--verbose shows their names", "names_shown() shows their names"),
    ],
)
def test_options_become_arguments(typed, meant):
    assert in_python(typed) == meant
    assert in_python(meant) == meant


def test_an_error_is_told_as_whoever_meets_it_gives_options():
    error = InputError(expected="people", got="none", fix="say --identity-column 'id'")
    warning, stop = LatentpathWarning("give --holdout"), StoppedError()
    assert str(error) == "expected people, got none: say identity_column='id'"
    assert str(warning) == "give holdout"
    assert "go on with resume=True" in str(stop)
    with on_command_line():
        assert str(error).endswith("say --identity-column 'id'")
        assert str(warning) == "give --holdout"
        assert "go on with --resume" in str(stop)
        with ThreadPoolExecutor(1) as bare, ThreadPoolExecutor(1, initializer=same_names()) as told:
            assert "--identity-column" in told.submit(str, error).result()
            assert "identity_column=" in bare.submit(str, error).result()
    with pytest.warns(LatentpathWarning, match="^give holdout$"):
        warnings.warn(warning, stacklevel=1)


def test_what_is_typed_is_told_as_typed(tmp_path, capsys):
    assert main(["scan", "--quiet", "--data", str(tmp_path), "--csv", "t.csv"]) == 2
    assert main(["produce", "--data", "x", "--weights", "y", "--out", str(tmp_path / "a" / "b"),
                 "--gate-quantile", "2"]) == 2  # fmt: skip
    path = tmp_path / "x.npz"
    np.savez(path, images=np.zeros((4, 8, 8), np.uint8), labels=np.arange(4), split=np.arange(4))
    assert main(["scan", "--quiet", "--data", str(path)]) == 2
    assert "or all of them with --split all" in capsys.readouterr().err


def test_callers_from_python_are_told_arguments(tmp_path):
    path = tmp_path / "x.npz"
    np.savez(path, images=np.zeros((4, 8, 8), np.uint8), labels=np.arange(4), split=np.arange(4))
    with pytest.raises(InputError, match="or all of them with split='all'"):
        read_image_set(path)
    data = tiny_models.private_set((14, 12), per_person=2)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "x").write_text("")
    with pytest.raises(InputError, match=r"choose another out$"):
        run_project(data, tmp_path / "notes", resolution=16)
    few = tiny_models.private_set((14, 2))
    bundle, config = tiny_models.bundle_for(few), tiny_models.quick_config()
    with pytest.raises(InputError, match=r"leave .* out with endpoints.small_classes='drop'"):
        produce(few, bundle, tmp_path / "run", config)


def names_of_python() -> set[str]:
    """Arguments of public functions, and fields of configurations by the ways that lead to them."""
    known: set[str] = set()
    for name in ("", *(f".{package}" for package in PACKAGES)):
        face = importlib.import_module(f"latentpath{name}")
        for public in map(face.__getattr__, face.__all__):
            if inspect.isfunction(public):
                known |= set(inspect.signature(public).parameters)
            elif inspect.isclass(public) and public.__name__.endswith("Config"):
                known |= fields_of(public)
    for kind in (DataSource, RunOptions, OutputConfig, TrainingConfig, ProjectConfig, ImageSet):
        known |= fields_of(kind)
    return known


def fields_of(kind: type, before: str = "") -> set[str]:
    found = set()
    types = typing.get_type_hints(kind) if dataclasses.is_dataclass(kind) else {}
    for name in types:
        found.add(before + name)
        if dataclasses.is_dataclass(types[name]):
            found |= fields_of(types[name], f"{before}{name}.")
    return found


def test_every_option_that_a_text_names_is_an_argument_or_a_field():
    known, odd = names_of_python(), []
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            place = path.relative_to(ROOT).as_posix()
            for text in [] if place in _TYPED else _texts(ast.parse(path.read_text("utf-8"))):
                typed = _OPTION.findall(in_python(text))  # behind a command
                odd += [(place, name) for name in typed if "`" not in text]
                for option in set(_OPTION.findall(text)) - set(typed):
                    name = in_python(option).partition("=")[0]
                    if name not in known | {"names_shown()", "AuditConfig()"}:
                        odd.append((place, option))
    assert odd == []


def _texts(tree: ast.AST) -> list[str]:
    """Texts of a module that name options, docstrings apart."""
    left = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and id(node) not in left
        and _OPTION.search(node.value)
    ]
