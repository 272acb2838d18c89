from latentpath.similarity.gradients import prepare_gradients as prepare_gradients
from latentpath.similarity.lpips import (
    LPIPS as LPIPS,
)
from latentpath.similarity.lpips import (
    WEIGHTS as WEIGHTS,
)
from latentpath.similarity.nearest import (
    SEARCH_BYTES as SEARCH_BYTES,
)
from latentpath.similarity.nearest import (
    NearestReal as NearestReal,
)
from latentpath.similarity.nearest import (
    RealReference as RealReference,
)
from latentpath.similarity.nearest import (
    as_planes as as_planes,
)
from latentpath.similarity.nearest import (
    check_same_size as check_same_size,
)
from latentpath.similarity.nearest import (
    first_of_each as first_of_each,
)
from latentpath.similarity.nearest import (
    nearest_along_paths as nearest_along_paths,
)
from latentpath.similarity.nearest import (
    nearest_neighbours as nearest_neighbours,
)
from latentpath.similarity.nearest import (
    nearest_other_person as nearest_other_person,
)
from latentpath.similarity.nearest import (
    nearest_real as nearest_real,
)
from latentpath.similarity.nearest import (
    prepare_real as prepare_real,
)
from latentpath.similarity.reduction import reduced as reduced
from latentpath.similarity.search import (
    EMBED_BATCH as EMBED_BATCH,
)
from latentpath.similarity.search import (
    EmbeddedImages as EmbeddedImages,
)
from latentpath.similarity.search import (
    nearest_rows as nearest_rows,
)
