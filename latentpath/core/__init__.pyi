from latentpath.core.checks import (
    LARGEST_BATCH as LARGEST_BATCH,
)
from latentpath.core.checks import (
    WIDEST as WIDEST,
)
from latentpath.core.checks import (
    check_above_zero as check_above_zero,
)
from latentpath.core.checks import (
    check_at_least as check_at_least,
)
from latentpath.core.checks import (
    check_finite as check_finite,
)
from latentpath.core.checks import (
    check_one_of as check_one_of,
)
from latentpath.core.checks import (
    check_whole as check_whole,
)
from latentpath.core.checks import (
    check_within as check_within,
)
from latentpath.core.csv_rows import (
    csv_writer as csv_writer,
)
from latentpath.core.errors import (
    DataError as DataError,
)
from latentpath.core.errors import (
    InputError as InputError,
)
from latentpath.core.errors import (
    IntegrityError as IntegrityError,
)
from latentpath.core.errors import (
    LatentpathError as LatentpathError,
)
from latentpath.core.errors import (
    LatentpathWarning as LatentpathWarning,
)
from latentpath.core.errors import (
    MissingExtraError as MissingExtraError,
)
from latentpath.core.errors import (
    OutputExistsError as OutputExistsError,
)
from latentpath.core.errors import (
    PrivacyError as PrivacyError,
)
from latentpath.core.errors import (
    RunError as RunError,
)
from latentpath.core.errors import (
    ShapeError as ShapeError,
)
from latentpath.core.errors import (
    UnsupportedError as UnsupportedError,
)
from latentpath.core.errors import (
    WeightsError as WeightsError,
)
from latentpath.core.errors import (
    describe_error as describe_error,
)
from latentpath.core.errors import (
    require_extra as require_extra,
)
from latentpath.core.files import (
    OWNER_ONLY as OWNER_ONLY,
)
from latentpath.core.files import (
    PARTIAL as PARTIAL,
)
from latentpath.core.files import (
    NoLocksError as NoLocksError,
)
from latentpath.core.files import (
    flush as flush,
)
from latentpath.core.files import (
    make_locked as make_locked,
)
from latentpath.core.files import (
    new_file as new_file,
)
from latentpath.core.files import (
    partial_path as partial_path,
)
from latentpath.core.files import (
    put_in_place as put_in_place,
)
from latentpath.core.files import (
    take_lock as take_lock,
)
from latentpath.core.files import (
    write_file as write_file,
)
from latentpath.core.folders import (
    check_output_is_free as check_output_is_free,
)
from latentpath.core.folders import (
    new_folder as new_folder,
)
from latentpath.core.hashing import (
    hash_arrays as hash_arrays,
)
from latentpath.core.hashing import (
    hash_bytes as hash_bytes,
)
from latentpath.core.hashing import (
    hash_file as hash_file,
)
from latentpath.core.hashing import (
    hash_json as hash_json,
)
from latentpath.core.hashing import (
    hash_tensors as hash_tensors,
)
from latentpath.core.layouts import (
    ConvolutionWatch as ConvolutionWatch,
)
from latentpath.core.layouts import (
    StridedPointwise as StridedPointwise,
)
from latentpath.core.layouts import (
    channels_last as channels_last,
)
from latentpath.core.layouts import (
    faulty_layers as faulty_layers,
)
from latentpath.core.layouts import (
    place as place,
)
from latentpath.core.layouts import (
    without_faulty_layers as without_faulty_layers,
)
from latentpath.core.modes import (
    device_of as device_of,
)
from latentpath.core.modes import (
    evaluating as evaluating,
)
from latentpath.core.progress import (
    Progress as Progress,
)
from latentpath.core.progress import (
    silent as silent,
)
from latentpath.core.values import (
    flat_values as flat_values,
)
from latentpath.core.values import (
    plain_values as plain_values,
)
