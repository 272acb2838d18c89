"""k-same: groups of at least k real people, their centroids, the pairs to walk between."""

from latentpath.ksame.aggregate import aggregate, geometric_median
from latentpath.ksame.certificate import Certificate, certify
from latentpath.ksame.grouping import Grouping, k_same
from latentpath.ksame.pairing import Pairing, pair_groups, pair_limits
from latentpath.ksame.private import PrivateCentroids, PrivateCertificate, private_centroids
from latentpath.ksame.statement import Statement, merge

__all__ = [
    "Certificate",
    "Grouping",
    "Pairing",
    "PrivateCentroids",
    "PrivateCertificate",
    "Statement",
    "aggregate",
    "certify",
    "geometric_median",
    "k_same",
    "merge",
    "pair_groups",
    "pair_limits",
    "private_centroids",
]
