"""A made-up private set, its networks, and the command in this process."""

from __future__ import annotations

import zipfile

import pytest

pytest.importorskip("monai")
pytest.importorskip("safetensors")
pytest.importorskip("PIL")

from latentpath.cli import main
from support import tiny_models
from support.few_paths import walk_few_paths


@pytest.fixture(scope="session")
def private():
    return tiny_models.private_set((14, 12))


@pytest.fixture(scope="session")
def weights(tmp_path_factory, private):
    """The folder of random networks of the set's shape; tests leave it as it is."""
    folder = tmp_path_factory.mktemp("weights")
    return tiny_models.save_bundle(folder, tiny_models.bundle_for(private))


@pytest.fixture(autouse=True)
def _plain_figures(plain_figures):
    """The demo's test draws every figure."""


@pytest.fixture
def few_paths(monkeypatch):
    walk_few_paths(monkeypatch)


@pytest.fixture
def images(tmp_path, private):
    """The set as a folder of images, for one test alone."""
    return tiny_models.write_folder(tmp_path / "elsewhere-clinic", private)


@pytest.fixture
def originals(shared_data, tmp_path):
    """97 chest X-rays of 66 people as published, in the folders of their classes."""
    packed = shared_data / "chest_xray_originals.zip"
    if not packed.is_file():
        pytest.skip("needs chest_xray_originals.zip in the folder ../shared/data, which is absent")
    with zipfile.ZipFile(packed) as archive:
        archive.extractall(tmp_path / "xrays")
    return tmp_path / "xrays"


@pytest.fixture
def command(capsys):
    """Run the command; returns exit code, standard output and the lines of standard error."""

    def run(*argv):
        capsys.readouterr()
        try:
            code = main([str(word) for word in argv])
        except SystemExit as stop:
            code = stop.code
        found = capsys.readouterr()
        return code, found.out, found.err.splitlines()

    return run


@pytest.fixture
def refused(command):
    """Run the command, expect one line of error, and return it."""

    def run(*argv):
        code, out, err = command(*argv)
        assert (code, out) == (2, "")
        assert len(err) == 1, err
        assert err[0].startswith("latentpath: error: expected ")
        assert ", got " in err[0]
        return err[0]

    return run
