"""Can one tell from a model, or from the set, who was in the private data?

Threat model. The attacker holds images of real people with their classes, half of whom are behind
the synthetic set (members, the private set) while the others are not (the holdout),
and wants to know who is which. They know the population, and how classifiers are trained: they
train shadow models of their own on random halves of these people. They are given either

* the answers (probabilities of all classes) of classifiers trained on the synthetic set, or
* the synthetic set itself (`latentpath.audit.attacks.set_attack`).

Attacks on the classifiers:

* **threshold**: a person whose true class has a low loss is called a member; one threshold for
  all, chosen on one half of the people and tested on the other. Yeom, Giacomelli, Fredrikson, Jha,
  "Privacy Risk in Machine Learning", CSF 2018.
* **LiRA offline** and **online** (`latentpath.audit.attacks.lira`): a person's loss is compared
  with what it is for models trained without, and with, this person.

What this cannot see: an attacker who can run the whole synthesis (generator included) on sets of
their own choice would train better shadow models than ours, which learn the real images themselves;
attacks with many queries of changed images; attacks on the generator, which is not published.

Every figure assumes that members and the holdout differ in nothing but membership. The **blind
baseline** tests that: classifiers that see the images and no model under attack, told apart by
cross-fitting. Where its AUC is above 0.5 the two groups differ in themselves (another scanner,
another year), and an attack's figures mean nothing up to that height. Das, Zhang, Tramer, "Blind
Baselines Beat Membership Inference Attacks for Foundation Models", 2024.

The yardstick is the private set itself: `measure_membership(real, reference)` attacks classifiers
trained on the real images of all members.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from latentpath.audit.attacks.attacks_findings import MembershipConfig
from latentpath.audit.attacks.lira import (
    aligned,
    confidence,
    lira_offline,
    lira_online,
    random_halves,
)
from latentpath.audit.attacks.set_attack import Embed, attack_set
from latentpath.audit.statistics.roc import AttackScore, score_attack
from latentpath.core import DataError, InputError, Progress, silent
from latentpath.data import ImageSet, to_tensor
from latentpath.similarity import check_same_size
from latentpath.training import train_shadows

Target = Callable[[Tensor], Tensor]  # [m, C, H, W] in [-1, 1] -> logits [m, K]

# Streams of random numbers, apart from the shadow models' own.
_TARGETS, _BLIND, _OVERFITTED = 1, 2, 3

# People whom models learn by heart to see whether attacks find these.
_BY_HEART = 64

_BATCH = 256


@dataclass(frozen=True, eq=False)
class MembershipReference:
    """Candidates, shadow models' answers and blind baseline: made once for any number of sets.

    Attributes:
        real: the members.
        holdout: people who took no part.
        shadows: [S, n] confidences of the shadow models in everybody's class, members first. They
            speak of single people: keep them with the data holder.
        inside: bool [S, n], who each shadow model was trained on.
        blind: the blind baseline.
        overfitted: the strongest attack on models that learnt a few members by heart: whether
            attacks find anything at all.
        config: what it was made with.
        device: where models are trained.
    """

    real: ImageSet
    holdout: ImageSet
    shadows: np.ndarray
    inside: np.ndarray
    blind: AttackScore
    overfitted: AttackScore
    config: MembershipConfig
    device: torch.device | str = "cpu"


@dataclass(frozen=True)
class Membership:
    """What the attacks achieve against one set.

    Attributes:
        attacks: "threshold", "lira_offline", "lira_online", "set_distance" and
            "set_density_ratio"; the last two not for the private set itself.
        blind: what can be told without any model: the height below which nothing counts.
        member_accuracy: mean accuracy of the targets on members.
        holdout_accuracy: the same on the holdout.
        targets: number of classifiers attacked.
        shadow_models: number of shadow models.
        overfitted: the strongest attack on models that learnt a few members by heart: whether
            attacks find anything at all.
    """

    attacks: dict[str, AttackScore]
    blind: AttackScore
    member_accuracy: float
    holdout_accuracy: float
    targets: int
    shadow_models: int
    overfitted: AttackScore

    @property
    def strongest(self) -> tuple[str, AttackScore]:
        """Name and figures of the attack with the highest AUC."""
        return max(self.attacks.items(), key=lambda attack: attack[1].auc.value)

    def as_dict(self) -> dict[str, object]:
        """Return plain JSON values, nothing about single people."""
        return {
            "attacks": {name: attack.as_dict() for name, attack in self.attacks.items()},
            "blind": self.blind.as_dict(),
            "member_accuracy": self.member_accuracy,
            "holdout_accuracy": self.holdout_accuracy,
            "targets": self.targets,
            "shadow_models": self.shadow_models,
            "overfitted": self.overfitted.as_dict(),
        }


def prepare_membership(
    real: ImageSet,
    holdout: ImageSet,
    config: MembershipConfig | None = None,
    *,
    device: torch.device | str = "cpu",
    progress: Progress = silent,
) -> MembershipReference:
    """Train the shadow models and the blind baseline, once for all sets.

    Args:
        real: the private set: members.
        holdout: real images of other people. It should be like the private set in
            everything else; 1,000 people or more resolve 0.1% false positives.
        config: numbers of models, and how they are trained.
        device: where the models, and later the targets, are trained.
        progress: told during training, as stages "shadow models", "blind
            baseline" and "check of the attacks".

    Raises:
        ShapeError: images of different sizes.
        DataError: different classes, a single class, or fewer than two people per fold.
    """
    config = config or MembershipConfig()
    _check_candidates(real, holdout, config)
    pool, labels, people = _pool(real, holdout, device)
    inside = random_halves(people, config.shadows, config.seed)
    models = train_shadows(
        pool,
        labels,
        torch.from_numpy(inside),
        num_classes=real.num_classes,
        config=config.training,
        progress=progress,
    )
    shadows = confidence(models.logits(pool), labels)
    blind = _blind_baseline(real, holdout, config, device, progress)
    overfitted = _overfitted(pool, labels, people, real, shadows, inside, config, progress)
    return MembershipReference(real, holdout, shadows, inside, blind, overfitted, config, device)


def measure_membership(
    images: ImageSet,
    reference: MembershipReference,
    *,
    targets: Sequence[Target] | None = None,
    embed: Embed | None = None,
    progress: Progress = silent,
) -> Membership:
    """Attack classifiers trained on a set, and the set itself.

    Args:
        images: the set in question; the reference's private set as the yardstick, for which the
            attacks on the set are left out, as its people are in it.
        reference: from `prepare_membership`.
        targets: classifiers to attack, images to logits; None trains `config.targets` of them on
            `images`, as the shadow models were trained.
        embed: embedding for the attacks on the set, see `attack_set`; LPIPS if None.
        progress: told as stages "targets" and "set attack".

    Raises:
        ShapeError: images of another size than the candidates'.
        DataError: classes other than the candidates'.
        InputError: an empty list of targets.
    """
    config, real, holdout = reference.config, reference.real, reference.holdout
    _check_classes(images, real)
    if targets is not None and len(targets) == 0:
        raise InputError(
            expected="at least one target", got="none", fix="leave targets at None to train some"
        )
    pool, labels, _ = _pool(real, holdout, reference.device)
    if targets is None:
        answers = _answers_of_trained(images, pool, config, progress)
    else:
        answers = torch.stack([_logits(target, pool) for target in targets])  # [T, n, K]
    _check_width(answers, real)
    sure = confidence(answers, labels)  # [T, n]
    attacks = _attack_models(sure, reference)
    if images is not real:
        attacks |= attack_set(
            images,
            real,
            holdout,
            embed=embed,
            seed=config.seed,
            resamples=config.resamples,
            max_bytes=config.max_bytes,
            device=reference.device,
            progress=progress,
        )
    right = (answers.argmax(2).cpu() == labels.cpu()).double().mean(0)  # [n]
    return Membership(
        attacks=attacks,
        blind=reference.blind,
        member_accuracy=float(right[: len(real)].mean()),
        holdout_accuracy=float(right[len(real) :].mean()),
        targets=len(answers),
        shadow_models=len(reference.shadows),
        overfitted=reference.overfitted,
    )


def _attack_models(
    sure: np.ndarray,  # [T, n]
    reference: MembershipReference,
) -> dict[str, AttackScore]:
    """The attacks on the classifiers, by the targets' confidences."""
    members, config = len(reference.real), reference.config
    return {
        name: score_attack(
            scores[:, :members],
            scores[:, members:],
            seed=config.seed,
            member_groups=reference.real.identities,
            holdout_groups=reference.holdout.identities,
            resamples=config.resamples,
        )
        for name, scores in _attack_scores(sure, reference.shadows, reference.inside).items()
    }


def _attack_scores(
    sure: np.ndarray,  # [T, n]
    shadows: np.ndarray,  # [S, n]
    inside: np.ndarray,  # bool [S, n]
) -> dict[str, np.ndarray]:  # each [T, n]
    """Scores of everybody by each attack on the classifiers, higher for likelier members."""
    shifted = [aligned(row, shadows) for row in sure]
    return {
        # log p rises with log(p / (1 - p)): both order people by their loss.
        "threshold": sure,
        "lira_offline": np.stack([lira_offline(row, shadows, inside) for row in shifted]),
        "lira_online": np.stack([lira_online(row, shadows, inside) for row in shifted]),
    }


def _answers_of_trained(
    images: ImageSet, pool: Tensor, config: MembershipConfig, progress: Progress
) -> Tensor:  # [T, n, K]
    """Train the targets on a set, and ask them about all candidates."""
    models = train_shadows(
        to_tensor(images.images).to(pool.device),
        torch.from_numpy(images.labels).to(pool.device),
        torch.ones(config.targets, len(images), dtype=torch.bool),
        num_classes=images.num_classes,
        config=replace(config.training, seed=_another(config.training.seed, _TARGETS)),
        progress=progress,
        stage="targets",
    )
    return models.logits(pool)


def _overfitted(
    pool: Tensor,  # [n, C, H, W]
    labels: Tensor,  # [n]
    people: np.ndarray,  # [n]
    real: ImageSet,
    shadows: np.ndarray,  # [S, n]
    inside: np.ndarray,  # bool [S, n]
    config: MembershipConfig,
    progress: Progress,
) -> AttackScore:
    """Attack models that learnt a few members by heart: of these it is known whom they have met.

    They are trained for as many steps as the others, on so few people that each image comes by
    hundreds of times. Attacks that do not find these find nobody.
    """
    generator = np.random.default_rng([config.seed, _OVERFITTED])
    _, first = np.unique(real.identities, return_index=True)
    few = min(_BY_HEART, real.num_identities // 2)
    # As many of each class, as far as there are.
    order = generator.permutation(first)
    rank = np.empty(len(order), np.int64)
    for label in np.unique(real.labels[order]):
        rows = np.flatnonzero(real.labels[order] == label)
        rank[rows] = np.arange(len(rows))
    chosen = real.identities[order[np.argsort(rank, kind="stable")[:few]]]
    met = np.isin(people, chosen)
    models = train_shadows(
        pool,
        labels,
        torch.from_numpy(met).repeat(config.targets, 1),
        num_classes=real.num_classes,
        config=replace(config.training, seed=_another(config.training.seed, _OVERFITTED)),
        progress=progress,
        stage="check of the attacks",
    )
    sure = confidence(models.logits(pool), labels)
    scores = [
        score_attack(
            score[:, met],
            score[:, ~met],
            seed=config.seed,
            member_groups=people[met],
            holdout_groups=people[~met],
            resamples=config.resamples,
        )
        for score in _attack_scores(sure, shadows, inside).values()
    ]
    return max(scores, key=lambda score: score.auc.value)


def _blind_baseline(
    real: ImageSet,
    holdout: ImageSet,
    config: MembershipConfig,
    device: torch.device | str,
    progress: Progress,
) -> AttackScore:
    """Small classifiers that tell members from the holdout by their images alone, cross-fitted."""
    pool, _, people = _pool(real, holdout, device)
    member = np.arange(len(pool)) < len(real)
    generator = np.random.default_rng([config.seed, _BLIND])
    fold = np.empty(len(pool), np.int64)
    for side in (member, ~member):  # every fold holds its share of either side
        names, place = np.unique(people[side], return_inverse=True)
        fold[side] = (generator.permutation(len(names)) % config.blind_folds)[place]
    inside = fold != np.arange(config.blind_folds)[:, None]  # [folds, n]
    models = train_shadows(
        pool,
        torch.from_numpy(member.astype(np.int64)).to(device),
        torch.from_numpy(inside),
        num_classes=2,
        config=replace(config.training, seed=_another(config.training.seed, _BLIND)),
        progress=progress,
        stage="blind baseline",
    )
    sure = confidence(models.logits(pool), torch.ones(len(pool), dtype=torch.int64))
    score = np.empty(len(pool))
    for number in range(config.blind_folds):
        rows = fold == number
        # Ranks within the fold: each fold's classifier has a level of its own, and it is lower
        # the more members its own fold has kept from it.
        score[rows] = _mid_ranks(sure[number, rows])
    return score_attack(
        score[member],
        score[~member],
        seed=config.seed,
        member_groups=real.identities,
        holdout_groups=holdout.identities,
        resamples=config.resamples,
    )


def _mid_ranks(values: np.ndarray) -> np.ndarray:
    """Share of the values [n] below each, those equal to it counted half."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - 0.5 * counts)[place] / len(values)


@torch.no_grad()
def _logits(target: Target, images: Tensor) -> Tensor:
    parameter = next(target.parameters(), None) if isinstance(target, torch.nn.Module) else None
    device = images.device if parameter is None else parameter.device
    return torch.cat([target(part.to(device)).cpu() for part in images.split(_BATCH)])


def _pool(
    real: ImageSet, holdout: ImageSet, device: torch.device | str
) -> tuple[Tensor, Tensor, np.ndarray]:
    """Images, classes and people of all candidates, members first."""
    images = torch.cat([to_tensor(real.images), to_tensor(holdout.images)])
    labels = torch.from_numpy(np.concatenate([real.labels, holdout.labels]))
    people = np.concatenate([real.identities, holdout.identities + real.num_identities])
    return images.to(device), labels.to(device), people


def _another(seed: int, number: int) -> int:
    """A seed of its own for another family of models."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])


def _check_candidates(real: ImageSet, holdout: ImageSet, config: MembershipConfig) -> None:
    _check_classes(holdout, real)
    if real.num_classes < 2:
        raise DataError(
            expected="at least two classes",
            got="one",
            fix="leave membership inference out: there is no classifier to attack",
        )
    fewest = min(real.num_identities, holdout.num_identities)
    if fewest < max(4, 2 * config.blind_folds):
        raise DataError(
            expected=f"at least {max(4, 2 * config.blind_folds)} people in either set",
            got=f"{fewest}",
            fix="use more people; an interval from so few says nothing",
        )


def _check_classes(images: ImageSet, real: ImageSet) -> None:
    check_same_size(images.images, real.images)
    if images.class_names != real.class_names:
        raise DataError(
            expected=f"the {real.num_classes} classes of the real set in their order",
            got=f"{images.num_classes} classes with other names or in another order",
            fix="use the same class names in the same order in every set",
        )


def _check_width(answers: Tensor, real: ImageSet) -> None:
    if answers.ndim != 3 or answers.shape[2] != real.num_classes:
        raise DataError(
            expected=f"targets that answer with logits [m, {real.num_classes}]",
            got=f"{list(answers.shape[1:])}",
            fix="use classifiers of the real set's classes",
        )
