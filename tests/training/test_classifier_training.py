"""Training classifiers, and the witness, which recognises people and leaves no traces."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from latentpath.core.errors import DataError, InputError, ShapeError, WeightsError
from latentpath.models import Classifier, predict
from latentpath.models.image_networks import Witness
from latentpath.training import AugmentConfig, ClassifierConfig, IdentityConfig, train_classifier
from latentpath.training.checkpoint import Checkpointer
from latentpath.training.classifier_training import WitnessConfig, train_witness

pytest.importorskip("monai")

GENTLE = AugmentConfig(shift=0.05, rotate=5.0, scale=0.0, brightness=0.0)
TINY = ClassifierConfig(steps=40, batch=16, width=2, augment=GENTLE)


def stripes(n, seed=0):
    """Two classes that a person tells apart at once: stripes across, stripes down."""
    torch.manual_seed(seed)
    labels = torch.arange(n) % 2
    wave = torch.sin(torch.arange(12) * 1.6)
    across, down = wave[:, None].expand(12, 12), wave[None, :].expand(12, 12)
    images = torch.where(labels[:, None, None] == 0, across, down)
    noise = 0.3 * torch.randn(n, 12, 12)
    return (images + noise).clamp(-1, 1)[:, None], labels


@pytest.fixture
def every_step(monkeypatch):
    """Save a checkpoint after every step."""
    monkeypatch.setattr(Checkpointer, "due", lambda self: self.path is not None)


class StopError(Exception):
    pass


def stop_at(step):
    def progress(stage, done, total, figures):
        if done == step:
            raise StopError

    return progress


def assert_same_weights(first, second):
    for (name, a), (other, b) in zip(
        first.state_dict().items(), second.state_dict().items(), strict=True
    ):
        assert name == other
        assert torch.equal(a, b), name


def test_it_learns():
    images, labels = stripes(64)
    fresh, fresh_labels = stripes(100, seed=1)
    told = []
    model = train_classifier(
        images, labels, num_classes=2, config=TINY, progress=lambda *a: told.append(a)
    )
    hits = (predict(model, fresh).argmax(dim=1) == fresh_labels).float().mean()
    assert float(hits) > 0.95
    assert not model.training
    assert not any(p.requires_grad for p in model.parameters())
    assert [done for _, done, _, _ in told] == list(range(1, 41))
    assert told[0][0] == "classifier"
    assert told[-1][3]["loss"] < told[0][3]["loss"]
    assert told[-1][3]["accuracy"] > 0.8


def test_people_are_recognised_in_changed_pictures():
    torch.manual_seed(0)
    people = torch.rand(6, 1, 3, 3).repeat_interleave(4, 2).repeat_interleave(4, 3) * 2 - 1
    config = IdentityConfig(steps=60, batch=12, width=4, augment=GENTLE, lr=1e-2)
    told = []
    model = train_classifier(
        people,
        torch.arange(6),
        num_classes=6,
        config=config,
        progress=lambda *a: told.append(a[0]),
    )
    changed = people + 0.1 * torch.randn_like(people)
    assert torch.equal(predict(model, changed).argmax(dim=1), torch.arange(6))
    assert set(told) == {"identity"}


def test_seed_decides_and_the_callers_random_state_stays():
    images, labels = stripes(20)
    config = ClassifierConfig(steps=3, batch=8, width=2)
    state = torch.get_rng_state()
    first = train_classifier(images, labels, num_classes=2, config=config)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(99)
    assert_same_weights(first, train_classifier(images, labels, num_classes=2, config=config))
    other = ClassifierConfig(steps=3, batch=8, width=2, seed=1)
    different = train_classifier(images, labels, num_classes=2, config=other)
    assert not torch.equal(first.head.weight, different.head.weight)


def test_fewer_images_than_a_batch():
    images, labels = stripes(5)
    config = ClassifierConfig(steps=2, batch=64, width=2)
    model = train_classifier(images, labels, num_classes=3, config=config)
    assert predict(model, images).shape == (5, 3)


@torch.no_grad()
def test_predict_in_batches():
    torch.manual_seed(0)
    model = Classifier(3, 1, 12, width=2).eval()
    images = torch.randn(7, 1, 12, 12)
    assert torch.allclose(predict(model, images, batch=3), model(images), atol=1e-5)


class TestResume:
    CONFIG = ClassifierConfig(steps=8, batch=8, width=2)

    def train(self, path=None, progress=None, config=CONFIG, data=None):
        images, labels = stripes(20) if data is None else data
        options = {} if progress is None else {"progress": progress}
        return train_classifier(
            images, labels, num_classes=2, config=config, checkpoint=path, **options
        )

    @pytest.mark.parametrize("step", [1, 2, 5, 8])
    def test_interrupted_run_ends_as_the_undisturbed_one(self, tmp_path, every_step, step):
        path = tmp_path / "run.checkpoint"
        with pytest.raises(StopError):
            self.train(path, stop_at(step))
        told = []
        resumed = self.train(path, lambda *a: told.append(a[1]))
        assert told == list(range(step, 9))
        assert_same_weights(resumed, self.train())

    def test_interrupted_twice(self, tmp_path, every_step):
        path = tmp_path / "run.checkpoint"
        for step in (3, 6):
            with pytest.raises(StopError):
                self.train(path, stop_at(step))
        assert_same_weights(self.train(path), self.train())

    def test_a_finished_run_is_not_trained_again(self, tmp_path):
        path = tmp_path / "run.checkpoint"
        first, told = self.train(path), []
        assert_same_weights(self.train(path, lambda *a: told.append(a)), first)
        assert told == []

    def test_other_data_or_options(self, tmp_path):
        path = tmp_path / "run.checkpoint"
        self.train(path)
        with pytest.raises(WeightsError, match="other training data"):
            self.train(path, data=stripes(20, seed=1))
        images, labels = stripes(20)
        with pytest.raises(WeightsError, match="other training data"):
            self.train(path, data=(images, 1 - labels))
        with pytest.raises(WeightsError, match=r"another configuration \(lr\)"):
            self.train(path, config=ClassifierConfig(steps=8, batch=8, width=2, lr=1e-3))
        # A schedule that was begun cannot be lengthened.
        with pytest.raises(WeightsError, match=r"run\.checkpoint for it, or go on with 8 steps"):
            self.train(path, config=ClassifierConfig(steps=9, batch=8, width=2))


class TestBadInput:
    @pytest.mark.parametrize(
        ("change", "text"),
        [
            ({"images": torch.zeros(4, 12, 12)}, "images"),
            ({"images": torch.zeros(4, 2, 12, 12)}, "channels"),
            ({"images": torch.zeros(0, 1, 12, 12), "labels": torch.zeros(0).long()}, "images"),
            ({"images": torch.full((4, 1, 12, 12), float("nan"))}, "finite"),
            ({"labels": torch.zeros(3).long()}, "label"),
            ({"labels": torch.tensor([0, 1, 2, 0])}, "0 to 1"),
            ({"labels": torch.tensor([0, -1, 1, 0])}, "0 to 1"),
        ],
    )
    def test_refused_before_any_work(self, change, text):
        good = {"images": torch.zeros(4, 1, 12, 12), "labels": torch.tensor([0, 1, 1, 0])}
        with pytest.raises(DataError, match=text):
            train_classifier(**{**good, **change}, num_classes=2, config=TINY)


def test_the_weights_are_kept_that_know_most_of_other_people(tmp_path, every_step):
    """Judged by turned labels, what it learns last is worst: an earlier step has to win."""
    images, labels = stripes(64)
    fresh, fresh_labels = stripes(60, seed=1)
    turned = (fresh, 1 - fresh_labels)
    arguments = {"num_classes": 2, "config": replace(TINY, steps=24)}

    def right(model):
        return float((predict(model, fresh).argmax(1) == turned[1]).float().mean())

    last = train_classifier(images, labels, **arguments)
    best = train_classifier(images, labels, **arguments, validation=turned)
    assert right(best) > right(last)
    # It learns the same things with and without, and an interruption changes nothing.
    good = train_classifier(images, labels, **arguments, validation=(fresh, fresh_labels))
    assert 1 - right(good) >= 1 - right(last)
    arguments |= {"checkpoint": tmp_path / "c", "validation": turned}
    with pytest.raises(StopError):
        train_classifier(images, labels, **arguments, progress=stop_at(19))
    assert_same_weights(best, train_classifier(images, labels, **arguments))


QUICK = WitnessConfig(steps=120, batch=24, width=4, embedding=16, augment=AugmentConfig())


def faces(people: int, channels: int = 1, side: int = 16) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    small = torch.rand(people, channels, 4, 4, generator=generator) * 2 - 1
    return torch.nn.functional.interpolate(small, size=side, mode="bilinear")


def test_the_witness_recognises_people_in_changed_pictures():
    images = faces(24)
    model = train_witness(images, torch.arange(24), num_people=24, config=QUICK)
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(1))
    changed = (images.roll(1, 3) * 0.9 + 0.05 * noise).clamp(-1, 1)
    assert (model(images).argmax(1) == torch.arange(24)).float().mean() > 0.9
    assert (model(changed).argmax(1) == torch.arange(24)).float().mean() > 0.7
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_seeds_decide_and_the_callers_random_numbers_stay():
    images, quick = faces(6), replace(QUICK, steps=3)

    def answers(seed: int) -> torch.Tensor:
        config = replace(quick, seed=seed)
        return train_witness(images, torch.arange(6), num_people=6, config=config)(images)

    torch.manual_seed(0)
    expected = torch.rand(2)
    torch.manual_seed(0)
    first = answers(1)
    assert torch.equal(torch.rand(2), expected)
    assert torch.equal(answers(1), first)
    assert not torch.allclose(answers(2), first)


def test_training_goes_on_where_it_stopped(tmp_path):
    images, quick = faces(6), replace(QUICK, steps=4)
    saved = tmp_path / "witness.pt"
    whole = train_witness(images, torch.arange(6), num_people=6, config=quick, checkpoint=saved)
    told: list[int] = []
    again = train_witness(
        images,
        torch.arange(6),
        num_people=6,
        config=quick,
        checkpoint=saved,
        progress=lambda stage, done, *_: told.append(done),
    )
    assert told == []
    assert torch.equal(again(images), whole(images))


@pytest.mark.parametrize(("channels", "height", "width"), [(1, 28, 28), (3, 40, 17), (1, 130, 90)])
def test_embeddings_have_length_one_at_any_size(channels, height, width):
    model = Witness(11, channels, width=2, embedding=8).eval()
    images = torch.rand(5, channels, height, width)
    features = model.features(images)
    torch.testing.assert_close(features.norm(dim=1), torch.ones(5))
    logits = model(images)
    assert logits.shape == (5, 11)
    assert logits.abs().max() <= model.scale + 1e-4


def test_what_does_not_fit_is_refused():
    with pytest.raises(InputError, match="at least 1"):
        Witness(0)
    with pytest.raises(ShapeError, match=r"images \[M, 1, H, W\]"):
        Witness(3)(torch.zeros(2, 3, 8, 8))
    with pytest.raises(DataError, match="labels from 0 to 2"):
        train_witness(faces(4), torch.arange(4), num_people=3, config=QUICK)
