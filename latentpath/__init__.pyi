from latentpath._version import __version__ as __version__
from latentpath.audit import audit_set as audit_set
from latentpath.compat import get_privacy_path as get_privacy_path
from latentpath.data import (
    ImageSet as ImageSet,
    image_set as image_set,
    load_set as load_set,
)
from latentpath.generators import load_generator as load_generator
from latentpath.ksame import k_same as k_same
from latentpath.models import Networks as Networks
from latentpath.production import load_bundle as load_bundle, produce as produce
from latentpath.project import run_project as run_project
from latentpath.walks import walk as walk, walk_stream as walk_stream
