from latentpath.ksame.aggregation import (
    aggregate as aggregate,
)
from latentpath.ksame.aggregation import (
    geometric_median as geometric_median,
)
from latentpath.ksame.certificate import (
    Certificate as Certificate,
)
from latentpath.ksame.certificate import (
    certify as certify,
)
from latentpath.ksame.dp import (
    DpCentroids as DpCentroids,
)
from latentpath.ksame.dp import (
    DpCertificate as DpCertificate,
)
from latentpath.ksame.dp import (
    dp_centroids as dp_centroids,
)
from latentpath.ksame.grouping import (
    Grouping as Grouping,
)
from latentpath.ksame.grouping import (
    k_same as k_same,
)
from latentpath.ksame.pairing import (
    Pairing as Pairing,
)
from latentpath.ksame.pairing import (
    pair_groups as pair_groups,
)
from latentpath.ksame.pairing import (
    pair_limits as pair_limits,
)
from latentpath.ksame.statement import (
    Statement as Statement,
)
from latentpath.ksame.statement import (
    merge as merge,
)
