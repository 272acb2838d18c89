"""How close a set comes to real people, as torchmetrics knows metrics."""

import torch

from latentpath.compat.metrics import ClosestRecordShare, NearestRealDistance

training, holdout = torch.rand(2, 12, 1, 32, 32).mul(2).sub(1)
synthetic = (training + 0.1 * torch.randn(12, 1, 32, 32)).clamp(-1, 1)  # a leak
distance, share = NearestRealDistance(), ClosestRecordShare()
for images, source in ((training, "training"), (holdout, "holdout"), (synthetic, "synthetic")):
    share.update(images, source)
distance.update(training, real=True)
distance.update(synthetic, real=False)
print(f"mmL {distance.compute():.3f}, closer to training people: {share.compute():.0%}")
