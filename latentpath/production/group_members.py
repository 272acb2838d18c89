"""The people behind every image of a set, in memory or written with a private file beside it.

For the audit, which knows nothing of how sets are made: it takes the people of the real set behind
each image as plain arrays. A wrong match would go unseen there (an image tells nothing of people
who have nothing to do with it), so nothing is returned unless set, private file and real images
are the ones that belong together: the set commits to the file's hash, the file to the set's
samples, and its salt, a hash of the private images, to these and to their order.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from latentpath.core import DataError, InputError, IntegrityError, hash_file
from latentpath.data import (
    TABLE_NAME,
    ImageSet,
    Table,
    is_written_set,
    number_people,
    read_manifest,
)
from latentpath.production.prepared_endpoints import Endpoints
from latentpath.production.private_file import (
    People,
    PrivateRecord,
    committed_hash,
    data_salt,
    read_record,
    samples_hash,
)
from latentpath.production.synthetic import SyntheticSet


def people_behind(
    folder: str | Path, private: str | Path, synthetic: ImageSet, real: ImageSet
) -> list[np.ndarray]:
    """The people of `real` behind each image of a set: those of both ends of its walk.

    Args:
        folder: the set, with the layout "folder".
        private: its private file.
        synthetic: the set as it was read, n images.
        real: the private images as the set was made from them, at its size and in its colour.

    Returns:
        n arrays of numbers of people, ascending, as `real.identities` has them.

    Raises:
        DataError: one of them is absent or damaged, or the real images are others.
        IntegrityError: the set or its private file was changed, or they are not of each other.
        InputError: a folder that is none of our sets, or one whose endpoints are no groups.
    """
    folder, private = Path(folder), Path(private)
    path, step = _places(folder)
    record = _record(folder, private)
    people = record.people
    if people is None:
        raise InputError(
            expected="a set whose endpoints are groups of people",
            got="one with private centroids, for which nobody keeps who is behind them",
            fix="leave the private file out",
        )
    seed = _check_samples(folder, record, synthetic, path, step)
    _check_real(people, record, real, seed)
    order = np.argsort(people.assignment, kind="stable")  # those left out (-1) come first
    sizes = np.bincount(people.assignment + 1, minlength=len(record.labels) + 1)
    of_endpoint = np.split(real.identities[order], np.cumsum(sizes)[:-1])[1:]
    of_walk = [np.union1d(of_endpoint[a], of_endpoint[b]) for a, b in record.pairs]
    return [of_walk[walk] for walk in path]


def group_people(endpoints: Endpoints) -> list[np.ndarray] | None:
    """The people behind each endpoint; None where endpoints are no groups."""
    grouping = endpoints.grouping
    if grouping is None:
        return None
    people = endpoints.real.identities
    return [np.unique(people[grouping.rows(g)]) for g in range(grouping.num_groups)]


def walk_people(result: SyntheticSet, walks: np.ndarray) -> list[np.ndarray] | None:
    """The people behind each of some images of a set in memory: those of both ends of its walk.

    Args:
        result: the set.
        walks: [n] walk of each image, a row of `result.walks.pairs`.

    Returns:
        n arrays of numbers of people, ascending, as `result.endpoints.real.identities` has them;
        None where endpoints are no groups.
    """
    people = group_people(result.endpoints)
    if people is None:
        return None
    ends = [np.union1d(people[a], people[b]) for a, b in result.walks.pairs]
    return [ends[walk] for walk in walks]


def _places(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Walk and step of every image [n], in the order in which images are read."""
    if not is_written_set(folder) or not (folder / TABLE_NAME).is_file():
        raise InputError(
            expected='a set that latentpath wrote, with the layout "folder", beside a private file',
            got=f"{folder}",
            fix="give the set's folder, or leave the private file out",
        )
    table = Table(folder / TABLE_NAME, ["file", "path", "step"])
    order = sorted(range(len(table.rows)), key=lambda row: table.rows[row][0].rsplit("/", 1)[-1])
    try:
        values = np.array([[int(cell) for cell in table.rows[row][1:]] for row in order], np.int64)
    except (ValueError, OverflowError) as error:
        raise IntegrityError(
            expected=f"numbers of walks and steps in {TABLE_NAME}",
            got="other cells",
            fix="restore it from a copy, or write the set again",
        ) from error
    return values[:, 0], values[:, 1]


def _record(folder: Path, private: Path) -> PrivateRecord:
    """The private file, if it is the one that the set commits to."""
    if not private.is_file():
        raise DataError(expected="a private file", got=f"{private}, absent", fix="check the path")
    stated = committed_hash(folder)
    actual = hash_file(private)
    if stated != actual:
        raise IntegrityError(
            expected=f"the private file of this set, with the SHA-256 {stated or '(none stated)'}",
            got=f"{private} with {actual}",
            fix="give the one that was written with this set",
        )
    return read_record(private)


def _check_samples(
    folder: Path, record: PrivateRecord, synthetic: ImageSet, path: np.ndarray, step: np.ndarray
) -> int:
    """Refuse images that are not the set's; returns the seed that the manifest states."""
    manifest = read_manifest(folder)
    size = manifest["images"]
    stated = (size["count"], size["height"], size["width"], size["channels"])
    if stated != synthetic.images.shape or len(path) != len(synthetic):
        raise DataError(
            expected=f"all images of the set as they are, {list(stated)}",
            got=f"{list(synthetic.images.shape)}, and {len(path)} rows in {TABLE_NAME}",
            fix="read the set without another resolution, other channels and unreadable images",
        )
    # The audit counts classes as the real set does, the set as its manifest does.
    names = [entry["name"] for entry in manifest["classes"]]
    place = {name: number for number, name in enumerate(names)}
    number = np.array([place.get(name, -1) for name in synthetic.class_names], np.int64)
    labels = number[synthetic.labels]
    if samples_hash(synthetic.images, labels, path, step) != record.samples:
        raise IntegrityError(
            expected="the samples that the private file was written for",
            got="other images, classes or walks",
            fix="check the set with `latentpath verify`",
        )
    return int(manifest["seeds"]["seed"])


def _check_real(people: People, record: PrivateRecord, real: ImageSet, seed: int) -> None:
    """Refuse images that are not those behind the set, in their order."""
    numbers = number_people(real.identities)
    if len(real) != len(people.assignment) or numbers.max() != people.identities.max():
        raise DataError(
            expected=f"the real images that the set was made from, {len(people.assignment)} of "
            f"{people.identities.max() + 1} people",
            got=f"{len(real)} of {real.num_identities} people",
            fix="give the same images and people as when the set was made",
        )
    if data_salt(seed, real.images, real.labels, numbers) != record.salt:
        raise DataError(
            expected="the very images, classes and people that the set was made from, in their "
            "order",
            got="as many, but others, in another order, or read in another way",
            fix="give the same files, tables and options for reading as when the set was made",
        )
