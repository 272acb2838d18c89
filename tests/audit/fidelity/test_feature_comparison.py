"""FID, KID, precision, recall, density and coverage of sets of features."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from latentpath.audit.fidelity.feature_comparison import (
    ManifoldScores,
    frechet_distance,
    kernel_distance,
    manifold_scores,
    neighbour_radii,
)
from latentpath.core.errors import DataError, InputError, ShapeError


@pytest.fixture(scope="module", autouse=True)
def _torchmetrics():
    """Imported by the workers that need it: it takes seconds."""
    pytest.importorskip("torchmetrics")


def _gaussian(n: int, width: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, width, generator=generator, dtype=torch.float64)


def _whitened(rows: torch.Tensor) -> torch.Tensor:
    """The same rows with sample mean 0 and sample covariance the identity, exactly."""
    rows = rows - rows.mean(0)
    covariance = rows.T @ rows / (len(rows) - 1)
    return rows @ torch.linalg.inv(torch.linalg.cholesky(covariance)).T


def _reference_frechet(a: np.ndarray, b: np.ndarray) -> float:
    """By the singular values of the product of the centred sets: no matrix root at all."""
    left, right = ((rows - rows.mean(0)) / np.sqrt(len(rows) - 1) for rows in (a, b))
    shared = np.linalg.svd(left @ right.T, compute_uv=False).sum()
    gap = a.mean(0) - b.mean(0)
    return float(gap @ gap + (left**2).sum() + (right**2).sum() - 2 * shared)


def _reference_kernel(a: np.ndarray, b: np.ndarray) -> float:
    """The unbiased estimate, pair by pair."""

    def k(x: np.ndarray, y: np.ndarray) -> float:
        return float((x @ y / len(x) + 1) ** 3)

    def within(rows: np.ndarray) -> float:
        n = len(rows)
        pairs = [k(rows[i], rows[j]) for i in range(n) for j in range(n) if i != j]
        return sum(pairs) / (n * (n - 1))

    between = np.mean([[k(x, y) for y in b] for x in a])
    return within(a) + within(b) - 2 * float(between)


def test_frechet_distance_of_gaussians_in_closed_form():
    # N(0, I) and N(m, diag(s^2)): |m|^2 + sum (1 - s)^2.
    base = _whitened(_gaussian(200, 5, 0))
    scale = torch.tensor([1.0, 2.0, 0.5, 3.0, 1.5], dtype=torch.float64)
    mean = torch.tensor([1.0, 0.0, -2.0, 0.5, 0.0], dtype=torch.float64)
    expected = float(mean.square().sum() + (1 - scale).square().sum())
    assert frechet_distance(base, base * scale + mean) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("n", "m", "width"), [(50, 70, 13), (123, 41, 8), (20, 30, 64)])
def test_frechet_distance_against_singular_values(n, m, width):
    a = _gaussian(n, width, 1) @ _gaussian(width, width, 2) + 30
    b = _gaussian(m, width, 3) @ _gaussian(width, width, 4) + 31
    expected = _reference_frechet(a.numpy(), b.numpy())
    # Where images are fewer than features, roots of rounded zeros cost some digits.
    rel = 1e-9 if min(n, m) > width else 1e-4
    assert frechet_distance(a, b) == pytest.approx(expected, rel=rel)
    assert frechet_distance(b, a) == pytest.approx(expected, rel=rel)


def test_frechet_distance_of_a_set_to_itself_and_moved():
    a = _gaussian(300, 10, 1)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(a + 1e4, a + 1e4 + 2) == pytest.approx(40, rel=1e-6)
    assert frechet_distance(a.float(), a.float() + 2) == pytest.approx(40, rel=1e-5)


def test_frechet_distance_of_few_images_is_too_high():
    few, many = (frechet_distance(_gaussian(n, 32, 1), _gaussian(n, 32, 2)) for n in (40, 4000))
    assert few > 20 * many


def test_kernel_distance_against_every_pair():
    a, b = _gaussian(12, 6, 1), _gaussian(12, 6, 2) * 1.5 + 0.3
    found = kernel_distance(a, b, subsets=400, subset_size=6, seed=0)
    # Every subset is an unbiased estimate of the whole's.
    expected = _reference_kernel(a.numpy(), b.numpy())
    assert found.mean == pytest.approx(expected, abs=4 * found.sd / 20)
    assert found.subset_size == 6


def test_kernel_distance_of_one_distribution_is_zero_whatever_the_size():
    for n in (30, 600):
        found = [
            kernel_distance(_gaussian(n, 16, 2 * s), _gaussian(n, 16, 2 * s + 1), subsets=20).mean
            for s in range(20)
        ]
        error = np.std(found) / np.sqrt(len(found))
        assert abs(np.mean(found)) < 3 * error
        assert min(found) < 0 < max(found)


def test_kernel_distance_grows_with_the_difference():
    a = _gaussian(400, 16, 1)
    near, far = (kernel_distance(a, _gaussian(400, 16, 2) + shift).mean for shift in (0.2, 1.0))
    assert 0 < near < far


def test_kernel_distance_depends_on_its_own_seed_alone():
    a, b = _gaussian(60, 4, 1), _gaussian(60, 4, 2)
    torch.manual_seed(7)
    first = kernel_distance(a, b, seed=1)
    after = torch.rand(1)
    assert kernel_distance(a, b, seed=1) == first
    assert kernel_distance(a, b, seed=2) != first
    torch.manual_seed(7)
    assert torch.rand(1) == after


def test_two_images_are_enough_and_one_is_not():
    assert kernel_distance(_gaussian(2, 3, 0), _gaussian(2, 3, 1)).subset_size == 2
    assert frechet_distance(_gaussian(2, 3, 0), _gaussian(2, 3, 1)) > 0
    for measure in (kernel_distance, frechet_distance):
        with pytest.raises(DataError, match="at least two images"):
            measure(_gaussian(1, 3, 0), _gaussian(5, 3, 1))
        with pytest.raises(ShapeError, match="one width"):
            measure(_gaussian(5, 3, 0), _gaussian(5, 4, 1))


def _column(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)[:, None]


def _normal_rows(n: int, width: int, seed: int, shift: float = 0.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, width, generator=generator, dtype=torch.float64) + shift


def _brute_force(real: torch.Tensor, synthetic: torch.Tensor, k: int) -> ManifoldScores:
    def radii(rows: torch.Tensor) -> list[float]:
        found = []
        for i, row in enumerate(rows):
            others = sorted(float((row - other).norm()) for j, other in enumerate(rows) if j != i)
            found.append(others[k - 1])
        return found

    real_radii, synthetic_radii = radii(real), radii(synthetic)
    gap = [[float((r - s).norm()) for s in synthetic] for r in real]
    n, m = len(real), len(synthetic)
    inside = [[gap[i][j] <= real_radii[i] for j in range(m)] for i in range(n)]
    return ManifoldScores(
        precision=sum(any(inside[i][j] for i in range(n)) for j in range(m)) / m,
        recall=sum(any(gap[i][j] <= synthetic_radii[j] for j in range(m)) for i in range(n)) / n,
        density=sum(map(sum, inside)) / (k * m),
        coverage=sum(any(row) for row in inside) / n,
    )


def test_by_hand():
    # Real 0, 1, 3 with radii 1, 1, 2; synthetic 0.5 and 10 with radius 9.5 each.
    found = manifold_scores(_column(0, 1, 3), _column(0.5, 10), neighbours=1)
    assert found.precision == pytest.approx(1 / 2)  # 0.5 lies in the balls of 0 and 1
    assert found.density == pytest.approx(2 / 2)
    assert found.coverage == pytest.approx(2 / 3)
    assert found.recall == pytest.approx(3 / 3)  # all lie within 9.5 of 0.5


def test_radii_by_hand():
    squares = neighbour_radii(_column(0, 1, 3, 7), 2)
    assert squares.tolist() == [9.0, 4.0, 9.0, 36.0]


@pytest.mark.parametrize("max_bytes", [1, 2000, 1 << 28])
@pytest.mark.parametrize(("n", "m", "k"), [(23, 17, 3), (8, 31, 5), (6, 6, 5)])
def test_against_brute_force_whatever_the_blocks(n, m, k, max_bytes):
    real, synthetic = _normal_rows(n, 3, 1), _normal_rows(m, 3, 2, shift=0.4)
    found = manifold_scores(real, synthetic, neighbours=k, max_bytes=max_bytes)
    assert vars(found) == pytest.approx(vars(_brute_force(real, synthetic, k)))


def test_a_copy_is_perfect_even_where_the_set_holds_duplicates():
    rows = _normal_rows(30, 50, 0, shift=100.0).repeat(2, 1)  # every radius is 0 for k = 1
    found = manifold_scores(rows, rows.clone(), neighbours=1, max_bytes=3000)
    assert (found.precision, found.recall, found.coverage) == (1.0, 1.0, 1.0)
    assert found.density == pytest.approx(2.0)


def test_fresh_draws_score_like_real_ones():
    found = manifold_scores(_normal_rows(500, 4, 1), _normal_rows(500, 4, 2))
    assert found.precision > 0.9
    assert found.recall > 0.9
    assert found.density == pytest.approx(1, abs=0.1)
    assert found.coverage > 0.9


def test_a_dropped_mode_costs_recall_and_coverage_not_precision():
    real = torch.cat([_normal_rows(200, 4, 1), _normal_rows(200, 4, 2, shift=50.0)])
    found = manifold_scores(real, _normal_rows(400, 4, 3))
    assert found.precision > 0.9
    assert found.recall == pytest.approx(0.5, abs=0.06)
    assert found.coverage == pytest.approx(0.5, abs=0.06)


def test_one_image_over_and_over_costs_recall():
    real = _normal_rows(200, 4, 1)
    found = manifold_scores(real, real[:1].repeat(200, 1))
    assert found.precision == 1.0
    assert found.recall <= 0.01
    assert found.coverage < 0.1


def test_noise_costs_precision_and_density():
    real = _normal_rows(300, 8, 1)
    found = manifold_scores(real, 6 * _normal_rows(300, 8, 2))
    assert found.precision < 0.1
    assert found.density < 0.1


def test_an_outlier_raises_precision_not_density():
    real = torch.cat([_normal_rows(100, 2, 1), torch.full((1, 2), 100.0, dtype=torch.float64)])
    found = manifold_scores(real, _normal_rows(100, 2, 2, shift=60.0))
    assert found.precision == 1.0
    assert found.density == pytest.approx(1 / 5)
    assert found.coverage == pytest.approx(1 / 101)


def test_prepared_radii_change_nothing():
    real, synthetic = _normal_rows(40, 3, 1), _normal_rows(30, 3, 2)
    radii = neighbour_radii(real, 5)
    assert manifold_scores(real, synthetic, radii=radii) == manifold_scores(real, synthetic)


def test_what_cannot_be_measured_is_refused():
    with pytest.raises(InputError, match="neighbours from 1 to 2"):
        manifold_scores(_column(0, 1, 2), _column(0, 1, 2, 3), neighbours=3)
    with pytest.raises(InputError):
        neighbour_radii(_column(0, 1), 0)
    with pytest.raises(ShapeError, match="one width"):
        manifold_scores(torch.zeros(5, 2), torch.zeros(5, 3), neighbours=1)
