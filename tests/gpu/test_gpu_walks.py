"""Walks on a GPU: no tensor of another device, no wait that is not meant, the same paths."""

from __future__ import annotations

import pytest
import torch

from latentpath import ops
from latentpath.core.errors import LatentpathWarning
from latentpath.energy import FeatureEnergy, PathEnergy, SurrogateGuide
from latentpath.energy.cuda_graphs import CudaGraphed
from latentpath.models import Networks
from latentpath.walks import (
    FastConfig,
    LatentMetric,
    PublishedConfig,
    RelaxConfig,
    relax_endpoints,
    walk,
)
from latentpath.walks.fast import FastSolver
from support.tiny_walks import Setting, quick


@pytest.fixture
def setting(gpu):
    """Networks on the GPU; `there` brings tensors to it."""
    made = Setting()
    made.on_cpu = made.walk()
    made.there = lambda x: x.to(gpu.device)
    return made


def moved(setting, gpu, surrogate=None):
    for network in (setting.generator, setting.identity, setting.classifier):
        network.to(gpu.device)
    networks = setting.networks(surrogate)
    return Networks(networks.generator, networks.identity, networks.classifier, surrogate)


def ends(setting, rows=slice(None)):
    return (setting.there(x[rows]) for x in (setting.start, setting.end, setting.labels))


OPTIONS = {"micro_batch": 64, "steps": 17, "precision": "float32"}


def advances(gpu):
    return sum(count for place, count in gpu.waits.items() if "advance" in place)


@pytest.mark.parametrize("cuda_graphs", [False, True])
def test_the_same_paths_as_on_the_processor(gpu, setting, cuda_graphs):
    networks = moved(setting, gpu)
    gpu.forget()
    walked = walk(*ends(setting), networks, config=quick(), cuda_graphs=cuda_graphs, **OPTIONS)
    expected = setting.on_cpu
    assert walked.latents.device == gpu.device
    torch.testing.assert_close(walked.before.total.cpu(), expected.before.total)
    torch.testing.assert_close(walked.after.total.cpu(), expected.after.total, rtol=0.02, atol=0)
    if gpu.pretended and cuda_graphs:
        assert gpu.replays > 5


def test_one_wait_an_evaluation(gpu, setting):
    """What decides about a path comes from the GPU in one piece."""
    networks, calls = moved(setting, gpu), []
    walk(*ends(setting), networks, config=quick(), visited=calls.append, **OPTIONS)
    if not gpu.pretended:
        pytest.skip("a real GPU counts no waits")
    assert advances(gpu) == len(calls)
    # Likewise what the processor tells it: all numbers of the paths in one copy.
    copies = sum(count for place, count in gpu.copies.items() if "_stacked" in place)
    assert copies == len(calls)
    beside = {place for place in gpu.waits if "fast.py" in place and "take_off" not in place}
    assert all("tolist at walks/fast.py:advance" in place for place in beside), beside


def test_more_paths_are_no_more_launches(gpu, setting):
    """But where paths begin, end, or go on to another level."""
    networks = moved(setting, gpu)
    energy = PathEnergy(networks, micro_batch=128, fixed_batches=True)
    solver = FastSolver(energy, quick(), 34)

    def launches(count):
        start, end, labels = ends(setting, slice(count))
        each = enumerate(zip(labels.tolist(), start, end, strict=True))
        flights = [solver.take_off(number, *path) for number, path in each]
        solver.advance(flights)
        gpu.forget()
        solver.advance(flights)
        return gpu.launches

    assert launches(9) == launches(3)


@pytest.mark.parametrize("cuda_graphs", [False, True])
def test_with_a_surrogate(gpu, setting, cuda_graphs):
    surrogate = setting.surrogate()
    expected = setting.walk(surrogate=surrogate)
    networks = moved(setting, gpu, surrogate.to(gpu.device))
    surrogate.trained_for = networks.fingerprint()
    gpu.forget()
    walked = walk(*ends(setting), networks, config=quick(), cuda_graphs=cuda_graphs, **OPTIONS)
    torch.testing.assert_close(walked.after.total.cpu(), expected.after.total, rtol=0.05, atol=0)
    assert not [place for place in gpu.waits if "surrogate_guide.py:gradient" in place]


HALF = {"bfloat16": torch.bfloat16, "float16": torch.float16}


@pytest.mark.parametrize("precision", ["float32", "tf32", *HALF])
def test_the_bank_is_in_the_precision_that_was_asked_for(gpu, setting, monkeypatch, precision):
    """Half of it is what GPUs have matrix units for; what is reported is float32 in any case."""
    surrogate = setting.surrogate()
    networks = moved(setting, gpu, surrogate.to(gpu.device))
    surrogate.trained_for = networks.fingerprint()
    seen, original = set(), ops.bank_lse

    def noted(query, bank, bias):
        seen.add((query.dtype, bank.dtype))
        assert bias.dtype == torch.float32
        return original(query, bank, bias)

    monkeypatch.setattr(ops, "bank_lse", noted)
    options = {**OPTIONS, "precision": precision}
    walked = walk(*ends(setting), networks, config=quick(), split_head=True, **options)
    half = HALF.get(precision, torch.float32)
    assert seen == {(torch.float32, torch.float32), (half, half)}
    assert walked.before.total.dtype == torch.float32
    torch.testing.assert_close(walked.before.total.cpu(), setting.on_cpu.before.total)
    assert (walked.after.total <= walked.before.total).all()


@pytest.mark.parametrize("policy", [None, torch.float32, *HALF.values()], ids=str)
def test_the_energy_of_features_in_half_precision(gpu, policy):
    """As the same rounded rows give it in float64, and never below zero."""
    torch.manual_seed(0)
    head = torch.nn.Linear(24, 300).requires_grad_(False)
    features = 3 * torch.randn(40, 24)
    features[:3] = 0
    exact = FeatureEnergy(head.double(), policy=None)
    head = head.float()
    made = FeatureEnergy(head.to(gpu.device), policy=policy)
    energy, slope = (x.cpu() for x in made.with_slope(features.to(gpu.device)))
    assert energy.dtype == slope.dtype == torch.float32
    expected, towards = exact.with_slope(features.double())
    eps = torch.finfo(policy or torch.float32).eps
    size = (features @ head.cpu().weight.T).abs().max()
    assert (energy - expected).abs().max() <= 4 * eps * float(size)
    assert (slope - towards).abs().max() <= 8 * eps * float(size) * float(head.weight.abs().max())
    assert energy.min() > -1e-5


def test_a_path_gets_the_same_bits_in_any_company(gpu, setting):
    networks = moved(setting, gpu)
    together = walk(*ends(setting), networks, config=quick(), **OPTIONS)
    few = walk(*ends(setting, slice(2, 5)), networks, config=quick(), **OPTIONS)
    assert torch.equal(few.latents.cpu(), together.latents[2:5].cpu())


def test_in_a_metric_with_a_distance_and_short_paths(gpu, setting):
    networks = moved(setting, gpu)
    width = setting.start.shape[1]
    spread = torch.diag(torch.linspace(0.5, 2, width))
    metric = LatentMetric.of_covariance(*map(setting.there, (torch.zeros(width), spread)))
    walked = walk(
        *ends(setting),
        networks,
        config=FastConfig(passes=4.0, exploration=0.5),
        metric=metric,
        nearest=lambda images: images.flatten(1).square().sum(1),
        **{**OPTIONS, "steps": 5},
    )
    assert walked.nearest.shape == (9, 5)
    assert torch.equal(walked.latents[:, 0].cpu(), setting.start)
    assert (walked.after.total <= walked.before.total).all()


def test_as_published(gpu, setting):
    networks = moved(setting, gpu)
    walked = walk(
        *ends(setting), networks, steps=6, config=PublishedConfig(optim_steps=3), micro_batch=64
    )
    assert walked.latents.device == gpu.device
    assert torch.isfinite(walked.after.total).all()


def test_endpoints_become_safe(gpu, setting):
    networks = moved(setting, gpu)
    start, _, labels = ends(setting)
    relaxed = relax_endpoints(
        start, labels, networks, config=RelaxConfig(steps=3), precision="float32"
    )
    assert relaxed.latents.device == gpu.device


def test_a_recorded_surrogate_gives_the_same_bits(gpu, setting):
    surrogate = setting.surrogate().to(gpu.device)
    head = setting.identity[-1].to(gpu.device)
    points, labels, weights = torch.randn(50, 13), torch.arange(50) % 11, torch.rand(50)
    inputs = [x.to(gpu.device) for x in (points, labels, weights)]
    slopes = []
    for cuda_graphs in (False, True):
        guide = SurrogateGuide(surrogate, head, block=32, cuda_graphs=cuda_graphs)
        assert guide.block == 32
        slopes += [guide.gradient(*inputs).cpu() for _ in range(2)]
    assert all(torch.equal(slope, slopes[0]) for slope in slopes)


def test_a_recording_computes_with_its_latest_arguments(gpu):
    graphed = CudaGraphed(lambda x, y: (x * y).exp())
    for seed in (1, 2, 3):
        x = torch.full((3,), float(seed)).to(gpu.device)
        torch.testing.assert_close(graphed(x, x / 2).cpu(), (x.cpu() ** 2 / 2).exp())


def test_what_waits_cannot_be_recorded(gpu):
    def waits(x):
        return x * float(x.sum())

    x = torch.ones(3).to(gpu.device)
    graphed = CudaGraphed(waits, may_fail=True)
    with pytest.warns(LatentpathWarning, match="cannot be recorded as a CUDA graph"):
        assert graphed(x).tolist() == [3.0] * 3
    assert graphed(2 * x).tolist() == [12.0] * 3
    with pytest.raises(RuntimeError, match="captur"):
        CudaGraphed(waits)(x)
