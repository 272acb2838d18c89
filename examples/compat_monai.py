"""A step of a MONAI pipeline that knows how close an image comes to a real one."""

import torch

from latentpath.compat.monai import NearestRealDistanced

real = torch.rand(8, 1, 32, 32) * 2 - 1
copies = [{"image": image} for image in real[:2]]
others = [{"image": torch.rand(1, 32, 32) * 2 - 1} for _ in range(3)]
closeness = NearestRealDistanced(keys="image", real=real)
data = [closeness(item) for item in copies + others]
print("kept:", sum(item["image_nearest_real"] > 0.001 for item in data), "of", len(data))
