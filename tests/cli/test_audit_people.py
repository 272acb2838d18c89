"""`latentpath audit --private`: a set of ours, and the people behind each of its images."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("monai")
pytest.importorskip("safetensors")
pytest.importorskip("PIL")
pytest.importorskip("jinja2")

from latentpath.audit.attacks.group_attack import attack_sources
from latentpath.cli import main
from latentpath.data import read_image_set
from latentpath.production import produce
from latentpath.production.group_members import people_behind
from latentpath.similarity import prepare_real
from support import tiny_models


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("people")
    for name, sizes in (("real", (16, 14)), ("holdout", (12, 12))):
        data = tiny_models.private_set(sizes, seed=len(name))
        tiny_models.write_folder(root / name, data)
    real = read_image_set(root / "real")
    bundle = tiny_models.bundle_for(real)
    for name, seed in (("set", 0), ("other", 1)):
        config = tiny_models.quick_config(count=20, seed=seed)
        folder = produce(real, bundle, root / f"run-{name}", config).folder
        folder.set.rename(root / name)
        folder.private_file.rename(root / f"{name}.private")
    return root


@pytest.fixture
def audit(made, capsys, tmp_path):
    def run(*extra, synthetic="set", real="real", private="set"):
        words = ["audit", "--real", made / real, "--synthetic", made / synthetic]
        words += ["--private", made / f"{private}.private", "--out", tmp_path, "--quiet"]
        code = main([str(word) for word in (*words, *extra)])
        return code, capsys.readouterr().err

    return run


def numbers(folder: Path) -> dict:
    return json.loads((folder / "audit.json").read_text(encoding="utf-8"))


def test_its_figures_are_those_of_the_attack(audit, made, tmp_path):
    options = ["--holdout", made / "holdout", "--measures", "group_attack"]
    assert audit(*options, "--baseline", f"copy={made / 'real'}") == (0, "")
    found = numbers(tmp_path)
    table = {"identities": "labels.csv", "identity_column": "path", "image_column": "file"}
    synthetic = read_image_set(made / "set", **table)
    sets = [read_image_set(made / name) for name in ("real", "holdout")]
    behind = people_behind(made / "set", made / "set.private", synthetic, sets[0])
    direct = attack_sources(
        synthetic, behind, *map(prepare_real, sets), walks=synthetic.identities
    ).as_dict()
    assert found["sets"]["synthetic"]["group_attack"] == direct
    assert direct["images_holdout"]["clusters"] < direct["images_holdout"]["centroids"] == 20
    assert found["questions"]["attacks"]["findings"][0]["measure"] == "group_attack"
    for name in ("real", "copy"):
        assert found["sets"][name]["group_attack"] is None
        assert "group_attack" in found["sets"][name]["not_measured"]
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Whether an image tells who is behind it" in page
    assert "k-Anonymous Synthetic Averaging" in page


def test_classifiers_are_asked_for_the_people_too(audit, made, tmp_path):
    options = ["--measures", "reidentification", "--witness-steps", "2", "--witness-width", "4"]
    options += ["--holdout", made / "holdout"]
    assert audit(*options, "--witness-embedding", "4") == (0, "")
    found = numbers(tmp_path)["sets"]["synthetic"]["reidentification"]["sources"]
    assert 0 < found["uniform_chance"] < 1


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({"private": "other"}, [], "expected the private file of this set"),
        ({"real": "holdout"}, [], "expected the real images that the set was made from, 30 of 30"),
        ({"synthetic": "real"}, [], "expected a set that latentpath wrote"),
        ({}, ["--resolution", "24"], "expected all images of the set as they are"),
        ({}, ["--synthetic-identities", "x.csv"], "read by its own table"),
    ],
)
def test_what_does_not_belong_together_is_refused(audit, made, tmp_path, change, options, message):
    if options[:1] == ["--synthetic-identities"]:
        options = ["--synthetic-identities", made / "set" / "labels.csv"]
        options += ["--image-column", "file", "--identity-column", "path"]
    code, error = audit("--quick", *options, **change)
    assert code == 2
    assert message in error
    assert not (tmp_path / "report.html").exists()


def test_nobody_is_named_in_the_report(audit, made, tmp_path):
    """Reports of a set and of the same set with people differ in figures, not in lists."""
    assert audit("--holdout", made / "holdout", "--quick")[0] == 0

    def lists(value):
        if isinstance(value, dict):
            for item in value.values():
                yield from lists(item)
        elif isinstance(value, list):
            yield value
            for item in value:
                yield from lists(item)

    assert not list(lists(numbers(tmp_path)["sets"]["synthetic"]["group_attack"]))
    private = json.dumps(numbers(tmp_path)["settings"])
    assert "private.npz" not in private
