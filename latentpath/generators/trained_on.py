"""What of networks has to fit a data set, and why it does not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from latentpath.core import colour_of


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
