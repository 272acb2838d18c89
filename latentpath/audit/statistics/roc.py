"""How well a score tells members from the holdout: ROC figures with intervals.

Scores are attack scores: higher means "more likely a member". Ties count as half a success in the
AUC, and a threshold takes all rows of a tie or none, so that a constant score has AUC 0.5 and no
true positives.

The average over everybody hides that a few people are exposed, so the true-positive rate at few
false positives stands beside it (Carlini et al., "Membership Inference Attacks From First
Principles", IEEE S&P 2022, section III).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from latentpath.audit.instrument_check import FALSE_ALARMS
from latentpath.audit.statistics.intervals import (
    LEVEL,
    RESAMPLES,
    Interval,
    percentile,
    resampled_counts,
    share,
)
from latentpath.core import DataError, ShapeError

FALSE_POSITIVES = (FALSE_ALARMS, 0.001)

# Ten false-positive rates per power of ten, at which the ROC curve is kept.
CURVE = tuple(float(f"{10 ** (power / 10):.4g}") for power in range(-30, 1))

# Entries of the resampled arrays that are in memory at once: 64 MiB of 64-bit numbers each.
_AT_ONCE = 1 << 23


@dataclass(frozen=True)
class AttackScore:
    """What one attack achieves.

    Attributes:
        auc: probability that a member scores higher than one of the holdout; 0.5 is chance.
        balanced_accuracy: mean share of members and of the holdout that are told rightly, at a
            threshold chosen on the other half of the people; 0.5 is chance.
        tpr_at_1_percent: share of members found at 1% false positives; 0.01 is chance.
        tpr_at_01_percent: the same at 0.1% false positives; 0.001 is chance.
        members: number of members (rows).
        holdout: number of people in the holdout (rows).
        resolved: for 1% and 0.1%, whether the holdout has people enough (1 / rate of them) that
            the rate can be told from none at all.
        curve: share of the members found at each of `CURVE`'s false-positive rates.
    """

    auc: Interval
    balanced_accuracy: Interval
    tpr_at_1_percent: Interval
    tpr_at_01_percent: Interval
    members: int
    holdout: int
    resolved: tuple[bool, bool]
    curve: tuple[float, ...] = ()

    def as_dict(self) -> dict[str, object]:
        """Return plain JSON values."""
        return {
            "auc": self.auc.as_dict(),
            "balanced_accuracy": self.balanced_accuracy.as_dict(),
            "tpr_at_1_percent": self.tpr_at_1_percent.as_dict() | {"resolved": self.resolved[0]},
            "tpr_at_0.1_percent": self.tpr_at_01_percent.as_dict() | {"resolved": self.resolved[1]},
            "members": self.members,
            "holdout": self.holdout,
            "curve": {"false_positive_rate": list(CURVE), "true_positive_rate": list(self.curve)},
        }


def score_attack(
    members: np.ndarray,  # [m] or [T, m]
    holdout: np.ndarray,  # [n] or [T, n]
    *,
    seed: int,
    member_groups: np.ndarray | None = None,  # [m], person of each row
    holdout_groups: np.ndarray | None = None,  # [n]
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> AttackScore:
    """Figures of an attack with intervals over people.

    Members and the holdout are resampled on their own, whole people at a time. With scores of T
    models every figure is the mean over the models, and each resample uses the same people for
    all of them.

    Args:
        members: scores of members; NaN is refused, infinity is not.
        holdout: scores of the holdout.
        seed: of the halves and of the resampling.
        member_groups: person of each member row; None where every row is a person.
        holdout_groups: likewise.
        resamples: number of bootstrap resamples.
        level: of the intervals.

    Raises:
        ShapeError: scores that are not [m] and [n], or [T, m] and [T, n].
        DataError: fewer than two members, or people in the holdout, or NaN.
    """
    inside, outside = _checked(members, holdout)
    people_in = _people(member_groups, inside.shape[1])
    people_out = _people(holdout_groups, outside.shape[1])
    held_out = _check_people(people_in, people_out)
    generator = np.random.default_rng(seed)
    right_in, right_out = _cross_fitted(inside, outside, people_in, people_out, generator)
    counts_in = resampled_counts(
        inside.shape[1], generator=generator, resamples=resamples, groups=people_in
    )
    counts_out = resampled_counts(
        outside.shape[1], generator=generator, resamples=resamples, groups=people_out
    )
    replicates = roc_replicates(inside, outside, counts_in, counts_out)
    accuracy = 0.5 * (_weighted_mean(right_in, counts_in) + _weighted_mean(right_out, counts_out))
    tprs = _true_positives(inside, outside, people_in, replicates, level)
    value = float(np.mean([auc(a, b) for a, b in zip(inside, outside, strict=True)]))
    return AttackScore(
        auc=percentile(value, replicates[:, 0], level),
        balanced_accuracy=percentile(
            0.5 * float(right_in.mean() + right_out.mean()), accuracy, level
        ),
        tpr_at_1_percent=tprs[0],
        tpr_at_01_percent=tprs[1],
        members=inside.shape[1],
        holdout=outside.shape[1],
        resolved=tuple(held_out * rate >= 1 - 1e-9 for rate in FALSE_POSITIVES),  # type: ignore[arg-type]
        curve=tuple(
            float(np.mean([tpr_at(a, b, rate) for a, b in zip(inside, outside, strict=True)]))
            for rate in CURVE
        ),
    )


def _true_positives(
    inside: np.ndarray,  # [T, m]
    outside: np.ndarray,  # [T, n]
    people_in: np.ndarray,  # [m]
    replicates: np.ndarray,  # [R, 3], from `roc_replicates`
    level: float,
) -> list[Interval]:
    """Share of the members found at each of `FALSE_POSITIVES`."""
    tprs = []
    for place, rate in enumerate(FALSE_POSITIVES):
        hits = np.stack(
            [row > threshold_at(other, rate) for row, other in zip(inside, outside, strict=True)]
        )
        resampled = percentile(float(hits.mean()), replicates[:, 1 + place], level)
        tprs.append(no_surer_than_a_share(resampled, hits.mean(0), people_in))
    return tprs


def no_surer_than_a_share(resampled: Interval, hits: np.ndarray, groups: np.ndarray) -> Interval:
    """Widen a resampled interval to that of the share of hits [n] where that one is wider.

    Resamples all agree where no member or every member is found; Wilson's interval does not.
    """
    floor = share(hits, groups, resampled.level)
    return Interval(
        resampled.value,
        min(resampled.low, floor.low),
        max(resampled.high, floor.high),
        resampled.level,
    )


def auc(members: np.ndarray, holdout: np.ndarray) -> float:
    """Area under the ROC curve of scores [m] and [n]; a tie counts half.

    Example:
        >>> auc(np.array([2.0, 1.0]), np.array([1.0, 0.0]))
        0.875
    """
    ordered = np.sort(holdout)
    below = np.searchsorted(ordered, members, side="left")
    upto = np.searchsorted(ordered, members, side="right")
    return float((below + upto).mean(dtype=np.float64) / 2 / len(ordered))


def threshold_at(holdout: np.ndarray, rate: float) -> float:
    """The score [n] above which at most a share `rate` of the holdout lies.

    It is the score of one of the holdout: whoever lies strictly above it counts as a member.
    """
    allowed = int(np.floor(rate * len(holdout) + 1e-9))
    if allowed >= len(holdout):
        return -np.inf
    return float(np.partition(holdout, len(holdout) - 1 - allowed)[-1 - allowed])


def tpr_at(members: np.ndarray, holdout: np.ndarray, rate: float) -> float:
    """Share of the members [m] found with at most `rate` of the holdout [n] accused.

    Example:
        >>> tpr_at(np.array([3.0, 1.0]), np.array([2.0, 0.0]), 0.01)
        0.5
    """
    return float((members > threshold_at(holdout, rate)).mean())


def best_threshold(members: np.ndarray, holdout: np.ndarray) -> float:
    """The threshold of the highest balanced accuracy: members lie strictly above it.

    Midway between the two scores that it parts; infinite where nothing is gained by any.
    """
    values = np.unique(np.concatenate([members, holdout]))  # ascending
    inside, outside = np.sort(members), np.sort(holdout)
    upto_in = np.searchsorted(inside, values, side="right") / len(inside)
    upto_out = np.searchsorted(outside, values, side="right") / len(outside)
    place = int(np.argmax(upto_out - upto_in))
    if upto_out[place] <= upto_in[place]:
        return -np.inf
    following = values[min(place + 1, len(values) - 1)]
    with np.errstate(invalid="ignore"):
        middle = 0.5 * (values[place] + following)
    # Infinite scores have no middle, and rounding may put it onto the upper of two neighbours.
    return float(middle) if values[place] <= middle < following else float(values[place])


def roc_replicates(
    members: np.ndarray,  # [T, m]
    holdout: np.ndarray,  # [T, n]
    member_counts: np.ndarray,  # [R, m], how often each row was drawn
    holdout_counts: np.ndarray,  # [R, n]
) -> np.ndarray:
    """AUC and the true-positive rates of every resample, mean over the models: [R, 3].

    NaN for resamples without any member or without holdout.
    """
    total = np.zeros((len(member_counts), 1 + len(FALSE_POSITIVES)))
    step = max(1, _AT_ONCE // max(members.shape[1], holdout.shape[1]))
    for inside, outside in zip(members, holdout, strict=True):
        order_in, order_out = np.argsort(inside), np.argsort(outside)
        ranked_in, ranked_out = inside[order_in], outside[order_out]
        below = np.searchsorted(ranked_out, ranked_in, side="left")
        upto = np.searchsorted(ranked_out, ranked_in, side="right")
        above = np.searchsorted(ranked_in, ranked_out, side="right")
        for start in range(0, len(total), step):
            rows = slice(start, start + step)
            drawn = member_counts[rows][:, order_in].astype(np.float64)  # [r, m]
            total[rows] += _replicates_of_one(
                drawn, _running(holdout_counts[rows][:, order_out]), below, upto, above
            )
    return total / len(members)


def _replicates_of_one(
    drawn: np.ndarray,  # [r, m], members by ascending score
    running: np.ndarray,  # [r, n + 1], the holdout drawn up to each rank
    below: np.ndarray,  # [m], the holdout that score less than each member
    upto: np.ndarray,  # [m], that score at most as much
    above: np.ndarray,  # [n], members that score at most as much as each of the holdout
) -> np.ndarray:  # [r, 3]
    members, held_out = drawn.sum(1), running[:, -1]
    with np.errstate(invalid="ignore", divide="ignore"):
        wins = np.einsum("rm,rm->r", drawn, running[:, below] + running[:, upto])
        columns = [wins / 2 / members / held_out]
        running_members = _running(drawn)
        each = np.arange(len(drawn))
        for rate in FALSE_POSITIVES:
            allowed = np.floor(rate * held_out + 1e-9)
            # The rank of the threshold: the highest whose own draws bring more than allowed.
            over = held_out[:, None] - running[:, :-1] > allowed[:, None]  # [r, n]
            rank = over.sum(1) - 1
            caught = members - running_members[each, above[np.maximum(rank, 0)]]
            columns.append(np.where(rank >= 0, caught, members) / members)
    return np.stack(columns, 1)


def _running(counts: np.ndarray) -> np.ndarray:
    """Cumulative sums with a leading zero: [r, k] -> float64 [r, k + 1]."""
    return np.pad(np.cumsum(counts, 1, dtype=np.float64), ((0, 0), (1, 0)))


def _cross_fitted(
    inside: np.ndarray,  # [T, m]
    outside: np.ndarray,  # [T, n]
    people_in: np.ndarray,  # [m]
    people_out: np.ndarray,  # [n]
    generator: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """For every row whether it is told rightly, at the threshold of the half it is not in."""
    half_in, half_out = _halves(people_in, generator), _halves(people_out, generator)
    right_in, right_out = np.empty(inside.shape, bool), np.empty(outside.shape, bool)
    for model in range(len(inside)):
        for half in (False, True):
            told_in, told_out = half_in == half, half_out == half
            threshold = best_threshold(inside[model, ~told_in], outside[model, ~told_out])
            right_in[model, told_in] = inside[model, told_in] > threshold
            right_out[model, told_out] = outside[model, told_out] <= threshold
    return right_in, right_out


def _halves(people: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Put half of the people, all rows of each, into the one half: bool [n]."""
    names, place = np.unique(people, return_inverse=True)
    return (generator.permutation(len(names)) % 2 == 0)[place]


def _weighted_mean(right: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Mean over models and rows, for every resample: [T, n] and [R, n] -> [R]."""
    return (counts @ right.mean(0)) / counts.sum(1)


def _check_people(people_in: np.ndarray, people_out: np.ndarray) -> int:
    """How many people there are in the holdout, where both sides have two."""
    members, held_out = len(np.unique(people_in)), len(np.unique(people_out))
    if min(members, held_out) < 2:
        raise DataError(
            expected="at least two members and two people in the holdout",
            got=f"{members} and {held_out}",
            fix="use more people",
        )
    return held_out


def _people(groups: np.ndarray | None, n: int) -> np.ndarray:
    if groups is not None and np.shape(groups) != (n,):
        raise ShapeError(
            expected=f"groups [{n}], one for each score",
            got=f"{list(np.shape(groups))}",
            fix="give the person of every row",
        )
    return np.arange(n) if groups is None else np.asarray(groups)


def _checked(members: np.ndarray, holdout: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    inside = np.atleast_2d(np.asarray(members, dtype=np.float64))
    outside = np.atleast_2d(np.asarray(holdout, dtype=np.float64))
    if inside.ndim != 2 or outside.ndim != 2 or len(inside) != len(outside):
        raise ShapeError(
            expected="scores [m] and [n], or [T, m] and [T, n]",
            got=f"{list(np.shape(members))} and {list(np.shape(holdout))}",
            fix="give one row of scores per model",
        )
    if np.isnan(inside).any() or np.isnan(outside).any():
        raise DataError(
            expected="scores that are numbers",
            got="NaN",
            fix="check the model behind them: nothing can be said with such scores",
        )
    return inside, outside
