"""The trained networks of one private set, as they lie in a weights folder."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from latentpath.core import LatentpathWarning, WeightsError, longer_training, place
from latentpath.data import PEOPLE_MET, ImageSet
from latentpath.generators import (
    ENCODERS,
    GENERATORS,
    LoadedGenerator,
    TrainedOn,
    build,
    people_noted,
    read_header,
    read_weights,
)
from latentpath.models import (
    Classifier,
    Encoder,
    Networks,
    PathPredictor,
    Surrogate,
    load_path_predictor,
    load_surrogate,
)
from latentpath.similarity import LPIPS

if TYPE_CHECKING:
    from latentpath.production.judgement import Judgement

# The weights that `latentpath demo` runs on ship here.
ASSETS = Path(__file__).resolve().parent.parent / "assets"

# Network -> its file in a weights folder.
FILES = {
    "generator": "generator.safetensors",
    "encoder": "encoder.safetensors",
    "identity": "identity.safetensors",
    "classifier": "classifier.safetensors",
    "surrogate": "surrogate.safetensors",
    "predictor": "predictor.safetensors",
}

# Network -> the kinds of weights that it may have, with what they build.
FACTORIES: dict[str, Mapping[str, Callable[..., nn.Module]]] = {
    "generator": GENERATORS,
    "encoder": {"encoder": Encoder, **ENCODERS},
    "identity": {"identity": Classifier},
    "classifier": {"classifier": Classifier},
}

NEEDED = tuple(FACTORIES)
"""Networks that a set cannot be made without, in the order in which they need each other; the
others make walks faster."""


@dataclass(frozen=True)
class Bundle:
    """Generator, encoder and classifiers that belong together, and LPIPS."""

    generator: LoadedGenerator
    encoder: Encoder
    identity: Classifier
    classifier: Classifier
    lpips: LPIPS
    class_names: tuple[str, ...] | None = None
    """Names of the classes that the class classifier was trained on, in their order."""
    people: Mapping[str, str] = field(default_factory=dict)
    """Network -> `people_fingerprint` of the images that it was trained on, where noted."""
    surrogate: Surrogate | None = None
    """Saves walks most of their generator passes; without one they take more."""
    predictor: PathPredictor | None = None
    """Where paths of low energy lead; without one walks begin on straight lines."""
    judgement: Judgement | None = None
    """What the networks' trainings made of them; None where nothing is known."""
    trial: bool = False
    """Whether they were trained to see the way alone, and their sets say so."""
    of_unknown_people: tuple[str, ...] = ()
    """Networks of which nobody noted whom they were trained on, where people are held out whom
    none may have met: `ready_networks` names them."""

    @property
    def networks(self) -> Networks:
        """What walks, the gate and the surrogate's training take."""
        return Networks(
            self.generator, self.identity, self.classifier, self.surrogate, self.predictor
        )

    @property
    def used(self) -> list[str]:
        """Names of its networks."""
        return [name for name in FILES if getattr(self, name) is not None]

    def check(self, data: ImageSet) -> None:
        """Raise WeightsError unless these networks were made for a set like `data`."""
        trained = TrainedOn(
            channels=self.generator.img_channels,
            classes=self.classifier.num_classes,
            people=self.identity.num_classes,
            class_names=self.class_names or (),
        )
        check_trained_on(trained, data, "some")

    def check_ready(self, anyway: bool = False) -> None:
        """Refuse networks that their trainings judged not ready; warn of weak and unjudged ones.

        Args:
            anyway: go on with those that are not ready, too; the set's card and manifest will say
                so.

        Raises:
            WeightsError: names what they lack.
        """
        if self.judgement is None:
            return
        not_ready, weak = (self.judgement.of_state(state) for state in ("not_ready", "weak"))
        if not_ready and not anyway:
            mending = (network for figure in not_ready for network in figure.mended_by)
            raise WeightsError(
                expected="networks that are ready to make a set with",
                got="; ".join(figure.words for figure in not_ready),
                fix="train longer with "
                + ", and ".join(map(longer_training, dict.fromkeys(mending)))
                + ", or go on with --anyway, as the set's card will say",
            )
        for figure in (*not_ready, *weak):
            warnings.warn(f"{figure.state_words}: {figure.words}", LatentpathWarning, stacklevel=3)
        if missing := "; ".join(self.judgement.missing):
            warnings.warn(f"not judged: {missing}", LatentpathWarning, stacklevel=3)

    def for_walks(self, wanted: bool) -> Bundle:
        """The networks that walks use: without the path predictor where it is not `wanted`.

        Raises:
            WeightsError: it is wanted, and there is none.
        """
        if wanted and self.predictor is None:
            raise WeightsError(
                expected=f"a path predictor among the weights ({FILES['predictor']})",
                got="none",
                fix="train it (`latentpath train predictor`, with this folder as --out), or leave "
                "--predictor out",
            )
        return self if wanted else replace(self, predictor=None)

    def check_people(self, real: ImageSet) -> None:
        """Raise WeightsError unless the identity classifier was trained on these very images.

        The others may have met more people, such as some who asked to be left out since: that is
        warned of, and told of the set (`network_notes`).

        Args:
            real: the private set at the generator's resolution.
        """
        others = self.trained_on_others(real)
        if "identity" in others:
            raise WeightsError(
                expected="the images that the identity classifier was trained on",
                got="other images or another order of people",
                fix="give the same --data, --window and --resize, or run `latentpath train "
                "identity` on this set",
            )
        for name in others:
            warnings.warn(f"{name}: {PEOPLE_MET['other']}", LatentpathWarning, stacklevel=2)

    def trained_on_others(self, real: ImageSet) -> list[str]:
        """Networks that are noted to have been trained on other people, or images, than these.

        Args:
            real: the private set at the generator's resolution.
        """
        own = people_fingerprint(real) if self.people else ""
        return [name for name in self.used if self.people.get(name, own) != own]

    def network_notes(self, real: ImageSet) -> dict[str, Any] | None:
        """What a set's manifest tells of its networks; None where there is nothing to tell.

        Args:
            real: the private set at the generator's resolution.
        """
        met = dict.fromkeys(self.trained_on_others(real), "other")
        met |= {name: "unknown" for name in self.used if name in self.of_unknown_people}
        judgement = self.judgement
        if (met or self.trial) and judgement is None:
            from latentpath.production.judgement import Judgement

            judgement = Judgement((), dict.fromkeys(NEEDED, "other_weights"))
        if judgement is None:
            return None
        notes = {**judgement.as_manifest(), **({"people": met} if met else {})}
        return {**notes, "trial": True} if self.trial else notes


def check_trained_on(trained: TrainedOn, data: ImageSet, what: str) -> None:
    """Raise WeightsError unless the weights, called `what`, were made for a set like `data`."""
    misfits = trained.misfits(
        channels=data.channels, classes=data.class_names, people=data.num_identities
    )
    if misfits:
        raise WeightsError(
            expected="weights that fit the data set",
            got=f"{what}, {'; '.join(misfits)}",
            fix="use the weights trained on this set, name and order its classes as in training, "
            "or train them (`latentpath train`)",
        )


def _judgement(folder: Path) -> Judgement | None:
    from latentpath.production.judgement import FILE_NAME, read_judgement

    return read_judgement(folder, FILES) if (folder / FILE_NAME).exists() else None


def people_fingerprint(real: ImageSet) -> str:
    """SHA-256 over a set's images and identities; it stays with the weights, never with a set.

    Weights hold it, those that ship too: another form of it would refuse them.
    """
    digest = hashlib.sha256()
    for array in (real.images, real.identities):
        digest.update(f"({array.shape}, torch.{array.dtype})".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def people_met(notes: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Network -> `people_fingerprint` of the images that it was trained on, where that is known.

    Args:
        notes: network -> what stands in the header of its weights.
    """
    found = {name: people_noted(noted) for name, noted in notes.items()}
    return {name: people for name, people in found.items() if people is not None}


def load_bundle(
    folder: str | Path,
    device: torch.device | str = "cpu",
    *,
    without: Collection[str] = (),
) -> Bundle:
    """Open the networks of a weights folder, and the LPIPS that ships.

    A surrogate and a predictor may be absent.

    Args:
        folder: the weights folder.
        device: where the networks go.
        without: "surrogate" or "predictor", or both, to leave out, such as to train them again.

    Raises:
        WeightsError: a file is missing, damaged, of another kind, or the networks do not fit
            each other (for example an encoder of another generator's latent width, or a surrogate
            or predictor that was trained for other weights than those beside it).
    """
    folder = Path(folder)
    parts: dict[str, Any] = {}
    notes: dict[str, dict[str, Any]] = {}
    for name, kinds in FACTORIES.items():
        path = folder / FILES[name]
        weights = read_weights(path, kind=tuple(kinds))
        network, notes[name] = build(weights, kinds[weights.kind], source=path), weights.notes
        parts[name] = place(network, device)
    generator = parts["generator"]
    channels = generator.img_channels
    for name, expected, got in [
        ("encoder's latent width", generator.latent_dim, parts["encoder"].latent_dim),
        ("encoder's image channels", channels, parts["encoder"].img_channels),
        ("identity classifier's image channels", channels, parts["identity"].img_channels),
        ("class classifier's image channels", channels, parts["classifier"].img_channels),
    ]:
        if expected != got:
            raise WeightsError(
                expected=f"the {name} to be {expected}, as the generator's",
                got=f"{got}",
                fix="put weights that were trained together into one folder",
            )
    loaders = {"surrogate": load_surrogate, "predictor": load_path_predictor}
    helpers: dict[str, Any] = {
        name: load(folder / FILES[name], device)
        for name, load in loaders.items()
        if name not in without and (folder / FILES[name]).exists()
    }
    for name in helpers:
        header = read_header(folder / FILES[name])[0]
        notes[name] = {} if header is None else header.notes
    bundle = Bundle(
        generator,
        parts["encoder"],
        parts["identity"],
        parts["classifier"],
        LPIPS.load(device),
        class_names=tuple(names) if (names := notes["classifier"].get("class_names")) else None,
        people=people_met(notes),
        **helpers,
        judgement=_judgement(folder),
    )
    bundle.networks.check_trained_for()
    return bundle
