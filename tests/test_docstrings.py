"""The examples in the docstrings give what they show."""

from __future__ import annotations

import doctest
import importlib
import importlib.util
import pkgutil

import pytest

import latentpath

MODULES = [found.name for found in pkgutil.walk_packages(latentpath.__path__, "latentpath.")]


def examples(name: str) -> list[doctest.DocTest]:
    if ".triton" in name and importlib.util.find_spec("triton") is None:
        pytest.skip("Triton is not installed")
    module = importlib.import_module(name)
    return [test for test in doctest.DocTestFinder().find(module, name) if test.examples]


@pytest.mark.parametrize("name", MODULES)
def test_examples_hold(name):
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    for example in examples(name):
        runner.run(example)
    assert runner.summarize(verbose=False).failed == 0


def test_there_are_examples():
    assert sum(
        len(examples(name)) for name in ("latentpath.ops.bank_lse", "latentpath.ops.kl_uniform")
    )
