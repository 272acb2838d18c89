"""The engine of a Ray cluster: the same set, with workers and drivers that die."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from latentpath.core.errors import InputError
from latentpath.production import RunConfig, RunFolder, RunOptions, produce
from latentpath.production.run import ray_engine
from latentpath.production.run.ray_engine import RayEngine, RayWorker
from support import search_path
from support.tiny_runs import config, files_of, options, same_set

if importlib.util.find_spec("ray") is None:
    pytest.skip("needs Ray", allow_module_level=True)

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals")


def test_no_such_cluster(perform, tmp_path, monkeypatch):
    def absent(**_):
        raise ConnectionError("Could not find any running Ray instance")

    # Another test may have one running on this machine at the same time.
    monkeypatch.setattr("ray.init", absent)
    with pytest.raises(InputError, match="--ray-address"):
        perform(run={"engine": "ray", "ray_address": "auto"})
    # The plan is kept; nothing was made.
    assert files_of(tmp_path / "run" / "private" / "shards") == {}


@pytest.fixture(scope="module")
def cluster():
    """A cluster of two processors on this machine; gives its address."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = search_path()  # workers unpickle the tests' networks
    import ray  # it takes a second: in the worker that needs it alone

    ray.init(
        num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR",
        # Processes are begun when they are asked for: each takes a second.
        _system_config={"enable_worker_prestart": False, "prestart_worker_first_driver": False},
    )  # fmt: skip
    yield ray.get_runtime_context().gcs_address
    ray.shutdown()
    if before is None:
        del os.environ["PYTHONPATH"]
    else:
        os.environ["PYTHONPATH"] = before


def test_no_room_for_a_worker_is_said_instead_of_waiting(
    cluster, data, bundle, tmp_path, monkeypatch
):
    """In a cluster that is the run's own, which nobody will enlarge; it is shut down."""
    import ray

    ended = []

    class NotYetConnected:
        def __getattr__(self, name):
            return getattr(ray, name)

        def is_initialized(self):
            return False

        def shutdown(self):
            ended.append(True)

    monkeypatch.setattr(ray_engine, "require_extra", lambda *_: NotYetConnected())
    monkeypatch.setattr(RayEngine, "_connect", lambda self: None)
    asked = RunOptions(run=RunConfig(engine="ray", workers=1), threads=3, device="cpu")
    with pytest.raises(InputError, match="3 processors for a worker"):
        produce(data, bundle, tmp_path / "run", config(), asked)
    assert ended


def processes_of(name: str) -> list[int]:
    """Numbers of the processes whose title holds `name`."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if name.encode() in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            continue  # it ended meanwhile
    return found


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="needs /proc")
def test_a_worker_is_killed_and_the_set_is_the_same(cluster, perform, tmp_path):
    """Two workers, one of which is killed at work as soon as the first shard is done."""
    log, killed = tmp_path / "run/private/run.log", []

    def kill():
        while not (log.exists() and " done by " in log.read_text()):
            time.sleep(0.01)
        # The other one may not have begun: whoever is at work has that in its title.
        while not (mine := processes_of(f"ray::{RayWorker.__name__}.run")):
            time.sleep(0.001)
        os.kill(mine[0], signal.SIGKILL)
        killed.append(mine[0])

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    slow = config(solver="published", optim_steps=25)
    made = perform(config=slow, run={"engine": "ray", "workers": 2, "attempts": 5})
    killer.join(timeout=5)
    assert killed
    assert "the worker was lost" in log.read_text()
    assert same_set(made.folder, perform("local", config=slow).folder)


def test_the_driver_is_killed_and_the_run_goes_on(cluster, data, bundle, finished, tmp_path):
    """Killed with workers of its own; what it finished is kept, on another engine too."""
    script = f"""
from support import tiny_models, tiny_runs
from latentpath.production import produce
data = tiny_models.private_set()
bundle = tiny_models.bundle_for(data, monai=False)
produce(data, bundle, {str(tmp_path / "run")!r}, tiny_runs.config(),
        tiny_runs.options(run={{"engine": "ray", "ray_address": {cluster!r}, "workers": 1}}))
"""
    environment = {**os.environ, "PYTHONPATH": search_path()}
    driver = subprocess.Popen([sys.executable, "-c", script], env=environment)
    folder = RunFolder(tmp_path / "run")
    while not folder.shard_numbers() and driver.poll() is None:
        time.sleep(0.005)
    driver.kill()
    driver.wait()
    kept = {number: folder.shard(number).stat().st_ino for number in folder.shard_numbers()}
    assert kept
    made = produce(data, bundle, folder.root, config(), options(resume=True))
    assert same_set(made.folder, finished.folder)
    assert kept == {number: folder.shard(number).stat().st_ino for number in kept}
