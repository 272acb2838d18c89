"""Texts name options as the command in use has them."""

from __future__ import annotations

import pytest

from latentpath.core import calling, longer_training, option


def test_an_option_is_called_otherwise_only_where_a_command_says_so():
    with calling({"--holdout": "--hold-out"}):
        assert (option("--holdout"), option("--seed")) == ("--hold-out", "--seed")
        with calling({}):
            assert option("--holdout") == "--holdout"
        assert option("--holdout") == "--hold-out"
    with pytest.raises(ValueError, match="x"), calling({"--holdout": "--hold-out"}):
        raise ValueError("x")
    assert option("--holdout") == "--holdout"


def test_what_trains_a_network_for_longer():
    assert "--total-images" in longer_training("generator")
    assert "--steps, without encoder.checkpoint" in longer_training("encoder")
