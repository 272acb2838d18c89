"""StyleGAN3 with the published keyword arguments, module names and arithmetic.

`StyleGAN3(**init_kwargs)` builds the generator that NVIDIA's StyleGAN3 builds from the same keyword
arguments, in both configurations: -T (3x3 convolutions, separable filters) and -R (1x1 convolutions
and rotation-symmetric downsampling filters). The second half is in
`latentpath.generators.alias_free_synthesis`.
"""

from __future__ import annotations

from typing import Any, ClassVar

from latentpath.generators.alias_free_synthesis import AliasFreeSynthesis
from latentpath.generators.mapping import StyleGenerator
from latentpath.generators.published.stylegan3_configuration import edition


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
