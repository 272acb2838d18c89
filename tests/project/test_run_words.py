"""What a project's texts advise are options that `latentpath run` has."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

pytest.importorskip("monai")

import latentpath
from latentpath.audit.instrument_check import enough_people
from latentpath.cli import make_parser
from latentpath.core import InputError, StoppedError
from latentpath.production import check_validation
from latentpath.project.run_words import RUN_NAMES, run_words

ROOT = Path(latentpath.__file__).parent
_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]+")

# Where texts are of other commands, or of programs.
_ELSEWHERE = {
    "audit/question_costs.py",  # of audits without a holdout; a project has one
    "audit/verdict.py",  # the same
    "audit/run_audit.py",  # of `audit`: a project knows whom it holds out
    "audit/report/report_html.py",  # a browser's; a project's report replaces its own
    "production/comparison.py",  # of `produce --report`
    "production/run/ray_engine.py",  # a project works on one machine
    "production/run/run_result.py",  # lines that name commands to type
    "production/verification.py",  # of `verify`
    "training/pretrained.py",  # of `train generator --from`
    "production/run/run_folder.py",  # of `produce`, which may be told to replace a run
}


@pytest.fixture(scope="module")
def options() -> set[str]:
    """All options of `latentpath run`."""
    run = make_parser()._subparsers._group_actions[0].choices["run"]
    run.declare(run)
    return set(run._option_string_actions)


def test_every_name_is_an_option_of_run(options):
    named = [name for words in RUN_NAMES.values() for name in _OPTION.findall(words)]
    assert named
    assert set(named) <= options


def test_every_text_of_a_stage_names_an_option_of_run_or_asks_what_it_is_called(options):
    found = []
    for package in ("audit", "training", "production", "project"):
        for path in sorted((ROOT / package).rglob("*.py")):
            place = path.relative_to(ROOT).as_posix()
            if place in _ELSEWHERE or place == "project/run_words.py":
                continue
            for text in _texts(ast.parse(path.read_text("utf-8"))):
                found += [(place, n) for n in _OPTION.findall(text) if n not in options]
    assert found == []


def _texts(tree: ast.AST) -> list[str]:
    """Texts of a module without its docstrings and what `option` is asked for."""
    left = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr):
            left |= {id(node.value)}
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "option":
            left |= {id(part) for part in ast.walk(node)}
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in left
    ]


def test_texts_of_a_project_say_what_to_type():
    with run_words():
        few = enough_people(13, "other people").doubt
        stopped = str(StoppedError())
        with pytest.raises(InputError, match="expected --train-validation from 0"):
            check_validation(0.5)
    assert few.endswith("Give a larger --hold-out.")
    assert stopped == (
        "stopped at a shard, as asked: give the same command again; what is finished is kept"
    )
    assert enough_people(13, "other people").doubt.endswith("Give a larger --holdout.")
    assert str(StoppedError()).endswith("go on with --resume; what is finished is kept")
