"""Differentially private endpoints in the pipeline."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from latentpath.core.errors import InputError, PrivacyError
from latentpath.data import read_manifest
from latentpath.ksame import DpCertificate, merge
from latentpath.models import Encoder
from latentpath.production import RunOptions, compare, produce, produce_set
from latentpath.production.prepared_endpoints import public_prior
from latentpath.production.private_file import read_record
from latentpath.production.verification import verify_set
from support import tiny_models
from support.tiny_models import produce_config, quick_config

pytest.importorskip("dp_accounting")

# So large a budget that the noise is small: what is tested is the plumbing, not the noise.
LOOSE = {"dp_epsilon": 500.0, "dp_anchors": 4, "dp_smallest_count": 1.0, "balanced": True}


@pytest.fixture(scope="module")
def people():
    return tiny_models.private_set((60, 50, 40), seed=2)


class SpreadEncoder(Encoder):
    """Latents spread as the generator's: one of its own for each image, by its pixels."""

    def __init__(self, generator):
        super().__init__(generator.latent_dim, 1, tiny_models.SIDE, 2)
        torch.manual_seed(1)
        self.choices = generator.sample(64)

    def forward(self, images):
        return self.choices[(images.flatten(1).sum(dim=1) * 1000).round().long() % 64]


@pytest.fixture(scope="module")
def networks(people, tiny_lpips):
    made = tiny_models.bundle_for(people, lpips=tiny_lpips)
    return replace(made, encoder=SpreadEncoder(made.generator))


@pytest.fixture(scope="module")
def result(people, networks):
    return produce_set(people, networks, quick_config(count=9, **LOOSE))


def test_the_certificate_is_the_private_one(result):
    certificate = result.endpoints.certificate
    assert isinstance(certificate, DpCertificate)
    assert certificate.epsilon == 500
    assert certificate.num_groups == len(result.endpoints.labels) <= 12
    assert certificate.configuration["dp"]["epsilon"] == 500
    assert certificate.seeds == {"seed": 0}
    assert "networks" not in certificate.promise
    assert "gate" in certificate.not_promised
    assert DpCertificate.from_dict(certificate.as_dict()) == certificate


def test_centroids_lie_where_they_may(result, networks):
    prior = public_prior(networks.generator, 4, 0)
    apart = (result.endpoints.centroids - prior.centre).norm(dim=1)
    assert float(apart.max()) <= prior.clip_norm * (1 + 1e-5)


@pytest.fixture(scope="module")
def written(people, networks, tmp_path_factory):
    """The folder of a run; no test changes it."""
    out = tmp_path_factory.mktemp("dp")
    return produce(people, networks, out, quick_config(count=9, **LOOSE)).folder


def test_the_written_set_tells_no_exact_numbers(result, written):
    manifest = read_manifest(written.set)
    assert manifest["endpoints"].keys() == {"class"}
    assert manifest["gate"] is None
    told = manifest["certificate"]
    # Digits of a hash tell nothing.
    certificate = json.dumps({key: told[key] for key in told if key != "configuration_hash"})
    assert not any(str(count) in certificate for count in (150, 60, 40))
    assert list(result.samples.class_counts().values()) == [3, 3, 3]


def test_it_is_verified(written, tmp_path):
    private = tmp_path / "private"
    shutil.copy(written.private_file, private)
    found = verify_set(written.set, private)
    assert found.ok, found.lines()
    assert read_record(private).people is None
    assert any("noise" in line for line in found.not_verified)
    raw = bytearray(private.read_bytes())
    raw[len(raw) // 2] ^= 1
    private.write_bytes(raw)
    assert not verify_set(written.set, private).ok


def test_no_two_runs_are_equal(result, written, people, networks, tmp_path):
    """Noise and salt come from the operating system, whatever the seed."""
    again = produce_set(people, networks, quick_config(count=9, **LOOSE))
    assert not torch.equal(again.endpoints.centroids[0], result.endpoints.centroids[0])
    config = quick_config(count=9, **LOOSE)
    folders = [written, produce(people, networks, tmp_path, config).folder]
    salts = [read_record(folder.private_file).salt for folder in folders]
    assert salts[0] != salts[1]


def test_it_is_not_mixed_with_another_promise(result, data, bundle):
    other = produce_set(data, bundle, quick_config(count=9)).endpoints.certificate
    with pytest.raises(PrivacyError, match="different entries"):
        merge([result.endpoints.certificate, other])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"count": 0, "balanced": True}, "how many images"),
        ({"count": 9, "balanced": False}, "how many images"),
        ({"aggregation": "geometric_median"}, "one promise"),
        ({"aggregation": "style"}, "one promise"),
        ({"small_classes": "drop"}, "one promise"),
        ({"dp_anchors": 0}, "dp_anchors"),
        ({"dp_clip": -1.0}, "dp_clip"),
    ],
)
def test_what_does_not_go_together(options, words):
    with pytest.raises(InputError, match=words):
        produce_config(**{"count": 9, "balanced": True, "dp_epsilon": 1.0, **options})


@pytest.mark.parametrize(
    "options", [{"dp_epsilon": -1.0}, {"dp_delta": 0.0}, {"dp_delta": 1.0}, {"dp_steps": 0}]
)
def test_impossible_budgets(options):
    (name,) = options
    with pytest.raises(InputError, match=name):
        quick_config(**{"count": 9, **LOOSE, **options})


def test_more_privacy_than_the_people_allow(people, networks):
    config = quick_config(**{"count": 9, **LOOSE, "dp_epsilon": 0.01, "dp_smallest_count": 5000.0})
    with pytest.raises(PrivacyError, match="noisy count"):
        produce_set(people, networks, config)


class TestPrior:
    def test_it_knows_nothing_but_the_generator(self, networks):
        before = torch.random.get_rng_state()
        first = public_prior(networks.generator, 5, 3)
        assert torch.equal(torch.random.get_rng_state(), before)
        torch.manual_seed(99)
        again = public_prior(networks.generator, 5, 3)
        assert torch.equal(first.anchors, again.anchors)
        assert first.clip_norm == again.clip_norm

    def test_anchors_are_means_of_their_cells(self, networks):
        prior = public_prior(networks.generator, 5, 3)
        torch.manual_seed(0)
        latents = networks.generator.sample(4096)
        assert float((latents.mean(dim=0) - prior.centre).norm()) < 0.1 * prior.clip_norm
        share = float(((latents - prior.centre).norm(dim=1) > prior.clip_norm).float().mean())
        assert 0.4 < share < 0.6
        nearest = torch.cdist(latents, prior.anchors).min(dim=1).values
        assert float(nearest.mean()) < float((latents - prior.centre).norm(dim=1).mean())


def test_the_report_names_the_promise(result, networks):
    report = compare(result, networks, test=None, title="private")
    assert report.certificate["kind"] == "differential privacy"
    assert np.isfinite(report.sets[-1].audit.nearest.distance).all()


def test_a_run_draws_the_noise_once(people, networks, tmp_path):
    config = quick_config(count=9, **LOOSE)
    made = produce(people, networks, tmp_path / "run", config)
    assert made.manifest["gate"] is None
    assert "people" not in made.manifest["endpoints"]
    assert verify_set(made.folder.set, made.folder.private_file).ok
    shutil.rmtree(made.folder.set)
    again = produce(people, networks, tmp_path / "run", config, RunOptions(resume=True))
    assert again.manifest["seal"] == made.manifest["seal"]
