"""The dataset card: a `README.md` that says what a set is, how it was made and what it promises.

The front matter is what the Hugging Face hub reads (https://huggingface.co/docs/hub/datasets-cards):
licence, tags, size, the files of each configuration.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from latentpath.core import InputError, colour_of, flat_values
from latentpath.data.card_settings import setting_rows
from latentpath.data.images import COUNTED_BY
from latentpath.data.manifest import CERTIFICATE_NAMES, is_trial, missing_classes, network_notes

if TYPE_CHECKING:
    from latentpath.data.writers import SetForm

CARD_NAME = "README.md"
_OPTION = re.compile(r"--[a-z-]+")
_LICENSE = re.compile(r"[a-z0-9][a-z0-9.-]{0,60}")
_HUB_FILES = {
    "parquet": "data/train-*.parquet",
    "webdataset": "webdataset/shard-*.tar",
}
_LAYOUT_TEXTS = {
    "folder": "`images/<class>/*.png` with `labels.csv`",
    "npz": "`medmnist.npz`, the six arrays of MedMNIST",
    "webdataset": "`webdataset/shard-*.tar`, for the webdataset library",
    "stylegan": "`stylegan.zip`, for the training code of StyleGAN2-ADA and StyleGAN3",
    "parquet": "`data/train-*.parquet`, for Hugging Face `datasets`",
}
_WALKS_TEXT = """## Walks

The images are points of walks through the latent space of a generator. `path` is the number of the
walk that an image lies on, `step` the point of the walk, from 0. Neighbours on a walk look alike,
on walks of many points they are near copies: count walks, not images, where independent samples are
meant, and never part a walk between training and testing. A split by walks: those whose `path` ends
in 4 are for validation, those in 9 for testing, all others for training (`path % 10`), as the
three splits of `medmnist.npz` are, where that is among the files. Each end of a walk is an average
of people that several walks may share; images near it are alike on all of them."""


def loading_lines(
    layouts: Sequence[str], channels: int, place: str = "", *, walks: bool = True
) -> dict[str, str]:
    """Return lines of Python that load a set, by the library that each needs.

    Args:
        layouts: of the set.
        channels: of its images, 1 or 3.
        place: the set's folder; left out, the one that Python runs in.
        walks: whether its images lie on walks.
    """
    splits = walks and tuple(layouts) != ("stylegan",)

    def at(name: str) -> str:
        return repr(f"{place.rstrip('/')}/{name}" if place else name)

    before = f"{at('')} + " if place else ""
    part = ", 'train'" if splits else ""
    lines = {"latentpath": f"import latentpath; rows = latentpath.load_set({place or '.'!r}{part})"}
    if "parquet" in layouts:
        lines["datasets"] = (
            "from datasets import load_dataset; rows = load_dataset('parquet', "
            f"data_files={at('data/train-*.parquet')}, split='train')"
        )
    elif "folder" in layouts:
        lines["datasets"] = (
            "from datasets import Image, load_dataset; rows = load_dataset('csv', "
            f"data_files={at('labels.csv')}, split='train')"
            f".map(lambda row: {{'image': {before}row['file']}})"
            ".cast_column('image', Image())"
        )
    if "webdataset" in layouts:
        form = "torchl" if channels == 1 else "torchrgb"
        lines["webdataset"] = (
            "import glob, webdataset; rows = webdataset.WebDataset(sorted(glob.glob("
            f"{at('webdataset/shard-*.tar')})), shardshuffle=False)"
            f".decode({form!r}).to_tuple('png', 'cls', 'json')"
        )
    if "npz" in layouts:
        lines["numpy"] = f"import numpy; arrays = numpy.load({at('medmnist.npz')})"
    return lines


@dataclass(frozen=True)
class DatasetCard:
    """What a card says beyond what the set's manifest holds."""

    title: str = "A synthetic image set"
    """Heading of the card."""
    license: str = "unknown"
    """Licence of the set as the Hugging Face hub names it, such as `cc-by-4.0`; who may share a set
    made from their data decides it."""
    audit: Mapping[str, float] | None = None
    """Figures of the audit to show, by what they are; None shows none."""

    def __post_init__(self) -> None:
        if not _LICENSE.fullmatch(self.license):
            raise InputError(
                expected="a licence by its identifier, such as cc-by-4.0 or unknown",
                got=ascii(self.license)[:80],
                fix="see the list of licences of the Hugging Face hub",
            )
        if not self.title.strip() or len(self.title.splitlines()) > 1:
            raise InputError(
                expected="a title of one line", got=ascii(self.title)[:80], fix="shorten it"
            )

    def text(self, form: SetForm, manifest: Mapping[str, Any]) -> str:
        """Return the card of a set.

        Args:
            form: of the set.
            manifest: its manifest, the list of files and the seal excepted, which come later.
        """
        notes = _of_networks(manifest.get("networks"))
        parts = [
            self._front_matter(form, manifest["layouts"]),
            f"# {_escaped(self.title)}",
            f"{form.count:,} synthetic images of {form.width}x{form.height} pixels in "
            f"{colour_of(form.channels)}, made with "
            "latentpath from a private set that is not part of this one.",
            *([notes.pop(0)] if is_trial(manifest) else ()),
            _class_table(manifest["classes"]),
            *(
                f"**Class {_escaped(name)} is missing:** {why}."
                for name, why in missing_classes(manifest).items()
            ),
            "## Files\n\n"
            + "\n".join(f"- {_LAYOUT_TEXTS[name]}" for name in manifest["layouts"])
            + "\n- `manifest.json`: how the set was made, and checksums of all files",
            _WALKS_TEXT if form.has_walks else "",
            _use(form, manifest["layouts"]),
            _made(manifest),
            *notes,
            _promise(manifest.get("certificate"), manifest.get("reading")),
            _figures(self.audit),
        ]
        return "\n\n".join(part for part in parts if part) + "\n"

    def _front_matter(self, form: SetForm, layouts: list[str]) -> str:
        lines = [
            "---",
            # A JSON string is a YAML string.
            f"pretty_name: {json.dumps(self.title, ensure_ascii=False)}",
            f"license: {self.license}",
            "task_categories:",
            "- image-classification",
            "tags:",
            "- synthetic",
            "- latentpath",
            "size_categories:",
            f"- {_size_category(form.count)}",
        ]
        files = next((path for name, path in _HUB_FILES.items() if name in layouts), None)
        if files:
            lines += [
                "configs:",
                "- config_name: default",
                "  data_files:",
                "  - split: train",
                f"    path: {files}",
            ]
        return "\n".join([*lines, "---"])


def _size_category(count: int) -> str:
    """Return the hub's word for a number of images."""
    limits = [(1_000, "1K"), (10_000, "10K"), (100_000, "100K"), (10**6, "1M"), (10**7, "10M")]
    below = "n<"
    for limit, name in limits:
        if count < limit:
            return f"n<{name}" if below == "n<" else f"{below}{name}"
        below = f"{name}<n<"
    return "10M<n<100M" if count < 10**8 else "100M<n<1B"


def _use(form: SetForm, layouts: Sequence[str]) -> str:
    """Return how to load the set, from within its folder."""
    lines = loading_lines(layouts, form.channels, walks=form.has_walks)
    code = "\n".join(line.replace("; ", "\n", 1) for line in lines.values())
    return f"## Use\n\nIn this folder:\n\n```python\n{code}\n```"


def _class_table(classes: list[Mapping[str, Any]]) -> str:
    rows = [f"| {i} | {_escaped(c['name'])} | {c['images']:,} |" for i, c in enumerate(classes)]
    return "\n".join(["| label | class | images |", "| --- | --- | --- |", *rows])


def _made(manifest: Mapping[str, Any]) -> str:
    """Return the options that the set was made with."""
    config = manifest.get("config")
    if not isinstance(config, Mapping):
        return ""
    version = _escaped(str(manifest.get("software_version", "")))
    rows = [
        f"| {f'`{option}`' if _OPTION.fullmatch(option) else _escaped(option)} | {_escaped(words)} "
        f"| {_escaped(value)} |"
        for option, words, value in setting_rows(config)
    ]
    return "\n".join(
        [
            "## How it was made",
            "",
            "Latents of real images were averaged over groups of people; walks between averages, "
            f"bent away from real people, gave the images; {_gate(flat_values(config))}.",
            "",
            f"It was made by latentpath {version} with these options, which `manifest.json` has "
            "under `config`:",
            "",
            "| option | what it decides | here |",
            "| --- | --- | --- |",
            *rows,
        ]
    )


def _gate(config: Mapping[str, Any]) -> str:
    """What the gate did, as a clause."""
    if config.get("gate.quantile", 1) > 0 or config.get("gate.identity", 0) < 1:
        return "a gate turned away those too close to a real one"
    if config.get("gate.in_class", False):
        return "a gate turned away those of another class, and none for being close to a real one"
    return "no gate tested them"


def _of_networks(networks: Any) -> list[str]:
    """Return what was found of the networks that made the set, a paragraph each."""
    return [f"**{_escaped(head)}** {_escaped(rest)}" for head, rest in network_notes(networks)]


def _promise(certificate: Any, reading: Any) -> str:
    if not isinstance(certificate, Mapping):
        return ""
    shown = {
        name: value
        for name, value in sorted(certificate.items(), key=_place)
        if isinstance(value, str | int | float) and name != "hash"
    }
    rows = [
        f"| {_escaped(CERTIFICATE_NAMES.get(name, name))} | {_escaped(str(value))} |"
        for name, value in shown.items()
    ]
    head = ["## What it promises", "", "| certificate | |", "| --- | --- |"]
    end = [
        "",
        "The certificate covers the ends of the walks. Images between them are protected "
        "by the walk and the gate, as far as an audit measures it.",
    ]
    told = reading.get("counted_by") if isinstance(reading, Mapping) else None
    if told in COUNTED_BY:
        end += ["", f"People were counted so: {COUNTED_BY[told]}."]
    return "\n".join([*head, *rows, *end])


def _place(entry: tuple[str, Any]) -> tuple[int, str]:
    """Where an entry of a certificate stands: what is known first."""
    names = list(CERTIFICATE_NAMES)
    return (names.index(entry[0]) if entry[0] in names else len(names), entry[0])


def _figures(audit: Mapping[str, float] | None) -> str:
    if not audit:
        return ""
    rows = [f"| {_escaped(name)} | {value:.4g} |" for name, value in audit.items()]
    return "\n".join(["## Audit", "", "| measure | value |", "| --- | --- |", *rows])


def _escaped(text: str) -> str:
    """Return a text that Markdown shows as it is, on one line of a table."""
    line = " ".join(text.split())
    return re.sub(r"([\\`*_\[\]<>#|~$&])", r"\\\1", line)
