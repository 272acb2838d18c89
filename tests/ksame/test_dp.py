"""Differentially private centroids: the sensitivity, the noise, and what is stated."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from scipy.stats import norm

from latentpath.core.errors import InputError, PrivacyError, ShapeError
from latentpath.ksame import DpCertificate, dp_centroids, merge

pytest.importorskip("dp_accounting", reason="needs the extra 'dp'")


class Silence(np.random.Generator):
    """A source of noise that is silent and remembers the deviations asked for."""

    def __init__(self):
        super().__init__(np.random.PCG64(0))
        self.deviations = []

    def normal(self, loc=0.0, scale=1.0, size=None):
        self.deviations.append(scale)
        return np.zeros(size)


def release(latents, identities, labels, **options):
    settings = {
        "classes": (0, 1),
        "anchors": np.array([[1.0, 0.0], [-1.0, 0.0]]),
        "clip_norm": 2.0,
        "epsilon": 2.0,
        "delta": 1e-5,
        "steps": 1,
        "smallest_count": -math.inf,
        "noise": Silence(),
        **options,
    }
    return dp_centroids(latents, identities, labels, **settings)


def people(seed=0, n=60):
    rng = np.random.default_rng(seed)
    identities = rng.permutation(np.repeat(np.arange(n), rng.integers(1, 4, n)))
    labels = rng.integers(0, 2, len(identities))
    return rng.standard_normal((len(identities), 2)) * 3, identities, labels


def analytic_delta(sigma: float, epsilon: float) -> float:
    """Balle and Wang 2018, theorem 8, at sensitivity 1."""
    return norm.cdf(0.5 / sigma - epsilon * sigma) - math.exp(epsilon) * norm.cdf(
        -0.5 / sigma - epsilon * sigma
    )


@pytest.mark.parametrize("steps", [1, 4])
def test_the_noise_spends_the_budget_and_no_more(steps):
    noise = Silence()
    latents, identities, labels = people()
    found = release(latents, identities, labels, steps=steps, noise=noise)
    sums, counts = noise.deviations[0::2], noise.deviations[1::2]
    assert len(sums) == len(counts) == steps
    # One person moves one cell's sum by at most the norm and its count by one, in every step.
    loss = sum((2.0 / s) ** 2 + (1.0 / c) ** 2 for s, c in zip(sums, counts, strict=True))
    assert analytic_delta(1 / math.sqrt(loss), 2.0) == pytest.approx(1e-5, rel=1e-3)
    assert found.certificate.noise_multiplier == pytest.approx(math.sqrt(steps / loss))


def test_one_person_more_moves_one_cell_by_the_norm_at_most():
    latents, identities, labels = people()
    before = release(latents, identities, labels)
    for images in (1, 5):
        for far in (0.1, 1e6):
            more = np.full((images, 2), far) * np.array([1.0, -0.5])
            after = release(
                np.concatenate([latents, more]),
                np.concatenate([identities, [999] * images]),
                np.concatenate([labels, np.arange(images) % 2]),
            )
            moved = after.noisy_counts - before.noisy_counts
            assert sorted(moved.tolist()) == [0, 0, 0, 1]
            sums = [c.noisy_counts[:, None] * c.centroids.numpy() for c in (before, after)]
            change = np.linalg.norm(sums[1] - sums[0], axis=1)
            assert (change > 1e-4).sum() == 1
            assert change.max() <= 2.0 + 1e-4


def test_without_noise_it_is_k_means_of_clipped_people():
    latents = np.array([[1.0, 0], [3, 0], [30, 0], [-1, 0], [-1, 1], [5, 5]])
    identities = np.array([0, 0, 1, 2, 3, 4])
    labels = np.array([0, 0, 0, 0, 0, 7])  # person 4 is of no public class
    found = release(latents, identities, labels, smallest_count=1.0)
    assert found.group_labels.tolist() == [0, 0]
    np.testing.assert_allclose(found.noisy_counts, [2, 2])
    np.testing.assert_allclose(found.centroids, [[2, 0], [-1, 0.5]], atol=1e-6)


def test_a_person_with_two_labels_counts_in_the_more_frequent_one():
    latents = np.array([[1.0, 0], [2, 0], [-9, 0]])
    found = release(latents, [5, 5, 5], [1, 1, 0])
    assert found.noisy_counts.tolist() == [0, 0, 1, 0]
    np.testing.assert_allclose(found.centroids[2], [1.5, 0])


def test_a_centre_moves_everything_along():
    latents, identities, labels = people()
    anchors = np.array([[1.0, 0.0], [-1.0, 0.0]])
    here = release(latents, identities, labels, steps=3)
    there = release(
        latents + 50,
        identities,
        labels,
        steps=3,
        anchors=anchors + 50,
        centre=np.array([50.0, 50.0]),
    )
    torch.testing.assert_close(there.centroids, here.centroids + 50, rtol=0, atol=1e-4)


def test_real_noise_is_fresh_and_has_the_stated_size():
    latents, identities, labels = people(n=30)
    anchors = np.random.default_rng(1).standard_normal((500, 2))
    draws = [
        release(latents, identities, labels, anchors=anchors, noise=None).noisy_counts
        for _ in range(2)
    ]
    assert not np.array_equal(*draws)
    certificate = release(latents, identities, labels, anchors=anchors).certificate
    quiet = release(latents, identities, labels, anchors=anchors).noisy_counts
    spread = np.std(np.concatenate([draw - quiet for draw in draws]))
    # 2,000 draws: the standard deviation of their spread is 1.6%.
    assert spread == pytest.approx(certificate.noise_multiplier / math.sqrt(0.1), rel=0.08)


def test_small_cells_are_withheld():
    latents, identities, labels = people()
    everything = release(latents, identities, labels)
    threshold = float(np.median(everything.noisy_counts))
    found = release(latents, identities, labels, smallest_count=threshold)
    assert found.certificate.num_groups == len(found.centroids) < 4
    assert found.noisy_counts.min() >= threshold
    with pytest.raises(PrivacyError, match="noisy count"):
        release(latents, identities, labels, smallest_count=1e6)


def test_the_certificate_states_the_budget_and_no_exact_count():
    latents, identities, labels = people()
    certificate = release(latents, identities, labels, smallest_count=1.0).certificate
    written = json.loads(json.dumps(certificate.as_dict()))
    assert DpCertificate.from_dict(written) == certificate
    assert (written["epsilon"], written["delta"], written["clip_norm"]) == (2.0, 1e-5, 2.0)
    assert written["accountant"].startswith("dp-accounting ")
    assert "generator" in written["not_promised"]
    assert not {"identities_used", "rows_used", "noise"} & set(written)
    with pytest.raises(PrivacyError, match="epsilon"):
        merge([certificate, dataclasses.replace(certificate, epsilon=3.0)])


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"epsilon": 0.0}, PrivacyError),
        ({"epsilon": math.nan}, PrivacyError),
        ({"delta": 0.0}, PrivacyError),
        ({"delta": 1.0}, PrivacyError),
        ({"clip_norm": 0.0}, PrivacyError),
        ({"clip_norm": math.inf}, PrivacyError),
        ({"steps": 0}, PrivacyError),
        ({"anchors": np.zeros((3, 5))}, ShapeError),
        ({"centre": np.zeros(3)}, ShapeError),
        ({"classes": ()}, InputError),
        ({"classes": (0, 0)}, InputError),
    ],
)
def test_impossible_settings_are_refused(options, error):
    with pytest.raises(error):
        release(*people(), **options)
