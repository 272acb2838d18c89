"""What tests/installed.py asks of an installation can be asked of this one."""

from __future__ import annotations

import installed


def test_its_walk():
    walked = installed.walk()
    assert walked.latents.shape == (3, installed.POINTS, installed.WIDTH)
    assert (walked.after.total < walked.before.total).all()
