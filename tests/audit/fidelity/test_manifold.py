"""Precision, recall, density and coverage: hand examples, a brute-force reference, failures."""

from __future__ import annotations

import pytest
import torch

from latentpath.audit.fidelity.manifold import ManifoldScores, manifold_scores, neighbour_radii
from latentpath.core.errors import InputError, ShapeError


def _column(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)[:, None]


def _gaussian(n: int, width: int, seed: int, shift: float = 0.0) -> torch.Tensor:
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
    real, synthetic = _gaussian(n, 3, 1), _gaussian(m, 3, 2, shift=0.4)
    found = manifold_scores(real, synthetic, neighbours=k, max_bytes=max_bytes)
    assert vars(found) == pytest.approx(vars(_brute_force(real, synthetic, k)))


def test_a_copy_is_perfect_even_where_the_set_holds_duplicates():
    rows = _gaussian(30, 50, 0, shift=100.0).repeat(2, 1)  # every radius is 0 for k = 1
    found = manifold_scores(rows, rows.clone(), neighbours=1, max_bytes=3000)
    assert (found.precision, found.recall, found.coverage) == (1.0, 1.0, 1.0)
    assert found.density == pytest.approx(2.0)


def test_fresh_draws_score_like_real_ones():
    found = manifold_scores(_gaussian(500, 4, 1), _gaussian(500, 4, 2))
    assert found.precision > 0.9
    assert found.recall > 0.9
    assert found.density == pytest.approx(1, abs=0.1)
    assert found.coverage > 0.9


def test_a_dropped_mode_costs_recall_and_coverage_not_precision():
    real = torch.cat([_gaussian(200, 4, 1), _gaussian(200, 4, 2, shift=50.0)])
    found = manifold_scores(real, _gaussian(400, 4, 3))
    assert found.precision > 0.9
    assert found.recall == pytest.approx(0.5, abs=0.06)
    assert found.coverage == pytest.approx(0.5, abs=0.06)


def test_one_image_over_and_over_costs_recall():
    real = _gaussian(200, 4, 1)
    found = manifold_scores(real, real[:1].repeat(200, 1))
    assert found.precision == 1.0
    assert found.recall <= 0.01
    assert found.coverage < 0.1


def test_noise_costs_precision_and_density():
    real = _gaussian(300, 8, 1)
    found = manifold_scores(real, 6 * _gaussian(300, 8, 2))
    assert found.precision < 0.1
    assert found.density < 0.1


def test_an_outlier_raises_precision_not_density():
    real = torch.cat([_gaussian(100, 2, 1), torch.full((1, 2), 100.0, dtype=torch.float64)])
    found = manifold_scores(real, _gaussian(100, 2, 2, shift=60.0))
    assert found.precision == 1.0
    assert found.density == pytest.approx(1 / 5)
    assert found.coverage == pytest.approx(1 / 101)


def test_prepared_radii_change_nothing():
    real, synthetic = _gaussian(40, 3, 1), _gaussian(30, 3, 2)
    radii = neighbour_radii(real, 5)
    assert manifold_scores(real, synthetic, radii=radii) == manifold_scores(real, synthetic)


def test_what_cannot_be_measured_is_refused():
    with pytest.raises(InputError, match="neighbours from 1 to 2"):
        manifold_scores(_column(0, 1, 2), _column(0, 1, 2, 3), neighbours=3)
    with pytest.raises(InputError):
        neighbour_radii(_column(0, 1), 0)
    with pytest.raises(ShapeError, match="one width"):
        manifold_scores(torch.zeros(5, 2), torch.zeros(5, 3), neighbours=1)
