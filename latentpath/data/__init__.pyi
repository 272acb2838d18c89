from latentpath.data.card import (
    CARD_NAME as CARD_NAME,
    DatasetCard as DatasetCard,
    loading_lines as loading_lines,
)
from latentpath.data.contrast import (
    PRESETS as PRESETS,
    Window as Window,
    parse_window as parse_window,
)
from latentpath.data.decode import with_channels as with_channels
from latentpath.data.identifier_names import identifier_evidence as identifier_evidence
from latentpath.data.images import (
    COUNTED_BY as COUNTED_BY,
    RESIZES as RESIZES,
    ImageSet as ImageSet,
    Reading as Reading,
    check_images as check_images,
    resize_images as resize_images,
    to_tensor as to_tensor,
    to_uint8 as to_uint8,
)
from latentpath.data.manifest import (
    CERTIFICATE_NAMES as CERTIFICATE_NAMES,
    FILE_NAME as FILE_NAME,
    NETWORK_FIGURES as NETWORK_FIGURES,
    NOT_JUDGED as NOT_JUDGED,
    PEOPLE_MET as PEOPLE_MET,
    NetworkFigure as NetworkFigure,
    is_written_set as is_written_set,
    missing_classes as missing_classes,
    network_notes as network_notes,
    read_manifest as read_manifest,
    sharing_cautions as sharing_cautions,
)
from latentpath.data.people_split import (
    FEWEST_TO_JUDGE as FEWEST_TO_JUDGE,
    USUAL_K as USUAL_K,
    PeopleSplit as PeopleSplit,
    split_people as split_people,
    validation_people as validation_people,
)
from latentpath.data.pixel_files import (
    NotPlainError as NotPlainError,
    encode_pngs as encode_pngs,
    read_plain_npz as read_plain_npz,
    read_plain_png as read_plain_png,
)
from latentpath.data.set_dataset import (
    SetDataset as SetDataset,
    SetItem as SetItem,
    load_set as load_set,
)
from latentpath.data.sources.archive import SPLITS as SPLITS
from latentpath.data.sources.arrays_in_memory import image_set as image_set
from latentpath.data.sources.csv_table import Table as Table
from latentpath.data.sources.data_source import FORMATS as FORMATS, DataSource as DataSource
from latentpath.data.sources.digits import (
    DigitsSplit as DigitsSplit,
    load_digits_split as load_digits_split,
)
from latentpath.data.sources.image_set_reader import (
    check_reading as check_reading,
    read_and_survey as read_and_survey,
    read_image_set as read_image_set,
    scan as scan,
)
from latentpath.data.sources.listing import number_people as number_people
from latentpath.data.sources.name_disclosure import names_shown as names_shown
from latentpath.data.survey import Survey as Survey
from latentpath.data.writers import (
    WRITERS as WRITERS,
    Batch as Batch,
    SetForm as SetForm,
    Writer as Writer,
    safe_folder_names as safe_folder_names,
    splits_of_walks as splits_of_walks,
)
from latentpath.data.writers.folder import (
    IMAGES_NAME as IMAGES_NAME,
    TABLE_NAME as TABLE_NAME,
)
from latentpath.data.writers.set_layouts import (
    NPZ_NAME as NPZ_NAME,
    describe_set as describe_set,
    write_card_and_manifest as write_card_and_manifest,
    write_image_set as write_image_set,
    write_layouts as write_layouts,
)
from latentpath.data.writers.writer import describe_file as describe_file
from latentpath.data.written_samples import (
    UNREADABLE_SAMPLES as UNREADABLE_SAMPLES,
    PngFiles as PngFiles,
    WrittenSamples as WrittenSamples,
    files_of_layout as files_of_layout,
    read_shards as read_shards,
    read_tables as read_tables,
)
