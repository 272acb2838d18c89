"""Closeness as metrics: the audit's values, with torchmetrics and without it."""

from __future__ import annotations

import importlib
import importlib.util
import pickle

import numpy as np
import pytest
import torch

from latentpath.audit import record_ratio
from latentpath.compat import metrics
from latentpath.compat.metrics import ClosestRecordShare, NearestRealDistance
from latentpath.core.errors import InputError, ShapeError
from latentpath.data import ImageSet, to_uint8
from latentpath.similarity import nearest_real, prepare_real

pytest.importorskip("safetensors")


def images(count, seed, channels=1, side=32):
    draw = torch.Generator().manual_seed(seed)
    return torch.rand(count, channels, side, side, generator=draw) * 2 - 1


def image_set(planes, people=None):
    people = np.arange(len(planes)) if people is None else np.asarray(people)
    return ImageSet(to_uint8(planes), np.zeros(len(planes), int), people, ("all",))


@pytest.fixture(scope="module")
def sets():
    training, holdout = images(9, 0), images(7, 1)
    synthetic = torch.cat([(training[:3] + 0.3 * images(3, 2)).clamp(-1, 1), images(4, 3)])
    return training, holdout, synthetic


@pytest.mark.parametrize("quantile", [None, 0.0, 0.25])
def test_distance_is_the_audits(sets, quantile):
    training, _, synthetic = sets
    found = nearest_real(to_uint8(synthetic), prepare_real(image_set(training)))
    expected = found.mean if quantile is None else found.quantile(quantile)
    metric = NearestRealDistance(quantile)
    metric.update(training[:4], real=True)
    for part in synthetic.split(3):
        metric.update(part, real=False)
    metric.update(training[4:], real=True)
    assert float(metric.compute()) == pytest.approx(expected, rel=1e-5)
    metric.reset()
    metric.update(training, True)
    metric.update(training[:2], False)
    assert float(metric.compute()) == 0.0


def test_forms_of_images_are_one(sets):
    training, _, synthetic = sets
    values = set()
    for form in (lambda x: x, lambda x: torch.from_numpy(to_uint8(x)).permute(0, 3, 1, 2)):
        metric = NearestRealDistance()
        metric.update(form(training), real=True)
        metric.update(form(synthetic), real=False)
        values.add(float(metric.compute()))
    metric = NearestRealDistance(normalize=True)
    metric.update((training + 1) / 2, real=True)
    metric.update((synthetic + 1) / 2, real=False)
    assert float(metric.compute()) == pytest.approx(values.pop(), rel=1e-3)
    assert not values


@pytest.mark.parametrize("people", [None, [0, 0, 1, 1, 2, 2, 3, 3, 3]])
def test_share_is_the_audits(sets, people):
    training, holdout, synthetic = sets
    expected = record_ratio(
        image_set(synthetic),
        prepare_real(image_set(training, people)),
        prepare_real(image_set(holdout)),
    ).share.value
    metric = ClosestRecordShare()
    metric.update(synthetic, "synthetic")
    for rows in (slice(0, 4), slice(4, None)):
        who = None if people is None else torch.tensor(people)[rows] * 7
        metric.update(training[rows], "training", people=who)
    metric.update(holdout, "holdout")
    assert float(metric.compute()) == pytest.approx(expected)
    assert 0.5 < expected <= 1


def test_in_torchmetrics(sets):
    torchmetrics = pytest.importorskip("torchmetrics")
    training, holdout, synthetic = sets
    distance, share = NearestRealDistance(), ClosestRecordShare()
    assert isinstance(distance, torchmetrics.Metric)
    collection = torchmetrics.MetricCollection({"mmL": distance, "q": NearestRealDistance(0.05)})
    collection.update(training, real=True)
    collection.update(synthetic, real=False)
    found = collection.compute()
    assert found["q"] <= found["mmL"]
    for part, source in ((training, "training"), (holdout, "holdout"), (synthetic, "synthetic")):
        share.update(part, source)
    value = share.compute()
    assert torch.equal(pickle.loads(pickle.dumps(share)).compute(), value)
    # As after gathering from processes: states are joined tensors.
    for name in ("synthetic", "training", "holdout"):
        setattr(share, name, torch.cat(getattr(share, name)))
    share._computed = None
    assert torch.equal(share.compute(), value)


def test_without_torchmetrics(sets, monkeypatch):
    training, _, synthetic = sets
    find = importlib.util.find_spec
    absent = lambda name, *a: None if name == "torchmetrics" else find(name, *a)  # noqa: E731
    expected = NearestRealDistance()
    with monkeypatch.context() as patched:
        patched.setattr(importlib.util, "find_spec", absent)
        plain = importlib.reload(metrics).NearestRealDistance()
    importlib.reload(metrics)
    assert type(plain).__mro__[-2].__name__ == "_PlainMetric"
    for metric in (plain, expected):
        metric.update(training, real=True)
        metric.update(synthetic, real=False)
    assert torch.equal(plain.compute(), expected.compute())
    plain.reset()
    with pytest.raises(InputError, match="real images"):
        plain.compute()


def test_refused(sets):
    training, holdout, synthetic = sets
    distance, share = NearestRealDistance(), ClosestRecordShare()
    for bad in (torch.zeros(3, 32, 32), torch.zeros(1, 2, 8, 8), torch.zeros(0, 1, 8, 8),
                torch.zeros(1, 1, 8, 8, dtype=torch.int64)):  # fmt: skip
        with pytest.raises(ShapeError):
            distance.update(bad, real=True)
    distance.update(training, real=True)
    with pytest.raises(InputError, match="synthetic images"):
        distance.compute()
    distance.update(images(2, 0, side=40), real=False)
    with pytest.raises(ShapeError):
        distance.compute()
    with pytest.raises(InputError):
        NearestRealDistance(quantile=1.5)
    with pytest.raises(InputError):
        share.update(training, "real")
    with pytest.raises(ShapeError, match="people"):
        share.update(training, "training", people=torch.zeros(3, dtype=torch.int64))
    share.update(training, "training", people=torch.arange(9))
    share.update(training, "training")
    share.update(holdout, "holdout")
    share.update(synthetic, "synthetic")
    with pytest.raises(InputError, match="every update"):
        share.compute()
