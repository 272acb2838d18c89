"""How good the networks of a weights folder are, as their trainings judged them.

`judgement.json` lies beside the weights. Every figure has a value that is usual and one that is
needed: a set made with networks that miss the latter says nothing of the people behind it, however
well it is sealed. Figures hold for the weights whose checksum stands
beside them; they were taken before these were rounded to half precision, where they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from latentpath.core import hash_file, plain_values
from latentpath.data import NETWORK_FIGURES, NOT_JUDGED
from latentpath.production.bundle import FILES, NEEDED
from latentpath.production.fingerprints import read_object, write_object

FILE_NAME = "judgement.json"
_FORMAT = 1

State = Literal["good", "weak", "not_ready"]

# Network -> those that its figures are taken with, where they are there.
BESIDE = {
    "encoder": ("generator",),
    "identity": ("generator", "encoder"),
    "classifier": ("generator",),
}
# What is looked at through these: as long as they are young, no longer training of the one that is
# judged mends it.
_THROUGH = ("class_agreement", "explained_variance", "reconstructions")


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
        return "weak" if sign * self.value >= sign * self.needed else "not_ready"

    @property
    def state_words(self) -> str:
        """The same in words."""
        return self.state.replace("_", " ")

    @property
    def mended_by(self) -> tuple[str, ...]:
        """The networks whose longer training may mend it, the likeliest first."""
        beside = BESIDE[self.network] if self.measure in _THROUGH else ()
        return (*beside, self.network)

    @property
    def words(self) -> str:
        """The figure beside what is usual and needed, as a clause."""
        side = "from" if self.higher_is_better else "up to"
        known = NETWORK_FIGURES.get(f"{self.network}_{self.measure}")
        of = f": {known.share_words(known.usual)}" if known and known.scale else ""
        return (
            f"{self.network}: {self.what} {self.value:.1%} (usual {side} {self.usual:.1%}{of}, "
            f"needed {side} {self.needed:.1%})"
        )


def judged(
    network: str,
    measure: str,
    value: float,
    *,
    lowest: float = 0.0,
    best: float = 1.0,
    perfect: float | None = None,
    detail: str = "",
) -> JudgedFigure:
    """A figure beside what is usual and needed of it, by `NETWORK_FIGURES`.

    Args:
        network: which.
        measure: its name.
        value: what was measured.
        lowest: where its scale begins, such as the share that guessing reaches.
        best: where the scale of what is usual ends.
        perfect: where that of what is needed ends; `best` if left out.
        detail: put behind the words for it.
    """
    known = NETWORK_FIGURES[f"{network}_{measure}"]
    needed = lowest + known.needed * ((best if perfect is None else perfect) - lowest)
    usual = lowest + known.usual * (best - lowest)
    if known.higher_is_better:
        usual = max(usual, needed)
    return JudgedFigure(
        network,
        measure,
        value,
        usual=usual,
        needed=needed,
        what=f"{known.what}{detail}",
        higher_is_better=known.higher_is_better,
    )


@dataclass(frozen=True)
class Judgement:
    """What is known of a weights folder's networks.

    Attributes:
        figures: of all networks that were judged and are still as they were.
        not_judged: why there are no figures of the others, by network, a word of `NOT_JUDGED`.
    """

    figures: tuple[JudgedFigure, ...]
    not_judged: Mapping[str, str] = field(default_factory=dict)

    @property
    def missing(self) -> list[str]:
        """The networks without figures, each with the reason, as clauses."""
        return [f"{network}: {NOT_JUDGED[why]}" for network, why in self.not_judged.items()]

    def of_state(self, state: State) -> tuple[JudgedFigure, ...]:
        """The figures of one state."""
        return tuple(figure for figure in self.figures if figure.state == state)

    def as_manifest(self) -> dict[str, Any]:
        """What a set's manifest tells: names of figures, no values. With networks that were not
        ready it was made `--anyway`."""
        states: tuple[State, ...] = ("weak", "not_ready")
        return {
            **{
                state: [f"{figure.network}_{figure.measure}" for figure in self.of_state(state)]
                for state in states
            },
            "not_judged": dict(self.not_judged),
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
    figures, missing, known = [], {}, False
    for network in NEEDED:
        weights, entry = folder / files[network], content.get("networks", {}).get(network)
        if not weights.exists():
            continue
        # Weights that were put there since were not judged.
        if entry is None or entry["weights"] != hash_file(weights):
            missing[network] = "other_weights"
            continue
        known = True
        figures += [JudgedFigure(network=network, **figure) for figure in entry["figures"]]
        if not entry["figures"]:
            missing[network] = entry.get("not_judged", "nobody_held_out")
    return Judgement(tuple(figures), missing) if known else None


def files_beside(folder: Path, network: str) -> dict[str, str]:
    """Checksums of the weights that a network's figures are taken with, as they are now.

    Args:
        folder: the weights folder.
        network: which.
    """
    paths = {name: folder / FILES[name] for name in BESIDE.get(network, ())}
    return {name: hash_file(path) for name, path in paths.items() if path.exists()}


def judged_beside(folder: Path, network: str) -> dict[str, str] | None:
    """`files_beside` as it was when a network's figures were taken; None where it is not known.

    Args:
        folder: the weights folder.
        network: which.

    Raises:
        DataError: the file of the figures is damaged.
    """
    path, weights = folder / FILE_NAME, folder / FILES[network]
    entry = read_object(path).get("networks", {}).get(network) if path.exists() else None
    if entry is None or not weights.exists() or entry["weights"] != hash_file(weights):
        return None
    return entry.get("beside")


def note_figures(
    folder: Path,
    network: str,
    weights: Path,
    figures: list[JudgedFigure],
    held_out: dict[str, int],
    not_judged: str = "",
) -> None:
    """Write down what a training made of its network, beside what is known of the others.

    Args:
        folder: the weights folder.
        network: which.
        weights: its file, as it is now.
        figures: what was measured.
        held_out: numbers of people and images that neither generator nor classifier has met.
        not_judged: why there are no figures, a word of `NOT_JUDGED`.
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
        "beside": files_beside(folder, network),
        "figures": plain_values(entries),
        **({"not_judged": not_judged} if not_judged else {}),
    }
    write_object(path, known)
