"""The kernels' Python face: public functions, checks, references, choice by device."""

from latentpath.ops.bank_lse import bank_lse
from latentpath.ops.conv3x3 import Conv3x3Weights, conv3x3
from latentpath.ops.dispatch import conv3x3_pays, implementations
from latentpath.ops.fir2d import fir2d
from latentpath.ops.kl_uniform import kl_uniform
from latentpath.ops.modulated_act import (
    MOST_RGB,
    Activation,
    modulated_act_,
    modulated_act_backward_,
)
from latentpath.ops.path_smooth import path_smooth_
from latentpath.ops.path_step import path_step_
from latentpath.ops.registration import is_transformed
from latentpath.ops.row_distances import row_distances

__all__ = [
    "MOST_RGB",
    "Activation",
    "Conv3x3Weights",
    "bank_lse",
    "conv3x3",
    "conv3x3_pays",
    "fir2d",
    "implementations",
    "is_transformed",
    "kl_uniform",
    "modulated_act_",
    "modulated_act_backward_",
    "path_smooth_",
    "path_step_",
    "row_distances",
]
