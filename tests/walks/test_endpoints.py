"""Endpoints made safe: the limits that they keep, and what is said of those that stay unsafe."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from scipy.optimize import nnls

from latentpath.core.errors import InputError, ShapeError
from latentpath.energy import PathEnergy
from latentpath.walks import RelaxConfig, relax_endpoints
from latentpath.walks.hull import Neighbourhood
from support.tiny_walks import CLASSES, D, Setting

SIZES = (3, 4, 5, 6, 7, 3, 5, 4, 8, 5)


class Groups(Setting):
    """Groups of latents with the classes that their centroids' images have."""

    def __init__(self, seed=0, spread=1.0):
        super().__init__(seed)
        torch.manual_seed(seed + 100)
        self.groups = [
            0.7 * torch.randn(1, D) + spread * torch.randn(size, D) / 2 for size in SIZES
        ]
        self.centroids = torch.stack([group.mean(dim=0) for group in self.groups])
        self.classes = self.terms(self.centroids).predicted
        self.threshold = float(self.terms(self.centroids).identity.median())

    def terms(self, points):
        energy = PathEnergy(self.networks())
        return energy.point_terms(points, torch.zeros(len(points)).long())

    def relax(self, rows=slice(None), **options):
        options = {
            "groups": self.groups[rows],
            "threshold": self.threshold,
            "config": RelaxConfig(max_probability=1.0),
            "micro_batch": 16,
            **options,
        }
        points = self.centroids[rows], self.classes[rows]
        return relax_endpoints(*points, self.networks(), **options)


@pytest.fixture(scope="module")
def setting():
    return Groups()


@pytest.fixture(scope="module")
def relaxed(setting):
    return setting.relax()


class TestPromises:
    def test_energies_fall_to_the_threshold(self, setting, relaxed):
        assert (~relaxed.was_safe).sum() == 5
        assert int(relaxed.safe.sum()) > int(relaxed.was_safe.sum())
        terms = setting.terms(relaxed.latents)
        assert torch.allclose(terms.identity, relaxed.after, atol=1e-5)
        assert torch.allclose(setting.terms(setting.centroids).identity, relaxed.before, atol=1e-5)
        assert torch.equal(relaxed.safe, relaxed.after <= setting.threshold)
        assert (relaxed.after <= relaxed.before).all()

    def test_classes_stay(self, setting, relaxed):
        assert torch.equal(setting.terms(relaxed.latents).predicted, setting.classes)

    def test_safe_centroids_do_not_move_by_a_bit(self, setting, relaxed):
        rows = relaxed.was_safe
        assert torch.equal(relaxed.latents[rows], setting.centroids[rows])
        assert (relaxed.moved[rows] == 0).all()
        assert torch.equal(relaxed.after[rows], relaxed.before[rows])

    @pytest.mark.parametrize("radius", [0.1, 0.5, 1.0, 3.0])
    def test_nobody_is_approached_and_nothing_goes_too_far(self, setting, radius):
        config = RelaxConfig(max_probability=1.0, radius=radius)
        found = setting.relax(threshold=0.0, config=config)
        assert (found.moved > 0).any()
        for group, before, after, moved in zip(
            setting.groups, setting.centroids, found.latents, found.moved, strict=True
        ):
            was = (group.double() - before.double()).norm(dim=1)
            now = (group.double() - after.double()).norm(dim=1)
            assert (now >= was).all()
            assert float(moved) <= radius * float(was.mean()) * (1 + 1e-6)
            distance = (after.double() - before.double()).norm()
            assert float(moved) == pytest.approx(float(distance), abs=1e-6)

    def test_they_stop_close_to_the_threshold(self, setting, relaxed):
        moved = relaxed.safe & ~relaxed.was_safe
        assert moved.any()
        none = setting.relax(config=RelaxConfig(max_probability=1.0, bisections=0))
        assert (relaxed.moved[moved] <= none.moved[moved] + 1e-6).all()
        assert float(relaxed.moved[moved].sum()) < float(none.moved[moved].sum())
        back = relaxed.latents - setting.centroids
        almost = setting.terms(setting.centroids + 0.97 * back).identity
        # One is kept away by its group and not by the threshold.
        assert int((almost[moved] > setting.threshold).sum()) >= int(moved.sum()) - 1

    def test_unreachable_thresholds_are_admitted(self, setting):
        found = setting.relax(threshold=0.0)
        assert not found.safe.any()
        assert (found.after <= found.before).all()
        assert float(found.after.mean()) < float(found.before.mean())
        assert torch.equal(setting.terms(found.latents).predicted, setting.classes)

    def test_the_largest_probability(self, setting):
        before = setting.terms(setting.centroids).largest
        limit = float(before.median())
        found = setting.relax(threshold=None, config=RelaxConfig(max_probability=limit))
        assert torch.equal(found.was_safe, before <= limit)
        assert int(found.safe.sum()) > int(found.was_safe.sum())
        assert torch.equal(found.safe, setting.terms(found.latents).largest <= limit)

    def test_a_centroid_of_another_class_comes_into_its_class_or_stays(self, setting):
        other = Groups()
        other.classes = (other.classes + 1) % CLASSES
        found = other.relax()
        moved = found.moved > 0
        predicted = other.terms(found.latents).predicted
        assert torch.equal(predicted[moved], other.classes[moved])
        assert torch.equal(found.latents[~moved], other.centroids[~moved])

    def test_without_groups_the_radius_is_in_latent_units(self, setting):
        config = RelaxConfig(max_probability=1.0, radius=0.3)
        found = setting.relax(groups=None, threshold=0.0, config=config)
        assert (found.moved > 0).any()
        assert float(found.moved.max()) <= 0.3 * (1 + 1e-6)
        assert found.hull_distance.isnan().all()

    def test_hull_distances(self, setting, relaxed):
        for group, after, told in zip(
            setting.groups, relaxed.latents, relaxed.hull_distance, strict=True
        ):
            wanted = hull_distance_by_least_squares(group.double().numpy(), after.double().numpy())
            assert float(told) == pytest.approx(wanted, abs=1e-5)


class TestIndependence:
    def test_of_the_others_and_of_their_order(self, setting, relaxed):
        order = [3, 9, 0, 5, 1, 8, 2, 7, 4, 6]
        mixed = Groups()
        mixed.groups = [mixed.groups[i] for i in order]
        mixed.centroids, mixed.classes = mixed.centroids[order], mixed.classes[order]
        found = mixed.relax()
        for name in ("latents", "moved", "before", "after", "safe", "hull_distance"):
            assert torch.equal(getattr(found, name), getattr(relaxed, name)[order])
        for row in range(0, 10, 3):
            alone = setting.relax(slice(row, row + 1))
            assert torch.equal(alone.latents[0], relaxed.latents[row])
            assert torch.equal(alone.after[0], relaxed.after[row])

    def test_of_the_random_state(self, setting, relaxed):
        torch.manual_seed(77)
        assert torch.equal(setting.relax().latents, relaxed.latents)


class TestGroupsThatAllowNothing:
    def test_one_person_or_many_images_of_one_point(self, setting):
        groups = [group[:1].repeat(3, 1) for group in setting.groups]
        other = Groups()
        other.groups = groups
        other.centroids = torch.stack([group[0] for group in groups])
        other.classes = other.terms(other.centroids).predicted
        found = other.relax(threshold=0.0)
        assert torch.equal(found.latents, other.centroids)
        assert not found.safe.any()
        assert (found.hull_distance < 1e-6).all()

    def test_radius_or_steps_of_zero(self, setting):
        for options in ({"radius": 0.0}, {"steps": 0}):
            config = RelaxConfig(max_probability=1.0, **options)
            found = setting.relax(config=config)
            assert torch.equal(found.latents, setting.centroids)
            assert torch.equal(found.safe, found.was_safe)

    def test_more_people_than_dimensions(self, setting):
        # Every direction leads towards somebody: only far moves are allowed.
        torch.manual_seed(0)
        other = Groups()
        other.groups = [torch.randn(40, D) for _ in SIZES]
        other.centroids = torch.stack([group.mean(dim=0) for group in other.groups])
        other.classes = other.terms(other.centroids).predicted
        found = other.relax(threshold=0.0)
        for group, before, after in zip(other.groups, other.centroids, found.latents, strict=True):
            was = (group.double() - before.double()).norm(dim=1)
            assert ((group.double() - after.double()).norm(dim=1) >= was).all()

    def test_a_generator_that_fails_on_the_way(self):
        other = Groups()
        other.generator.points = 0
        other.generator.fails_after = 16
        found = other.relax()
        assert torch.equal(found.latents, other.centroids)
        assert torch.isfinite(found.after).all()
        assert torch.equal(found.safe, found.was_safe)


class TestBadInput:
    @pytest.mark.parametrize(
        ("options", "error", "text"),
        [
            ({"groups": [torch.zeros(3, D)]}, ShapeError, "one group for each of the 10"),
            ({"groups": [torch.zeros(3, D + 1)] * 10}, ShapeError, rf"group 0 to be \[k, {D}\]"),
            ({"groups": [torch.zeros(0, D)] * 10}, ShapeError, "group 0"),
            ({"groups": [torch.full((3, D), float("nan"))] * 10}, InputError, "finite"),
            ({"threshold": float("nan")}, InputError, "threshold"),
            ({"threshold": "1"}, InputError, "threshold"),
            ({"micro_batch": -1}, InputError, "micro_batch"),
        ],
    )
    def test_what_does_not_fit(self, setting, options, error, text):
        with pytest.raises(error, match=text):
            setting.relax(**options)

    def test_labels_and_latents(self, setting):
        other = Groups()
        other.classes = torch.full((10,), CLASSES)
        with pytest.raises(InputError, match="labels from 0"):
            other.relax()
        other = Groups()
        other.centroids[4, 1] = float("inf")
        with pytest.raises(InputError, match="finite"):
            other.relax()
        other = Groups()
        other.generator.fails_after = 0
        with pytest.raises(InputError, match="finite energies at the centroids"):
            other.relax()

    @pytest.mark.parametrize(
        "options",
        [
            {"radius": -1.0},
            {"radius": float("inf")},
            {"steps": -1},
            {"steps": 2.5},
            {"lr": 0.0},
            {"max_probability": 0.0},
            {"max_probability": 1.5},
            {"distance": -1.0},
            {"classification": float("nan")},
            {"bisections": -1},
        ],
        ids=str,
    )
    def test_options(self, options):
        with pytest.raises(InputError, match=next(iter(options))):
            RelaxConfig(**options)


def hull_distance_by_least_squares(members, point):
    """min |M^T s - w| over s >= 0, sum s = 1, with the sum as a heavy extra equation."""
    heavy = 1e5
    a = np.vstack([(members - point).T, np.full(len(members), heavy)])
    shares, _ = nnls(a, np.append(np.zeros(len(point)), heavy))
    return float(np.linalg.norm(shares @ (members - point) / shares.sum()))


class TestNeighbourhood:
    @given(seed=st.integers(0, 10**6), k=st.integers(1, 12), d=st.integers(1, 8))
    def test_hull_distance(self, seed, k, d):
        rng = np.random.default_rng(seed)
        members, point = rng.normal(size=(k, d)), 2 * rng.normal(size=d)
        near = Neighbourhood(members.mean(axis=0), members, 1.0)
        found = near.hull_distance(point - members.mean(axis=0))
        assert found == pytest.approx(hull_distance_by_least_squares(members, point), abs=1e-5)

    def test_inside_the_hull(self):
        members = np.random.default_rng(0).normal(size=(9, 3))
        near = Neighbourhood(members.mean(axis=0), members, 1.0)
        inside = members.T @ np.full(9, 1 / 9) * 0.3 + members[2] * 0.7
        assert near.hull_distance(inside - members.mean(axis=0)) < 1e-6

    @given(
        seed=st.integers(0, 10**6),
        k=st.integers(1, 12),
        d=st.integers(1, 8),
        size=st.floats(1e-4, 10),
        radius=st.floats(0.05, 4),
    )
    def test_what_it_pulls_is_allowed(self, seed, k, d, size, radius):
        rng = np.random.default_rng(seed)
        members = rng.normal(size=(k, d))
        # Not always the mean: a geometric median, or a centre that was moved before.
        centre = members.mean(axis=0) + rng.choice([0.0, 0.3]) * rng.normal(size=d)
        near = Neighbourhood(centre, members, radius)
        move = size * rng.normal(size=d)
        pulled = near.pull(move)
        assert near.allows(pulled, slack=1e-9)
        again = np.linalg.norm(members - (centre + pulled), axis=1)
        assert (again >= np.linalg.norm(members - centre, axis=1) - 1e-9).all()
        if near.allows(move) and (near.squares > 0).all() and size > 0.1:
            assert np.allclose(pulled, move)

    def test_orthogonal_moves_are_left_alone(self):
        members = np.array([[1.0, 0, 0], [-1.0, 0, 0]])
        near = Neighbourhood(np.zeros(3), members, 2.0)
        assert np.array_equal(near.pull(np.array([0, 0.5, 0])), [0, 0.5, 0])
        # Towards the first one: allowed until |v|^2 = 2 <v, o>.
        pulled = near.pull(np.array([0.5, 0.5, 0]))
        assert pulled[1] == 0.5
        assert pulled[0] == pytest.approx(1 - np.sqrt(0.75), abs=1e-5)
        assert not near.allows(np.array([0.5, 0.5, 0]))
        assert not near.allows(np.array([0, 2.1, 0]))
