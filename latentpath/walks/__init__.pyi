from latentpath.walks.endpoints import (
    RelaxConfig as RelaxConfig,
)
from latentpath.walks.endpoints import (
    RelaxedEndpoints as RelaxedEndpoints,
)
from latentpath.walks.endpoints import (
    relax_endpoints as relax_endpoints,
)
from latentpath.walks.fast_config import FastConfig as FastConfig
from latentpath.walks.hull import Neighbourhood as Neighbourhood
from latentpath.walks.pool import Request as Request
from latentpath.walks.published import (
    PublishedConfig as PublishedConfig,
)
from latentpath.walks.published import (
    straight_line as straight_line,
)
from latentpath.walks.solve import (
    walk as walk,
)
from latentpath.walks.solve import (
    walk_stream as walk_stream,
)
from latentpath.walks.walk_result import (
    PathResult as PathResult,
)
from latentpath.walks.walk_result import (
    WalkResult as WalkResult,
)
