"""Where green ends and where red begins, for every figure that an answer rests on.

These are conventions, not facts: what is close enough to no leak, and good enough to be of use.
They are options and stand in every report. Those of copies were chosen on planted copies and fresh
people of two data sets (handwritten digits, chest X-rays); the others before any set was looked at.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from latentpath.core import InputError


@dataclass(frozen=True)
class Limits:
    """Limits of green and red. An interval between or across them is amber."""

    copies_green: float = 0.02
    """Largest share of near-copies of real images beyond those that chance explains, 0 to 1, that
    is green. An image that equals a real one is always red."""
    copies_red: float = 0.02
    """The share above which it is red."""
    certain_green: float = 0.005
    """Largest share of near-copies that is green, 0 to 1, where hardly anybody who was not copied
    is as similar to a real person."""
    certain_red: float = 0.005
    """The share above which it is red."""
    closer_green: float = 0.57
    """Largest share of the images nearer to a person behind the set than to somebody else, 0 to 1,
    that is green; half is no leak at all."""
    closer_red: float = 0.6
    """The share above which it is red."""
    named_green: float = 0.03
    """Largest share of the images for which an identity classifier names a person, 0 to 1, at a
    threshold that names 1% of strangers, that is green."""
    named_red: float = 0.05
    """The share above which it is red."""
    witness_sees: float = 0.5
    """Share of the real images, 0 to 1, that a classifier must name so that its silence can be
    green."""
    auc_green: float = 0.55
    """Largest area under an attack's ROC curve, 0 to 1, that is green; half is guessing. It is the
    limit, too, of how well images tell the people behind them from others."""
    auc_red: float = 0.6
    """The area above which it is red."""
    found_green: float = 0.03
    """Largest share of the members that an attack finds at 1% false alarms, 0 to 1, that is green;
    0.01 is guessing."""
    found_red: float = 0.05
    """The share above which it is red."""
    utility_green: float = 0.05
    """Largest loss of balanced accuracy, 0 to 1, against models trained on the real images that is
    green."""
    utility_red: float = 0.1
    """The loss above which it is red."""
    precision_green: float = 0.15
    """Largest loss of precision (realistic images), 0 to 1, against fresh real images that is
    green."""
    precision_red: float = 0.4
    """The loss above which it is red."""
    coverage_green: float = 0.15
    """Largest loss of coverage (variety), 0 to 1, against fresh real images that is green."""
    coverage_red: float = 0.4
    """The loss above which it is red."""

    def __post_init__(self) -> None:
        for field in fields(self):
            name, _, side = field.name.rpartition("_")
            value = getattr(self, field.name)
            green = getattr(self, f"{name}_green", 0.0)
            if not 0 <= value <= 1 or (side == "red" and value < green):
                raise InputError(
                    expected="limits from 0 to 1, that of red not below that of green",
                    got=f"{field.name} of {value} (green: {green})",
                    fix="correct the limits",
                )
