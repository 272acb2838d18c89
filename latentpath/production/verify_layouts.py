"""The layouts of a written set that are archives and tables: WebDataset, StyleGAN, Parquet, card.

Their writers give equal bytes for equal samples. So a file is checked by writing it again from the
samples and comparing: whatever lies between, behind or beside the samples, in a comment or as the
owner of a member, makes a difference. Parquet files say which version of pyarrow wrote them; with
another one at hand they cannot be written again, and are compared row by row.
"""

from __future__ import annotations

import json
import re
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from latentpath._version import __version__
from latentpath.core import (
    InputError,
    IntegrityError,
    LatentpathError,
    PrivacyError,
    require_extra,
)
from latentpath.data import (
    CARD_NAME,
    IMAGES_NAME,
    TABLE_NAME,
    UNREADABLE_SAMPLES,
    WRITERS,
    Batch,
    DatasetCard,
    SetForm,
    WrittenSamples,
    files_of_layout,
    read_shards,
    read_tables,
)

COLUMNS: dict[str, type] = {"path": int, "step": int}
REBUILT = ("webdataset", "stylegan", "parquet")

_BATCH = 256
# Figures at the end of a card: short words and a number in each row.
_AUDIT = re.compile(
    r"\n\n## Audit\n\n\| measure \| value \|\n\| --- \| --- \|"
    r"(\n\| [^|\n]{1,80} \| [-+.0-9a-z]{1,12} \|)+\n\Z"
)


@dataclass(frozen=True)
class Packed(WrittenSamples):
    """The samples of a set that says of each which walk it lies on."""

    path: Sequence[int]
    step: Sequence[int]
    lost: frozenset[int] = frozenset()
    """Rows whose pictures are not those that were written."""


def form_of(manifest: Mapping[str, Any]) -> SetForm:
    """Return the form of a set whose samples lie on walks."""
    size = manifest["images"]
    names = tuple(entry["name"] for entry in manifest["classes"])
    return SetForm(size["height"], size["width"], size["channels"], names, size["count"], COLUMNS)


def read_packed(
    folder: Path, manifest: Mapping[str, Any], changed: frozenset[str] = frozenset()
) -> Packed | None:
    """Return the samples of a set's WebDataset or Parquet files; None where it has neither.

    Args:
        folder: the set.
        manifest: its manifest.
        changed: files that are not as they were written, with which a layout counts for nothing.

    Raises:
        IntegrityError: a file cannot be read, or there are more or fewer samples than listed.
    """
    readers = {"webdataset": read_shards, "parquet": read_tables}
    intact = [
        name
        for name in readers
        if name in manifest["layouts"] and changed.isdisjoint(files_of_layout(name, manifest))
    ]
    if not intact:
        return None
    layout = intact[0]
    try:
        packed = _on_walks(readers[layout](folder, files_of_layout(layout, manifest)))
    except UNREADABLE_SAMPLES as error:
        raise _differs(f"{layout} files that cannot be read ({type(error).__name__})") from error
    if len(packed.labels) != manifest["images"]["count"]:
        raise _differs(f"{len(packed.labels)} samples in the {layout} files")
    return packed


def _on_walks(samples: WrittenSamples) -> Packed:
    if samples.path is None or samples.step is None:
        raise ValueError("samples without a place on a walk")
    return Packed(samples.labels, samples.path, samples.step, samples.png, samples.name)


def check_layouts(
    folder: Path,
    manifest: Mapping[str, Any],
    packed: Packed,
    found: list[LatentpathError],
    not_verified: list[str],
    changed: frozenset[str] = frozenset(),
) -> None:
    """Write the files of all `REBUILT` layouts again and compare; see above for Parquet.

    Layouts with files that are known to be `changed` are left out.
    """
    form = form_of(manifest)
    for layout in REBUILT:
        if layout not in manifest["layouts"]:
            continue
        names = files_of_layout(layout, manifest)
        if not changed.isdisjoint(names):
            continue
        if packed.lost:
            not_verified.append(
                f"That the {layout} files hold the samples and nothing else: needs the pictures as "
                "they were written."
            )
            continue
        try:
            if layout == "parquet" and not _same_pyarrow(folder, names):
                found += _other_rows(folder, names, packed)
                not_verified.append(
                    "That the Parquet files hold nothing beside the samples: another version of "
                    "pyarrow wrote them."
                )
            else:
                found += _other_bytes(layout, folder, names, form, packed)
        except UNREADABLE_SAMPLES as error:
            if isinstance(error, LatentpathError) and not isinstance(error, InputError):
                raise
            found.append(_differs(f"{layout} files that cannot be read ({type(error).__name__})"))


def check_claims(manifest: Mapping[str, Any], found: list[LatentpathError]) -> None:
    """Find files that belong to none of the set's layouts, and layouts without a file."""
    claimed = {CARD_NAME}
    for layout in manifest["layouts"]:
        if layout == "folder":
            pictures = {
                name
                for name in manifest["files"]
                if name.startswith(f"{IMAGES_NAME}/") and name.endswith(".png")
            }
            claimed |= {TABLE_NAME, *pictures}
        else:
            claimed |= set(files_of_layout(layout, manifest))
    for name in sorted(set(manifest["files"]) - claimed):
        found.append(
            PrivacyError(
                expected="files of the set's layouts and its card alone",
                got=ascii(name),
                fix="do not share the set: write it again",
            )
        )
    absent = sorted(claimed - set(manifest["files"]) - {CARD_NAME})
    if absent:
        raise _differs(f"a set without {', '.join(absent)}")


def check_card(
    folder: Path,
    manifest: Mapping[str, Any],
    found: list[LatentpathError],
    not_verified: list[str],
) -> None:
    """Write the card again, with the title, licence and audit that it has, and compare.

    Its words are those of the version that wrote it.
    """
    if CARD_NAME not in manifest["files"]:
        return
    text = without_audit((folder / CARD_NAME).read_text(encoding="utf-8"))
    title = re.search(r"^pretty_name: (.*)$", text, re.MULTILINE)
    licence = re.search(r"^license: (.*)$", text, re.MULTILINE)
    try:
        card = DatasetCard(json.loads(title[1]) if title else "", licence[1] if licence else "")
        same = card.text(form_of(manifest), manifest) == text
    except (InputError, ValueError, TypeError, AttributeError):
        same = False
    if same:
        return
    if manifest.get("software_version", __version__) == __version__:
        found.append(_more_than_samples(CARD_NAME))
    else:
        not_verified.append(
            f"That {CARD_NAME} holds nothing beside what latentpath writes: another version of it "
            "wrote the set."
        )


def without_audit(card: str) -> str:
    """Return a card's text as it was before an audit's figures were added."""
    return _AUDIT.sub("\n", card)


def _other_bytes(
    layout: str, folder: Path, names: list[str], form: SetForm, packed: Packed
) -> list[LatentpathError]:
    found: list[LatentpathError] = []
    first = 0
    for name in names:
        end = min(first + _count(layout, folder / name, form), form.count)
        with tempfile.TemporaryDirectory() as place:
            with WRITERS[layout](place, form, file=name, first=first) as writer:
                for start in range(first, end, _BATCH):
                    writer.add(_batch(form, packed, range(start, min(start + _BATCH, end))))
            if not _equal(Path(place, name), folder / name):
                found.append(_more_than_samples(name))
        first = end
    if first != form.count:
        found.append(_differs(f"{first} samples in the {layout} files"))
    return found


def _batch(form: SetForm, packed: Packed, rows: range) -> Batch:
    return Batch.packed(
        [packed.png(row) for row in rows],
        (form.height, form.width, form.channels),
        [packed.labels[row] for row in rows],
        {name: [getattr(packed, name)[row] for row in rows] for name in form.columns},
    )


def _equal(first: Path, second: Path) -> bool:
    with first.open("rb") as one, second.open("rb") as other:
        while block := one.read(1 << 20):
            if other.read(1 << 20) != block:
                return False
        return not other.read(1)


def _count(layout: str, path: Path, form: SetForm) -> int:
    """Return how many samples a file has, as far as its own lists say."""
    if layout == "webdataset":
        with tarfile.open(path, "r:") as archive:
            return sum(member.name.endswith(".png") for member in archive)
    if layout == "parquet":
        return require_extra("pyarrow.parquet", "parquet").ParquetFile(path).metadata.num_rows
    return form.count


def _same_pyarrow(folder: Path, names: list[str]) -> bool:
    """Say whether the pyarrow at hand is the one that wrote the files."""
    parquet, arrow = (require_extra(f"pyarrow{part}", "parquet") for part in (".parquet", ""))
    wanted = f"parquet-cpp-arrow version {arrow.cpp_version}"
    return all(parquet.ParquetFile(folder / name).metadata.created_by == wanted for name in names)


def _other_rows(folder: Path, names: list[str], packed: Packed) -> list[LatentpathError]:
    tables = _on_walks(read_tables(folder, names))
    same = (tables.labels, tables.path, tables.step) == (
        list(packed.labels),
        list(packed.path),
        list(packed.step),
    ) and all(tables.png(row) == packed.png(row) for row in range(len(packed.labels)))
    return [] if same else [_differs("other samples in the Parquet files")]


def _differs(got: str) -> IntegrityError:
    return IntegrityError(
        expected="the same samples in all layouts of the set", got=got, fix="write the set again"
    )


def _more_than_samples(name: str) -> PrivacyError:
    return PrivacyError(
        expected="files that hold the samples and nothing else",
        got=f"{name!r}, which differs from what latentpath writes for them",
        fix="do not share the set: write it again",
    )
