from latentpath.models.classifiers import Classifier as Classifier
from latentpath.models.encoder import (
    Encoder as Encoder,
)
from latentpath.models.encoder import (
    ProjectionConfig as ProjectionConfig,
)
from latentpath.models.encoder import (
    project as project,
)
from latentpath.models.networks import (
    ImageModel as ImageModel,
)
from latentpath.models.networks import (
    Networks as Networks,
)
from latentpath.models.surrogate import (
    Surrogate as Surrogate,
)
from latentpath.models.surrogate import (
    load_surrogate as load_surrogate,
)
from latentpath.models.surrogate import (
    save_surrogate as save_surrogate,
)
from latentpath.models.witness import Witness as Witness
