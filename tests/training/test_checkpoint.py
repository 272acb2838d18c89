"""Checkpoints."""

from __future__ import annotations

import hashlib
import pickle
import signal
from dataclasses import dataclass

import pytest
import torch

from latentpath.core import StoppedError, WeightsError, stoppable
from latentpath.training.checkpoint import Checkpointer, fingerprint


@dataclass(frozen=True)
class Config:
    steps: int = 10
    rate: float = 0.5


@dataclass(frozen=True)
class OtherConfig(Config):
    pass


def saver(path, config=Config(), data="abc", **options):
    return Checkpointer(path, config=config, data=data, **options)


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "deep" / "run.checkpoint"
    torch.manual_seed(4)
    saver(file).save({"step": 3, "weight": torch.arange(4.0)})
    return file


def test_round_trip_with_the_random_state(path):
    torch.manual_seed(4)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    state = saver(path).load()
    assert state["step"] == 3
    assert torch.equal(state["weight"], torch.arange(4.0))
    assert torch.equal(torch.rand(3), wanted)


def test_nothing_to_load(tmp_path):
    state = torch.get_rng_state()
    assert saver(tmp_path / "none").load() is None
    assert saver(None).load() is None
    assert torch.equal(torch.get_rng_state(), state)


def test_without_a_path_nothing_is_kept():
    keeper = saver(None, interval=0.0)
    assert not keeper.due()
    keeper.save({"step": 1})


def test_due_after_the_interval(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr("latentpath.training.checkpoint.time.monotonic", lambda: now[0])
    keeper = saver(tmp_path / "x", interval=60.0)
    assert not keeper.due()
    now[0] += 61
    assert keeper.due()
    keeper.save({})
    assert not keeper.due()


def test_saving_again_replaces_and_leaves_nothing_beside_it(path):
    saver(path).save({"step": 9})
    assert saver(path).load() == {"step": 9}
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_failed_save_keeps_the_old_checkpoint(path, monkeypatch):
    def broken(content, file):
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", broken)
    with pytest.raises(OSError, match="disk full"):
        saver(path).save({"step": 4})
    monkeypatch.undo()
    assert saver(path).load()["step"] == 3


class TestAskedToStop:
    def test_it_saves_at_once_and_says_where_it_stopped(self, tmp_path):
        keeper = saver(tmp_path / "x", position=lambda state: f"{state['seen']} images")
        with stoppable("this step") as request:
            assert not keeper.due()
            request.ask(signal.SIGTERM)
            assert keeper.due()
            with pytest.raises(StoppedError, match=r"at 64 images.*the same command") as stopped:
                keeper.save({"seen": 64})
        assert stopped.value.exit_code == 143
        assert keeper.load() == {"seen": 64}

    def test_it_says_where_it_goes_on(self, path, capsys):
        saver(path).load()
        assert capsys.readouterr().err == ""
        with stoppable("this step"):
            saver(path).load()
        assert f"goes on at step 3, from {path}\n" in capsys.readouterr().err

    def test_without_a_file_it_goes_on(self):
        keeper = saver(None)
        with stoppable("this step") as request:
            request.ask()
            assert not keeper.due()
            keeper.save({"step": 1})


class TestRefused:
    def refused(self, keeper):
        with pytest.raises(WeightsError) as error:
            keeper.load()
        assert "\n" not in str(error.value)
        return str(error.value)

    def test_other_data(self, path):
        assert "other training data" in self.refused(saver(path, data="abd"))

    def test_other_options_by_name(self, path):
        text = self.refused(saver(path, config=Config(steps=11, rate=0.4)))
        assert "(rate, steps)" in text

    def test_another_network(self, path):
        assert "kind" in self.refused(saver(path, config=OtherConfig()))

    @pytest.mark.parametrize("keep", [0, 10, 300, -1])
    def test_cut_off(self, path, keep):
        path.write_bytes(path.read_bytes()[:keep])
        self.refused(saver(path))

    @pytest.mark.parametrize("content", [b"text", b"\x80\x02", b"PK\x03\x04zip", bytes(100)])
    def test_other_files(self, path, content):
        path.write_bytes(content)
        self.refused(saver(path))

    def test_a_folder(self, tmp_path):
        self.refused(saver(tmp_path))

    def test_a_foreign_checkpoint(self, path):
        torch.save({"model": torch.zeros(2)}, path)
        assert "another kind" in self.refused(saver(path))

    def test_nothing_in_it_is_executed(self, path, tmp_path):
        mark = tmp_path / "executed"

        class Attack:
            def __reduce__(self):
                return (open, (str(mark), "w"))

        for write in (torch.save, lambda thing, file: file.write_bytes(pickle.dumps(thing, 2))):
            write({"format": "latentpath-checkpoint/1", "state": Attack()}, path)
            self.refused(saver(path))
            assert not mark.exists()


def test_the_length_may_change_where_it_is_said(path):
    assert "steps" in TestRefused().refused(saver(path, config=Config(steps=20)))
    long = path.with_name("long")
    saver(long, lengthened="steps").save({"step": 3})
    again = saver(long, config=Config(steps=20), lengthened="steps")
    assert again.load() == {"step": 3}


def test_fingerprint_sees_values_shapes_and_types():
    base = torch.arange(6.0)
    others = [
        base.reshape(2, 3),
        base.reshape(3, 2),
        base.long(),
        base.double(),
        base.flip(0),
        base + 1e-6,
    ]
    prints = [fingerprint(x) for x in [base, *others]]
    assert len(set(prints)) == len(prints)
    assert fingerprint(base.clone()) == prints[0]
    assert fingerprint(base, base) != prints[0]
    assert fingerprint(base.reshape(2, 3).t().contiguous()) == fingerprint(base.reshape(2, 3).t())


def test_fingerprint_is_the_one_that_weights_files_hold():
    """Weights that ship name the people they were trained on by it: it may not change."""
    made = b"((2, 2), torch.uint8)\x00\x01\x02\x03((2,), torch.int64)" + bytes([7] + [0] * 15)
    expected = hashlib.sha256(made).hexdigest()
    assert fingerprint(torch.arange(4).byte().reshape(2, 2), torch.tensor([7, 0])) == expected
