"""How good the networks of a weights folder are, as their trainings judged them.

`judgement.json` lies beside the weights. Every figure has a value that is usual and one that is
needed: a set made with networks that miss the latter says nothing of the people behind it, however
well it is sealed. Figures hold for the weights whose checksum stands
beside them; they were taken before these were rounded to half precision, where they are.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from latentpath.core import hash_file, plain_values
from latentpath.production.agreed_settings import read_object, write_object

FILE_NAME = "judgement.json"
_FORMAT = 1

State = Literal["good", "weak", "unfit"]


@dataclass(frozen=True)
class JudgedFigure:
    """One figure of one network. All are shares, and more is better but where said otherwise.

    Attributes:
        network: "generator", "encoder", "identity" or "classifier".
        measure: its name, as in the file and in manifests.
        value: what was measured.
        usual: what networks that are ready reach.
        needed: what a set cannot be made without.
        what: the figure in words.
        higher_is_better: False where less is better.
    """

    network: str
    measure: str
    value: float
    usual: float
    needed: float
    what: str
    higher_is_better: bool = True

    @property
    def state(self) -> State:
        """Whether it is as usual, weak, or too weak to make a set with."""
        sign = 1 if self.higher_is_better else -1
        if sign * self.value >= sign * self.usual:
            return "good"
        return "weak" if sign * self.value >= sign * self.needed else "unfit"

    @property
    def words(self) -> str:
        """The figure beside what is usual and needed, as a clause."""
        side = "from" if self.higher_is_better else "up to"
        return (
            f"{self.network}: {self.what} {self.value:.1%} (usual {side} {self.usual:.1%}, "
            f"needed {side} {self.needed:.1%})"
        )


@dataclass(frozen=True)
class Judgement:
    """What is known of a weights folder's networks.

    Attributes:
        figures: of all networks that were judged and are still as they were.
    """

    figures: tuple[JudgedFigure, ...]

    def of_state(self, state: State) -> tuple[JudgedFigure, ...]:
        """The figures of one state."""
        return tuple(figure for figure in self.figures if figure.state == state)

    def as_manifest(self) -> dict[str, Any]:
        """What a set's manifest tells: names of figures, no values. With unfit ones it was made
        `--anyway`."""
        return {
            state: [f"{figure.network}_{figure.measure}" for figure in self.of_state(state)]
            for state in ("weak", "unfit")
        }


def read_judgement(folder: Path, files: dict[str, str]) -> Judgement | None:
    """What the trainings in a weights folder noted; None where nothing holds for its weights.

    Args:
        folder: the weights folder.
        files: name of the weights file of every network.

    Raises:
        DataError: the file is damaged.
    """
    path = folder / FILE_NAME
    if not path.exists():
        return None
    content = read_object(path)
    figures = []
    for network, entry in (content.get("networks") or {}).items():
        weights = folder / files[network] if network in files else None
        # Weights that were put there since were not judged.
        if weights is None or not weights.exists() or entry["weights"] != hash_file(weights):
            continue
        figures += [JudgedFigure(network=network, **figure) for figure in entry["figures"]]
    return Judgement(tuple(figures)) if figures else None


def note_figures(
    folder: Path, network: str, weights: Path, figures: list[JudgedFigure], held_out: dict[str, int]
) -> None:
    """Write down what a training made of its network, beside what is known of the others.

    Args:
        folder: the weights folder.
        network: which.
        weights: its file, as it is now.
        figures: what was measured.
        held_out: numbers of people and images that neither generator nor classifier has met.
    """
    path = folder / FILE_NAME
    known: dict[str, Any] = {"format": _FORMAT, "networks": {}}
    if path.exists():
        known = read_object(path)
    entries = []
    for figure in figures:
        entry = asdict(figure)
        del entry["network"]
        entries.append(entry)
    known["networks"][network] = {
        "weights": hash_file(weights),
        "held_out": held_out,
        "figures": plain_values(entries),
    }
    write_object(path, known)
