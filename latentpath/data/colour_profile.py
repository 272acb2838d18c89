"""ICC colour profiles: what the numbers of a picture's pixels look like, in sRGB."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from latentpath.core import require_extra

if TYPE_CHECKING:
    from PIL.Image import Image

# Spaces of profiles by Pillow's modes, and the mode that sRGB has for them.
_SPACES = {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK"}
_SRGB_MODES = {"L": "L", "RGB": "RGB", "CMYK": "RGB"}
# Cameras and programs name it so, with or without its number.
_SRGB_NAMES = ("srgb", "iec61966-2.1", "iec 61966-2.1")


def in_srgb(picture: Image) -> Image:
    """Return a picture of 8 bits in sRGB, grey as the grey that sRGB gives it.

    What has no profile, one of sRGB, one that cannot be read, or one for other channels comes back
    as it is.

    Raises:
        MissingExtraError: Pillow is not installed.
    """
    content = picture.info.get("icc_profile")
    if not content or picture.mode not in _SPACES:
        return picture
    cms = require_extra("PIL.ImageCms", "pipeline")
    try:
        profile = cms.ImageCmsProfile(io.BytesIO(content))
        space = profile.profile.xcolor_space.strip()
        name = (profile.profile.profile_description or "").lower()
        if space != _SPACES[picture.mode] or name.startswith(_SRGB_NAMES):
            return picture
        # Little CMS makes colour of grey; its three channels agree.
        made = cms.profileToProfile(picture, profile, cms.createProfile("sRGB"), outputMode="RGB")
    except (cms.PyCMSError, OSError):  # damaged: viewers leave it out too
        return picture
    made.format = picture.format
    return made.getchannel(0) if _SRGB_MODES[picture.mode] == "L" else made
