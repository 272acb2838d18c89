"""From the values of a file to 256 grey levels: which of them become black and white.

Files of 8 bits say so themselves. Deeper ones need a window: their own, one that the user chooses,
or else the whole range that their bits can hold, which flattens what uses little of it. What is
flattened so is known of each picture, because nothing in the 256 levels tells it afterwards.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from latentpath.core import InputError

PRESETS = {
    "lung": (-600.0, 1500.0),
    "bone": (400.0, 1800.0),
    "brain": (40.0, 80.0),
    "abdomen": (50.0, 400.0),
}
"""Centre and width in Hounsfield units, as Radiopaedia lists them ("Windowing (CT)",
https://radiopaedia.org/articles/windowing-ct)."""

PERCENTILES = (0.5, 99.5)
"""Of each image's values, those that "percentiles" makes black and white; Isensee et al.,
"nnU-Net", Nature Methods 18 (2021), clip at the same."""

CHOICES = "--window CENTRE WIDTH, " + ", ".join(PRESETS) + " or percentiles"
"""What a message offers where a window is needed."""

# An image of more values than levels is flat where it uses no more levels than this, a quarter:
# 14 bits or fewer stored in 16 look like that (0 to 64).
FLAT_LEVELS = 65
_FEWER = 4

WORDS = ("percentiles", "full")


class UndecodableError(Exception):
    """An image cannot be used; the message says why in a few words."""


@dataclass(frozen=True, eq=False)
class Picture:
    """An image as it was read."""

    pixels: np.ndarray
    """uint8 [H, W, C], C 1 or 3."""
    values: int = 0
    """Different values that a flattened image had before; 0 for one that is not flat."""
    view: str = ""
    """What made its levels: "own", the file's window; "chosen", the user's; "range", the range of
    its bits; "unusable", that range because its window is none; "" where its 8 bits say it, and
    "spared" where they do though the user chose a window."""


@dataclass(frozen=True)
class Window:
    """Which values of an image of more than 8 bits become black and white.

    At most one of the ways is chosen; without one the file's own window counts, and where it has
    none, the whole range of its bits.
    """

    number: int = 1
    """Which of the windows that a file offers, from 1."""
    fixed: tuple[float, float] | None = None
    """Centre and width instead of the file's own."""
    preset: str = ""
    """Name of `fixed` in `PRESETS`, whose values are Hounsfield units."""
    percentiles: bool = False
    """Take `PERCENTILES` of each image's values."""
    full: bool = False
    """Take the whole range of the bits, whatever windows a file offers."""

    def __str__(self) -> str:
        """Return the text that `parse_window` reads."""
        if self.preset or self.percentiles or self.full:
            return self.preset or ("percentiles" if self.percentiles else "full")
        return f"{self.fixed[0]:g} {self.fixed[1]:g}" if self.fixed else str(self.number)

    @property
    def chosen(self) -> bool:
        """Whether the user decided, so that the files' own windows do not count."""
        return self.fixed is not None or self.percentiles or self.full

    @property
    def shallow_view(self) -> str:
        """The view of a picture that has no use for a window."""
        return "spared" if self.chosen else ""

    @property
    def scales(self) -> bool:
        """Whether it gives ends to values of any depth."""
        return self.fixed is not None or self.percentiles

    def levels(
        self, values: np.ndarray, valid: np.ndarray | None = None, *, exact: bool = False
    ) -> np.ndarray:
        """Return values of any kind between 0 (black) and 1 (white), where `scales`.

        Args:
            values: numbers of any shape.
            valid: of the same shape, which of them count for percentiles.
            exact: take the standard's LINEAR_EXACT instead of LINEAR, whose half a unit less at
                either end is made for whole numbers.

        Raises:
            UndecodableError: NaN or infinite values.
        """
        values = values.astype(np.float64)
        refuse_not_finite(values)
        if self.fixed is not None:
            function = linear_exact if exact else linear
            return np.clip(function(values, *self.fixed), 0.0, 1.0)
        counted = values if valid is None or not valid.any() else values[valid]
        low, high = np.percentile(counted, PERCENTILES)
        return np.clip((values - low) / max(high - low, 1e-12), 0.0, 1.0)


OWN_WINDOW = Window()


def parse_window(given: Window | int | str | tuple[float, float]) -> Window:
    """Return the window that a user's words or numbers mean.

    Args:
        given: the number of one of the files' windows, (centre, width), the name of a preset,
            "percentiles" or "full", or any of these as text.

    Raises:
        InputError: none of these.

    >>> parse_window("-600 1500")
    Window(number=1, fixed=(-600.0, 1500.0), preset='', percentiles=False, full=False)
    """
    if isinstance(given, Window):
        return given
    if not isinstance(given, str | int | tuple | list) or isinstance(given, bool):
        raise _no_window(given)
    words = str(given).split() if isinstance(given, str | int) else [str(part) for part in given]
    word = words[0].lower() if len(words) == 1 else ""
    if word in PRESETS:
        return Window(fixed=PRESETS[word], preset=word)
    if word in WORDS:
        return Window(percentiles=word == "percentiles", full=word == "full")
    try:
        numbers = [float(part) for part in words]
    except ValueError:
        raise _no_window(given) from None
    if len(numbers) == 1 and numbers[0] >= 1 and numbers[0] == int(numbers[0]):
        return Window(number=int(numbers[0]))
    if len(numbers) == 2 and all(map(math.isfinite, numbers)) and numbers[1] >= 1:
        return Window(fixed=(numbers[0], numbers[1]))
    raise _no_window(given)


def _no_window(given: object) -> InputError:
    return InputError(
        expected="as window the number of one of the files' own from 1, a centre and a width of at "
        f"least 1, or {', '.join((*PRESETS, *WORDS))}",
        got=ascii(given)[:80],
        fix="give for example 40 400",
    )


def linear(values: np.ndarray, center: float, width: float) -> np.ndarray:
    """Return the window function LINEAR, not clipped: DICOM PS3.3, section C.11.2.1.2.

    Args:
        values: float64, any shape.
        center: of the window.
        width: of at least 1.
    """
    center, width = center - 0.5, width - 1.0
    if width == 0:
        return (values > center).astype(np.float64)
    return (values - center) / width + 0.5


def linear_exact(values: np.ndarray, center: float, width: float) -> np.ndarray:
    """Return the window function LINEAR_EXACT, not clipped: DICOM PS3.3, section C.11.2.1.3.2."""
    return (values - center) / width + 0.5


def to_levels(fractions: np.ndarray) -> np.ndarray:
    """Return uint8 of fractions in [0, 1], rounded half up."""
    return np.floor(fractions * 255.0 + 0.5).astype(np.uint8)


def picture_of(values: np.ndarray, window: Window, *, inverted: bool = False) -> Picture:
    """Return the picture of values that say nothing but their depth.

    Args:
        values: grey [H, W] or colour [H, W, 3] of any number type; 8-bit ones are levels already.
            Of colour, all channels go through one window.
        window: whole range of unsigned 16-bit values, and of floats in [0, 1], unless it `scales`.
        inverted: whether the lowest value is white.

    Raises:
        UndecodableError: values that have no clear 8-bit form without a window, NaN.
    """
    view = "chosen" if window.chosen else "range"
    if values.dtype in (np.uint8, np.bool_):
        pixels, flat, view = to_eight_bits(values), 0, window.shallow_view
    elif window.scales:
        if window.preset and values.size and values.min() >= 0:
            raise UndecodableError(
                f"values from 0 upwards, which are no Hounsfield units as {window.preset!r} wants "
                "them: give --window CENTRE WIDTH"
            )
        pixels = to_levels(window.levels(values, exact=values.dtype.kind == "f"))
        flat = flattened(pixels, values)
    elif window.full and values.dtype.kind in "iu":
        ends = np.iinfo(values.dtype)
        wide = values.astype(np.float64)
        pixels = to_levels((wide - ends.min) / (float(ends.max) - ends.min))
        flat = flattened(pixels, values)
    else:
        pixels = to_eight_bits(values)
        flat = flattened(pixels, values)
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    return Picture(~pixels if inverted else pixels, flat, view)


def flattened(pixels: np.ndarray, values: np.ndarray) -> int:
    """Return how many different values an image had, if it is flat now, else 0.

    Args:
        pixels: uint8, what became of them.
        values: of the same shape.
    """
    levels = int(np.count_nonzero(np.bincount(pixels.ravel(), minlength=256)))
    if levels > FLAT_LEVELS:
        return 0
    different = len(np.unique(values))
    return different if different >= _FEWER * levels else 0


def to_eight_bits(pixels: np.ndarray) -> np.ndarray:
    """Return `pixels` as uint8 of the same shape, their whole range from black to white.

    16-bit values are v / 257, rounded; floats must lie in [0, 1].

    Raises:
        UndecodableError: NaN or infinite values, floats outside [0, 1], another dtype.

    >>> to_eight_bits(np.array([0, 128, 129, 65535], dtype=np.uint16))
    array([  0,   0,   1, 255], dtype=uint8)
    """
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype == np.bool_:
        return pixels.astype(np.uint8) * np.uint8(255)
    if pixels.dtype == np.uint16:
        return ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if pixels.dtype.kind == "f":
        refuse_not_finite(pixels)
        if pixels.size and (pixels.min() < 0 or pixels.max() > 1):
            raise UndecodableError(
                f"float values from {pixels.min():.4g} to {pixels.max():.4g}, outside [0, 1]: "
                f"choose what becomes black and white with {CHOICES}{_eight_bits(pixels)}"
            )
        return to_levels(pixels)
    if pixels.dtype.kind in "iu":
        sign = "signed" if pixels.dtype.kind == "i" else "unsigned"
        raise UndecodableError(
            f"{sign} {8 * pixels.dtype.itemsize}-bit values, which have no clear 8-bit form: "
            f"choose what becomes black and white with {CHOICES}{_eight_bits(pixels)}"
        )
    raise UndecodableError(f"pixels of the kind {pixels.dtype.name}, neither 8- nor 16-bit")


def _eight_bits(values: np.ndarray) -> str:
    """Return the window that leaves values between 0 and 255 as they are, where they are that."""
    if not values.size or values.min() < 0 or not 1 < values.max() <= 255:
        return ""
    window = "127.5 255" if values.dtype.kind == "f" else "128 256"
    return f"; --window {window} takes 0 to 255 as they are"


def refuse_not_finite(values: np.ndarray) -> None:
    """Raise UndecodableError for NaN or infinite values."""
    bad = int(values.size - np.isfinite(values).sum())
    if bad:
        raise UndecodableError(f"{bad} NaN or infinite values")
