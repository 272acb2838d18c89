"""From stored DICOM values to grey levels: rescaling, then the window that a reader would look at.

DICOM PS3.3, sections C.11.1 (Modality LUT) and C.11.2 (VOI LUT), and the functional groups that
hold the same for enhanced files (C.7.6.16.2). Everything works on float64 and ends between 0
(black) and 1 (white).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from latentpath.data.contrast import CHOICES, UndecodableError, Window, linear, linear_exact
from latentpath.data.sources.dicom_file import element, label, whole_number

GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
_MACROS = ("PixelValueTransformationSequence", "FrameVOILUTSequence")
_IGNORE = "--ignore-windows leaves the files' windows out, --window gives another"
_HOUNSFIELD = "HU"


class FrameElements:
    """The elements that hold for one frame: its own, those shared by all frames, the file's.

    Args:
        dataset: the file's elements, a `pydicom.Dataset`.
        frame: number of the frame, from 0.
    """

    def __init__(self, dataset: Any, frame: int = 0) -> None:
        self.file_meta = dataset.file_meta
        self._sources: list[Any] = []
        for name, place in zip(GROUPS, (0, frame), strict=True):
            items = list(element(dataset, name) or ())[place : place + 1]
            macros = [element(item, macro) or () for item in items for macro in _MACROS]
            self._sources[:0] = [group for macro in macros for group in list(macro)[:1]]
        self._sources.append(dataset)

    def get(self, name: str) -> Any:
        """Return the value of an element, None where it is absent or empty everywhere."""
        values = (source.get(name) for source in self._sources if name in source)
        return next((value for value in values if value is not None and value != ""), None)


def grey_levels(
    stored: np.ndarray, elements: FrameElements, window: Window
) -> tuple[np.ndarray, str]:
    """Return what a viewer shows of a grey image.

    Stored values become those of the modality (rescale slope and intercept, or its table). Of the
    file's views the chosen one is applied: a table if it has any, else a window, linear, exactly
    linear or sigmoid. As in pydicom, a centre without a width or the other way round is no window,
    and where one of the two has a single value, it goes with all of the other's. A file without a
    window that can be used is shown over the whole range that its bits can hold, which is the
    same for all files of one kind. MONOCHROME1, where the lowest value is white, is turned round.

    Args:
        stored: numbers [H, W].
        elements: of the frame.
        window: which of several views, or what instead of them.

    Returns:
        float64 [H, W] in [0, 1], and which view it is: "own", "chosen", "unusable" (the file's
        window is none, its whole range is shown), "range", or "" where 8 bits say it.

    Raises:
        UndecodableError: no such view, or impossible ones.
    """
    values, lowest, highest = _modality_values(stored, elements)
    if window.scales:
        _check_hounsfield(elements, window, lowest)
        levels, view = window.levels(values, _valid(stored, elements)), "chosen"
    else:
        own = None if window.full else _own_view(values, elements, window.number, lowest < 0)
        view = "own" if own is not None else "chosen" if window.full else _range_view(elements)
        if own is None and highest is None:
            raise UndecodableError(
                f"floating-point values, which have no range of their own: choose {CHOICES}"
            )
        span = max((highest or 0.0) - lowest, 1e-12)
        levels = np.clip((values - lowest) / span if own is None else own, 0.0, 1.0)
    inverted = elements.get("PhotometricInterpretation") == "MONOCHROME1"
    return (1.0 - levels if inverted else levels), view


def _modality_values(
    stored: np.ndarray, elements: FrameElements
) -> tuple[np.ndarray, float, float | None]:
    """Return the values, and the lowest and the highest that the file's bits can hold."""
    if tables := elements.get("ModalityLUTSequence"):
        table = _LookupTable(tables[0], _order(elements), negatives=stored.dtype.kind == "i")
        return table.values(stored), 0.0, float(2**table.bits - 1)
    slope = (_numbers(elements, "RescaleSlope") or [1.0])[0]
    intercept = (_numbers(elements, "RescaleIntercept") or [0.0])[0]
    if slope == 0:
        raise UndecodableError("a rescale slope of 0")
    values = stored.astype(np.float64) * slope + intercept
    if stored.dtype.kind == "f":
        return values, 0.0, None
    bits = whole_number(elements, "BitsStored", 1, 32)
    signed = whole_number(elements, "PixelRepresentation", 0, 1) == 1
    least = -(2.0 ** (bits - 1)) if signed else 0.0
    ends = np.array([least, least + 2.0**bits - 1]) * slope + intercept
    return values, float(ends.min()), float(ends.max())


def _own_view(
    values: np.ndarray, elements: FrameElements, number: int, negatives: bool
) -> np.ndarray | None:
    """Return the values through the file's table or window; None where it has none to use."""
    tables = [t for t in elements.get("VOILUTSequence") or () if "LUTData" in t]
    if tables:
        table = _LookupTable(_chosen(tables, number), _order(elements), negatives=negatives)
        return table.values(values) / (2**table.bits - 1)
    windows = _windows(elements)
    if not windows:
        _chosen([None], number)
        return None
    center, width = _chosen(windows, number)
    function = str(elements.get("VOILUTFunction") or "LINEAR").strip().upper()
    if width < 1 if function == "LINEAR" else width <= 0:
        return None
    return _windowed(values, center, width, function)


def _range_view(elements: FrameElements) -> str:
    """Return the view of a file that is shown over its whole range."""
    if any(_numbers(elements, name) for name in ("WindowCenter", "WindowWidth")):
        return "unusable"
    shallow = whole_number(elements, "BitsStored", 1, 32, absent=32) <= 8
    return "" if shallow else "range"


def _windows(elements: FrameElements) -> list[tuple[float, float]]:
    """Return centre and width of every window; the elements may be there without a value."""
    centers, widths = _numbers(elements, "WindowCenter"), _numbers(elements, "WindowWidth")
    if min(len(centers), len(widths)) == 1:
        count = max(len(centers), len(widths))
        centers, widths = (n * count if len(n) == 1 else n for n in (centers, widths))
    return list(zip(centers, widths, strict=False))


def _windowed(values: np.ndarray, center: float, width: float, function: str) -> np.ndarray:
    """Section C.11.2.1.2 and C.11.2.1.3."""
    if function == "SIGMOID":
        return 1.0 / (1.0 + np.exp(np.clip(-4.0 * (values - center) / width, -700.0, 700.0)))
    if function == "LINEAR":
        return linear(values, center, width)
    if function == "LINEAR_EXACT":
        return linear_exact(values, center, width)
    raise UndecodableError(f"a window function that the DICOM standard does not have: {_IGNORE}")


def _check_hounsfield(elements: FrameElements, window: Window, lowest: float) -> None:
    """Refuse a preset for what is no CT, or cannot have the values of air."""
    modality, unit = elements.get("Modality"), elements.get("RescaleType")
    if window.preset and unit != _HOUNSFIELD and (unit or modality not in (None, "", "CT")):
        raise UndecodableError(
            f"no CT, and so no Hounsfield units as the window {window.preset!r} wants them: give "
            "--window CENTRE WIDTH or percentiles"
        )
    if window.preset and lowest >= 0:
        raise UndecodableError(
            f"values from {lowest:g} upwards, which are no Hounsfield units as {window.preset!r} "
            "wants them (a rescale intercept that is absent, or a capture?): give --window CENTRE "
            "WIDTH or percentiles"
        )


def _valid(stored: np.ndarray, elements: FrameElements) -> np.ndarray | None:
    """Return which values are of the image, and not of what is filled in around it."""
    padding = elements.get("PixelPaddingValue")
    if not isinstance(padding, int):
        return None
    limit = elements.get("PixelPaddingRangeLimit")
    low, high = sorted((padding, limit if isinstance(limit, int) else padding))
    return (stored < low) | (stored > high)


class _LookupTable:
    """A table of the standard: n entries of so many bits, the first for a given value.

    Values before the first take its entry, values behind the last take the last one's.

    Args:
        item: of a sequence of tables.
        order: of bytes in words, "<" or ">".
        negatives: whether there are values below zero. Then a first value from 2^15 on is meant to
            be negative: whether its 16 bits have a sign is told by the stored values in files of
            implicit types, and those of a CT may have none.
    """

    def __init__(self, item: Any, order: str, *, negatives: bool) -> None:
        count, first, self.bits = _descriptor(item)
        if negatives and first >= 2**15:
            first -= 2**16
        data = element(item, "LUTData")
        if data is None:
            raise UndecodableError(f"the element {label('LUTData')} is absent")
        if isinstance(data, bytes):
            words = self.bits > 8 or len(data) >= 2 * count
            data = np.frombuffer(data[: len(data) // 2 * 2], f"{order}u2" if words else "u1")
        entries = np.atleast_1d(np.asarray(data, dtype=np.float64))[:count]
        if len(entries) < count:
            raise UndecodableError(f"a lookup table of {len(entries)} entries instead of {count}")
        if not 1 <= self.bits <= 16:
            raise UndecodableError(f"a lookup table of {self.bits} bits instead of 1 to 16")
        self._first, self._entries = first, entries

    def values(self, inputs: np.ndarray) -> np.ndarray:
        """Return the entry of each value."""
        places = np.floor(inputs + 0.5).astype(np.int64) - self._first
        return self._entries[np.clip(places, 0, len(self._entries) - 1)]


def _descriptor(item: Any) -> list[int]:
    """Return number of entries, first value and bits of a table."""
    try:
        count, first, bits = (int(value) for value in element(item, "LUTDescriptor") or ())
    except (TypeError, ValueError) as error:
        raise UndecodableError(
            f"the element {label('LUTDescriptor')}, which is absent or not three whole numbers"
        ) from error
    return [count or 2**16, first, bits]


def _order(elements: FrameElements) -> str:
    """Return the byte order of words that come as bytes."""
    syntax = elements.file_meta.get("TransferSyntaxUID")
    return "<" if syntax is None or syntax.is_little_endian else ">"


def _numbers(elements: FrameElements, name: str) -> list[float]:
    """Return the values of an element, none if it is absent or empty."""
    way_out = f": {_IGNORE}" if name.startswith("Window") else ""
    try:
        value = element(elements, name)
        if value is None or value == "":
            return []
        values = [value] if isinstance(value, str | float | int) else list(value)
        while values and values[-1] in ("", None):  # a backslash behind the last
            values.pop()
        numbers = [float(v) for v in values]
    except (UndecodableError, TypeError, ValueError) as error:
        raise UndecodableError(
            f"the element {label(name)}, which is no number (a decimal comma?){way_out}"
        ) from error
    if not np.isfinite(numbers).all():
        raise UndecodableError(f"the element {label(name)}, which is not finite{way_out}")
    return numbers


def _chosen(views: list[Any], window: int) -> Any:
    if window > len(views):
        raise UndecodableError(f"no window {window}, only {len(views)}")
    return views[window - 1]
