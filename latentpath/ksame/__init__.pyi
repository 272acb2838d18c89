from latentpath.ksame.aggregation import (
    aggregate as aggregate,
    geometric_median as geometric_median,
)
from latentpath.ksame.certificate import (
    Certificate as Certificate,
    Statement as Statement,
    certify as certify,
    merge as merge,
)
from latentpath.ksame.dp import (
    DpCentroids as DpCentroids,
    DpCertificate as DpCertificate,
    dp_centroids as dp_centroids,
)
from latentpath.ksame.grouping import (
    Grouping as Grouping,
    k_same as k_same,
)
from latentpath.ksame.pairing import (
    Pairing as Pairing,
    pair_groups as pair_groups,
    pair_limits as pair_limits,
)
