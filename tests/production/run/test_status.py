"""What a run tells of itself: status, log, summary, and what it never tells."""

from __future__ import annotations

import getpass
import json
import os
import platform
import shutil
import socket
import time

import numpy as np
import pytest

from latentpath.cli import main
from latentpath.core.errors import DataError, RunError
from latentpath.production import seal_line, shortage_lines, summary_lines, worker as work
from latentpath.production.plan import read_plan
from latentpath.production.run.ledger import RUNNING, Ledger, ShardRow
from latentpath.production.run.run_folder import RunFolder
from latentpath.production.run.run_result import samples_line
from latentpath.production.run.run_status import _duration, _status, read_status
from latentpath.production.selection import Schedule, Selection
from latentpath.production.shard import ShardCounts
from support.tiny_runs import config, files_of


class TestStatus:
    def test_of_a_finished_run(self, finished):
        status = read_status(finished.folder.root)
        assert (status.state, status.engine, status.workers) == ("finished", "local", 1)
        assert (status.images, status.wanted) == (45, 45)
        assert status.shards == {"done": len(finished.folder.shard_numbers())}
        assert status.process is None
        assert status.remaining_seconds == 0
        assert 0 < status.busy <= 1
        assert set(status.stages) == {"walk", "generate", "gate", "encode", "write"}
        assert all(rate > 0 for rate in status.stages.values())

    def test_no_shard_runs_where_no_process_is_at_work(self, copied):
        plan = read_plan(copied.plan)
        ledger = Ledger.open(copied.ledger, plan.hash)
        done = ledger.shards()
        ledger.put(ShardRow(len(tuple(done)), RUNNING, attempts=1, started=time.time()))
        ledger.close()
        status = read_status(copied.root)
        assert status.state == "finished"
        assert status.shards["given up"] == 1
        assert "running" not in "\n".join(status.lines())

    def test_of_the_run_of_a_project(self, finished, tmp_path, capsys):
        shutil.copytree(finished.folder.root, tmp_path / "run")
        assert read_status(tmp_path).lines() == read_status(tmp_path / "run").lines()
        for command in ("status", "verify"):
            assert main([command, str(tmp_path)]) == 0
        assert f"nothing is wrong with {tmp_path / 'run'}, seal " in capsys.readouterr().out

    def test_a_run_without_its_set_is_verified_as_one(self, copied, capsys):
        shutil.rmtree(copied.set)
        assert main(["verify", str(copied.root)]) == 0
        shown = capsys.readouterr().out
        assert shown.startswith(f"there is no set in {copied.root} yet; nothing is wrong with its")

    def test_the_share_of_rejected_samples(self, perform):
        made = perform(config=config(count=9, gate_quantile=0.3))
        status = read_status(made.folder.root)
        assert status.tested == made.manifest["gate"]["tested"]
        assert status.rejected == made.manifest["gate"]["rejected"]
        assert status.rejected_share == sum(status.rejected.values()) / status.tested

    def test_as_json_and_text(self, finished, capsys):
        status = read_status(finished.folder.root)
        assert status.as_dict()["images"] == 45
        assert main(["status", str(finished.folder.root), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["state"] == "finished"
        assert main(["status", str(finished.folder.root)]) == 0
        shown = capsys.readouterr().out
        for word in ("state: finished", "images: 45 of 45", "rate:", "device busy:", "gate:"):
            assert word in shown

    def test_it_writes_nothing(self, finished):
        before = files_of(finished.folder.root)
        read_status(finished.folder.root)
        assert files_of(finished.folder.root) == before

    def test_where_no_run_is(self, tmp_path):
        with pytest.raises(DataError, match="holds none"):
            read_status(tmp_path)
        assert main(["status", str(tmp_path / "absent")]) == 2

    def test_of_a_plan_alone(self, copied):
        copied.ledger.unlink()
        for path in copied.shards.rglob("*.safetensors"):
            path.unlink()
        status = read_status(copied.root)
        assert (status.state, status.images, status.shards) == ("planned", 0, {})
        assert status.lines()

    @pytest.mark.parametrize(
        ("seconds", "text"),
        [(0, "0 s"), (59.6, "1 min"), (3700, "1 h 1 min"), (200_000, "2 d 7 h"), (60.4, "1 min")],
    )
    def test_durations(self, seconds, text):
        assert _duration(seconds) == text


def test_progress_tells_rate_rejected_share_and_busy_share(perform):
    seen = []
    perform(progress=lambda *told: seen.append(told))
    produced = [
        (done, total, figures) for stage, done, total, figures in seen if stage == "produce"
    ]
    assert produced[0][:2] == (0, 45)
    assert produced[-1][:2] == (45, 45)
    assert [done for done, *_ in produced] == sorted(done for done, *_ in produced)
    assert set(produced[-1][2]) == {"img/s", "rejected %", "busy %"}
    assert any(stage == "write set" for stage, *_ in seen)


def test_the_summary(finished):
    lines = summary_lines(finished)
    assert lines[0].startswith(f"set: {finished.folder.set}, 45 images; of ")
    assert seal_line(finished.manifest).startswith(f"seal: {finished.manifest['seal']}")
    assert shortage_lines(finished) == []


@pytest.mark.parametrize(("kept", "told"), [(77, True), (90, False)])
def test_every_sample_is_accounted_for(kept, told):
    """Of 105, 15 are turned away and 77 are in the set: 13 are left over."""
    shards = (ShardCounts(0, 105, 90, {"too close": 11, "not in its class": 4}),)
    line = samples_line(Selection(shards, (np.arange(kept),), (kept,), {}), 21, gated=True)
    assert line.startswith(f"{kept} images; of 105 samples on 21 walks the gate turned away 15")
    assert ("13 more passed than were wanted" in line) == told


@pytest.mark.parametrize(("kept", "more"), [(77, ", 28 more than were wanted"), (105, ";")])
def test_without_a_gate_none_is_named(kept, more):
    shards = (ShardCounts(0, 105, 105, {}),)
    line = samples_line(Selection(shards, (np.arange(kept),), (kept,), {}), 21, gated=False)
    assert line.startswith(f"{kept} images; of 105 samples on 21 walks{more}")
    assert line.endswith("; no gate tested them")
    assert "turned away" not in line


def test_the_log_tells_what_happened_when(finished):
    lines = finished.folder.log.read_text().splitlines()
    times = [time.strptime(line.split()[0], "%Y-%m-%dT%H:%M:%SZ") for line in lines]
    assert times == sorted(times)
    text = "\n".join(lines)
    for words in ("session begins", "begun, attempt 1", "samples passed", "session finished"):
        assert words in text


def test_nothing_tells_of_machines_places_and_people(perform, monkeypatch, capfd, tmp_path):
    """A run that fails with secrets in its errors, and is looked at and gone on with."""
    secret = "patient-Zweikorn"
    broken, host = [True], "machine-Zweikorn"
    monkeypatch.setattr(socket, "gethostname", lambda: host)
    monkeypatch.setattr(platform, "node", lambda: host)
    compute = work.Worker.compute

    def failing(self, task, *_):
        if broken:
            raise OSError(2, f"no {secret}", f"/data/{secret}.png")
        return compute(self, task)

    monkeypatch.setattr(work.Worker, "compute", failing)
    with pytest.raises(RunError) as error:
        perform()
    status = "\n".join(read_status(tmp_path / "run").lines())
    assert "last error: FileNotFoundError in latentpath/" in status
    broken.clear()
    made = perform(resume=True)
    told = [str(error.value), status, json.dumps(read_status(made.folder.root).as_dict())]
    told += ["\n".join(summary_lines(made)).replace(str(made.folder.root), ""), *capfd.readouterr()]
    content = files_of(made.folder.root)
    words = {secret, host, socket.gethostname(), platform.node(), getpass.getuser()}
    # Shorter ones occur in any bytes by chance.
    for word in {word for word in words if len(word) > 5} | {str(tmp_path)}:
        for text in told:
            assert word not in text
        for name, stored in content.items():
            assert word.encode() not in stored, name
            assert word not in name


def test_a_run_says_who_is_at_work_without_naming_the_machine(copied):
    folder = RunFolder(copied.root)
    assert folder.at_work() is None
    with folder.held():
        assert folder.at_work() == os.getpid()
        assert read_status(folder.root).state == "at work"


def test_what_is_in_hand_is_told_before_the_first_shard_is_done(perform, monkeypatch):
    made = perform(config=config(count=9))
    plan = made.plan
    for expected, working, share in ((0.0, 0.0, "(0.0%)"), (3.0, 6.0, "(33.3%)")):
        monkeypatch.setattr(RunFolder, "at_work", lambda self: 7)
        found = _status(made.folder, plan, [], [], Schedule(plan, {}), (expected, working))
        line = next(line for line in found.lines() if line.startswith("images: "))
        assert line.endswith(share)
        assert ("about 3 more in hand" in line) == bool(expected)
    assert found.images_per_second == pytest.approx(0.5)
    assert found.remaining_seconds == pytest.approx(12)


def test_long_walks_of_large_images_are_fewer_to_a_shard(perform, monkeypatch):
    sizes = []
    for most in (1, 1 << 22):
        monkeypatch.setattr("latentpath.production.plan._SHARD_WORK", most)
        plan = perform(f"run{most}", config=config()).plan
        sizes.append(max(plan.walks_of(number) for number in range(plan.num_shards)))
    assert sizes == [1, 2]
