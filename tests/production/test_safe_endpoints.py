"""Endpoints "safe" in the pipeline: what moves, what is told of it, and what is verified."""

from __future__ import annotations

import dataclasses
import json
import shutil

import numpy as np
import pytest
import torch
from torch import nn

from latentpath.core.errors import InputError, PrivacyError
from latentpath.data import load_digits_split, resize_images, to_tensor
from latentpath.ksame import aggregate, k_same
from latentpath.models import predict
from latentpath.production import make_baselines, produce, produce_set, synthetic_set
from latentpath.production.bundle import ASSETS, load_bundle
from latentpath.production.prepared_endpoints import encode_images, safe_endpoints
from latentpath.production.private_file import read_record
from latentpath.production.verification import verify_set
from latentpath.production.walking import render
from support import tiny_models
from support.tiny_models import produce_config, quick_config
from support.tiny_runs import forge, private_of


@pytest.fixture(scope="module")
def data():
    return tiny_models.private_set()


@pytest.fixture(scope="module")
def bundle(data, tiny_lpips):
    made = tiny_models.bundle_for(data, lpips=tiny_lpips)
    with torch.no_grad():
        for network, times in ((made.identity, 8), (made.encoder, 20)):
            # Sure of itself; and latents that lie apart.
            last = [layer for layer in network.modules() if isinstance(layer, nn.Linear)][-1]
            last.weight.mul_(times)
        # The class of each group is whatever its image looks like: all in one.
        last = [layer for layer in made.classifier.modules() if isinstance(layer, nn.Linear)][-1]
        last.weight.zero_()
        last.bias.zero_()
    return made


def safe_config(energy=0.0, **options):
    return quick_config(count=9, endpoints="safe", safe_energy=energy, **options)


@pytest.fixture(scope="module")
def sets(data, bundle):
    plain = produce_set(data, bundle, quick_config(count=9, gate_identity=0.5))
    safe = produce_set(data, bundle, safe_config(1e-3, gate_identity=0.99))
    return safe, plain


def test_unsafe_centroids_of_the_right_class_move(sets):
    safe, plain = (made.endpoints for made in sets)
    told = safe.relaxed
    assert plain.relaxed is None
    assert torch.equal(safe.averages, plain.centroids)
    moved = (safe.centroids != plain.centroids).any(dim=1)
    assert told["endpoints"] == len(moved)
    assert told["moved"] == int(moved.sum()) > 0
    assert told["mean_energy_after"] < told["mean_energy_before"]
    # A classifier of zeros takes everything for class 0: nobody else may move.
    assert not moved[torch.as_tensor(safe.labels) != 0].any()


def test_no_endpoint_comes_nearer_to_anybody_behind_it(sets):
    safe = sets[0].endpoints
    for group, (before, after) in enumerate(zip(safe.averages, safe.centroids, strict=True)):
        members = safe.latents[torch.as_tensor(safe.grouping.assignment == group)].double()
        was = (members - before.double()).norm(dim=1)
        now = (members - after.double()).norm(dim=1)
        assert (now >= was).all()
        assert (after - before).norm() <= was.mean() * (1 + 1e-6)


def test_the_promise_is_that_of_the_averages(sets, bundle):
    safe, plain = (made.endpoints.certificate for made in sets)
    assert safe.promise == plain.promise
    assert safe.configuration["endpoints"]["kind"] == "safe"
    assert make_baselines(sets[1], bundle).averages is None
    assert make_baselines(sets[0], bundle).averages is not None


def test_on_digits_the_gate_recognises_nobody_in_them():
    bundle, full = load_bundle(ASSETS), load_digits_split().private
    rows = np.concatenate([np.flatnonzero(full.labels == label)[:25] for label in (0, 3, 8)])
    real = full.subset(rows)
    real = dataclasses.replace(real, images=resize_images(real.images, 32))
    config = produce_config(endpoints="safe")
    latents = encode_images(real, bundle, config)
    grouping = k_same(latents, real.identities, real.labels, 5)
    centroids = aggregate(latents, grouping, real.identities)
    found = safe_endpoints(centroids, latents, grouping, bundle, config)

    def recognised(latents):  # in images of 8 bits, as they are written
        images = to_tensor(render(bundle, latents))
        return predict(bundle.identity, images).softmax(dim=1).amax(dim=1) > config.gate.identity

    assert int(recognised(centroids).sum()) >= 5
    assert found.safe.float().mean() > 0.9
    assert not (recognised(found.latents) & found.safe).any()
    classes = predict(bundle.classifier, to_tensor(render(bundle, found.latents))).argmax(dim=1)
    moved = found.moved > 0
    assert torch.equal(classes[moved], torch.as_tensor(grouping.group_labels)[moved])


@pytest.fixture(scope="module")
def run(data, bundle, tmp_path_factory):
    """The run of the first set; tests leave it as it is."""
    config = safe_config(1e-3, gate_identity=0.99)
    return produce(data, bundle, tmp_path_factory.mktemp("safe") / "run", config)


class TestWritten:
    @pytest.fixture
    def folder(self, run, tmp_path):
        """A copy of the set and of what lies beside it, to be spoilt."""
        shutil.copytree(run.folder.root, tmp_path / "run")
        return tmp_path / "run" / run.folder.set.name

    def test_the_manifest_tells_counts_and_means(self, folder, sets, data, bundle, tmp_path):
        told = json.loads((folder / "manifest.json").read_text())["relaxed_endpoints"]
        assert told == sets[0].endpoints.relaxed
        assert all(isinstance(value, int | float) for value in told.values())
        plain = produce(data, bundle, tmp_path / "plain", quick_config(count=9, gate_identity=0.5))
        assert "relaxed_endpoints" not in plain.manifest

    def test_it_is_verified_without_networks(self, folder):
        found = verify_set(folder, private_of(folder))
        assert found.ok, found.lines()
        assert any("was moved from it" in line for line in found.verified)
        assert any("needs the networks" in line for line in found.not_verified)

    @pytest.mark.parametrize("where", ["away", "towards a person"])
    def test_endpoints_elsewhere_are_found(self, folder, sets, where):
        place = private_of(folder)
        record = read_record(place)
        people, centroids = record.people, record.centroids.copy()
        if where == "away":
            centroids[1] += 1.0 + np.abs(people.latents).max()
        else:
            first = np.flatnonzero(people.assignment == 1)[0]
            centroids[1] += 0.2 * (people.latents[first] - centroids[1])
        made = sets[0]
        # As if the forger had sealed the set anew.
        forge(folder, made.samples, made.path, made.step, centroids=centroids)
        found = verify_set(folder, place)
        assert any("endpoint 1" in str(finding) for finding in found.findings)


def test_a_run_moves_the_same_endpoints(data, bundle, run, sets):
    result, again = run, synthetic_set(run, data, bundle)
    assert torch.equal(again.endpoints.centroids, sets[0].endpoints.centroids)
    assert torch.equal(again.endpoints.averages, sets[0].endpoints.averages)
    assert again.endpoints.relaxed == sets[0].endpoints.relaxed
    assert result.manifest["relaxed_endpoints"] == sets[0].endpoints.relaxed
    found = verify_set(result.folder.set, result.folder.private_file)
    assert found.ok, found.lines()


def test_after_style_alignment_the_networks_are_needed(data, bundle, tmp_path):
    config = safe_config(1e-3, gate_identity=0.99, aggregation="style", style_steps=1)
    folder = produce(data, bundle, tmp_path, config).folder
    found = verify_set(folder.set, folder.private_file)
    assert found.ok, found.lines()
    assert any("needs the networks" in line for line in found.not_verified)


class TestOptions:
    def test_not_with_noise(self):
        with pytest.raises(PrivacyError, match="endpoints 'centroids' with dp_epsilon"):
            quick_config(
                count=9, balanced=True, dp_epsilon=1.0, endpoints="safe", gate_identity=0.5
            )

    @pytest.mark.parametrize(
        ("options", "text"),
        [
            ({"endpoints": "safer"}, "endpoints as one of"),
            ({"endpoints": "safe"}, "calls every endpoint safe"),
            ({"safe_energy": -1.0}, "safe_energy of at least 0"),
            ({"safe_radius": float("nan")}, "safe_radius of at least 0"),
        ],
    )
    def test_impossible_ones(self, options, text):
        with pytest.raises(InputError, match=text):
            quick_config(**options)
