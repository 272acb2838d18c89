"""From stored DICOM values to grey levels: rescaling, then the window that a reader would look at.

DICOM PS3.3, sections C.11.1 (Modality LUT) and C.11.2 (VOI LUT). Everything works on float64 and
ends between 0 (black) and 1 (white).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from latentpath.data.decode import UndecodableError


def grey_levels(stored: np.ndarray, dataset: Any, window: int = 1) -> np.ndarray:
    """Return what a viewer shows of a grey image.

    Stored values become those of the modality (rescale slope and intercept, or its table). Of the
    file's views the chosen one is applied: a table if it has any, else a window, linear, exactly
    linear or sigmoid. A file without views is shown over the whole range that its bits can hold,
    which is the same for all files of one kind. MONOCHROME1, where the lowest value is white, is
    turned round.

    Args:
        stored: integers [H, W].
        dataset: the file's elements, a `pydicom.Dataset`.
        window: which of several views, from 1.

    Returns:
        float64 [H, W] in [0, 1].

    Raises:
        UndecodableError: no such view, or impossible ones.
    """
    values, lowest, highest = _modality_values(stored, dataset)
    if tables := dataset.get("VOILUTSequence"):
        table = _LookupTable(_chosen(list(tables), window), _order(dataset))
        levels = table.values(values) / (2**table.bits - 1)
    elif windows := _windows(dataset):
        center, width = _chosen(windows, window)
        levels = _windowed(values, center, width, str(dataset.get("VOILUTFunction") or "LINEAR"))
    else:
        _chosen([None], window)
        levels = (values - lowest) / max(highest - lowest, 1e-12)
    levels = np.clip(levels, 0.0, 1.0)
    return 1.0 - levels if dataset.PhotometricInterpretation == "MONOCHROME1" else levels


def _modality_values(stored: np.ndarray, dataset: Any) -> tuple[np.ndarray, float, float]:
    """Return the values, and the lowest and the highest that the file's bits can hold."""
    if tables := dataset.get("ModalityLUTSequence"):
        table = _LookupTable(tables[0], _order(dataset))
        return table.values(stored), 0.0, float(2**table.bits - 1)
    bits = int(dataset.BitsStored)
    signed = int(dataset.get("PixelRepresentation") or 0) == 1
    ends = np.array([-(2 ** (bits - 1)), 2 ** (bits - 1) - 1] if signed else [0, 2**bits - 1])
    slope = (_numbers(dataset, "RescaleSlope") or [1.0])[0]
    intercept = (_numbers(dataset, "RescaleIntercept") or [0.0])[0]
    if slope == 0:
        raise UndecodableError("a rescale slope of 0")
    ends = ends * slope + intercept
    return stored * slope + intercept, float(ends.min()), float(ends.max())


def _windows(dataset: Any) -> list[tuple[float, float]]:
    """Return centre and width of every window; the elements may be there without a value."""
    centers, widths = _numbers(dataset, "WindowCenter"), _numbers(dataset, "WindowWidth")
    if len(centers) != len(widths):
        raise UndecodableError(f"{len(centers)} centres for {len(widths)} windows")
    return list(zip(centers, widths, strict=True))


def _windowed(values: np.ndarray, center: float, width: float, function: str) -> np.ndarray:
    """Section C.11.2.1.2 and C.11.2.1.3."""
    function = function.upper()
    if width < 1 if function == "LINEAR" else width <= 0:
        raise UndecodableError(f"a window of width {width:g}")
    if function == "SIGMOID":
        return 1.0 / (1.0 + np.exp(np.clip(-4.0 * (values - center) / width, -700.0, 700.0)))
    if function == "LINEAR":
        center, width = center - 0.5, width - 1.0
    elif function != "LINEAR_EXACT":
        raise UndecodableError("a window function that the DICOM standard does not have")
    if width == 0:
        return (values > center).astype(np.float64)
    return (values - center) / width + 0.5


class _LookupTable:
    """A table of the standard: n entries of so many bits, the first for a given value.

    Values before the first take its entry, values behind the last take the last one's.
    """

    def __init__(self, item: Any, order: str) -> None:
        count, first, self.bits = (int(value) for value in item.LUTDescriptor)
        count = count or 2**16
        data = item.LUTData
        if isinstance(data, bytes):
            data = np.frombuffer(data, f"{order}u2" if len(data) >= 2 * count else "u1")
        entries = np.atleast_1d(np.asarray(data, dtype=np.float64))[:count]
        if len(entries) < count or not 1 <= self.bits <= 16:
            raise UndecodableError(f"a lookup table of {len(entries)} entries instead of {count}")
        self._first, self._entries = first, entries

    def values(self, inputs: np.ndarray) -> np.ndarray:
        """Return the entry of each value."""
        places = np.floor(inputs + 0.5).astype(np.int64) - self._first
        return self._entries[np.clip(places, 0, len(self._entries) - 1)]


def _order(dataset: Any) -> str:
    """Return the byte order of words that come as bytes."""
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    return "<" if syntax is None or syntax.is_little_endian else ">"


def _numbers(dataset: Any, name: str) -> list[float]:
    """Return the values of an element, none if it is absent or empty."""
    value = dataset.get(name)
    if value is None or value == "":
        return []
    numbers = [float(v) for v in (value if hasattr(value, "__iter__") else [value])]
    if not np.isfinite(numbers).all():
        raise UndecodableError("a rescaling or window that is no number")
    return numbers


def _chosen(views: list[Any], window: int) -> Any:
    if window > len(views):
        raise UndecodableError(f"no window {window}, only {len(views)}")
    return views[window - 1]
