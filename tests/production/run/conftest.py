"""Runs on the made-up private set."""

from __future__ import annotations

import shutil

import pytest

from latentpath.production import RunFolder, produce
from support import tiny_models
from support.tiny_runs import config, options


@pytest.fixture(scope="session")
def bundle(data, tiny_lpips):
    """Networks that other processes open quickly, as `killable` has them."""
    return tiny_models.bundle_for(data, lpips=tiny_lpips, monai=False)


@pytest.fixture
def perform(data, bundle, tmp_path):
    """Run in a folder of this test, `name` below it."""

    def run(name="run", *, config=None, progress=None, **given):
        private, networks = given.pop("data", data), given.pop("bundle", bundle)
        shown = {} if progress is None else {"progress": progress}
        made = config or tiny_config()
        return produce(private, networks, tmp_path / name, made, options(**given), **shown)

    return run


tiny_config = config


@pytest.fixture(scope="session")
def finished(data, bundle, tmp_path_factory):
    """An undisturbed run; tests leave it as it is."""
    return produce(data, bundle, tmp_path_factory.mktemp("done") / "run", config(), options())


@pytest.fixture
def copied(finished, tmp_path):
    """A copy of the undisturbed run, to be spoilt."""
    shutil.copytree(finished.folder.root, tmp_path / "run")
    return RunFolder(tmp_path / "run")
