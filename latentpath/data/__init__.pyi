from latentpath.data.card import (
    CARD_NAME as CARD_NAME,
)
from latentpath.data.card import (
    DatasetCard as DatasetCard,
)
from latentpath.data.decode import with_channels as with_channels
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
from latentpath.data.pixel_files import (
    NotPlainError as NotPlainError,
)
from latentpath.data.pixel_files import (
    read_plain_npz as read_plain_npz,
)
from latentpath.data.pixel_files import (
    read_plain_png as read_plain_png,
)
from latentpath.data.sources.csv_table import Table as Table
from latentpath.data.sources.data_source import (
    FORMATS as FORMATS,
)
from latentpath.data.sources.data_source import (
    DataSource as DataSource,
)
from latentpath.data.sources.digits import (
    DigitsSplit as DigitsSplit,
)
from latentpath.data.sources.digits import (
    load_digits_split as load_digits_split,
)
from latentpath.data.sources.image_set_reader import (
    check_reading as check_reading,
)
from latentpath.data.sources.image_set_reader import (
    read_and_survey as read_and_survey,
)
from latentpath.data.sources.image_set_reader import (
    read_image_set as read_image_set,
)
from latentpath.data.sources.image_set_reader import (
    scan as scan,
)
from latentpath.data.sources.listing import number_people as number_people
from latentpath.data.sources.medmnist import SPLITS as SPLITS
from latentpath.data.sources.name_disclosure import names_shown as names_shown
from latentpath.data.survey import Survey as Survey
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
from latentpath.data.writers.memory_set import (
    NPZ_NAME as NPZ_NAME,
)
from latentpath.data.writers.memory_set import (
    write_image_set as write_image_set,
)
from latentpath.data.writers.png import (
    encode_pngs as encode_pngs,
)
from latentpath.data.writers.set_layouts import describe_set as describe_set
from latentpath.data.writers.set_layouts import write_card_and_manifest as write_card_and_manifest
from latentpath.data.writers.set_layouts import write_layouts as write_layouts
from latentpath.data.writers.writer import describe_file as describe_file
