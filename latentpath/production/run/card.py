"""The audit's figures on the card of a finished set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from latentpath.audit import SetAudit
from latentpath.data import CARD_NAME, DatasetCard, describe_file
from latentpath.data import manifest as manifest_file
from latentpath.production.output import OutputConfig
from latentpath.production.run.run_folder import RunFolder, write_durably
from latentpath.production.verify_layouts import form_of


def card_figures(audit: SetAudit) -> dict[str, float]:
    """What an audit says of the whole set, by what it is; nothing about single images."""
    figures: dict[str, float] = {}
    if (nearest := audit.nearest) is not None:
        figures["mean LPIPS to the nearest real image"] = nearest.mean
        figures["5th percentile of that distance"] = nearest.quantile(0.05)
    if (found := audit.reidentification) is not None:
        figures[f"share named as one person above {found.threshold:.0%}"] = found.rate
        figures["share that two witnesses link to one person"] = found.linkage
        figures["the same by chance"] = found.linkage_chance
    if (utility := audit.utility) is not None:
        figures["accuracy on real test images of classifiers trained on the set"] = utility.accuracy
        figures["balanced accuracy"] = utility.balanced_accuracy
        figures["real test images"] = utility.test_images
    return figures


def add_audit(folder: RunFolder, output: OutputConfig, audit: SetAudit) -> dict[str, Any]:
    """Write the card of a run's set again, with the audit's figures, and seal the set anew.

    The same figures give the same bytes. If it is interrupted between the two files, `verify` says
    so, and doing it again mends it.

    Returns:
        The manifest with the new seal.

    Raises:
        DataError: there is no sound set.
        RunError: the disk is full or cannot be written to.
    """
    manifest = manifest_file.read_manifest(folder.set)
    card = DatasetCard(output.title, output.license, card_figures(audit))
    _replace(folder.set / CARD_NAME, card.text(form_of(manifest), manifest).encode())
    files = {**manifest["files"], CARD_NAME: describe_file(folder.set / CARD_NAME)}
    given = {name: manifest[name] for name in manifest.keys() - manifest_file.RESERVED}
    written = {name: manifest[name] for name in ("layouts", "images", "classes")}
    encoded = manifest_file.encode_manifest(given, {**written, "files": files})
    _replace(folder.set / manifest_file.FILE_NAME, encoded)
    return manifest_file.read_manifest(folder.set)


def _replace(path: Path, content: bytes) -> None:
    mode = path.stat().st_mode  # of a file to share
    write_durably(path, content)
    path.chmod(mode)
