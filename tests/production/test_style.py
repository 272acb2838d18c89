"""Local style alignment: the loss against its formula, and what it leaves alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from latentpath.core.errors import InputError
from latentpath.data import to_tensor
from latentpath.ksame import aggregate, k_same
from latentpath.production import make_baselines, produce, produce_set
from latentpath.production.prepared_endpoints import encode_images
from latentpath.production.style import (
    StyleConfig,
    _Sources,
    align_style,
    local_grams,
    person_weights,
    ramps,
)
from latentpath.production.verification import verify_set
from support import tiny_models
from support.tiny_models import quick_config


@pytest.fixture(scope="module")
def several():
    """People with one to three images each."""
    full = tiny_models.private_set((12, 9), per_person=3, seed=4)
    keep = np.flatnonzero(np.arange(len(full)) % 4 != 1)
    return type(full)(full.images[keep], full.labels[keep], full.identities[keep], full.class_names)


@pytest.fixture(scope="module")
def made(several, tiny_lpips):
    bundle = tiny_models.bundle_for(several, lpips=tiny_lpips)
    latents = encode_images(several, bundle, quick_config())
    # A random encoder puts all latents in one place; spread them.
    latents = latents + torch.randn(latents.shape, generator=torch.Generator().manual_seed(0))
    grouping = k_same(latents, several.identities, several.labels, 4)
    centroids = aggregate(latents, grouping, several.identities)
    return bundle, grouping, centroids


def aligned(several, made, **options):
    bundle, grouping, centroids = made
    config = StyleConfig(**{"steps": 12, "lr": 0.05, **options})
    return align_style(centroids, several, grouping, bundle.generator, bundle.lpips, config)


def textbook_loss(image, sources, identities, lpips, style_weight):
    """The loss of one group by loops, in float64."""

    def grams(pixels):
        features = lpips.first_features(pixels)[0].double()
        size = features.shape[1]
        extent = -(-size // 4)
        starts = [round(i * (size - extent) / 3) for i in range(4)]
        out = []
        for top in starts:
            for left in starts:
                crop = features[:, top : top + extent, left : left + extent].reshape(64, -1)
                out.append((crop @ crop.T / crop.shape[1]).flatten())
        return out

    people = np.unique(identities)
    own = grams(image)
    content = style = scale = 0.0
    for pixels, who in zip(sources, identities, strict=True):
        weight = 1 / (len(people) * (identities == who).sum())
        content += weight * float(lpips(image, pixels[None])[0])
        others = grams(pixels[None])
        for gram in own:
            cosines = [float(gram @ o / (gram.norm() * o.norm())) for o in others]
            style += weight * float((gram - others[int(np.argmax(cosines))]).square().sum()) / 16
        scale += weight * sum(float(o.square().sum()) for o in others) / 16
    return content + style_weight * style / scale


@torch.no_grad()
@pytest.mark.parametrize("style_weight", [0.0, 1.0, 3.0])
def test_the_loss_is_the_one_of_the_formula(several, made, style_weight):
    bundle, grouping, centroids = made
    images = bundle.generator.synthesize(centroids).clamp(-1, 1)
    groups = range(1, 4)
    sources = _Sources(several, grouping, groups, bundle.lpips)
    found = sources.losses(images[1:4], bundle.lpips, style_weight)
    for i, group in enumerate(groups):
        rows = grouping.rows(group)
        expected = textbook_loss(
            images[group : group + 1],
            to_tensor(several.images[rows]),
            several.identities[rows],
            bundle.lpips,
            style_weight,
        )
        assert float(found[i]) == pytest.approx(expected, rel=2e-4)


def test_people_weigh_the_same_however_many_images_they_have():
    weights = person_weights(np.array([0, 0, 0, 1, 1]), np.array([7, 7, 2, 7, 3]))
    assert weights.tolist() == [0.25, 0.25, 0.5, 0.5, 0.5]


@pytest.mark.parametrize("side", [15, 7, 63, 16, 4])
def test_crops_cover_the_map(side):
    """A single bright pixel, wherever it is, shows in a Gram matrix."""
    for place in {0, side // 3, side // 2, side - 1}:
        features = torch.zeros(1, 2, side, side)
        features[0, 1, place, side - 1 - place] = 1
        grams = local_grams(features)
        assert grams.shape == (1, 16, 4)
        assert float(grams[..., 3].sum()) > 0
        assert float(grams[..., :3].abs().sum()) == 0


def test_the_loss_falls_for_every_group(several, made):
    result = aligned(several, made)
    assert (result.after <= result.before).all()
    assert float((result.after < result.before).float().mean()) >= 0.8
    assert float(result.after.mean()) < 0.97 * float(result.before.mean())
    moved = (result.latents - made[2]).norm(dim=1)
    assert (moved[result.after < result.before] > 0).all()


def test_equal_input_equal_latents(several, made):
    torch.manual_seed(1)
    first = aligned(several, made, steps=3)
    torch.manual_seed(2)
    assert torch.equal(aligned(several, made, steps=3).latents, first.latents)


def test_groups_do_not_influence_each_other(several, made):
    whole, single = aligned(several, made, steps=3), aligned(several, made, steps=3, batch=1)
    torch.testing.assert_close(single.latents, whole.latents, atol=2e-3, rtol=0)
    torch.testing.assert_close(single.after, whole.after, atol=1e-3, rtol=1e-3)


def test_no_steps_keep_the_averages(several, made):
    result = aligned(several, made, steps=0)
    assert torch.equal(result.latents, made[2])
    assert torch.equal(result.before, result.after)


def test_the_rate_rises_and_falls():
    rates = [ramps(step / 100) for step in range(100)]
    assert rates[0] < 0.01
    assert max(rates) == 1.0
    assert rates[10] == rates[70] == 1.0
    assert rates[75:] == sorted(rates[75:], reverse=True)
    assert 0 < rates[-1] < 0.01


@pytest.mark.parametrize(
    "options", [{"steps": -1}, {"lr": 0.0}, {"style_weight": -1.0}, {"batch": 0}]
)
def test_impossible_options(options):
    with pytest.raises(InputError, match="style steps"):
        StyleConfig(**options)


@pytest.fixture(scope="module")
def sets(data, bundle):
    config = quick_config(count=9, aggregation="style", style_steps=2)
    return produce_set(data, bundle, config), produce_set(data, bundle, quick_config(count=9))


class TestPipeline:
    def test_the_promise_is_that_of_the_averages(self, sets):
        styled, plain = (made.endpoints.certificate for made in sets)
        assert styled.promise == plain.promise
        assert styled.aggregation == "style"
        for name in ("k", "num_groups", "smallest_group", "identities_used"):
            assert getattr(styled, name) == getattr(plain, name)

    def test_the_averages_are_kept_for_comparison(self, sets, bundle):
        styled, plain = sets
        assert torch.equal(styled.endpoints.averages, plain.endpoints.centroids)
        assert not torch.equal(styled.endpoints.centroids, plain.endpoints.centroids)
        assert make_baselines(plain, bundle).averages is None
        averages = make_baselines(styled, bundle).averages
        assert np.array_equal(averages.images, make_baselines(plain, bundle).centroids.images)

    def test_it_is_verified_as_far_as_that_goes(self, data, bundle, tmp_path):
        config = quick_config(count=9, aggregation="style", style_steps=2)
        folder = produce(data, bundle, tmp_path, config).folder
        found = verify_set(folder.set, folder.private_file)
        assert found.ok, found.lines()
        assert any("needs the networks" in line for line in found.not_verified)
        assert any("3 distinct people" in line for line in found.verified)
