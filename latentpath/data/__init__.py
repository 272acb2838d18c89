"""Real sets in, synthetic sets out: labelled images as arrays."""

from latentpath.data.atomic import check_output_is_free
from latentpath.data.card import DatasetCard
from latentpath.data.digits import DigitsSplit, load_digits_split
from latentpath.data.images import ImageSet, resize_images, to_tensor, to_uint8
from latentpath.data.manifest import read_manifest
from latentpath.data.naming import names_shown
from latentpath.data.png import PngOptions
from latentpath.data.read import read_and_survey, read_image_set, scan
from latentpath.data.source import FORMATS, DataSource
from latentpath.data.survey import Survey
from latentpath.data.write import write_image_set

__all__ = [
    "FORMATS",
    "DataSource",
    "DatasetCard",
    "DigitsSplit",
    "ImageSet",
    "PngOptions",
    "Survey",
    "check_output_is_free",
    "load_digits_split",
    "names_shown",
    "read_and_survey",
    "read_image_set",
    "read_manifest",
    "resize_images",
    "scan",
    "to_tensor",
    "to_uint8",
    "write_image_set",
]
