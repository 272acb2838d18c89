"""How `latentpath audit` reads sets that do not say everything of themselves."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from PIL import Image

from latentpath.cli import main
from latentpath.data import read_image_set, write_image_set
from support import tiny_models

# Which questions stay open without a holdout, and who is left out of one, is said as a warning.
pytestmark = pytest.mark.filterwarnings("default::latentpath.core.errors.LatentpathWarning")
QUICK = ("--quiet", "--quick", "--seeds", "0")


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """X-rays that are no squares, with a table, and the same squeezed into squares."""
    root = tmp_path_factory.mktemp("wide")
    generator = np.random.default_rng(5)
    rows = []
    for name in ("real", "squeezed"):
        (root / name).mkdir()
    for index in range(20):
        coarse = generator.integers(0, 256, (6, 8), dtype=np.uint8)
        picture = Image.fromarray(coarse).resize((48, 32), Image.Resampling.BICUBIC)
        label = ("left", "right")[index % 2]
        picture.save(root / "real" / f"{index}.png")
        (root / "squeezed" / label).mkdir(exist_ok=True)
        square = picture.resize((32, 32), Image.Resampling.BILINEAR)
        square.save(root / "squeezed" / label / f"{index}.png")
        rows.append((f"{index}.png", label, f"patient {index // 2 * 2}"))
    with (root / "real.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([("image", "label", "who"), *rows])
    return root


def audited(tmp_path, *words):
    return main(["audit", *map(str, words), "--out", str(tmp_path / "report"), "--overwrite"])


def real_of(wide):
    return ["--real", wide / "real", "--real-csv", wide / "real.csv", "--identity-column", "who"]


class TestNoSquares:
    def test_how_they_became_squares_must_be_said(self, wide, tmp_path, capsys):
        words = [*real_of(wide), "--synthetic", wide / "squeezed", *QUICK]
        assert audited(tmp_path, *words) == 2
        error = capsys.readouterr().err
        assert "--resize pad, crop or stretch" in error
        assert "20 such images" in error
        assert not (tmp_path / "report" / "report.html").exists()

    def test_copies_are_found_in_the_form_that_is_said(self, wide, tmp_path):
        words = [*real_of(wide), "--synthetic", wide / "squeezed", *QUICK, "--resize", "stretch"]
        assert audited(tmp_path, *words) == 0
        numbers = json.loads((tmp_path / "report" / "audit.json").read_text())
        assert numbers["questions"]["copies"]["colour"] == "red"

    def test_a_set_of_ours_says_it_itself(self, wide, tmp_path):
        table = {"csv": wide / "real.csv", "identity_column": "who"}
        real = read_image_set(wide / "real", **table, resolution=32, resize="crop")
        write_image_set(
            tmp_path / "ours",
            real.images,
            real.labels,
            real.class_names,
            manifest={"software": "test", "reading": real.reading.as_dict()},
        )
        words = [*real_of(wide), "--synthetic", tmp_path / "ours", *QUICK]
        assert audited(tmp_path, *words) == 0
        numbers = json.loads((tmp_path / "report" / "audit.json").read_text())
        assert numbers["questions"]["copies"]["colour"] == "red"


def test_a_manifest_that_tells_nothing_sensible_of_its_reading_is_asked_about(
    wide, tmp_path, capsys
):
    real = read_image_set(
        wide / "real", csv=wide / "real.csv", identity_column="who", resolution=32
    )
    content = {"software": "test", "reading": "squeezed"}
    written = (real.images, real.labels, real.class_names)
    write_image_set(tmp_path / "ours", *written, manifest=content)
    assert audited(tmp_path, *real_of(wide), "--synthetic", tmp_path / "ours", *QUICK) == 2
    assert "--resize pad, crop or stretch" in capsys.readouterr().err


class TestPeopleInBoth:
    """The same patient with other images in the real set and in the holdout."""

    @pytest.fixture
    def tables(self, wide, tmp_path):
        people = tiny_models.private_set((12, 12), seed=9)
        tiny_models.write_folder(tmp_path / "images", people)
        files = sorted((tmp_path / "images").rglob("*.png"))
        # Of the 12 people of each half, one is number 2 in both.
        for name, half, first in (("real", files[0::2], 0), ("others", files[1::2], 50)):
            with (tmp_path / f"{name}.csv").open("w", newline="") as stream:
                rows = [
                    (
                        file.relative_to(tmp_path / "images"),
                        file.parent.name,
                        f"P{first + 100 * at}",
                    )
                    for at, file in enumerate(half)
                ]
                rows[0] = (*rows[0][:2], "p 02")
                csv.writer(stream).writerows([("image", "label", "who"), *rows])
        images = tmp_path / "images"
        return [
            *("--real", images, "--real-csv", tmp_path / "real.csv"),
            *("--holdout", images, "--holdout-csv", tmp_path / "others.csv"),
            *("--identity-column", "who", "--synthetic", images),
        ]

    def test_they_are_left_out_of_the_holdout(self, tables, tmp_path, capsys):
        assert audited(tmp_path, *tables, *QUICK) == 0
        said = capsys.readouterr().err
        assert "1 of 12 holdout people, by name or number, are also in the real set" in said
        assert "11 images remain" in said
        assert "--numbered-apart" in said

    def test_but_not_where_numbers_mean_others(self, tables, tmp_path, capsys):
        assert audited(tmp_path, *tables, *QUICK, "--numbered-apart") == 0
        assert "also in the real set" not in capsys.readouterr().err
