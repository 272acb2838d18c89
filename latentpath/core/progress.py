"""How long work tells its caller how far it is, without knowing who shows it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

# (stage, done, total, figures): called after every unit of work. `done == total` ends a stage.
Progress = Callable[[str, int, int, Mapping[str, float]], None]


def silent(stage: str, done: int, total: int, figures: Mapping[str, float]) -> None:
    """Show nothing: the default of every function that takes a `Progress`."""
