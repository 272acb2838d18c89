"""Training that starts from a generator."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from latentpath.core.errors import InputError, LatentpathWarning, WeightsError
from latentpath.generators import (
    FunctionGenerator,
    StyleGAN2,
    StyleGAN3,
    load_generator,
    save_generator,
)
from latentpath.training import GeneratorConfig, load_pretrained, train_generator
from latentpath.training.checkpoint import Checkpointer
from latentpath.training.gan import _Gan
from latentpath.training.pretrained import as_pretrained, config_of

CONFIG = GeneratorConfig(total_images=12, batch=4, r1_interval=2)
SIZES = {"z_dim": 4, "w_dim": 5, "mapping_layers": 1, "channel_base": 64, "channel_max": 6}


def images(side, channels=1):
    torch.manual_seed(0)
    return torch.rand(10, channels, side, side) * 2 - 1


LABELS = torch.arange(10) % 2


def train(side, config=CONFIG, **options):
    return train_generator(images(side), LABELS, num_classes=2, config=config, **options)


def network(side=8, channels=1, c_dim=2, **synthesis):
    torch.manual_seed(1)
    widths = {"channel_base": 64, "channel_max": 6, **synthesis}
    made = StyleGAN2(4, c_dim, 5, side, channels, {"num_layers": 1}, widths)
    made.mapping.w_avg.normal_()
    return made.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def parent(tmp_path_factory):
    """A generator trained at 8x8, with its checkpoint beside it."""
    path = tmp_path_factory.mktemp("parent") / "generator.safetensors"
    config = replace(CONFIG, **SIZES)
    made = train(8, config, checkpoint=path.with_suffix(".checkpoint"))
    save_generator(path, made, notes={"result": {"images seen": 12.0}})
    return path


def started(pretrained, side):
    """A run's networks before the first step."""
    config = config_of(pretrained, CONFIG, resolution=side, channels=1, num_classes=2)
    return _Gan(images(side), 2, config, pretrained)


def assert_equal(first, second):
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name


@pytest.mark.parametrize("half", [False, True])
def test_fine_tuning_starts_from_the_file_and_its_checkpoint(parent, tmp_path, half):
    path = tmp_path / "generator.safetensors"
    beside = path.with_suffix(".checkpoint")
    beside.write_bytes(parent.with_suffix(".checkpoint").read_bytes())
    save_generator(path, load_generator(parent), half=half)
    gan, saved = started(load_pretrained(path), 8), torch.load(beside)["state"]
    assert_equal(gan.ema.state_dict(), load_generator(path).state_dict())
    assert_equal(gan.generator.state_dict(), saved["generator"])
    assert_equal(gan.discriminator.state_dict(), saved["discriminator"])
    assert gan.state() == {"seen": 0, "step": 0, "p": saved["counters"]["p"], "sign": 0.0}


def test_growing_starts_from_the_old_networks(parent):
    pretrained = load_pretrained(parent)
    gan = started(pretrained, 16)
    old, new = pretrained.generator.state_dict(), gan.ema.state_dict()
    assert_equal(old, {name: new[name] for name in old})
    # The layers that both lacked are the same in both.
    raw = gan.generator.state_dict()
    assert torch.equal(raw["synthesis.b16.conv0.weight"], new["synthesis.b16.conv0.weight"])
    assert_equal(
        {name: tensor for name, tensor in raw.items() if name in pretrained.raw}, pretrained.raw
    )
    taken = gan.discriminator.state_dict()
    assert torch.equal(taken["out.weight"], pretrained.discriminator["out.weight"])


def test_without_a_checkpoint_both_start_from_the_average(parent, tmp_path):
    path = tmp_path / "other.safetensors"
    path.write_bytes(parent.read_bytes())
    with pytest.warns(LatentpathWarning, match=r"other\.checkpoint.*starts afresh"):
        pretrained = load_pretrained(path)
    gan = started(pretrained, 8)
    assert_equal(gan.generator.state_dict(), gan.ema.state_dict())
    assert_equal(gan.ema.state_dict(), load_generator(path).state_dict())
    assert pretrained.notes()["discriminator"] == "fresh"


def test_a_checkpoint_of_other_weights_is_left_alone(parent, tmp_path):
    path = tmp_path / "generator.safetensors"
    save_generator(path, network())
    path.with_suffix(".checkpoint").write_bytes(parent.with_suffix(".checkpoint").read_bytes())
    with pytest.warns(LatentpathWarning, match="other weights"):
        assert load_pretrained(path).discriminator is None
    path.with_suffix(".checkpoint").write_bytes(b"none")
    with pytest.raises(WeightsError, match="unreadable"):
        load_pretrained(path)


@pytest.mark.parametrize("half", [False, True])
def test_the_best_weights_go_on_with_the_discriminator_of_their_training(parent, tmp_path, half):
    path = tmp_path / "generator.safetensors"
    beside = path.with_suffix(".checkpoint")
    beside.write_bytes(parent.with_suffix(".checkpoint").read_bytes())
    save_generator(tmp_path / "generator.best.safetensors", network())
    save_generator(path, network(), half=half)
    gan, saved = started(load_pretrained(path), 8), torch.load(beside)["state"]
    assert_equal(gan.ema.state_dict(), load_generator(path).state_dict())
    assert_equal(gan.generator.state_dict(), saved["generator"])
    assert_equal(gan.discriminator.state_dict(), saved["discriminator"])


def test_images_seen_add_up(parent, tmp_path):
    assert load_pretrained(parent).notes()["images seen"] == 12
    path = tmp_path / "generator.safetensors"
    notes = {"result": {"images seen": 20.0}, "initial": load_pretrained(parent).notes()}
    save_generator(path, network(), notes=notes)
    with pytest.warns(LatentpathWarning):
        assert load_pretrained(path).images_seen == 32


@pytest.mark.parametrize("side", [8, 16])
def test_interrupted_run_ends_as_the_undisturbed_one(parent, tmp_path, monkeypatch, side):
    monkeypatch.setattr(Checkpointer, "due", lambda self: self.path is not None)
    pretrained, path = load_pretrained(parent), tmp_path / "run.checkpoint"

    def stop(stage, done, total, figures):
        if done == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(side, initial=pretrained, checkpoint=path, progress=stop)
    resumed = train(side, initial=pretrained, checkpoint=path)
    whole = train(side, initial=pretrained)
    assert resumed.img_resolution == side
    assert_equal(resumed.state_dict(), whole.state_dict())
    for other in (None, network()):
        with pytest.raises(WeightsError, match="initial"):
            train(side, replace(CONFIG, **SIZES), initial=other, checkpoint=path)


@pytest.mark.parametrize(
    ("made", "side", "changes", "told"),
    [
        ({"side": 16}, 8, {}, "--resolution 16"),
        ({"channels": 3}, 8, {}, "--channels 3"),
        ({"c_dim": 0}, 8, {}, "--no-conditional"),
        ({"c_dim": 3}, 8, {}, "got of 3 classes"),
        ({}, 8, {"conditional": False}, "leave --no-conditional out"),
        ({}, 8, {"z_dim": 64}, "pass --z-dim 4"),
        ({}, 8, {"w_dim": 64}, "pass --w-dim 5"),
        ({}, 8, {"mapping_layers": 2}, "pass --mapping-layers 1"),
        ({}, 16, {"channel_max": 7}, "--channel-base 64 --channel-max 6"),
        ({}, 16, {"channel_base": 32}, "with 4 channels at 8x8"),
        ({"architecture": "resnet"}, 16, {}, "resnet architecture"),
    ],
)
def test_generators_that_do_not_fit(made, side, changes, told):
    with pytest.raises(WeightsError, match=told):
        train(side, replace(CONFIG, **changes), initial=network(**made))


def test_widths_of_the_old_resolutions_may_be_asked_for_in_other_words():
    """256 / 8 is above channel_max, as 64 / 8 is: the old layers are the same."""
    grown = train(16, replace(CONFIG, channel_base=256), initial=network())
    assert len(grown.synthesis.b16.conv1.weight) == 6


def test_what_a_generator_has_beyond_the_sizes_stays():
    made = network(architecture="resnet", conv_clamp=3)
    tuned = train(8, initial=made)
    assert tuned.init_kwargs["synthesis_kwargs"] == made.init_kwargs["synthesis_kwargs"]


def test_a_generator_that_is_none_of_ours():
    foreign = FunctionGenerator(lambda w: w.reshape(-1, 1, 2, 2), latent_dim=4)
    with pytest.raises(InputError, match="FunctionGenerator"):
        as_pretrained(foreign)
    with pytest.raises(InputError, match="load_pretrained"):
        train(8, initial=foreign)


def test_other_generators_are_not_trained(tmp_path):
    sizes = {"channel_base": 64, "channel_max": 4, "num_layers": 3, "num_critical": 1}
    path = tmp_path / "generator.safetensors"
    save_generator(path, StyleGAN3(4, 2, 5, 8, 1, synthesis_kwargs=sizes))
    with pytest.raises(InputError, match="a StyleGAN3: other generators"):
        load_pretrained(path)
