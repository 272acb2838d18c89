"""Sheets of a generator's samples while it is trained, as StyleGAN2-ADA's users know them."""

from __future__ import annotations

from pathlib import Path

import torch

from latentpath.audit import contact_sheet
from latentpath.core import new_file, require_extra
from latentpath.data import to_uint8
from latentpath.generators import StyleGAN2
from latentpath.training import seeded

_COLUMNS = 10
# Small images are enlarged to about so many pixels.
_SHOWN_SIDE = 64


class SampleSheets:
    """Writes sheets of the same latents' images, one row per class, into a folder.

    Args:
        folder: where `generator.png` and `fakes000020.png` are written, which is there.
        num_classes: rows of a sheet.
        seed: of the latents.
        every: images between two sheets that are kept.
    """

    def __init__(self, folder: Path, num_classes: int, seed: int, every: int) -> None:
        self.folder, self.num_classes, self.seed, self.every = folder, num_classes, seed, every

    def __call__(self, generator: StyleGAN2, images_seen: int, keep: bool) -> None:
        """Write `generator.png`, and where it is to be kept, the sheet of so many thousands."""
        self._write("generator.png", generator)
        if keep:
            self._write(f"fakes{images_seen // 1000:06d}.png", generator)

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
