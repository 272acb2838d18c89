"""Who is on each image: as options, tables and files say, else one person for each image.

The latter is allowed only where nothing tells that people have several images; where something does
it is refused, unless the user says that each image shows another person.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from latentpath.core import DataError, InputError
from latentpath.data.sources.class_folders import folders_at
from latentpath.data.sources.csv_table import Table, find_table
from latentpath.data.sources.listing import (
    Listing,
    join_people,
    number_people,
    people_notes,
    person_key,
)
from latentpath.data.sources.name_disclosure import and_first
from latentpath.data.sources.named_images import resolve_images
from latentpath.data.sources.people_evidence import evidence_in_folders, evidence_in_names
from latentpath.data.sources.stylegan_set import is_packed

if TYPE_CHECKING:
    from latentpath.data.sources.data_source import DataSource

DEFAULT_IDENTITY_COLUMN = "identity"
# Forms whose images are rows of arrays, without names.
_ARRAYS = ("medmnist", "npz")


def with_people(source: DataSource, listing: Listing) -> Listing:
    """Return the listing with the people that the options name, or with doubt about them.

    Raises:
        DataError: a table, pattern or folder that does not tell the person of every image.
        InputError: files without names to look at.
    """
    if source.identities is not None:
        named = _from_table(source, listing)
        told = _told(listing, number_people(named), "identities", named)
        return replace(told, notes=(*listing.notes, *people_notes(named)))
    if source.identity_pattern is not None:
        keys = _by_pattern(source.identity_pattern, _names(listing, "--identity-pattern"))
        people = _joined(listing, keys)
        return _told(listing, people, "identity-pattern", ["|".join(key) for key in keys])
    if source.identity_folder is not None:
        files = _names(listing, "--identity-folder")
        return _by_folder(source, listing, files, source.identity_folder)
    if source.one_image_per_person:
        # Files that name their patients know better.
        people = _joined(listing, [None] * len(listing.files))
        return _told(listing, people, "one-image-per-person")
    if listing.counted_by == "images" and listing.doubt is None and not listing.synthetic:
        return replace(listing, doubt=_doubt(source, listing))
    return listing


def _told(
    listing: Listing, people: np.ndarray, how: str, names: Sequence[str] | None = None
) -> Listing:
    return replace(
        listing,
        identities=people,
        nameless=frozenset(),
        counted_by=how,
        person_names=names,
        doubt=None,
    )


def _joined(listing: Listing, keys: Sequence[tuple[str, ...] | None]) -> np.ndarray:
    """Return people by these keys, joined by what the set itself says of them."""
    known = listing.counted_by != "images"
    patients = listing.identities.tolist()
    return join_people(
        [
            ([key] if key else []) + ([("patient", patient)] if known else [])
            for key, patient in zip(keys, patients, strict=True)
        ]
    )


def _names(listing: Listing, option: str) -> tuple[str, ...]:
    if listing.ours or listing.format in _ARRAYS:
        raise InputError(
            expected=f"{option} with files that have names",
            got=f"a set of the form {listing.format}",
            fix="name a table of people with --identities",
        )
    return listing.files


def _by_folder(source: DataSource, listing: Listing, files: Sequence[str], depth: int) -> Listing:
    """Return people by their folders; an image right in the folder of its class is one itself."""
    own = _class_depth(source, listing)
    flat = np.array([file.count("/") == own < depth for file in files])  # [n]
    if any(file.count("/") < depth for file, alone in zip(files, flat, strict=True) if not alone):
        flat[:] = False
    flat &= not flat.all()  # then nobody has a folder
    deep = [file for file, alone in zip(files, flat, strict=True) if not alone]
    names = iter(folders_at(deep, depth, "--identity-folder"))
    keys = [None if alone else ("folder", next(names).strip().casefold()) for alone in flat]
    called = ["" if key is None else key[1] for key in keys]
    told = _told(listing, _joined(listing, keys), "identity-folder", called)
    if not flat.any():
        return told
    note = (
        f"{flat.sum()} of {len(files)} images lie less deep than --identity-folder {depth} says, "
        "beside folders of people, and count as a person each"
    )
    return replace(told, notes=(*listing.notes, note), doubt=_doubt_of_flat(listing, files, flat))


def _doubt_of_flat(listing: Listing, files: Sequence[str], flat: np.ndarray) -> DataError | None:
    """Return what tells that people have several images among those outside of their folders."""
    alone = [file for file, own in zip(files, flat, strict=True) if own]
    doubt = (
        evidence_in_names(alone, listing.labels[flat]) if listing.counted_by == "images" else None
    )
    if doubt is None:
        return None
    return DataError(
        expected=doubt.expected,
        got=f"among the images outside of people's folders {doubt.got}",
        fix="name a table of people with --identities, or put them into folders of people",
    )


def _by_pattern(pattern: str, files: Sequence[str]) -> list[tuple[str, ...]]:
    found = [re.search(pattern, file) for file in files]
    without = [
        file for file, part in zip(files, found, strict=True) if not (part and any(_of(part)))
    ]
    if without:
        raise DataError(
            expected="the person in the path of every image, as --identity-pattern says",
            got=f"{len(without)} of {len(files)} paths without{and_first(without[0])}",
            fix="widen it, with | between the forms of names, such as 'person([0-9]+)_|IM-([0-9]+)'"
            ", or name a table of people with --identities",
        )
    return [("pattern", *_of(part)) for part in found if part]


def _of(part: re.Match[str]) -> tuple[str, ...]:
    return tuple((text or "").casefold() for text in part.groups())


def _doubt(source: DataSource, listing: Listing) -> DataError | None:
    """Return what tells that people have several images."""
    if listing.format in _ARRAYS:
        return None  # rows of an array have no names
    doubt = evidence_in_names(listing.files, listing.labels)
    if doubt is not None or (listing.format == "stylegan" and is_packed(listing.files)):
        return doubt and _with_tables(doubt, source)
    if not listing.classes_known:
        return None  # which folders are classes comes first
    depth = _class_depth(source, listing)
    if depth:
        return evidence_in_folders(listing.files, depth)
    return evidence_in_folders(listing.files, 0, listing.labels, listing.class_names)


def _with_tables(doubt: DataError, source: DataSource) -> DataError:
    """The same, with a hint at tables in the folder, which may tell who is who."""
    tables = sorted(source.path.glob("*.csv")) if source.path.is_dir() else []
    if not tables or source.csv is not None:
        return doubt
    count = "a table" if len(tables) == 1 else f"{len(tables)} tables"
    return DataError(
        expected=doubt.expected,
        got=doubt.got,
        fix=f"{doubt.fix}; {count} (.csv) in the folder may tell: name it with --csv, and its "
        "columns with --image-column and --identity-column",
    )


def _class_depth(source: DataSource, listing: Listing) -> int:
    """Return the depth of the folders of classes, 0 where something else tells the classes."""
    return 0 if listing.format not in ("folder", "dicom") else source.class_folder or 1


def _from_table(source: DataSource, listing: Listing) -> list[str]:
    """Return the person's key of each of n images, from the table of people."""
    assert source.identities is not None, "checked by the caller"
    root = source.path if source.path.is_dir() else source.path.parent
    column = source.identity_column or DEFAULT_IDENTITY_COLUMN
    table = Table(find_table(source.identities, root), [source.image_column, column])
    rows = list(zip(_lookup_keys(source, listing, table), map(person_key, table.column(1)),
                    strict=True))  # fmt: skip
    person = dict(rows)
    if len(set(rows)) != len(person):
        raise DataError(
            expected="one person for each image in the table of people",
            got=f"{len(set(rows))} rows for {len(person)} images",
            fix="keep one row per image",
        )
    without = [row for row, file in enumerate(listing.files) if file not in person]
    if without:
        raise DataError(
            expected="every image in the table of people",
            got=f"{len(without)} of {len(listing.files)} missing, the first is "
            f"{listing.place(without[0])}",
            fix="add a row for each of them",
        )
    return [person[file] for file in listing.files]


def _lookup_keys(source: DataSource, listing: Listing, table: Table) -> Sequence[str]:
    """Return the image that each row of a table of people names."""
    if source.path.is_dir():
        return resolve_images(source.path, table, listing.files).files
    cells = [cell.replace("\\", "/") for cell in table.column(0)]
    rows = listing.format in _ARRAYS
    return [cell.lstrip("0") or "0" for cell in cells] if rows else cells
