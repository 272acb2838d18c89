"""How far a project is, and what comes next: nothing is written, a call may be at work."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from latentpath.audit import verdict_lines
from latentpath.data import is_written_set, read_manifest
from latentpath.generators import read_header
from latentpath.production import (
    FILES,
    NEEDED,
    RunFolder,
    RunStatus,
    folder_lines,
    read_object,
    read_status,
)

SETTINGS = "project.json"
TRIAL = "trial"
_AGAIN = "give the same `latentpath run` command again"


@dataclass(frozen=True)
class ProjectStatus:
    """How far a project is."""

    resolution: int
    """Of its generator, pixels."""
    networks: dict[str, str]
    """Those that it needs: "trained", "tried" (trained by a trial), "begun" or "absent"."""
    judged: tuple[str, ...]
    """What their trainings made of them, a line each."""
    run: RunStatus | None
    """How far the run is that makes the set; None where there is none yet."""
    reported: bool
    """Whether there is a report on this very set."""
    verdicts: tuple[str, ...]
    """What that report says, a line each on privacy and on use."""
    tried: bool
    """Whether there is a set of a trial."""

    @property
    def has_set(self) -> bool:
        """Whether the set is there."""
        return self.run is not None and self.run.state == "finished"

    @property
    def next_step(self) -> str:
        """What comes next, in words."""
        left = [name for name, state in self.networks.items() if state != "trained"]
        if self.run is not None and self.run.state == "at work":
            return "the set is being made"
        if self.has_set and self.reported:
            return "nothing: `latentpath verify` checks it, and the report says what it is worth"
        if self.has_set:
            return f"{_AGAIN}: the set is finished, its report comes next"
        if self.tried and self.run is None:
            return f"{_AGAIN}, without --trial: it trains the networks on, then come set and report"
        if left:
            return f"{_AGAIN}: it trains {', '.join(left)}, then come set and report"
        return f"{_AGAIN}: it makes the set, then comes the report"

    @property
    def networks_line(self) -> str:
        """Which networks are there, in words."""
        named = {
            state: ", ".join(name for name, found in self.networks.items() if found == state)
            for state in ("trained", "tried", "begun", "absent")
        }
        words = {"tried": "trained by a trial, far too short"}
        told = "; ".join(f"{words.get(state, state)}: {n}" for state, n in named.items() if n)
        return f"networks {told}"

    def lines(self) -> list[str]:
        """The status as text."""
        lines = [f"project of {self.resolution}x{self.resolution} pixels", self.networks_line]
        lines += self.judged
        lines += ["set: none yet"] if self.run is None else self.run.lines()
        lines.append(f"report: {'there' if self.reported else 'none yet'}")
        lines += self.verdicts
        if self.tried:
            lines.append("a trial, not to be shared, lies in its folder `trial`")
        return [*lines, f"next: {self.next_step}"]

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values: those of the run, where there is one, and "project"."""
        own = {
            "resolution": self.resolution,
            "networks": self.networks,
            "reported": self.reported,
            "verdicts": list(self.verdicts),
            "tried": self.tried,
            "next": self.next_step,
        }
        return {**({} if self.run is None else self.run.as_dict()), "project": own}


def read_project(folder: str | Path) -> ProjectStatus | None:
    """Look at a project; None where the folder is none that was begun.

    Args:
        folder: that `run_project` was given.

    Raises:
        DataError, IntegrityError: a file of it is damaged.
    """
    folder = Path(folder)
    begun = read_object(folder / SETTINGS).get("project") if is_project(folder) else None
    if begun is None:
        return None
    weights, run = folder / "weights", RunFolder.at(folder / "run")
    seal = read_manifest(run.set)["seal"] if is_written_set(run.set) else ""
    reported = has_report(folder, seal)
    return ProjectStatus(
        resolution=begun["resolution"],
        networks={name: _state_of(weights, name) for name in NEEDED},
        judged=tuple(line for line in folder_lines(weights) if line.startswith("judged")),
        run=read_status(run.root) if run.has_plan() else None,
        reported=reported,
        verdicts=tuple(verdict_lines(read_object(_numbers(folder)))) if reported else (),
        tried=(folder / TRIAL / "run" / "set").is_dir(),
    )


def is_project(folder: str | Path) -> bool:
    """Whether a folder is a project's."""
    return (Path(folder) / SETTINGS).is_file()


def has_report(folder: Path, seal: str) -> bool:
    """Whether the report in a project's folder is about the set with this seal.

    Args:
        folder: of the project, or of its trial.
        seal: of the set; empty where there is none.
    """
    numbers = _numbers(folder)
    there = (folder / "report" / "report.html").exists() and numbers.exists()
    return bool(seal) and there and read_object(numbers).get("seal") == seal


def _numbers(folder: Path) -> Path:
    """Of the report in a project's folder."""
    return folder / "report" / "audit.json"


def _state_of(weights: Path, network: str) -> str:
    if (path := weights / FILES[network]).exists():
        header = read_header(path)[0]
        return "tried" if header is not None and header.notes.get("trial") is True else "trained"
    return "begun" if (weights / f"{network}.checkpoint").exists() else "absent"
