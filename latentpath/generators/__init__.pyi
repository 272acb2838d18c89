from latentpath.generators.adapters import DecoderGenerator as DecoderGenerator
from latentpath.generators.convert import convert_generator as convert_generator
from latentpath.generators.layers import (
    Conv2dLayer as Conv2dLayer,
)
from latentpath.generators.layers import (
    FullyConnectedLayer as FullyConnectedLayer,
)
from latentpath.generators.layers import (
    normalize_2nd_moment as normalize_2nd_moment,
)
from latentpath.generators.load import load_generator as load_generator
from latentpath.generators.precision import (
    Precision as Precision,
)
from latentpath.generators.precision import (
    PrecisionName as PrecisionName,
)
from latentpath.generators.precision import (
    autocast_dtype as autocast_dtype,
)
from latentpath.generators.protocol import (
    FunctionGenerator as FunctionGenerator,
)
from latentpath.generators.protocol import (
    Generator as Generator,
)
from latentpath.generators.protocol import (
    PublishedGenerator as PublishedGenerator,
)
from latentpath.generators.protocol import (
    as_generator as as_generator,
)
from latentpath.generators.stylegan2 import StyleGAN2 as StyleGAN2
from latentpath.generators.weights import (
    build as build,
)
from latentpath.generators.weights import (
    read_weights as read_weights,
)
from latentpath.generators.weights import (
    save_generator as save_generator,
)
from latentpath.generators.weights import (
    save_weights as save_weights,
)
