"""Sheets of a generator's samples while it is trained, as StyleGAN2-ADA's users know them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from latentpath.audit import contact_sheet
from latentpath.core import new_file, require_extra, seeded, write_file
from latentpath.data import to_uint8
from latentpath.generators import StyleGAN2, load_generator, save_generator
from latentpath.training import BEST_SUFFIX

_COLUMNS = 10
# Small images are enlarged to about so many pixels.
_SHOWN_SIDE = 64


# KID against held-out people by images seen, and the weights of the lowest.
KID_TABLE = "generator.kid.csv"
BEST = "generator" + BEST_SUFFIX


class SampleSheets:
    """Writes sheets of the same latents' images, one row per class, into a folder.

    Args:
        folder: where `generator.png` and `fakes000020.png` are written, which is there.
        num_classes: rows of a sheet.
        seed: of the latents.
        every: images between two sheets that are kept.
        kid: KID of a generator against held-out people, which is written beside each sheet that
            is kept; the weights of the lowest so far are kept, too. None measures nothing.
    """

    def __init__(
        self,
        folder: Path,
        num_classes: int,
        seed: int,
        every: int,
        kid: Callable[[StyleGAN2], float] | None = None,
    ) -> None:
        self.folder, self.num_classes, self.seed, self.every = folder, num_classes, seed, every
        self.kid = kid

    def __call__(self, generator: StyleGAN2, images_seen: int, keep: bool) -> None:
        """Write `generator.png`, and where it is to be kept, the sheet of so many thousands."""
        self._write("generator.png", generator)
        if keep:
            self._write(f"fakes{images_seen // 1000:06d}.png", generator)
        if keep and self.kid is not None:
            self._measure(generator, images_seen)

    def forget(self) -> None:
        """Remove what an earlier training left: its figures and its best weights."""
        for name in (KID_TABLE, BEST):
            (self.folder / name).unlink(missing_ok=True)

    def restore_best(self, generator: StyleGAN2, images_seen: int) -> int:
        """Give the trained generator the weights of the lowest KID, if these are not its own.

        Returns:
            the images that these weights had seen.
        """
        if self.kid is None:
            return images_seen
        if images_seen not in {seen for seen, _ in self._rows()}:
            self._measure(generator, images_seen)
        seen, _ = min(self._rows(), key=lambda row: row[1])
        best = self.folder / BEST
        if seen != images_seen and best.exists():
            generator.load_state_dict(load_generator(best).state_dict())
        return seen

    def _measure(self, generator: StyleGAN2, images_seen: int) -> None:
        assert self.kid is not None
        found = self.kid(generator)
        # A training that went on from an earlier checkpoint passes by here again.
        rows = [row for row in self._rows() if row[0] < images_seen]
        if all(found <= other for _, other in rows):
            save_generator(self.folder / BEST, generator, notes={"images seen": images_seen})
        lines = [
            "images,kid",
            *(f"{seen},{value:.6g}" for seen, value in (*rows, (images_seen, found))),
        ]
        write_file(self.folder / KID_TABLE, ("\n".join(lines) + "\n").encode())

    def _rows(self) -> list[tuple[int, float]]:
        table = self.folder / KID_TABLE
        if not table.exists():
            return []
        cells = [line.split(",") for line in table.read_text().splitlines()[1:]]
        return [(int(seen), float(value)) for seen, value in cells]

    def _write(self, name: str, generator: StyleGAN2) -> None:
        pil = require_extra("PIL.Image", "pipeline")
        device = generator.mapping.w_avg.device
        labels = torch.arange(self.num_classes).repeat_interleave(_COLUMNS)
        # The training's own random numbers stay as they are.
        with torch.no_grad(), seeded(self.seed, device):
            w = generator.sample(len(labels), labels if generator.c_dim else None)
            images = to_uint8(generator.synthesize(w))
        scale = max(1, _SHOWN_SIDE // generator.img_resolution)
        sheet = contact_sheet(images, _COLUMNS, scale=scale)
        # For the owner alone: the generator saw private images.
        with new_file(self.folder / name) as partial:
            pil.fromarray(sheet.squeeze(2) if sheet.shape[2] == 1 else sheet).save(partial, "PNG")
