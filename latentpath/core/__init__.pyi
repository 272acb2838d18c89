from latentpath.core.checks import (
    DEEPEST as DEEPEST,
    LARGEST as LARGEST,
    LARGEST_BATCH as LARGEST_BATCH,
    MOST_POINTS as MOST_POINTS,
    WIDEST as WIDEST,
    check_above_zero as check_above_zero,
    check_at_least as check_at_least,
    check_finite as check_finite,
    check_one_of as check_one_of,
    check_whole as check_whole,
    check_within as check_within,
)
from latentpath.core.command_words import (
    ANEW as ANEW,
    ANY_MACHINE as ANY_MACHINE,
    REBUILD as REBUILD,
    RESUME as RESUME,
    calling as calling,
    longer_training as longer_training,
    option as option,
)
from latentpath.core.csv_rows import (
    csv_writer as csv_writer,
)
from latentpath.core.errors import (
    DataError as DataError,
    InputError as InputError,
    IntegrityError as IntegrityError,
    LatentpathError as LatentpathError,
    LatentpathWarning as LatentpathWarning,
    MissingExtraError as MissingExtraError,
    OutputExistsError as OutputExistsError,
    PrivacyError as PrivacyError,
    RunError as RunError,
    ShapeError as ShapeError,
    UnsupportedError as UnsupportedError,
    WeightsError as WeightsError,
    check_extra as check_extra,
    describe_error as describe_error,
    require_extra as require_extra,
)
from latentpath.core.figures import (
    Figures as Figures,
)
from latentpath.core.files import (
    OWNER_ONLY as OWNER_ONLY,
    PARTIAL as PARTIAL,
    NoLocksError as NoLocksError,
    flush as flush,
    make_locked as make_locked,
    new_file as new_file,
    partial_path as partial_path,
    put_in_place as put_in_place,
    take_lock as take_lock,
    write_file as write_file,
)
from latentpath.core.folders import (
    check_output_is_free as check_output_is_free,
    new_folder as new_folder,
)
from latentpath.core.hashing import (
    hash_arrays as hash_arrays,
    hash_bytes as hash_bytes,
    hash_file as hash_file,
    hash_json as hash_json,
    hash_tensors as hash_tensors,
)
from latentpath.core.layouts import (
    ConvolutionWatch as ConvolutionWatch,
    StridedPointwise as StridedPointwise,
    channels_last as channels_last,
    faulty_layers as faulty_layers,
    place as place,
    without_faulty_layers as without_faulty_layers,
)
from latentpath.core.modes import (
    device_of as device_of,
    evaluating as evaluating,
    tf32_allowed as tf32_allowed,
    uses_tf32 as uses_tf32,
)
from latentpath.core.progress import (
    Progress as Progress,
    SummedProgress as SummedProgress,
    duration as duration,
    silent as silent,
)
from latentpath.core.step_clock import seconds_per_unit as seconds_per_unit
from latentpath.core.stopping import (
    StoppedError as StoppedError,
    StopRequest as StopRequest,
    stop_request as stop_request,
    stoppable as stoppable,
)
from latentpath.core.threads import (
    return_freed_memory as return_freed_memory,
    share_arenas as share_arenas,
    side_by_side as side_by_side,
    threads_that_help as threads_that_help,
    using_threads as using_threads,
    workers_beside as workers_beside,
)
from latentpath.core.values import (
    colour_of as colour_of,
    flat_values as flat_values,
    plain_values as plain_values,
)
