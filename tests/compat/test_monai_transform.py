"""Closeness as a dictionary transform."""

from __future__ import annotations

import importlib
import importlib.util

import numpy as np
import pytest
import torch

from latentpath.compat import monai as transforms
from latentpath.compat.monai import NearestRealDistanced
from latentpath.core.errors import InputError, ShapeError
from latentpath.data import to_uint8
from latentpath.similarity import LPIPS

pytest.importorskip("safetensors")


def images(count, seed):
    draw = torch.Generator().manual_seed(seed)
    return torch.rand(count, 1, 32, 32, generator=draw) * 2 - 1


def uint8(planes):
    return torch.from_numpy(to_uint8(planes).transpose(0, 3, 1, 2).copy())


@pytest.fixture(scope="module")
def transform():
    return NearestRealDistanced(("image", "other"), images(5, 0), allow_missing_keys=True)


def test_distances(transform):
    expected = LPIPS.load().nearest(uint8(images(3, 1)), uint8(images(5, 0)))[0][:, 0]
    for image, distance in zip(images(3, 1), expected, strict=True):
        item = {"image": image, "label": 1}
        found = transform(item)
        assert found["image_nearest_real"] == pytest.approx(float(distance), rel=1e-4)
        assert found["label"] == 1
        assert "other_nearest_real" not in found
        assert set(item) == {"image", "label"}
    copy = transform({"image": images(5, 0)[2], "other": uint8(images(5, 0))[1].numpy()})
    assert max(copy["image_nearest_real"], copy["other_nearest_real"]) < 1e-9


def test_in_monai(transform):
    monai = pytest.importorskip("monai.transforms")
    assert isinstance(transform, monai.MapTransform)
    chain = monai.Compose([monai.EnsureChannelFirstd("image", channel_dim="no_channel"), transform])
    array = images(1, 1)[0, 0].numpy().astype(np.float32)
    found = chain({"image": array})
    assert found["image_nearest_real"] > 0.01


def test_without_monai(monkeypatch):
    find = importlib.util.find_spec
    absent = lambda name, *a: None if name == "monai" else find(name, *a)  # noqa: E731
    with monkeypatch.context() as patched:
        patched.setattr(importlib.util, "find_spec", absent)
        plain = importlib.reload(transforms).NearestRealDistanced("image", images(2, 0))
    importlib.reload(transforms)
    assert plain({"image": images(2, 0)[1]})["image_nearest_real"] < 1e-9
    with pytest.raises(InputError, match="'image'"):
        plain({"picture": images(1, 0)[0]})


def test_refused(transform):
    for image in (torch.zeros(32, 32), torch.zeros(2, 32, 32), torch.zeros(1, 16, 16),
                  torch.zeros(1, 1, 32, 32)):  # fmt: skip
        with pytest.raises(ShapeError):
            transform({"image": image})
    for real in (torch.zeros(1, 32, 32), torch.zeros(0, 1, 32, 32)):
        with pytest.raises(ShapeError):
            NearestRealDistanced("image", real)
