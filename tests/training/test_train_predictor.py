"""Training the path predictor."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from latentpath.core.errors import DataError, InputError, WeightsError
from latentpath.energy import EnergyWeights
from latentpath.models import Networks
from latentpath.training import PredictorConfig, evaluate_predictor, train_predictor
from latentpath.training.checkpoint import Checkpointer
from latentpath.walks import FastConfig, LatentMetric, PublishedConfig, walk
from support import drawn_networks

TINY = PredictorConfig(points=64, batch=16, walk_steps=6, width=16, depth=2)
LONGER = replace(TINY, points=3_000, batch=64, width=48, depth=3, lr=5e-3)


@pytest.fixture(scope="module")
def trained(networks, real):
    return replace(networks, predictor=train_predictor(networks, *real, config=LONGER))


def states(predictor):
    return list(predictor.state_dict().values())


def same_weights(first, second):
    return all(map(torch.equal, states(first), states(second)))


def ends(real):
    latents, labels = real
    start, end = latents[:12], latents[15:27]
    assert torch.equal(labels[:12], labels[15:27])
    return start, end, labels[:12]


def test_its_paths_have_lower_energy_than_lines(trained, networks, real):
    told = evaluate_predictor(trained, *real, config=LONGER)
    assert told["predicted energy ratio"] < 0.94
    untrained = train_predictor(networks, *real, config=replace(TINY, lr=1e-9))
    before = evaluate_predictor(replace(networks, predictor=untrained), *real, config=LONGER)
    assert before["predicted energy ratio"] == pytest.approx(1.0, abs=1e-3)
    assert not trained.predictor.training
    assert not any(p.requires_grad for p in trained.predictor.parameters())


def test_walks_that_begin_there_end_lower(trained, networks, real):
    given = {
        "steps": 6,
        "precision": "float32",
        "config": FastConfig(passes=1, weights=LONGER.weights.for_points(6), tolerance=0),
    }
    plain = walk(*ends(real), networks, **given)
    helped = walk(*ends(real), trained, **given)
    saved = (with_it.before.total - with_it.after.total for with_it in (helped, plain))
    assert float(next(saved).mean()) > 1.5 * float(next(saved).mean())
    assert bool((helped.after.total <= helped.before.total).all())
    assert torch.equal(helped.latents[:, 0], ends(real)[0])
    assert torch.equal(helped.latents[:, -1], ends(real)[1])


@pytest.mark.parametrize("points", [4, 20])
def test_a_path_is_the_same_whatever_flies_beside_it(trained, real, points):
    config = FastConfig(passes=3, tolerance=0)
    start, end, labels = ends(real)
    together = walk(start, end, labels, trained, steps=points, config=config, micro_batch=16)
    alone = walk(
        start[4:5], end[4:5], labels[4:5], trained, steps=points, config=config, micro_batch=16
    )
    assert torch.equal(together.latents[4:5], alone.latents)


def test_in_a_metric_the_predicted_curve_is_the_same(trained, real):
    """One true evaluation with steps that move nothing shows where walks begin."""
    latents, _ = real
    metric = LatentMetric.of_covariance(latents.mean(dim=0), torch.cov(latents.T))
    seen = []
    for chosen in (None, metric):
        points = []
        config = FastConfig(passes=1, lr=1e-12, tolerance=0)
        walk(*ends(real), trained, steps=5, config=config, metric=chosen, visited=points.append)
        seen.append(torch.cat(points)[:36])
    assert torch.allclose(seen[0], seen[1], atol=1e-5)
    start, end, labels = ends(real)
    expected = trained.predictor(start, end, labels, torch.tensor([0.25, 0.5, 0.75]))
    assert torch.allclose(seen[0], expected.flatten(0, 1), atol=1e-6)


def test_it_belongs_to_its_networks(trained, real):
    trained.check_trained_for()
    torch.manual_seed(5)
    other = replace(trained, classifier=drawn_networks.classifier(3).eval())
    with pytest.raises(WeightsError, match="train predictor"):
        walk(*ends(real), other, steps=6)
    nameless = train_predictor(trained, *real, config=TINY)
    nameless.trained_for = ""
    with pytest.raises(WeightsError, match="names no networks"):
        replace(trained, predictor=nameless).check_trained_for()


def test_a_class_that_it_never_saw_is_refused(networks, real):
    latents, labels = real
    two = labels < 2
    known = replace(
        networks, predictor=train_predictor(networks, latents[two], labels[two], config=TINY)
    )
    with pytest.raises(InputError, match="labels below 2"):
        walk(latents[2:3], latents[5:6], 2, known, steps=5)


def test_the_published_solver_has_no_use_for_it(trained, networks, real):
    config = PublishedConfig(optim_steps=2)
    with_it, without = (
        walk(*ends(real), chosen, steps=5, config=config).latents for chosen in (trained, networks)
    )
    assert torch.equal(with_it, without)


def test_the_gradient_is_the_energys(networks, real):
    """With every inner point asked about, the loss has the gradient of the true mean energy."""
    from latentpath.training.predictor_training import _PredictorRun
    from latentpath.walks import EPS_DISTANCE, chunk_weights

    torch.manual_seed(3)
    config = replace(TINY, walk_steps=3, weights=EnergyWeights(0.8, 0.3, 0.7))
    run = _PredictorRun(networks, *real, config, None)
    torch.nn.init.normal_(run.predictor.last.weight, std=0.3)
    state = torch.get_rng_state()
    loss, energy = run._loss()
    loss.backward()
    found = run.predictor.first.weight.grad.clone()
    torch.set_rng_state(state)
    torch.randint(3, 4, ())
    drawn = run._pairs(16)
    path = run._path(drawn, 3)
    images = networks.generator.synthesize(path[:, 1])
    identity = torch.log_softmax(networks.identity(images), dim=1)
    divergence = -(identity.mean(dim=1) + torch.tensor(30.0).log())
    classes = torch.nn.functional.cross_entropy(
        networks.classifier(images), drawn[2], reduction="none"
    )
    smoothness = (path[:, 1:] - path[:, :-1] + EPS_DISTANCE).square().sum(dim=(1, 2))
    weight = float(chunk_weights(3, 4)[1])
    share = 0.8 * (2 / 49) ** 2
    total = (share * smoothness + weight * (0.3 * divergence + 0.7 * classes)).mean()
    assert energy == pytest.approx(
        float(total.detach()), rel=0.02
    )  # bfloat16, where the processor has it
    run.predictor.zero_grad()
    total.backward()
    expected = run.predictor.first.weight.grad
    assert float((found - expected).norm() / expected.norm()) < 0.05


def test_a_stopped_training_goes_on(networks, real, tmp_path, monkeypatch):
    whole = train_predictor(networks, *real, config=TINY)
    monkeypatch.setattr(Checkpointer, "due", lambda self: True)

    def stop(stage, done, total, figures):
        if done == 3:
            raise KeyboardInterrupt

    file = tmp_path / "predictor.checkpoint"
    with pytest.raises(KeyboardInterrupt):
        train_predictor(networks, *real, config=TINY, checkpoint=file, progress=stop)
    seen = []
    again = train_predictor(
        networks,
        *real,
        config=TINY,
        checkpoint=file,
        progress=lambda stage, done, *_: seen.append((stage, done)),
    )
    assert seen[0] == ("predictor", 3)
    assert same_weights(whole, again)
    with pytest.raises(WeightsError):
        train_predictor(networks, *real, config=replace(TINY, lr=1.0), checkpoint=file)
    metric = LatentMetric.of_covariance(real[0].mean(dim=0), torch.cov(real[0].T))
    with pytest.raises(WeightsError):
        train_predictor(networks, *real, config=TINY, metric=metric, checkpoint=file)


def test_what_cannot_be_learnt_from_is_refused(networks, real):
    latents, labels = real
    with pytest.raises(DataError, match="finite"):
        train_predictor(networks, latents * torch.nan, labels, config=TINY)
    with pytest.raises(InputError, match="label"):
        train_predictor(networks, latents, labels + 1, config=TINY)
    function = Networks(networks.generator, networks.identity, lambda i: networks.classifier(i))
    with pytest.raises(InputError, match="state_dict"):
        train_predictor(function, latents, labels, config=TINY)
    with pytest.raises(InputError, match="networks with a predictor"):
        evaluate_predictor(networks, latents, labels, config=TINY)
    for bad in ({"walk_steps": 2}, {"points": 0}, {"lr": 0.0}, {"people": 0}, {"width": 0}):
        with pytest.raises(InputError):
            replace(TINY, **bad)
