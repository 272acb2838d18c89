from latentpath.generators.autoencoder import (
    AutoencoderEncoder as AutoencoderEncoder,
    AutoencoderGenerator as AutoencoderGenerator,
)
from latentpath.generators.inspection import (
    WeightsFacts as WeightsFacts,
    header_facts as header_facts,
    inspect_weights as inspect_weights,
)
from latentpath.generators.layers import (
    Conv2dLayer as Conv2dLayer,
    FullyConnectedLayer as FullyConnectedLayer,
    normalize_2nd_moment as normalize_2nd_moment,
)
from latentpath.generators.load import (
    ENCODERS as ENCODERS,
    GENERATORS as GENERATORS,
    LoadedEncoder as LoadedEncoder,
    LoadedGenerator as LoadedGenerator,
    build_generator as build_generator,
    convert_generator as convert_generator,
    load_encoder as load_encoder,
    load_generator as load_generator,
    read_generator as read_generator,
)
from latentpath.generators.precision import (
    Precision as Precision,
    PrecisionName as PrecisionName,
    autocast_dtype as autocast_dtype,
)
from latentpath.generators.protocol import (
    DecoderGenerator as DecoderGenerator,
    FunctionGenerator as FunctionGenerator,
    Generator as Generator,
    PublishedGenerator as PublishedGenerator,
    as_generator as as_generator,
)
from latentpath.generators.psp_encoder import PspEncoder as PspEncoder
from latentpath.generators.stylegan import (
    StyleGAN2 as StyleGAN2,
    StyleGAN3 as StyleGAN3,
    StyleGenerator as StyleGenerator,
)
from latentpath.generators.weights import (
    TrainedOn as TrainedOn,
    build as build,
    people_noted as people_noted,
    read_header as read_header,
    read_weights as read_weights,
    save_encoder as save_encoder,
    save_generator as save_generator,
    save_weights as save_weights,
)
