"""Checkpoints that survive an interrupted run: atomic, safe to load, refused for another run.

Inside `latentpath.core.stoppable` they are also where a training stops: when that was asked for,
the next step is saved and the run ends. What tells one training set from another is its
fingerprint.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from latentpath.core import StoppedError, WeightsError, new_file, stop_request

_FORMAT = "latentpath-checkpoint/1"


def _random_state() -> list[Tensor]:
    """States of the default generators: the CPU's, then one for each GPU in use."""
    used = torch.cuda.is_available() and torch.cuda.is_initialized()
    return [torch.get_rng_state(), *(torch.cuda.get_rng_state_all() if used else [])]


def _restore_random_state(states: list[Tensor]) -> None:
    torch.set_rng_state(states[0])
    if len(states) > 1 and len(states) - 1 == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(states[1:])


class Checkpointer:
    """Saves and restores the state of one training run.

    Args:
        path: the checkpoint file; None keeps nothing.
        config: the run's configuration (a dataclass); a checkpoint of another one is refused,
            except for `lengthened`.
        data: `fingerprint` of the training data; a checkpoint of other data is refused.
        lengthened: the field of `config` that says how long to train; it may differ, so that a
            finished run can be continued.
        initial: checksum of the weights that training starts from, if any; a checkpoint of a run
            that started from others is refused.
        position: how far a state is, such as "12,800 images", for what is said when a run stops
            and when it goes on.
        ended: whether a state is that of a finished training, which does not go on; by its steps
            if left out.
        interval: seconds between saves.

    The state of PyTorch's default random generators travels along, so that a resumed run
    continues as the undisturbed one would.
    """

    def __init__(
        self,
        path: str | Path | None,
        *,
        config: Any,
        data: str,
        lengthened: str | None = None,
        initial: str | None = None,
        position: Callable[[dict[str, Any]], str] = lambda state: f"step {state['step']:,}",
        ended: Callable[[dict[str, Any]], bool] | None = None,
        interval: float = 60.0,
    ) -> None:
        self.path = None if path is None else Path(path)
        self.identity = {"kind": type(config).__name__, **asdict(config)}
        if lengthened is not None:
            del self.identity[lengthened]
        if initial is not None:
            self.identity["initial"] = initial
        self.data, self.position, self.interval = data, position, interval
        steps = getattr(config, "steps", math.inf)
        self.ended = ended or (lambda state: state.get("step", 0) >= steps)
        self._saved_at = time.monotonic()

    def load(self) -> dict[str, Any] | None:
        """The saved state, with the random generator restored; None where there is no file.

        Raises:
            WeightsError: the file is damaged, or belongs to another configuration or data set.
        """
        if self.path is None or not self.path.exists():
            return None
        saved = read_checkpoint(self.path)
        if saved["data"] != self.data:
            raise self._refuse("a checkpoint of other training data")
        if saved["config"] != self.identity:
            changed = sorted(
                key
                for key in saved["config"].keys() | self.identity.keys()
                if saved["config"].get(key) != self.identity.get(key)
            )
            if changed == ["steps"]:
                raise self._refuse_steps(saved["config"]["steps"], self.identity["steps"])
            raise self._refuse(f"a checkpoint of another configuration ({', '.join(changed)})")
        _restore_random_state(saved["rng"])
        if (request := stop_request()) is not None and not self.ended(saved["state"]):
            request.say(f"training goes on at {self.position(saved['state'])}, from {self.path}")
        return saved["state"]

    def due(self) -> bool:
        """Whether `interval` seconds have passed since the last save, or a stop was asked for."""
        if self.path is None:
            return False
        return bool(stop_request()) or time.monotonic() - self._saved_at >= self.interval

    def save(self, state: dict[str, Any]) -> None:
        """Write `state` under a temporary name, then rename it over the checkpoint.

        Raises:
            StoppedError: it was asked to stop; the state is saved.
        """
        if self.path is None:
            return
        content = {
            "format": _FORMAT,
            "config": self.identity,
            "data": self.data,
            "rng": _random_state(),
            "state": state,
        }
        # For the owner alone: its networks saw private images.
        with new_file(self.path) as partial, partial.open("wb") as file:
            torch.save(content, file)
        self._saved_at = time.monotonic()
        if request := stop_request():
            where = f"at {self.position(state)}, saved in {self.path}"
            raise StoppedError(request.number, where, "the same command goes on from there")

    def _refuse(self, got: str) -> WeightsError:
        assert self.path is not None
        return _refused(self.path, got)

    def _refuse_steps(self, begun: int, wanted: int) -> WeightsError:
        # The rates of learning rise and fall over all of the steps.
        assert self.path is not None
        return WeightsError(
            expected=f"the {begun:,} steps that the training in {self.path} was begun with",
            got=f"{wanted:,}",
            fix=f"a longer or shorter training is another one, from the beginning: delete "
            f"{self.path.name} for it, or go on with {begun:,} steps",
        )


def read_checkpoint(path: Path) -> dict[str, Any]:
    """What `Checkpointer.save` wrote: "config", "data", "rng" and "state".

    Raises:
        WeightsError: the file is damaged, or another kind of file.
    """
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the unpickler raises whatever odd bytes lead to
        raise _refused(path, f"an unreadable file ({type(error).__name__})") from error
    parts = {"format", "config", "data", "rng", "state"}
    if not isinstance(saved, dict) or saved.keys() != parts or saved["format"] != _FORMAT:
        raise _refused(path, "another kind of file")
    return saved


def _refused(path: Path, got: str) -> WeightsError:
    return WeightsError(
        expected=f"a checkpoint of this run in {path}",
        got=got,
        fix="delete the file to start afresh, or restore the options and data it was made with",
    )


def fingerprint(*tensors: Tensor) -> str:
    """SHA-256 over shapes and bytes of `tensors`, to tell one training set from another.

    It stands in weights files, those that ship among them: another way to take it would make them
    disown the set that they were trained on.
    """
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(str((tuple(tensor.shape), tensor.dtype)).encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
