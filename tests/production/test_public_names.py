"""Names of classes that look like people's are neither made into a set nor verified as one."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from latentpath.core import PrivacyError
from latentpath.data.images import Reading
from latentpath.data.manifest import encode_content, seal
from latentpath.production import produce, produce_set
from latentpath.production.verification import verify_set
from support.tiny_models import quick_config
from support.tiny_runs import private_of

NUMBERS = ("8863", "8870", "8877")


@pytest.fixture(scope="module")
def named(data):
    return replace(data, class_names=NUMBERS)


def test_no_set_is_made(named, bundle, tmp_path):
    for make in (
        lambda: produce(named, bundle, tmp_path / "run", quick_config(count=6)),
        lambda: produce_set(named, bundle, quick_config(count=6)),
    ):
        with pytest.raises(PrivacyError, match="3 that look like people's") as error:
            make()
        assert not any(number in str(error.value) for number in NUMBERS)
        assert "--public-class-names" in str(error.value)
    assert not list(tmp_path.iterdir())


def test_somebodys_word_goes_into_the_manifest(named, bundle, tmp_path):
    reading = Reading(counted_by="one-image-per-person", public_class_names=True)
    said = replace(named, reading=reading)
    folder = produce(said, bundle, tmp_path, quick_config(count=6)).folder.set
    manifest = json.loads((folder / "manifest.json").read_bytes())
    assert manifest["reading"]["counted_by"] == "one-image-per-person"
    assert manifest["reading"]["public_class_names"] is True
    assert "by the word of whoever made the set" in (folder / "README.md").read_text()
    found = verify_set(folder, private_of(folder))
    assert found.ok, found.lines()
    assert any("whoever made the set said so" in line for line in found.not_verified)

    manifest["reading"] |= {"public_class_names": False}
    manifest["seal"] = seal(manifest)
    (folder / "manifest.json").write_bytes(encode_content(manifest))
    (error,) = verify_set(folder, private_of(folder)).findings
    assert isinstance(error, PrivacyError)
    assert "3 that look like people's: 3 of 3 are long numbers" in str(error)


def test_no_free_text_in_what_counted_people(data, bundle, tmp_path):
    folder = produce(data, bundle, tmp_path, quick_config(count=6)).folder.set
    manifest = json.loads((folder / "manifest.json").read_bytes())
    assert manifest["reading"]["counted_by"] == "given"
    for value in ("Miller", "", None, ["images"]):
        manifest["reading"]["counted_by"] = value
        manifest["seal"] = seal(manifest)
        (folder / "manifest.json").write_bytes(encode_content(manifest))
        found = verify_set(folder)
        assert any("'reading'" in str(error) for error in found.findings)
