"""What a run's set looks like on the disk."""

from __future__ import annotations

from dataclasses import dataclass

from latentpath.core import InputError, check_at_least
from latentpath.data import WRITERS, DatasetCard, ImageSet, SetForm


@dataclass(frozen=True)
class OutputConfig:
    """Layouts of the set, and what its card says."""

    layouts: str = "folder,npz"
    """Layouts of the set, separated by commas: "folder" (class folders with labels.csv), "npz"
    (MedMNIST), "webdataset", "stylegan" and "parquet" (Hugging Face)."""
    images_per_file: int = 10_000
    """Images in each file of the layouts "webdataset" and "parquet"."""
    title: str = "A synthetic image set"
    """Heading of the set's card, README.md."""
    license: str = "unknown"
    """Licence of the set as the Hugging Face hub names it, such as cc-by-4.0."""

    def __post_init__(self) -> None:
        check_at_least(1, images_per_file=self.images_per_file)
        DatasetCard(self.title, self.license)
        unknown = [name for name in self.chosen if name not in WRITERS]
        if unknown or not self.chosen:
            raise InputError(
                expected=f"layouts among {', '.join(WRITERS)}, separated by commas",
                got=repr(self.layouts),
                fix="choose at least one of them",
            )

    @property
    def chosen(self) -> tuple[str, ...]:
        """The layouts' names, each once."""
        names = (name.strip() for name in self.layouts.split(","))
        return tuple(dict.fromkeys(name for name in names if name))

    def check(self, data: ImageSet, resolution: int) -> None:
        """Find out before any work whether the layouts can hold a set made of `data`.

        Raises:
            InputError: one of them cannot.
            MissingExtraError: one needs a package that is not installed.
        """
        form = SetForm(resolution, resolution, data.channels, data.class_names, len(data))
        for name in self.chosen:
            WRITERS[name].check_form(form)
