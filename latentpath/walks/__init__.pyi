from latentpath.walks.endpoints import (
    RelaxConfig as RelaxConfig,
    RelaxedEndpoints as RelaxedEndpoints,
    relax_endpoints as relax_endpoints,
)
from latentpath.walks.fast_schedule import FastConfig as FastConfig, level_sizes as level_sizes
from latentpath.walks.hull import Neighbourhood as Neighbourhood
from latentpath.walks.latent_metric import LatentMetric as LatentMetric
from latentpath.walks.pool import Request as Request
from latentpath.walks.published import PublishedConfig as PublishedConfig
from latentpath.walks.requests_and_results import (
    EPS_DISTANCE as EPS_DISTANCE,
    PathResult as PathResult,
    WalkResult as WalkResult,
    chunk_weights as chunk_weights,
    fixed_micro_batch as fixed_micro_batch,
    straight_line as straight_line,
)
from latentpath.walks.solve import (
    walk as walk,
    walk_stream as walk_stream,
)
