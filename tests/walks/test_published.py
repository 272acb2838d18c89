"""The walk against what the published PLAN code computes."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import latentpath
from latentpath.energy import PathEnergy
from latentpath.generators import StyleGAN2
from latentpath.models import Networks
from latentpath.walks import PublishedConfig
from latentpath.walks.requests_and_results import EPS_DISTANCE, chunk_weights

pytestmark = pytest.mark.numeric


def linear_model(weight, bias):
    model = nn.Sequential(nn.Flatten(), nn.Linear(weight.shape[1], weight.shape[0]))
    model[1].load_state_dict({"weight": weight, "bias": bias})
    return model


class Published:
    def __init__(self, folder) -> None:
        with np.load(folder / "plan_walk_gray32.npz") as file:
            self.figures = {n: torch.from_numpy(np.array(file[n])) for n in file.files}
        with np.load(folder / "stylegan2_gray32.npz") as file:
            kwargs = json.loads(file["init_kwargs"].tobytes())
            state = {
                n.removeprefix("state/"): torch.from_numpy(np.array(file[n]))
                for n in file.files
                if n.startswith("state/")
            }
        self.generator = StyleGAN2(**kwargs).eval()
        self.generator.load_state_dict(state)
        self.identity = linear_model(self.figures["id_weight"], self.figures["id_bias"])
        self.classifier = linear_model(self.figures["class_weight"], self.figures["class_bias"])
        self.label = int(self.figures["label"])
        self.start, self.end = self.figures["w_a"][0], self.figures["w_b"][0]

    @property
    def networks(self):
        return Networks(self.generator, self.identity, self.classifier)

    def walk(self, points, optim_steps, **options):
        return latentpath.walk(
            self.start,
            self.end,
            self.label,
            self.networks,
            steps=points,
            solver="published",
            config=PublishedConfig(optim_steps=optim_steps),
            **options,
        )


@pytest.fixture(scope="module")
def published(reference_dir):
    return Published(reference_dir)


CASES = [(12, 0), (12, 1), (12, 10), (12, 60), (7, 10)]


@pytest.mark.parametrize(("points", "optim_steps"), CASES)
def test_paths(published, points, optim_steps):
    ours = published.walk(points, optim_steps).latents
    theirs = published.figures[f"path_n{points}_steps{optim_steps}"]
    assert ours.shape == (1, points, 512)
    difference = (ours[0] - theirs).abs()
    if optim_steps <= 1:
        assert float(difference.max()) <= 1e-5
    else:
        assert float(difference.mean()) <= 1e-3
        assert float(difference.max()) <= 2e-2
        # The paths have moved much further than they may differ.
        moved = (theirs - published.walk(points, 0).latents[0]).abs()
        assert float(moved.mean()) > 20 * float(difference.mean())


def test_cases_are_all_that_is_published(published):
    named = {name for name in published.figures if name.startswith("path_")}
    assert named == {f"path_n{points}_steps{steps}" for points, steps in CASES}


def test_loss_terms_on_the_straight_line(published):
    before = published.walk(12, 0).before
    figures = published.figures
    for ours, theirs in [
        (before.identity, figures["linear_n12_privacy_loss"]),
        (before.classification, figures["linear_n12_class_loss"]),
        (before.smoothness, figures["linear_n12_equidistance_loss"]),
    ]:
        assert float(ours) == pytest.approx(float(theirs), rel=1e-4)
    assert float(before.total) == pytest.approx(
        0.1 * float(before.identity) + float(before.classification) + float(before.smoothness)
    )


def plain_plan(published, points, optim_steps, dtype):
    """The published optimisation written down again: autograd, torch.optim.Adam, chunks of four."""
    generator, label = published.generator, published.label
    start, end = published.start.to(dtype), published.end.to(dtype)
    t = torch.linspace(0, 1, points, dtype=dtype)[:, None]
    interior = (start + (end - start) * t)[1:-1].clone().requires_grad_()
    optimizer = torch.optim.Adam([interior], lr=0.1)
    for _ in range(optim_steps):
        path = torch.cat([start, interior, end])
        images = generator.synthesize(interior.float()).clamp(-1, 1).repeat(1, 3, 1, 1)
        privacy = crossing = 0.0
        for chunk in images.split(4):
            logits = published.identity(chunk)
            uniform = torch.full_like(logits, 1 / logits.shape[1])
            privacy = privacy + F.kl_div(logits.log_softmax(dim=1), uniform, reduction="batchmean")
            target = torch.full([len(chunk)], label)
            crossing = crossing + F.cross_entropy(published.classifier(chunk), target)
        distance = F.pairwise_distance(path[:-1], path[1:]).square().sum()
        optimizer.zero_grad()
        (0.1 * privacy + distance + crossing).backward()
        optimizer.step()
    return torch.cat([start, interior.detach(), end])


@pytest.mark.parametrize("points", [3, 6, 8, 11])
def test_ragged_chunks_against_autograd_and_adam(published, points):
    ours = published.walk(points, 4).latents[0]
    theirs = plain_plan(published, points, 4, torch.float32)
    difference = (ours - theirs).abs()
    assert float(difference.mean()) <= 1e-3
    assert float(difference.max()) <= 2e-2


@pytest.mark.parametrize("interior", [1, 3, 4, 5, 10, 48])
def test_chunk_weights(interior):
    weights = chunk_weights(interior + 2, 4)
    assert weights[0] == weights[-1] == 0
    whole, rest = divmod(interior, 4)
    wanted = [1 / 4] * (4 * whole) + [1 / rest] * rest if rest else [1 / 4] * interior
    assert weights[1:-1].tolist() == pytest.approx(wanted)
    # Every chunk is a mean.
    assert float(weights.sum()) == pytest.approx(whole + bool(rest))


def test_the_term_of_the_distance_has_its_offset(published):
    energy = PathEnergy(published.networks)
    path = published.walk(12, 0).latents
    labels = torch.tensor([published.label])
    terms = energy.terms(path, labels, chunk_weights(12, 4), EPS_DISTANCE)
    theirs = F.pairwise_distance(path[0, :-1], path[0, 1:]).square().sum()
    assert float(terms.smoothness) == pytest.approx(float(theirs), rel=1e-6)
    without = energy.terms(path, labels, chunk_weights(12, 4))
    assert float(terms.smoothness) != float(without.smoothness)
