"""Reading a labelled image set, whatever form it has on disk."""

from __future__ import annotations

import hashlib
import warnings
from collections import Counter
from pathlib import Path

import numpy as np

from latentpath.data.decode import UndecodableError, decode_image
from latentpath.data.images import ImageSet, resize_images
from latentpath.data.listing import Listing, list_class_folders, list_csv
from latentpath.data.manifest import is_written_set, read_manifest
from latentpath.data.medmnist import SPLITS, read_medmnist
from latentpath.errors import DataError, InputError, LatentpathWarning
from latentpath.progress import Progress, silent

STAGE = "read images"
# A set whose brightest pixel is below this is nearly black: 14 bits or fewer stored in 16.
_DARK = 70


def read_image_set(
    path: str | Path,
    *,
    csv: str | Path | None = None,
    image_column: str = "image",
    label_column: str = "label",
    identity_column: str | None = None,
    split: str = "train",
    channels: int | None = None,
    resolution: int | None = None,
    progress: Progress = silent,
) -> ImageSet:
    """Read a labelled image set into memory.

    Forms, by what `path` is:

    - a folder with one folder of images per class;
    - a folder of images, with `csv` naming a table of paths, labels and, optionally, people;
    - a MedMNIST `.npz` file;
    - a folder that `write_image_set` wrote, which comes back exactly as it was written.

    Images are 8- or 16-bit PNG, JPEG, TIFF or BMP; see `latentpath.data.decode` for what becomes
    of depth, transparency and palettes. The order is that of the sorted paths, except for sets
    that we wrote, which keep theirs.

    Args:
        path: folder or `.npz` file.
        csv: table with a header; a relative path is looked for here, then in the data folder.
        image_column: its column of paths, relative to the data folder.
        label_column: its column of class names.
        identity_column: its column of people. Without one, each image is one identity: do name
            it where a person has several images, or k-anonymity counts images, not people.
        split: for `.npz` files: "train", "val", "test" or "all".
        channels: 1 makes all images grey, 3 colour. None takes them as they are and refuses a
            mixture.
        resolution: resize every image to this many pixels per side (see `resize_images`), so
            that sizes may differ. None takes them as they are and refuses a mixture.
        progress: told after every image, stage "read images".

    Raises:
        DataError: the set cannot be used; the message says which file, and what to do.
        InputError: arguments that do not go together.
        UnsupportedError: a set of ours in a later format.
        MissingExtraError: Pillow is not installed.
    """
    path = Path(path)
    _check_arguments(path, csv, identity_column, split, channels, resolution)
    if path.is_file():
        image_set = read_medmnist(path, split, channels)
        if resolution is not None:
            pixels = resize_images(image_set.images, resolution)
            image_set = ImageSet(
                pixels, image_set.labels, image_set.identities, image_set.class_names
            )
        progress(STAGE, len(image_set), len(image_set), {})
        notes: tuple[str, ...] = ()
    else:
        listing = list_folder(
            path,
            csv=csv,
            image_column=image_column,
            label_column=label_column,
            identity_column=identity_column,
        )
        image_set = load_listing(listing, channels, resolution, progress)
        notes = listing.notes
    # What we wrote shows no people, and may repeat itself.
    ours = is_written_set(path.parent if path.is_file() else path)
    suspicions = [] if ours else _suspicions(image_set)
    for note in (*notes, *suspicions):
        warnings.warn(note, LatentpathWarning, stacklevel=2)
    return image_set


def list_folder(
    path: Path,
    *,
    csv: str | Path | None = None,
    image_column: str = "image",
    label_column: str = "label",
    identity_column: str | None = None,
) -> Listing:
    """List a data folder without reading its images; see `read_image_set`."""
    if csv is not None:
        table = Path(csv)
        if not table.is_absolute() and not table.exists():
            table = path / table
        return list_csv(
            path,
            table,
            image_column=image_column,
            label_column=label_column,
            identity_column=identity_column,
        )
    if is_written_set(path):
        return _list_written_set(path)
    return list_class_folders(path)


def load_listing(
    listing: Listing,
    channels: int | None = None,
    resolution: int | None = None,
    progress: Progress = silent,
) -> ImageSet:
    """Decode all images of a listing; see `read_image_set`.

    It reads to the end before it complains, so that one error counts all unreadable files.
    """
    pixels: np.ndarray | None = None  # [n, H, W, C], made when the first image says how large
    shapes: Counter[tuple[int, ...]] = Counter()
    first_of: dict[tuple[int, ...], str] = {}
    unreadable: list[tuple[str, str]] = []
    total = len(listing.files)
    for row, file in enumerate(listing.files):
        try:
            image = decode_image(listing.root / file, channels)
        except UndecodableError as reason:
            unreadable.append((file, str(reason)))
        else:
            if resolution is not None:
                image = resize_images(image[None], resolution)[0]
            shapes[image.shape] += 1
            first_of.setdefault(image.shape, file)
            if pixels is None:
                pixels = _room_for(total, image.shape)
            if len(shapes) == 1:
                pixels[row] = image
        progress(STAGE, row + 1, total, {"unreadable": len(unreadable)})
    if unreadable:
        file, why = unreadable[0]
        raise DataError(
            expected=f"{total} readable images",
            got=f"{len(unreadable)} that are not, the first is {file!r}: {why}",
            fix="replace or remove them",
        )
    if len(shapes) > 1:
        raise _mixed(shapes, first_of)
    assert pixels is not None, "a listing holds at least one file"
    return ImageSet(pixels, listing.labels, listing.identities, listing.class_names)


def _room_for(total: int, shape: tuple[int, ...]) -> np.ndarray:
    try:
        return np.empty((total, *shape), dtype=np.uint8)
    except MemoryError as error:
        raise DataError(
            expected="a set that fits into memory",
            got=f"{total} images of {shape[1]}x{shape[0]} pixels",
            fix="choose a resolution to resize all of them to",
        ) from error


def _mixed(shapes: Counter[tuple[int, ...]], first_of: dict[tuple[int, ...], str]) -> DataError:
    """Describe the rarer of grey and colour, or else the commonest size and the rarest."""
    by_channels = {c: sum(n for s, n in shapes.items() if s[2] == c) for c in (1, 3)}
    if all(by_channels.values()):
        odd = min(by_channels, key=by_channels.__getitem__)
        example = next(file for shape, file in first_of.items() if shape[2] == odd)
        return DataError(
            expected="images that are all grey or all colour",
            got=f"{by_channels[1]} grey and {by_channels[3]} colour ones, the first of the rarer "
            f"kind is {example!r}",
            fix="choose 1 or 3 channels to convert all of them to",
        )
    ranked = shapes.most_common()
    (common, count), (rare, rare_count) = ranked[0], ranked[-1]
    return DataError(
        expected="images of one size",
        got=f"{len(shapes)} sizes, {count} images of {common[1]}x{common[0]} pixels and "
        f"{rare_count} of {rare[1]}x{rare[0]}, the first of these is {first_of[rare]!r}",
        fix="choose a resolution to resize all of them to",
    )


def _list_written_set(root: Path) -> Listing:
    """List a set of ours in the order in which it was written, classes without images included."""
    manifest = read_manifest(root)
    names = tuple(entry["name"] for entry in manifest["classes"])
    if "folder" not in manifest.get("layouts", ()):
        raise DataError(
            expected="a set with the layout 'folder'",
            got=f"the layouts {manifest.get('layouts')}",
            fix="read its .npz file instead",
        )
    listing = list_csv(root, root / "labels.csv", image_column="file", label_column="label")
    count = manifest["images"]["count"]
    valid = set(map(str, range(len(names))))
    if len(listing.files) != count or not set(listing.class_names) <= valid:
        raise DataError(
            expected=f"{count} images with labels below {len(names)} in labels.csv, as in the "
            "manifest",
            got=f"{len(listing.files)} images with the labels {', '.join(listing.class_names[:9])}",
            fix="restore both files, or write the set again",
        )
    labels = np.array([int(name) for name in listing.class_names])[listing.labels]
    # Files are numbered in the order in which they were written.
    order = sorted(range(count), key=lambda row: listing.files[row].rsplit("/", 1)[-1])
    files = tuple(listing.files[row] for row in order)
    return Listing(root, files, labels[order], names, np.arange(count), listing.notes)


def _suspicions(image_set: ImageSet) -> list[str]:
    """Return what is allowed, but seldom meant."""
    found = []
    people_of: dict[bytes, set[int]] = {}
    for image, identity in zip(image_set.images, image_set.identities, strict=True):
        digest = hashlib.blake2b(image.tobytes(), digest_size=16).digest()
        people_of.setdefault(digest, set()).add(int(identity))
    copies = sum(len(people) for people in people_of.values() if len(people) > 1)
    if copies:
        found.append(
            f"{copies} images are exact copies of another identity's image; if these are the same "
            "person, k-anonymity counts that person several times: remove the copies or name a "
            "column of identities"
        )
    brightest = int(image_set.images.max())
    if brightest < _DARK:
        found.append(
            f"the brightest pixel of all images is {brightest} of 255; 16-bit files that use only "
            "12 bits look like this: stretch them to the full range first"
        )
    return found


def _check_arguments(
    path: Path,
    csv: str | Path | None,
    identity_column: str | None,
    split: str,
    channels: int | None,
    resolution: int | None,
) -> None:
    if not path.exists():
        raise DataError(
            expected="a data folder or .npz file", got=f"{path}, absent", fix="check the path"
        )
    if path.is_file() and path.suffix.lower() != ".npz":
        raise DataError(
            expected="a data folder or .npz file",
            got=f"the file {path.name}",
            fix="give the folder that holds the images",
        )
    if split not in (*SPLITS, "all"):
        raise InputError(
            expected="the split train, val, test or all", got=repr(split), fix="choose one of them"
        )
    if path.is_dir() and split not in ("train", "all"):
        raise InputError(
            expected="a split only with an .npz file",
            got=f"{split!r} for a folder",
            fix="give the path of that split's folder",
        )
    if csv is not None and path.is_file():
        raise InputError(
            expected="a CSV file only with an image folder",
            got=f"one with {path.name}",
            fix="leave out one of the two",
        )
    if identity_column is not None and csv is None:
        raise InputError(
            expected="a CSV file with the column of identities",
            got=f"the column {identity_column!r} and no CSV file",
            fix="name the CSV file too",
        )
    if channels not in (None, 1, 3):
        raise InputError(expected="1 or 3 channels", got=str(channels), fix="choose one of them")
    if resolution is not None and resolution < 1:
        raise InputError(
            expected="a resolution of at least 1 pixel", got=str(resolution), fix="make it larger"
        )
