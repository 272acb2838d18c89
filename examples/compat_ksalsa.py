"""k-SALSA's grouping with one line changed: the import. Every group now has at least k people."""

import numpy as np

from latentpath.compat.ksalsa import nearestNeighborClust

features = np.random.default_rng(0).normal(size=(103, 16))
distances = np.linalg.norm(features[:, None] - features, axis=2)

groups = nearestNeighborClust(distances, clust_size=10)
print("people in the smallest group:", np.bincount(groups)[1:].min())
