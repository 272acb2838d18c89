"""latentpath: private labelled images in, a synthetic set that may be shared out.

The public functions are loaded when they are first used, so that `import latentpath` costs
little more than `import torch`.
"""

from latentpath._version import __version__
from latentpath.core.faces import lazy_face

__getattr__, __dir__, __all__ = lazy_face(__name__)
__all__ += ["__version__"]
