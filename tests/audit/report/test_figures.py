"""Contact sheets and the two plots."""

from __future__ import annotations

import io
from xml.etree import ElementTree

import numpy as np
import pytest

from latentpath.audit import EnergyComparison, WalkProfile, contact_sheet
from latentpath.audit.report.run_figures import encode_png, energy_figure, profile_figure
from latentpath.core.errors import InputError, ShapeError


@pytest.mark.parametrize("channels", [1, 3])
def test_contact_sheet_places_every_image(channels):
    images = np.arange(5, dtype=np.uint8)[:, None, None, None] * np.ones((1, 3, 4, channels))
    sheet = contact_sheet(images.astype(np.uint8), 2, gap=1, scale=2, background=200)
    assert sheet.shape == (3 * 7 + 1, 2 * 9 + 1, channels)
    assert sheet.dtype == np.uint8
    for i in range(5):
        top, left = 1 + i // 2 * 7, 1 + i % 2 * 9
        assert (sheet[top : top + 6, left : left + 8] == i).all()
    assert (sheet[15:, 10:] == 200).all()  # the empty sixth place
    assert (sheet == 200).sum() == sheet.size - 5 * 6 * 8 * channels


def test_contact_sheet_of_few_images_is_not_padded():
    assert contact_sheet(np.zeros((2, 3, 3, 1), np.uint8), 10, gap=0).shape == (3, 6, 1)


def test_contact_sheet_refuses_the_impossible():
    images = np.zeros((2, 3, 3, 1), np.uint8)
    with pytest.raises(ShapeError, match="at least one image"):
        contact_sheet(images[:0], 2)
    with pytest.raises(ShapeError, match="float64"):
        contact_sheet(images.astype(float), 2)
    for wrong in ({"columns": 0}, {"columns": 2, "scale": 0}, {"columns": 2, "gap": -1}):
        with pytest.raises(InputError, match="raise them"):
            contact_sheet(images, **wrong)


def test_png_round_trip_and_shrinking():
    pil = pytest.importorskip("PIL.Image")
    image = np.random.default_rng(0).integers(0, 256, (6, 40, 3)).astype(np.uint8)
    np.testing.assert_array_equal(np.asarray(pil.open(io.BytesIO(encode_png(image)))), image)
    assert pil.open(io.BytesIO(encode_png(image, largest_side=20))).size == (20, 3)


@pytest.mark.parametrize("paths", [1, 7])
def test_figures_are_svg_and_reproducible(paths):
    pytest.importorskip("matplotlib")
    rng = np.random.default_rng(0)
    line, walk = rng.random((2, paths, 9))
    profile = WalkProfile(line, walk, paths - 1)
    terms = {name: rng.random(paths) for name in ("smoothness", "identity", "class", "total")}
    energies = EnergyComparison(terms, terms)
    for draw, value in ((profile_figure, profile), (energy_figure, energies)):
        svg = draw(value)
        assert ElementTree.fromstring(svg).tag.endswith("svg")
        if paths == 1:
            assert svg == draw(value)


def test_profiles_and_energies_must_match():
    with pytest.raises(ShapeError, match="same paths"):
        WalkProfile(np.zeros((2, 5)), np.zeros((2, 6)))
    with pytest.raises(InputError, match="example"):
        WalkProfile(np.zeros((2, 5)), np.zeros((2, 5)), example=2)
    with pytest.raises(ShapeError, match="same terms"):
        EnergyComparison({"identity": np.zeros(3)}, {"identity": np.zeros(4)})
    with pytest.raises(ShapeError, match="same terms"):
        EnergyComparison({"identity": np.zeros(3)}, {"class": np.zeros(3)})
