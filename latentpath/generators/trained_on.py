"""What of networks has to fit a data set, and why it does not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from latentpath.core import colour_of


def people_noted(notes: Mapping[str, Any]) -> str | None:
    """Fingerprint of the people whom a network was trained on; None where that is not known.

    It is not known of one that no training of latentpath wrote, nor of one that started from
    another with other people, or with none noted.

    Args:
        notes: of its weights file.
    """
    people, before = notes.get("people"), notes.get("initial")
    if before is not None and (not isinstance(before, Mapping) or before.get("people") != people):
        return None
    return people if isinstance(people, str) else None


@dataclass(frozen=True, kw_only=True)
class TrainedOn:
    """What of networks has to fit a data set."""

    channels: int | None = None
    """Of their images: 1 grey, 3 colour."""
    classes: int | None = None
    """That it tells apart or makes; 0 for a generator that knows none, None for other networks."""
    people: int | None = None
    """That it tells apart."""
    class_names: tuple[str, ...] = field(default=())
    """In their order, where they are named."""

    def misfits(self, *, channels: int, classes: Sequence[str], people: int) -> list[str]:
        """Why it does not fit a data set, one sentence each; empty where it does.

        Args:
            channels: of the data's images.
            classes: names of the data's classes, in their order.
            people: in the data.
        """
        names, found = tuple(classes), []
        if self.channels is not None and self.channels != channels:
            found.append(
                f"made for {colour_of(self.channels)} images, the data are {colour_of(channels)} "
                f"(--channels {self.channels} would turn them)"
            )
        if self.classes not in (None, 0, len(names)):
            found.append(f"made for {self.classes} classes, the data has {len(names)}")
        elif self.class_names and self.class_names != names:
            found.append(
                f"made for the classes {list(self.class_names)}, the data has {list(names)}"
            )
        if self.people is not None and self.people != people:
            found.append(f"made for {self.people} people, the data has {people}")
        return found
