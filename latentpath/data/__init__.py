"""Real sets in, synthetic sets out: labelled images as arrays."""

from latentpath.data.digits import DigitsSplit, load_digits_split
from latentpath.data.images import ImageSet, resize_images, to_tensor, to_uint8

__all__ = [
    "DigitsSplit",
    "ImageSet",
    "load_digits_split",
    "resize_images",
    "to_tensor",
    "to_uint8",
]
