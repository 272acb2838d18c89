"""The error taxonomy, checks of numbers, and options named as the command in use has them."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest

from latentpath.core import calling, check_at_least, errors, longer_training, option, same_names
from latentpath.core.errors import InputError, LatentpathError, MissingExtraError, require_extra

FAMILIES = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, LatentpathError)
]


@pytest.mark.parametrize("kind", FAMILIES)
def test_one_line_that_says_what_to_do(kind):
    error = kind(expected="a\nround  peg", got="a square\tone", fix="turn\nit")
    assert str(error) == "expected a round peg, got a square one: turn it"
    assert (error.got, error.fix) == ("a square\tone", "turn\nit")


@pytest.mark.parametrize("kind", FAMILIES)
def test_it_survives_pickling_and_copying(kind):
    error = kind(expected="a", got="b", fix="c")
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(again) is kind
        assert (again.expected, again.got, again.fix) == ("a", "b", "c")
        assert str(again) == str(error)


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        (errors.InputError, ValueError),
        (errors.ShapeError, ValueError),
        (errors.DataError, ValueError),
        (errors.WeightsError, ValueError),
        (errors.PrivacyError, ValueError),
        (errors.OutputExistsError, FileExistsError),
        (errors.UnsupportedError, NotImplementedError),
        (errors.MissingExtraError, ImportError),
    ],
)
def test_they_are_also_the_builtin_errors_that_callers_catch(kind, builtin):
    assert issubclass(kind, LatentpathError)
    assert issubclass(kind, builtin)


def test_every_input_error_is_one():
    kinds = {"ShapeError", "DataError", "WeightsError", "PrivacyError", "OutputExistsError"}
    assert kinds <= {kind.__name__ for kind in FAMILIES if issubclass(kind, InputError)}


def test_require_extra():
    assert require_extra("json.decoder", "pipeline").__name__ == "json.decoder"
    with pytest.raises(MissingExtraError) as error:
        require_extra("no_such_package.part", "pipeline")
    assert "no_such_package" in str(error.value)
    assert "pip install 'latentpath[pipeline]'" in str(error.value)
    assert isinstance(error.value.__cause__, ImportError)


def test_values_may_be_called_as_the_limits_are():
    check_at_least(1, most=1, least=2)
    for name in ("most", "least", "k"):
        with pytest.raises(InputError, match=f"{name} of at least 1"):
            check_at_least(1, **{name: 0})
        with pytest.raises(InputError, match=f"{name} from 0 to"):
            check_at_least(0, **{name: 2**60})


def test_an_option_is_called_otherwise_only_where_a_command_says_so():
    with calling({"--holdout": "--hold-out"}):
        assert (option("--holdout"), option("--seed")) == ("--hold-out", "--seed")
        with calling({}):
            assert option("--holdout") == "--holdout"
        assert option("--holdout") == "--hold-out"
    with (
        calling({"--holdout": "--hold-out"}),
        ThreadPoolExecutor(1) as bare,
        ThreadPoolExecutor(1, "", same_names()) as told,
    ):
        assert bare.submit(option, "--holdout").result() == "--holdout"
        assert told.submit(option, "--holdout").result() == "--hold-out"
    with pytest.raises(ValueError, match="x"), calling({"--holdout": "--hold-out"}):
        raise ValueError("x")
    assert option("--holdout") == "--holdout"


def test_what_trains_a_network_for_longer():
    assert "--total-images" in longer_training("generator")
    assert "--steps, without encoder.checkpoint" in longer_training("encoder")
