"""Listing a set that `write_image_set` wrote."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from latentpath.core import DataError
from latentpath.data.contrast import Picture
from latentpath.data.decode import read_picture
from latentpath.data.manifest import read_manifest
from latentpath.data.sources.csv_table import Table
from latentpath.data.sources.listing import Listing, number_names
from latentpath.data.sources.named_images import resolve_images
from latentpath.data.writers.folder import TABLE_NAME


def list_written_set(root: Path) -> Listing:
    """List a set of ours in the order in which it was written, classes without images included.

    Raises:
        DataError: another layout than "folder", or a table that does not match the manifest.
        UnsupportedError: a set in a later format.
    """
    manifest = read_manifest(root)
    names = tuple(entry["name"] for entry in manifest["classes"])
    if "folder" not in manifest.get("layouts", ()):
        raise DataError(
            expected="a set with the layout 'folder'",
            got=f"the layouts {manifest.get('layouts')}",
            fix="read its .npz or .zip file instead",
        )
    table = Table(root / TABLE_NAME, ["file", "label"])
    files = resolve_images(root, table, ()).files
    shown, numbers = number_names(table.column(1))
    count = manifest["images"]["count"]
    valid = set(map(str, range(len(names))))
    if len(files) != count or not set(shown) <= valid:
        raise DataError(
            expected=f"{count} images with labels below {len(names)} in {TABLE_NAME}, as in the "
            "manifest",
            got=f"{len(files)} images with the labels {', '.join(shown[:9])}",
            fix="restore both files, or write the set again",
        )
    labels = np.array([int(name) for name in shown])[numbers]
    # Files are numbered in the order in which they were written.
    order = sorted(range(count), key=lambda row: files[row].rsplit("/", 1)[-1])
    in_order = tuple(files[row] for row in order)

    def read(row: int) -> Picture:
        return read_picture(root / in_order[row])

    own = np.arange(count)
    listing = Listing("latentpath", in_order, labels[order], names, own, read)
    return replace(listing, ours=True, synthetic=True)
