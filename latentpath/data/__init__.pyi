from latentpath.data.card import (
    CARD_NAME as CARD_NAME,
)
from latentpath.data.card import (
    DatasetCard as DatasetCard,
)
from latentpath.data.decode import with_channels as with_channels
from latentpath.data.digits import (
    DigitsSplit as DigitsSplit,
)
from latentpath.data.digits import (
    load_digits_split as load_digits_split,
)
from latentpath.data.images import (
    ImageSet as ImageSet,
)
from latentpath.data.images import (
    check_images as check_images,
)
from latentpath.data.images import (
    resize_images as resize_images,
)
from latentpath.data.images import (
    to_tensor as to_tensor,
)
from latentpath.data.images import (
    to_uint8 as to_uint8,
)
from latentpath.data.manifest import (
    FILE_NAME as FILE_NAME,
)
from latentpath.data.manifest import (
    is_written_set as is_written_set,
)
from latentpath.data.manifest import (
    read_manifest as read_manifest,
)
from latentpath.data.medmnist import SPLITS as SPLITS
from latentpath.data.naming import names_shown as names_shown
from latentpath.data.plain import (
    NotPlainError as NotPlainError,
)
from latentpath.data.plain import (
    read_plain_npz as read_plain_npz,
)
from latentpath.data.plain import (
    read_plain_png as read_plain_png,
)
from latentpath.data.png import (
    PngOptions as PngOptions,
)
from latentpath.data.png import (
    encode_pngs as encode_pngs,
)
from latentpath.data.read import (
    check_reading as check_reading,
)
from latentpath.data.read import (
    read_and_survey as read_and_survey,
)
from latentpath.data.read import (
    read_image_set as read_image_set,
)
from latentpath.data.read import (
    scan as scan,
)
from latentpath.data.source import (
    FORMATS as FORMATS,
)
from latentpath.data.source import (
    DataSource as DataSource,
)
from latentpath.data.survey import Survey as Survey
from latentpath.data.table import Table as Table
from latentpath.data.write import (
    NPZ_NAME as NPZ_NAME,
)
from latentpath.data.write import (
    write_image_set as write_image_set,
)
from latentpath.data.writers import (
    WRITERS as WRITERS,
)
from latentpath.data.writers import (
    Batch as Batch,
)
from latentpath.data.writers import (
    SetForm as SetForm,
)
from latentpath.data.writers import (
    Writer as Writer,
)
from latentpath.data.writers import (
    safe_folder_names as safe_folder_names,
)
from latentpath.data.writers.folder import (
    IMAGES_NAME as IMAGES_NAME,
)
from latentpath.data.writers.folder import (
    TABLE_NAME as TABLE_NAME,
)
from latentpath.data.writers.writer import describe_file as describe_file
