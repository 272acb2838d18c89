"""StyleGAN2 with the published keyword arguments, module names and arithmetic.

`StyleGAN2(**init_kwargs)` builds the generator that NVIDIA's StyleGAN2-ADA builds from the same
keyword arguments, so its `state_dict` loads by name. The two halves are in
`latentpath.generators.mapping` and `latentpath.generators.synthesis`.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latentpath.core import InputError
from latentpath.generators.mapping import MappingNetwork, check_rows
from latentpath.generators.synthesis import NoiseMode, SynthesisNetwork


class StyleGAN2(nn.Module):
    """StyleGAN2 generator, built from the published keyword arguments.

    Args:
        z_dim: width of the input latent z.
        c_dim: width of the label (one-hot), 0 for an unconditional generator.
        w_dim: width of the intermediate latent w.
        img_resolution: height and width in pixels, a power of two.
        img_channels: 1 grey, 3 colour.
        mapping_kwargs: options of `MappingNetwork`, e.g. `num_layers`.
        synthesis_kwargs: options of `SynthesisNetwork`, e.g. `channel_base`, `channel_max`,
            `architecture`, `conv_clamp`, `num_fp16_res`.

    Raises:
        InputError: an option that the network does not know or cannot take.

    Source: Karras et al., CVPR 2020 and NeurIPS 2020.

    >>> g = StyleGAN2(z_dim=8, c_dim=0, w_dim=8, img_resolution=8, img_channels=1,
    ...               mapping_kwargs={"num_layers": 2}, synthesis_kwargs={"channel_max": 4})
    >>> g.synthesize(torch.zeros(3, 8)).shape
    torch.Size([3, 1, 8, 8])
    """

    def __init__(
        self,
        z_dim: int,
        c_dim: int,
        w_dim: int,
        img_resolution: int,
        img_channels: int,
        mapping_kwargs: dict[str, Any] | None = None,
        synthesis_kwargs: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.init_kwargs: dict[str, Any] = {
            "z_dim": z_dim,
            "c_dim": c_dim,
            "w_dim": w_dim,
            "img_resolution": img_resolution,
            "img_channels": img_channels,
            "mapping_kwargs": dict(mapping_kwargs or {}),
            "synthesis_kwargs": dict(synthesis_kwargs or {}),
        }
        self.z_dim, self.c_dim, self.w_dim = z_dim, c_dim, w_dim
        self.img_resolution, self.img_channels = img_resolution, img_channels
        try:
            self.synthesis = SynthesisNetwork(
                w_dim, img_resolution, img_channels, **(synthesis_kwargs or {})
            )
            self.num_ws = self.synthesis.num_ws
            self.mapping = MappingNetwork(
                z_dim, c_dim, w_dim, num_ws=self.num_ws, **(mapping_kwargs or {})
            )
        except TypeError as error:
            raise InputError(
                expected="published StyleGAN2 keyword arguments",
                got=str(error),
                fix="remove or rename that option",
            ) from error

    @property
    def latent_dim(self) -> int:
        """Width of the latents that `synthesize` takes (the `Generator` protocol)."""
        return self.w_dim

    def forward(
        self,
        z: Tensor,  # [M, z_dim]
        c: Tensor | None = None,  # [M, c_dim]
        truncation_psi: float = 1.0,
        truncation_cutoff: int | None = None,
        noise_mode: NoiseMode = "random",
        **synthesis_kwargs: Any,
    ) -> Tensor:  # [M, img_channels, H, W]
        """Images from z and labels; further keyword arguments as for `SynthesisNetwork.forward`."""
        ws = self.mapping(z, c, truncation_psi, truncation_cutoff)
        return self.synthesis(ws, noise_mode=noise_mode, **synthesis_kwargs)

    @torch.no_grad()
    def sample(self, n: int, labels: Tensor | None = None) -> Tensor:  # -> [n, w_dim]
        """Draw w from the prior, for class numbers `labels` [n] (random ones if left out).

        Random numbers come from PyTorch's default generator.
        """
        device = self.mapping.w_avg.device
        c = None
        if self.c_dim > 0:
            if labels is None:
                labels = torch.randint(self.c_dim, (n,), device=device)
            c = F.one_hot(labels.to(device), self.c_dim)
        return self.mapping.map(torch.randn(n, self.z_dim, device=device), c)

    def synthesize(self, w: Tensor) -> Tensor:  # [M, w_dim] -> [M, img_channels, H, W]
        """Images from one w per row, used for every layer, with constant noise."""
        check_rows(w, self.w_dim, "w")
        return self.synthesis(w, noise_mode="const")
