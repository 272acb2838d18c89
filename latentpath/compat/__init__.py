"""Drop-in signatures of other projects."""

from latentpath.compat.plan import get_privacy_path

__all__ = ["get_privacy_path"]
