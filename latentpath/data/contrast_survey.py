"""Where the contrast of a set's images was lost, or differs from file to file."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from latentpath.core import DataError
from latentpath.data.contrast import CHOICES, Picture
from latentpath.data.sources.listing import Listing

# An image whose brightest pixel is below the first is nearly black, as 14 bits or fewer stored in
# 16 are; one whose darkest is above the second is nearly white.
_DARK, _BRIGHT, _MIDDLE = 70, 185, 128
# A few such images are night and snow; more of them are files of another depth.
_ODD_SHARE, _FEW = 0.1, 2
# Of one level alone there may be this share.
_BLANK_SHARE = 0.05
_FULL = "--window full takes them as they are"


@dataclass(frozen=True)
class ContrastSurvey:
    """What became of the values of the files' pixels."""

    images: int
    """Images that were looked at."""
    views: tuple[tuple[str, int, str], ...]
    """`view` of pictures, number of images, place of the first."""
    flat: tuple[str, ...]
    """Places of images that nobody's choice flattened."""
    flat_by_choice: tuple[str, ...]
    """Places of images that the window of the user flattened."""
    flat_by_file: tuple[str, ...]
    """Places of images that their own window flattened."""
    blank: tuple[str, ...]
    """Places of those of them of which a single level is left."""
    fewest_levels: int
    """Grey levels of the flattest of all three, of 256."""
    dark: tuple[str, ...]
    """Places of images that are nearly black all over."""
    bright: tuple[str, ...]
    """Places of images that are nearly white all over."""
    half: tuple[str, ...]
    """Places of images whose values all lie in one half of the range of their bits."""
    darkest: int
    """Smallest value of all pixels, of 255."""
    brightest: int
    """Largest value of all pixels, of 255."""

    def check(self) -> None:
        """Refuse images whose values nobody chose a window for, and which are ruined so.

        Raises:
            DataError: there are such images.
        """
        if self.flat:
            raise DataError(
                expected="images whose values make use of the 256 grey levels",
                got=self._flattened(),
                fix=f"choose what becomes black and white with {CHOICES}; {_FULL}",
            )
        if len(self.blank) == self.images > 0 or len(self.blank) > self._few_blank:
            raise DataError(
                expected="images whose values make use of the 256 grey levels",
                got=self._blanked(),
                fix=f"choose what becomes black and white with {CHOICES}; {_FULL}",
            )

    def suspicions(self) -> list[str]:
        """Return what is allowed, but seldom meant, one sentence each."""
        said = [*self._flat_sentences(), *self._view_sentences()]
        ends = f"lie between {self.darkest} and {self.brightest} of 255"
        if self.images and (self.brightest < _DARK or self.darkest > _BRIGHT):
            said.append(
                f"the pixels of all images {ends}: 16-bit files that use only 12 bits look like "
                "this; if they are deeper than 8 bits, choose a --window"
            )
        else:
            said += [
                f"{len(places)} of {self.images} images are nearly {shade} all over, the first is "
                f"{places[0]}, while the set's pixels {ends}: files of several depths look like "
                "this"
                for shade, places in (("black", self.dark), ("white", self.bright))
                if len(places) > max(_FEW, _ODD_SHARE * self.images)
            ]
        if self.half and len(self.half) > self._few:
            said.append(
                f"{len(self.half)} of {self.images} images use no more than half of the 256 "
                f"levels, the first is {self.half[0]}, because their values lie in one half of the "
                f"range of their bits: choose what becomes black and white with {CHOICES}"
            )
        return said

    @property
    def _few(self) -> float:
        """How many odd images a set may have, never all of them."""
        return min(max(_FEW, _ODD_SHARE * self.images), self.images - 1)

    @property
    def _few_blank(self) -> float:
        """How many images may be of one level alone: scouts, and slices beside the body."""
        return max(1, _BLANK_SHARE * self.images)

    def _blanked(self) -> str:
        return (
            f"{len(self.blank)} of {self.images} images of a single grey level, which their own "
            f"window makes of many values, the first is {self.blank[0]}"
        )

    def _flattened(self) -> str:
        return (
            f"{len(self.flat)} of {self.images} images flattened, the worst to "
            f"{self.fewest_levels} levels, because they use little of the range of their bits, the "
            f"first is {self.flat[0]}"
        )

    def _flat_sentences(self) -> list[str]:
        said = [self._flattened()] if self.flat else []
        said += [f"{self._blanked()}: --window gives another"] if self.blank else []
        for whose, places, least in (
            ("the window that was chosen", self.flat_by_choice, 0),
            ("their own window: --window gives another", self.flat_by_file, self._few),
        ):
            if len(places) > max(least, len(self.blank) if places is self.flat_by_file else 0):
                said.append(
                    f"{len(places)} of {self.images} images, the first is {places[0]}, keep few of "
                    f"the 256 grey levels ({self.fewest_levels} at least) with {whose}"
                )
        return said

    def _view_sentences(self) -> list[str]:
        count = {view: number for view, number, _ in self.views}
        first = {view: place for view, _, place in self.views}
        said = []
        if "unusable" in count:
            said.append(
                f"{count['unusable']} files hold a window that cannot be used (of width 0, or "
                "without centre or width) and are shown over the whole range of their bits, the "
                f"first is {first['unusable']}"
            )
        if "own" in count and "range" in count:
            said.append(
                f"{count['own']} files bring a window, {count['range']} others are shown over the "
                f"whole range of their bits, the first of these is {first['range']}: their "
                "contrast differs; --window gives all of them one"
            )
        if "spared" in count:
            said.append(
                "the window that was chosen is for grey files of more than 8 bits; "
                f"{count['spared']} images are taken as they are, the first is {first['spared']}"
            )
        return said


class ContrastSurveyor:
    """Looks at the contrast of pictures, one after the other, and keeps none.

    Args:
        listing: the set.
    """

    def __init__(self, listing: Listing) -> None:
        self._listing = listing
        self._views: dict[str, list[int]] = {}  # number of images, first row
        kinds = ("flat", "chosen", "own", "blank", "dark", "bright", "half")
        self._rows: dict[str, list[int]] = {kind: [] for kind in kinds}
        self._images, self._levels = 0, 256
        self._darkest, self._brightest = 255, 0

    def add(self, row: int, picture: Picture) -> None:
        """Count an image."""
        self._images += 1
        self._views.setdefault(picture.view, [0, row])[0] += 1
        darkest, brightest = int(picture.pixels.min()), int(picture.pixels.max())
        self._darkest = min(self._darkest, darkest)
        self._brightest = max(self._brightest, brightest)
        if picture.values:
            by_window = picture.view in ("chosen", "own")
            self._rows[picture.view if by_window else "flat"].append(row)
            levels = len(np.unique(picture.pixels))
            self._levels = min(self._levels, levels)
            if picture.view == "own" and levels == 1:
                self._rows["blank"].append(row)
        elif brightest < _DARK:
            self._rows["dark"].append(row)
        elif darkest > _BRIGHT:
            self._rows["bright"].append(row)
        elif picture.view == "range" and (darkest >= _MIDDLE - 1 or brightest <= _MIDDLE):
            self._rows["half"].append(row)

    def report(self) -> ContrastSurvey:
        """Return what the images seen so far amount to."""
        place = self._listing.place
        places = {name: tuple(map(place, rows)) for name, rows in self._rows.items()}
        return ContrastSurvey(
            images=self._images,
            views=tuple((view, n, place(row)) for view, (n, row) in sorted(self._views.items())),
            flat=places["flat"],
            flat_by_choice=places["chosen"],
            flat_by_file=places["own"],
            blank=places["blank"],
            fewest_levels=self._levels,
            dark=places["dark"],
            bright=places["bright"],
            half=places["half"],
            darkest=self._darkest,
            brightest=self._brightest,
        )
