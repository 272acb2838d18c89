"""DICOM files of several frames: each frame is an image, all of them of one person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from latentpath.core import Progress, silent
from latentpath.data.contrast import Picture, Window
from latentpath.data.sources.dicom import DicomFiles
from latentpath.data.sources.dicom_file import FRAME_ELEMENTS, frame_count, read_elements
from latentpath.data.sources.file_search import is_dicom, is_image
from latentpath.data.sources.listing import Listing
from latentpath.data.sources.name_disclosure import libraries_quiet

STAGE = "count frames"


def with_frames(listing: Listing, root: Path, window: Window, progress: Progress) -> Listing:
    """Return a listing of files with a row for every frame of those that have several.

    Args:
        listing: a row for every file.
        root: the data folder.
        window: what of grey values becomes black and white.
        progress: told after every DICOM file.
    """
    if not root.is_dir() or listing.ours:
        return listing
    scans = [
        row for row, file in enumerate(listing.files) if not is_image(file) and is_dicom(root, file)
    ]
    counts = np.ones(len(listing.files), dtype=np.int64)
    counts[scans] = _frame_counts(root, [listing.files[row] for row in scans], progress)
    if counts.max(initial=1) == 1:
        return listing
    rows = np.repeat(np.arange(len(counts)), counts)  # [n], the file of each frame
    frames = np.concatenate([np.arange(count) for count in counts])  # [n]
    files = DicomFiles(window)

    def read(row: int) -> Picture:
        file = int(rows[row])
        if counts[file] == 1:
            return listing.read(file)
        return files.read(root / listing.files[file], int(frames[row]))

    several, named = counts[counts > 1], listing.person_names
    note = (
        f"{len(several)} DICOM files hold {several.sum():,} frames; those of one file are images "
        "of one person"
    )
    return replace(
        listing,
        files=tuple(listing.files[row] for row in rows),
        labels=listing.labels[rows],
        identities=listing.identities[rows],
        read=read,
        notes=(*listing.notes, note),
        nameless=frozenset(np.flatnonzero(np.isin(rows, list(listing.nameless))).tolist()),
        frames=frames,
        person_names=None if named is None else [named[int(row)] for row in rows],
    )


def _frame_counts(root: Path, files: Sequence[str], progress: Progress = silent) -> list[int]:
    """Return the frames of each file, 1 where that cannot be told: to decode it will say why."""
    counts = []
    for number, file in enumerate(files, start=1):
        try:
            with libraries_quiet():
                header = read_elements(root / file, FRAME_ELEMENTS, header_only=True)
                counts.append(frame_count(header, root / file))
        except Exception:  # as in `number_patients`
            counts.append(1)
        progress(STAGE, number, len(files), {})
    return counts
