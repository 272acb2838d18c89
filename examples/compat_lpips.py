"""LPIPS as before, but for the import; all pairs of two batches are one call beside it."""

import torch

from latentpath.compat.lpips import LPIPS

loss_fn = LPIPS(net="alex", verbose=False)
a, b = torch.rand(4, 3, 64, 64), torch.rand(6, 3, 64, 64)
one_by_one = loss_fn(a, b[:4], normalize=True)
print("one by one:", list(one_by_one.shape))
print("all pairs:", list(loss_fn.pairwise(a, b, normalize=True).shape))
