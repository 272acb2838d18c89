from latentpath.compat.ksalsa import (
    gram_matrix as gram_matrix,
    local_style_loss as local_style_loss,
    nearestNeighborClust as nearestNeighborClust,
    project as project,
)
from latentpath.compat.lpips import LPIPS as LPIPS
from latentpath.compat.metrics import (
    ClosestRecordShare as ClosestRecordShare,
    NearestRealDistance as NearestRealDistance,
)
from latentpath.compat.monai import NearestRealDistanced as NearestRealDistanced
from latentpath.compat.plan_miccai2023 import get_privacy_path as get_privacy_path
