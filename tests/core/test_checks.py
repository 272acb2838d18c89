"""Checks of single numbers: any name may be checked, and the first that is wrong is told."""

from __future__ import annotations

import pytest

from latentpath.core import InputError, check_at_least


def test_values_may_be_called_as_the_limits_are():
    check_at_least(1, most=1, least=2)
    for name in ("most", "least", "k"):
        with pytest.raises(InputError, match=f"{name} of at least 1"):
            check_at_least(1, **{name: 0})
        with pytest.raises(InputError, match=f"{name} from 0 to"):
            check_at_least(0, **{name: 2**60})
