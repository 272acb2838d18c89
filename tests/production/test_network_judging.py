"""Networks are judged by what they have not seen: blobs and guesses are told from the rest."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from latentpath.data import NETWORK_FIGURES, network_notes, to_tensor
from latentpath.production import FILES, train_network
from latentpath.production.judgement import FILE_NAME, read_judgement
from latentpath.production.network_judging import (
    GeneratorJudge,
    judge_classifier,
    judge_encoder,
    judge_identity,
)
from latentpath.similarity import LPIPS
from latentpath.training import AugmentConfig, ClassifierConfig, GeneratorConfig
from support import tiny_models

PEOPLE = tiny_models.private_set((70, 50), seed=2)


class Shows(torch.nn.Module):
    """A generator that shows given images, by row."""

    def __init__(self, images: np.ndarray) -> None:
        super().__init__()
        self.images, self.c_dim = to_tensor(images), 0
        self.mapping = type("Mapping", (), {"w_avg": torch.zeros(1)})()

    def sample(self, count, labels=None):
        return torch.arange(count)[:, None].float() % len(self.images)

    def synthesize(self, latents):
        return self.images[latents[:, 0].long()]


def states(figures):
    return {figure.measure: figure.state for figure in figures}


def test_a_generator_of_people_is_told_from_blobs_and_from_one_image():
    training, other = PEOPLE.subset(slice(0, 60)), PEOPLE.subset(slice(60, 120))
    judge = GeneratorJudge(training.images, training.labels, other.images, LPIPS.load())
    fresh = tiny_models.private_set((70, 50), seed=9).images
    assert states(judge.judge(Shows(fresh))) == {"kid_to_blobs": "good", "coverage": "good"}
    same = np.broadcast_to(fresh[:1], fresh.shape)
    assert "good" not in states(judge.judge(Shows(same))).values()
    grey = np.full_like(fresh, 128)
    assert states(judge.judge(Shows(grey)))["kid_to_blobs"] == "not_ready"
    assert judge.kid(Shows(fresh)) < judge.kid(Shows(grey))


def test_logs_cards_and_reports_say_the_same_of_every_figure():
    images, people = to_tensor(PEOPLE.images), torch.from_numpy(PEOPLE.identities)
    labels, shown = torch.from_numpy(PEOPLE.labels), Shows(PEOPLE.images)
    shown.c_dim = 2
    judge = GeneratorJudge(PEOPLE.images, PEOPLE.labels, PEOPLE.images, LPIPS.load())
    still = AugmentConfig()
    figures = [
        *judge.judge(shown),
        *judge_classifier(Knows(images, labels), (images, labels), shown),
        *judge_identity(Knows(images, people), images, people, still, Places(images), shown),
        *judge_encoder(Places(images), shown, images),
    ]
    names = [f"{figure.network}_{figure.measure}" for figure in figures]
    assert set(names) == set(NETWORK_FIGURES)
    notes = dict(network_notes({"weak": names, "not_ready": []}))["Made with weak networks"]
    for name, figure in zip(names, figures, strict=True):
        known = NETWORK_FIGURES[name]
        assert known.words in notes
        assert name not in notes
        assert known.what in figure.words
        if known.scale:  # what the log says in this set's shares the report says of the scale
            share = known.share_words(known.usual)
            assert f"{figure.usual:.1%}: {share}," in figure.words
            assert share in known.words


class Knows(torch.nn.Module):
    """A classifier that recognises images by their nearest key, or nothing."""

    def __init__(self, keys: torch.Tensor, labels: torch.Tensor, blind: bool = False) -> None:
        super().__init__()
        self.keys, self.labels, self.blind = keys.flatten(1), labels, blind
        self.num_classes = int(labels.max()) + 1

    def forward(self, images):
        near = torch.cdist(images.flatten(1), self.keys).argmin(1)
        logits = torch.nn.functional.one_hot(self.labels[near], self.num_classes).float()
        return torch.zeros_like(logits) if self.blind else logits


@pytest.mark.parametrize("blind", [False, True])
def test_classifiers_that_guess_are_not_ready(blind):
    images, people = to_tensor(PEOPLE.images), torch.from_numpy(PEOPLE.identities)
    labels = torch.from_numpy(PEOPLE.labels)
    model = Knows(images, labels, blind)
    found = states(judge_classifier(model, (images, labels), None))
    assert found == {"balanced_accuracy": "not_ready" if blind else "good"}
    still = AugmentConfig(shift=0, rotate=0, scale=0, brightness=0, contrast=0, noise=0, cutout=0,
        shear=0, flip=False)  # fmt: skip
    model = Knows(images, people, blind)
    found = states(judge_identity(model, images, people, still, None, None))
    assert found == {"changed_images": "not_ready" if blind else "good"}


class Places(torch.nn.Module):
    """An encoder that knows the row of every image."""

    def __init__(self, images: torch.Tensor) -> None:
        super().__init__()
        self.keys = images.flatten(1)

    def forward(self, images):
        return torch.cdist(images.flatten(1), self.keys).argmin(1)[:, None].float()


def test_an_encoder_is_judged_by_what_it_keeps():
    images = to_tensor(PEOPLE.images)
    kept = judge_encoder(Places(images), Shows(PEOPLE.images), images)
    assert kept[0].value == pytest.approx(1, abs=1e-5)
    lost = judge_encoder(Places(images), Shows(np.full_like(PEOPLE.images, 128)), images)
    assert lost[0].state == "not_ready"


def test_training_notes_its_figures_and_keeps_the_best(tmp_path):
    config = GeneratorConfig(
        total_images=8, batch=4, z_dim=4, w_dim=8, mapping_layers=1, channel_base=64, channel_max=4
    )
    line = train_network("generator", PEOPLE, tmp_path, config=config)
    assert "judged not ready: generator: " in line
    line = train_network(
        "classifier", PEOPLE, tmp_path, config=ClassifierConfig(steps=3, batch=8, width=2)
    )
    noted = json.loads((tmp_path / FILE_NAME).read_text())["networks"]
    assert noted["classifier"]["held_out"] == {"people": 20, "images": 20}
    measures = [figure["measure"] for figure in noted["classifier"]["figures"]]
    assert measures == ["balanced_accuracy", "class_agreement"]
    assert {path.name for path in tmp_path.iterdir()} > {FILES["classifier"], "generator.kid.csv"}
    # Too few people to hold any out: said, not silently judged by what it knows.
    few, small = tiny_models.private_set((20, 14)), ClassifierConfig(steps=1, batch=8, width=2)
    line = train_network("classifier", few, tmp_path / "f", config=small)
    assert "not judged: classifier: too few people could be held out" in line
    line = train_network("generator", few, tmp_path / "f", config=config)
    assert "not judged: generator: too few people could be held out" in line
    judgement = read_judgement(tmp_path / "f", FILES)
    assert judgement.not_judged == dict.fromkeys(("generator", "classifier"), "too_few_people")
    (tmp_path / "f" / "classifier.checkpoint").unlink()
    line = train_network("classifier", few, tmp_path / "f", config=small)
    assert "classifier: agreement with the classes" in line
    assert "not judged on people it has not met: of 34 people" in line
