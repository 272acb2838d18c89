"""StyleGAN2 with the published keyword arguments, module names and arithmetic.

`StyleGAN2(**init_kwargs)` builds the generator that NVIDIA's StyleGAN2-ADA builds from the same
keyword arguments, so its `state_dict` loads by name. The two halves are in
`latentpath.generators.mapping` and `latentpath.generators.synthesis`.
"""

from __future__ import annotations

from latentpath.generators.mapping import StyleGenerator
from latentpath.generators.synthesis import SynthesisNetwork


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
