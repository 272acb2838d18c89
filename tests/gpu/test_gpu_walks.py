"""Walks on a GPU: no tensor of another device, no wait that is not meant, the same paths."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from latentpath import ops
from latentpath.core.errors import LatentpathWarning
from latentpath.energy import FeatureEnergy, PathEnergy, SurrogateGuide
from latentpath.energy.batches import CudaGraphed
from latentpath.models import Networks, PathPredictor
from latentpath.walks import (
    FastConfig,
    LatentMetric,
    PublishedConfig,
    RelaxConfig,
    relax_endpoints,
    walk,
)
from latentpath.walks.fast import FastSolver
from latentpath.walks.flights import Flights
from support.tiny_walks import CLASSES, D, Setting, quick


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


def counted(counter, where):
    return sum(count for place, count in counter.items() if where in place)


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


OF_TWO = FastConfig(passes=6, exploration=0.5, tolerance=0.0)
SHORT = {**OPTIONS, "steps": 4, "micro_batch": 256, "config": OF_TWO}
LONG = {**OPTIONS, "steps": 34, "micro_batch": 2048, "config": quick(tolerance=0.0, memory=64)}


@pytest.mark.parametrize("options", [SHORT, LONG], ids=["short", "long"])
@pytest.mark.parametrize("paths", [3, 9, 40])
def test_one_wait_an_evaluation(gpu, options, paths):
    """What decides about paths comes from the GPU in one piece, and goes there in one."""
    setting = Setting(paths=paths)
    setting.there = lambda x: x.to(gpu.device)
    networks, calls = moved(setting, gpu), []
    walk(*ends(setting), networks, **options)
    if not gpu.pretended:
        pytest.skip("a real GPU counts no waits")
    gpu.forget()
    walk(*ends(setting), networks, visited=calls.append, **options)
    assert counted(gpu.waits, " at walks/fast.py:advance") == len(calls)
    assert counted(gpu.copies, " at walks/fast.py:_models") == len(calls)
    # And where paths begin beside their lines, and where they end; the ends are looked at, and
    # the labels fetched.
    explores = options["steps"] < 8
    assert counted(gpu.waits, " at walks/pool.py:_enter") == explores
    assert counted(gpu.waits, " at walks/pool.py:_take_earlier") == explores
    assert counted(gpu.waits, " at walks/pool.py:_land") == 1
    assert sum(gpu.waits.values()) == len(calls) + 2 * explores + 1 + 2


@pytest.mark.parametrize("options", [SHORT, LONG], ids=["short", "long"])
def test_more_paths_are_no_more_launches(gpu, options):
    """Of any evaluation: where they turn back, begin anew, are on several levels, or end."""
    counts = [launches_and_waits(gpu, paths, **options) for paths in (3, 9, 40)]
    if not gpu.pretended:
        pytest.skip("a real GPU counts nothing")
    assert counts[0] == counts[1] == counts[2]
    assert {waits for _, waits in counts[0]} == {1}
    assert len({launches for launches, _ in counts[0]}) > 2


def launches_and_waits(gpu, paths, *, steps, config, micro_batch, precision):
    """Of every evaluation of so many paths, and as many that begin three evaluations later."""
    setting = Setting(paths=2 * paths)
    setting.there = lambda x: x.to(gpu.device)
    energy = PathEnergy(moved(setting, gpu), micro_batch=micro_batch, fixed_batches=True)
    solver = FastSolver(energy, config, steps)

    def begun(rows):
        both = torch.stack([setting.start[rows], setting.end[rows]], dim=1)
        line_terms = setting.there(torch.zeros(len(both), 4))
        numbers = torch.arange(2 * paths)[rows]
        return solver.take_off(numbers, setting.labels[rows], setting.there(both), line_terms, both)

    solver.advance([begun(slice(None))])  # looks at the networks
    flights, counts, ended = [begun(slice(paths))], [], 0
    while flights:
        gpu.forget()
        flights, landed = solver.advance(flights)
        counts.append((gpu.launches, sum(gpu.waits.values())))
        ended += sum(map(len, landed))
        if len(counts) == 3:
            flights = Flights.by_level([*flights, begun(slice(paths, None))])
    assert ended == 2 * paths
    return counts


@pytest.mark.parametrize("predicted", [False, True])
def test_more_paths_begin_and_end_in_no_more_launches(gpu, predicted):
    """In a metric, too, with a predictor or without."""
    counts = []
    for paths in (3, 9, 40):
        setting = Setting(paths=paths)
        setting.there = lambda x: x.to(gpu.device)
        networks = moved(setting, gpu)
        if predicted:
            torch.manual_seed(3)
            predictor = PathPredictor(D, CLASSES, width=32, depth=2).requires_grad_(False)
            torch.nn.init.normal_(predictor.last.weight, std=0.05)
            predictor.trained_for = networks.fingerprint()
            networks = dataclasses.replace(networks, predictor=predictor.to(gpu.device))
        metric = LatentMetric.of_covariance(*map(setting.there, (torch.zeros(D), torch.eye(D))))
        options = {**LONG, "metric": metric}
        walk(*ends(setting, slice(1)), networks, **options | SHORT)  # looks at the networks
        gpu.forget()
        walked = walk(*ends(setting), networks, **options)
        counts.append((gpu.launches, sum(gpu.waits.values())))
        few = walk(*ends(setting, slice(1, 3)), networks, **options)
        assert torch.equal(few.latents.cpu(), walked.latents[1:3].cpu())
    if not gpu.pretended:
        pytest.skip("a real GPU counts nothing")
    assert counts[0] == counts[1] == counts[2]


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
