"""StyleGAN2 and StyleGAN3 with the published keyword arguments, module names and arithmetic.

`StyleGAN2(**init_kwargs)` builds the generator that NVIDIA's StyleGAN2-ADA builds from the same
keyword arguments, so its `state_dict` loads by name; `StyleGAN3(**init_kwargs)` that of NVIDIA's
StyleGAN3, in both configurations: -T (3x3 convolutions, separable filters) and -R (1x1 convolutions
and rotation-symmetric downsampling filters). Here is what they share, the mapping network from the
normal prior and labels to w. The second halves are in `latentpath.generators.synthesis` and
`latentpath.generators.alias_free_synthesis`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latentpath.core import InputError, check_one_of, check_whole, colour_of
from latentpath.generators.alias_free_synthesis import AliasFreeSynthesis
from latentpath.generators.layers import (
    FullyConnectedLayer,
    normalize_2nd_moment,
    widened,
)
from latentpath.generators.protocol import check_rows
from latentpath.generators.published.network_configuration import edition
from latentpath.generators.synthesis import SynthesisNetwork

if TYPE_CHECKING:
    from typing_extensions import Self

    from latentpath.generators.synthesis import NoiseMode


class MappingNetwork(nn.Module):
    """z [M, z_dim] (and label c [M, c_dim]) to w, repeated for each of `num_ws` layers.

    With `w_avg_beta=None` no average of w is kept, nor stored, and none can be drawn towards.
    """

    w_avg: Tensor
    fc0: FullyConnectedLayer

    def __init__(
        self,
        z_dim: int,
        c_dim: int,
        w_dim: int,
        num_ws: int,
        num_layers: int = 8,
        embed_features: int | None = None,
        layer_features: int | None = None,
        activation: str = "lrelu",
        lr_multiplier: float = 0.01,
        w_avg_beta: float | None = 0.995,
    ) -> None:
        super().__init__()
        check_whole(1, w_dim=w_dim, num_ws=num_ws, num_layers=num_layers)
        check_whole(0, z_dim=z_dim, c_dim=c_dim)
        if z_dim == c_dim == 0:
            raise InputError(
                expected="z_dim or c_dim above 0", got="both 0", fix="give the network an input"
            )
        self.z_dim, self.c_dim, self.w_dim, self.num_ws = z_dim, c_dim, w_dim, num_ws
        self.num_layers, self.w_avg_beta = num_layers, w_avg_beta
        embed = 0 if c_dim == 0 else (w_dim if embed_features is None else embed_features)
        hidden = w_dim if layer_features is None else layer_features
        check_whole(1, layer_features=hidden)
        check_whole(min(c_dim, 1), embed_features=embed)
        widths = [z_dim + embed] + [hidden] * (num_layers - 1) + [w_dim]
        if c_dim > 0:
            self.embed = FullyConnectedLayer(c_dim, embed)
        for i in range(num_layers):
            layer = FullyConnectedLayer(
                widths[i], widths[i + 1], activation=activation, lr_multiplier=lr_multiplier
            )
            setattr(self, f"fc{i}", layer)
        self.register_buffer("w_avg", torch.zeros(w_dim), persistent=w_avg_beta is not None)

    def map(self, z: Tensor | None, c: Tensor | None = None) -> Tensor:  # -> [M, w_dim]
        """One w per row, before truncation and before it is repeated for the layers."""
        parts, dtype = [], self.fc0.weight.dtype
        if self.z_dim > 0:
            check_rows(z, self.z_dim, "z")
            # Normalised in float32 at least: half precision holds neither the squares nor eps.
            z = z.to(torch.promote_types(dtype, torch.float32))  # type: ignore[union-attr]
            parts.append(normalize_2nd_moment(z).to(dtype))
        if self.c_dim > 0:
            check_rows(c, self.c_dim, "c")
            label = self.embed(c.to(dtype))  # type: ignore[union-attr]
            parts.append(normalize_2nd_moment(widened(label)).to(dtype))
        x = torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]
        for i in range(self.num_layers):
            x = getattr(self, f"fc{i}")(x)
        return x

    def forward(
        self,
        z: Tensor | None,  # [M, z_dim]
        c: Tensor | None = None,  # [M, c_dim]
        truncation_psi: float = 1.0,
        truncation_cutoff: int | None = None,
        skip_w_avg_update: bool = False,
    ) -> Tensor:  # [M, num_ws, w_dim]
        """Latents for every layer, drawn towards `w_avg` by `truncation_psi` (1 keeps them)."""
        w = self.map(z, c)
        if self.training and self.w_avg_beta is not None and not skip_w_avg_update:
            self.w_avg.copy_(w.detach().mean(dim=0).lerp(self.w_avg, self.w_avg_beta))
        ws = w.unsqueeze(1).expand(-1, self.num_ws, -1)
        if truncation_psi == 1.0:
            return ws.contiguous()
        if self.w_avg_beta is None:
            raise InputError(
                expected="truncation_psi of 1 without an average of w",
                got=str(truncation_psi),
                fix="build the network with a w_avg_beta, such as 0.995",
            )
        cut = self.num_ws if truncation_cutoff is None else truncation_cutoff
        return torch.cat([self.w_avg.lerp(ws[:, :cut], truncation_psi), ws[:, cut:]], dim=1)


class StyleGenerator(nn.Module):
    """z and labels to w by `mapping`, w to images by `synthesis`; subclasses build the two.

    Args:
        z_dim: width of the input latent z.
        c_dim: width of the label (one-hot), 0 for an unconditional generator.
        w_dim: width of the intermediate latent w.
        img_resolution: height and width in pixels.
        img_channels: 1 grey, 3 colour.
        mapping_kwargs: options of `MappingNetwork`.
        synthesis_kwargs: options of the synthesis network.
        latents: what `synthesize` takes: "w", one w for all layers, or "w+", one for each, one
            after the other in a row; encoders of pSp answer with the latter.

    Raises:
        InputError: an option that a network does not know or cannot take.
    """

    kind = ""
    """What weights files call such a network."""
    published = "StyleGAN"
    """What the published code calls it."""
    mapping_defaults: ClassVar[dict[str, Any]] = {}
    """Options of the mapping network whose defaults differ from `MappingNetwork`'s."""

    def __init__(
        self,
        z_dim: int,
        c_dim: int,
        w_dim: int,
        img_resolution: int,
        img_channels: int,
        mapping_kwargs: dict[str, Any] | None = None,
        synthesis_kwargs: dict[str, Any] | None = None,
        latents: str = "w",
    ) -> None:
        super().__init__()
        check_one_of(("w", "w+"), latents=latents)
        self.latents = latents
        self.init_kwargs: dict[str, Any] = {
            "z_dim": z_dim,
            "c_dim": c_dim,
            "w_dim": w_dim,
            "img_resolution": img_resolution,
            "img_channels": img_channels,
            "mapping_kwargs": dict(mapping_kwargs or {}),
            "synthesis_kwargs": dict(synthesis_kwargs or {}),
        }
        if latents != "w":
            self.init_kwargs["latents"] = latents
        self.z_dim, self.c_dim, self.w_dim = z_dim, c_dim, w_dim
        self.img_resolution, self.img_channels = img_resolution, img_channels
        try:
            self.synthesis = self.synthesis_network(
                w_dim, img_resolution, img_channels, **(synthesis_kwargs or {})
            )
            self.num_ws = int(self.synthesis.num_ws)  # type: ignore[arg-type]
            options = {**self.mapping_defaults, **(mapping_kwargs or {})}
            self.mapping = MappingNetwork(z_dim, c_dim, w_dim, num_ws=self.num_ws, **options)
        except TypeError as error:
            raise InputError(
                expected=f"published {self.published} keyword arguments",
                got=str(error),
                fix="remove or rename that option",
            ) from error

    @staticmethod
    def synthesis_network(
        w_dim: int, img_resolution: int, img_channels: int, **options: Any
    ) -> nn.Module:
        """The second half, with `num_ws`."""
        raise NotImplementedError

    def form(self) -> str:
        """Which of its published forms the network has, and its widths, in words."""
        raise NotImplementedError

    def described(self) -> list[str]:
        """What it is, for a terminal."""
        labels = f"{self.c_dim} classes" if self.c_dim else "no classes"
        side, parameters = self.img_resolution, sum(p.numel() for p in self.parameters())
        kind, _, widths = self.form().partition(", ")
        return [
            f"images: {side}x{side} pixels, {colour_of(self.img_channels)}, {labels}",
            f"latents: z {self.z_dim}, w {self.w_dim}, {self.num_ws} layers"
            + (f", a w of its own for each: {self.latent_dim}" if self.latents == "w+" else ""),
            f"network: {kind}, {parameters:,} parameters, {widths}",
        ]

    @property
    def latent_dim(self) -> int:
        """Width of the latents that `synthesize` takes (the `Generator` protocol)."""
        return self.w_dim * (self.num_ws if self.latents == "w+" else 1)

    def forward(
        self,
        z: Tensor,  # [M, z_dim]
        c: Tensor | None = None,  # [M, c_dim]
        truncation_psi: float = 1.0,
        truncation_cutoff: int | None = None,
        noise_mode: NoiseMode = "random",
        **synthesis_kwargs: Any,
    ) -> Tensor:  # [M, img_channels, H, W]
        """Images from z and labels; further keyword arguments as for the synthesis network."""
        ws = self.mapping(z, c, truncation_psi, truncation_cutoff)
        return self.synthesis(ws, noise_mode=noise_mode, **synthesis_kwargs)

    @torch.no_grad()
    def sample(self, n: int, labels: Tensor | None = None) -> Tensor:  # -> [n, latent_dim]
        """Draw w from the prior, for class numbers `labels` [n] (random ones if left out).

        Random numbers come from PyTorch's default generator.
        """
        device = self.mapping.fc0.weight.device
        c = None
        if self.c_dim > 0:
            if labels is None:
                labels = torch.randint(self.c_dim, (n,), device=device)
            c = F.one_hot(labels.to(device), self.c_dim)
        w = self.mapping.map(torch.randn(n, self.z_dim, device=device), c)
        return w.repeat(1, self.num_ws) if self.latents == "w+" else w

    def synthesize(self, w: Tensor) -> Tensor:  # [M, latent_dim] -> [M, img_channels, H, W]
        """Images from one latent per row, used for every layer, or a w for each; constant noise."""
        check_rows(w, self.latent_dim, "w")
        ws = w.view(-1, self.num_ws, self.w_dim) if self.latents == "w+" else w
        return self.synthesis(ws, noise_mode="const")

    def per_layer(self) -> Self:
        """The same generator for latents with a w of its own for each layer ("w+")."""
        made = type(self)(**{**self.init_kwargs, "latents": "w+"})
        made.load_state_dict(self.state_dict())
        made.to(self.mapping.fc0.weight).train(self.training)
        return made.requires_grad_(any(p.requires_grad for p in self.parameters()))


class StyleGAN2(StyleGenerator):
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

    >>> import torch
    >>> g = StyleGAN2(z_dim=8, c_dim=0, w_dim=8, img_resolution=8, img_channels=1,
    ...               mapping_kwargs={"num_layers": 2}, synthesis_kwargs={"channel_max": 4})
    >>> g.synthesize(torch.zeros(3, 8)).shape
    torch.Size([3, 1, 8, 8])
    """

    kind, published = "stylegan2", "StyleGAN2"
    synthesis: SynthesisNetwork
    synthesis_network = SynthesisNetwork

    def form(self) -> str:
        widths = ", ".join(str(len(block.conv1.weight)) for block in self.synthesis.blocks())
        return f"{self.synthesis.b4.architecture}, channels {widths} from 4x4 up"


class StyleGAN3(StyleGenerator):
    """StyleGAN3 generator, built from the published keyword arguments.

    Args:
        z_dim: width of the input latent z.
        c_dim: width of the label (one-hot), 0 for an unconditional generator.
        w_dim: width of the intermediate latent w.
        img_resolution: height and width in pixels.
        img_channels: 1 grey, 3 colour.
        mapping_kwargs: options of `MappingNetwork`; 2 layers if left out.
        synthesis_kwargs: options of `AliasFreeSynthesis`, e.g. `channel_base`, `channel_max`,
            `num_layers`; `conv_kernel=1` and `use_radial_filters=True` are StyleGAN3-R.

    Raises:
        InputError: an option that the network does not know or cannot take.

    Source: Karras et al., "Alias-Free Generative Adversarial Networks", NeurIPS 2021.

    >>> import torch
    >>> g = StyleGAN3(z_dim=8, c_dim=0, w_dim=8, img_resolution=16, img_channels=1,
    ...               synthesis_kwargs={"channel_max": 4, "num_layers": 4, "margin_size": 2})
    >>> g.synthesize(torch.zeros(3, 8)).shape, g.num_ws
    (torch.Size([3, 1, 16, 16]), 6)
    """

    kind, published = "stylegan3", "StyleGAN3"
    mapping_defaults: ClassVar[dict[str, Any]] = {"num_layers": 2, "w_avg_beta": 0.998}
    synthesis: AliasFreeSynthesis
    synthesis_network = AliasFreeSynthesis

    def form(self) -> str:
        widths = ", ".join(str(len(layer.weight)) for layer in self.synthesis.layers()[:-1])
        return f"{edition(self.init_kwargs)}, channels {widths} from the first layer on"
