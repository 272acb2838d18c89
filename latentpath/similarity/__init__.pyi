from latentpath.similarity.gradients import prepare_gradients as prepare_gradients
from latentpath.similarity.lpips_network import (
    LPIPS as LPIPS,
    NORM_EPS as NORM_EPS,
    WEIGHTS as WEIGHTS,
)
from latentpath.similarity.nearest import (
    KEPT_BYTES as KEPT_BYTES,
    SEARCH_BYTES as SEARCH_BYTES,
    NearestReal as NearestReal,
    RealReference as RealReference,
    as_planes as as_planes,
    check_same_size as check_same_size,
    first_of_each as first_of_each,
    nearest_along_paths as nearest_along_paths,
    nearest_neighbours as nearest_neighbours,
    nearest_other_person as nearest_other_person,
    nearest_real as nearest_real,
    nearest_real_of_each as nearest_real_of_each,
    prepare_real as prepare_real,
)
from latentpath.similarity.search import (
    EMBED_BATCH as EMBED_BATCH,
    EmbeddedImages as EmbeddedImages,
    memory_on as memory_on,
    nearest_rows as nearest_rows,
)
