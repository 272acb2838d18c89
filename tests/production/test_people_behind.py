"""Who is behind every image of a set, from its private file; and files that belong to others."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from latentpath.core import hash_file
from latentpath.core.errors import DataError, InputError, IntegrityError
from latentpath.data import number_people, read_image_set
from latentpath.data.manifest import FILE_NAME
from latentpath.production import produce, synthetic_set
from latentpath.production.group_members import people_behind
from latentpath.production.private_file import read_record
from support import tiny_models


@pytest.fixture(scope="module")
def made(tmp_path_factory, data, bundle):
    """A set whose real people are not numbered in the order of their first rows."""
    out = tmp_path_factory.mktemp("made")
    run = produce(data, bundle, out, tiny_models.quick_config(count=30))
    assert number_people(data.identities).tolist() != data.identities.tolist()
    return run.folder.set, run.folder.private_file, synthetic_set(run, data, bundle)


def test_everybody_of_both_ends_is_behind_an_image(made, data):
    out, private, result = made
    found = people_behind(out, private, read_image_set(out), data)
    grouping, pairs = result.endpoints.grouping, result.walks.pairs
    assert len(found) == 30
    for people, walk in zip(found, result.path, strict=True):
        expected = {
            int(data.identities[row]) for end in pairs[walk] for row in grouping.rows(int(end))
        }
        assert people.tolist() == sorted(expected)
        assert len(people) >= 6


def test_other_orders_of_classes_and_walks_as_people_do_not_matter(made, data):
    out, private, _ = made
    names = ("unheard of", *reversed(data.class_names))
    table = {"identities": out / "labels.csv", "identity_column": "path", "image_column": "file"}
    read = read_image_set(out, **table)
    place = {name: number for number, name in enumerate(names)}
    labels = np.array([place[name] for name in read.class_names])[read.labels]
    other = replace(read, labels=labels, class_names=names)
    plain = people_behind(out, private, read_image_set(out), data)
    for first, second in zip(plain, people_behind(out, private, other, data), strict=True):
        assert first.tolist() == second.tolist()


def test_a_set_with_dp_centroids_has_nobody_to_name(made, data, tmp_path):
    """Its private file keeps no groups."""
    out, private, _ = made
    shutil.copytree(out, tmp_path / "set")
    file = tmp_path / "set.private.npz"
    file.write_bytes(replace(read_record(private), people=None).encode())
    manifest = json.loads((out / FILE_NAME).read_bytes())
    manifest["private_file"]["sha256"] = hash_file(file)
    (tmp_path / "set" / FILE_NAME).write_text(json.dumps(manifest))
    with pytest.raises(InputError, match="private centroids"):
        people_behind(tmp_path / "set", file, read_image_set(out), data)


class TestRefusals:
    @pytest.fixture
    def refused(self, made, data):
        out, private, _ = made

        def refuse(error, match, **changes):
            given = {
                "folder": out,
                "private": private,
                "synthetic": read_image_set(changes.get("folder", out)),
                "real": data,
            } | changes
            with pytest.raises(error, match=match):
                people_behind(**given)

        return refuse

    def test_a_file_of_another_set(self, refused, tmp_path, data, bundle):
        run = produce(data, bundle, tmp_path / "other", tiny_models.quick_config(count=9))
        refused(IntegrityError, "private file of this set", private=run.folder.private_file)

    def test_no_file(self, refused, tmp_path):
        refused(DataError, "absent", private=tmp_path / "none")

    def test_no_set_of_ours(self, refused, tmp_path, data, made):
        place = tiny_models.write_folder(tmp_path / "plain", data)
        synthetic = read_image_set(made[0])
        refused(InputError, "set that latentpath wrote", folder=place, synthetic=synthetic)

    def test_fewer_people(self, refused, data):
        some = data.subset(np.arange(len(data) - 1))
        got = f"got {len(data) - 1} of"
        refused(DataError, got, real=some)

    @pytest.mark.parametrize("change", ["pixel", "order", "people", "classes"])
    def test_other_real_images(self, refused, data, change):
        images, labels, people = data.images.copy(), data.labels.copy(), data.identities.copy()
        if change == "pixel":
            images[3, 0, 0, 0] ^= 1
        elif change == "order":
            first, second = np.flatnonzero(labels == labels[0])[:2]
            images[[first, second]] = images[[second, first]]
        elif change == "people":
            people = people % (len(people) - 1)  # two images are of one person
        else:
            labels[0] = (labels[0] + 1) % 3
        other = replace(data, images=images, labels=labels, identities=people)
        refused(DataError, "expected the (very|real) images", real=other)

    def test_images_in_another_form(self, refused, made):
        large = read_image_set(made[0], resolution=20)
        refused(DataError, "as they are", synthetic=large)
        fewer = read_image_set(made[0])
        refused(DataError, "as they are", synthetic=fewer.subset(np.arange(20)))

    def test_walks_that_were_changed(self, refused, made, tmp_path):
        out = tmp_path / "set"
        shutil.copytree(made[0], out)
        table = out / "labels.csv"
        lines = table.read_text().splitlines()
        cells = lines[1].split(",")
        cells[3] = str(int(cells[3]) + 1)
        table.write_text("\n".join([lines[0], ",".join(cells), *lines[2:]]) + "\n")
        refused(IntegrityError, "other images, classes or walks", folder=out)
        cells[3] = "x"
        table.write_text("\n".join([lines[0], ",".join(cells), *lines[2:]]) + "\n")
        refused(IntegrityError, "numbers of walks", folder=out, synthetic=read_image_set(made[0]))
