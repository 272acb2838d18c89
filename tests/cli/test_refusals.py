"""What no library below could bear is refused in one line, before any work."""

from __future__ import annotations

import dataclasses
import typing

import pytest

pytest.importorskip("monai")
pytest.importorskip("safetensors")
pytest.importorskip("PIL")

from latentpath import cli
from latentpath.audit import AuditConfig
from latentpath.core import InputError
from latentpath.experiments import CompareConfig, MeasureConfig, TradeoffConfig, TrainingConfig
from latentpath.ksame.grouping import _METHODS
from latentpath.ksame.pair_methods import PAIR_METHODS
from latentpath.production import (
    DpConfig,
    EndpointsConfig,
    OutputConfig,
    ProduceConfig,
    RunConfig,
    WalkOptions,
)
from latentpath.production.produce_config import GROUPINGS, PAIRINGS
from latentpath.training import (
    ClassifierConfig,
    EncoderConfig,
    GeneratorConfig,
    IdentityConfig,
    SurrogateConfig,
)
from support import tiny_models

CONFIGS = [
    AuditConfig, ClassifierConfig, CompareConfig, EncoderConfig, GeneratorConfig, IdentityConfig,
    MeasureConfig, OutputConfig, ProduceConfig, RunConfig, SurrogateConfig, TradeoffConfig,
    TrainingConfig,
]  # fmt: skip
# Free text: titles, addresses and licences are checked where they are used.
FREE_TEXT = {"title", "license", "ray_address", "sets", "knobs"}
IMPOSSIBLE = {
    int: [-1, 10**30],
    float: [float("nan"), float("inf"), 1e300, -float("inf")],
    str: ["nonsense"],
    tuple[int, ...]: [(), (-1,), (1, 1), (10**30,)],
}


def impossible_fields(config, seen):
    """(class, field, value) for every field of a configuration and of those inside it."""
    kinds = typing.get_type_hints(config)
    for item in dataclasses.fields(config):
        kind = kinds[item.name]
        if dataclasses.is_dataclass(kind):
            if kind not in seen:
                seen.add(kind)
                yield from impossible_fields(kind, seen)
        elif item.name not in FREE_TEXT:
            for value in IMPOSSIBLE.get(kind, []):
                yield config, item.name, value


@pytest.mark.parametrize(
    ("config", "name", "value"),
    [case for config in CONFIGS for case in impossible_fields(config, set())],
)
def test_no_field_takes_a_number_that_is_none(config, name, value):
    with pytest.raises(InputError) as refusal:
        config(**{name: value})
    words = str(refusal.value)
    field = next(item for item in dataclasses.fields(config) if item.name == name)
    assert field.metadata.get("option", name).split("_")[0] in words
    assert len(words) < 300


@pytest.mark.parametrize(
    ("config", "name", "value"),
    [
        (GeneratorConfig, "ada_target", 1.5),
        (GeneratorConfig, "ada_target", float("nan")),
        (GeneratorConfig, "channel_base", 0),
        (GeneratorConfig, "mapping_layers", 65),
        (GeneratorConfig, "w_dim", 10**12),
        (ClassifierConfig, "label_smoothing", 1.01),
        (ClassifierConfig, "width", 10**6),
        (ClassifierConfig, "batch", 1),
        (EncoderConfig, "batch", 10**12),
        (SurrogateConfig, "depth", 0),
        (SurrogateConfig, "points", 10**12),
        (EndpointsConfig, "k", 1),
        (WalkOptions, "steps", 10**6),
        (DpConfig, "delta", 1.0),
        (DpConfig, "steps", 0),
        (RunConfig, "attempts", 0),
        (OutputConfig, "layouts", ""),
        (AuditConfig, "max_bytes", 0),
        (MeasureConfig, "threshold", 1.1),
    ],
)
def test_limits_of_single_fields(config, name, value):
    with pytest.raises(InputError, match=name.split("_")[0]):
        config(**{name: value})


def test_the_configuration_knows_every_method():
    assert tuple(_METHODS) == GROUPINGS
    assert tuple(PAIR_METHODS) == PAIRINGS


@pytest.fixture
def refused(capsys, monkeypatch, tmp_path):
    """Run a command that must end with one line of error, and before any work."""

    def work(stage, done, total, figures):
        raise AssertionError(f"work was done: {stage}")

    def run(*argv):
        with monkeypatch.context() as patch:
            patch.setattr(cli.Bars, "__call__", lambda self, stage, *more: (
                None if stage == "read images" else work(stage, *more)
            ))  # fmt: skip
            code = cli.main([str(word) for word in argv])
        shown = capsys.readouterr()
        lines = [line for line in shown.err.splitlines() if ": error: " in line]
        assert code == 2, shown.err
        assert (shown.out, len(lines)) == ("", 1)
        assert lines[0].startswith("latentpath: error: expected ")
        return lines[0]

    return run


@pytest.fixture(scope="module")
def private():
    return tiny_models.private_set((8, 7))


@pytest.fixture(scope="module")
def weights(tmp_path_factory, private):
    folder = tmp_path_factory.mktemp("weights")
    return tiny_models.save_bundle(folder, tiny_models.bundle_for(private))


@pytest.fixture(scope="module")
def data(tmp_path_factory, private):
    return tiny_models.write_folder(tmp_path_factory.mktemp("data"), private)


TRAIN = ("train", "classifier")
PRODUCE = ("produce", "--k", "3", "--steps", "4")


@pytest.mark.parametrize(
    ("command", "options", "told"),
    [
        (TRAIN, ["--resolution", "24"], "power of two"),
        (TRAIN, ["--resolution", "2"], "power of two"),
        (TRAIN, ["--resolution", str(2**40)], "resolution from 1 to"),
        (TRAIN, ["--resolution", "-8"], "resolution"),
        (TRAIN, ["--device", "gpu"], "--device"),
        (TRAIN, ["--device", ""], "--device"),
        (TRAIN, ["--device", "cuda:99"], "--device"),
        (TRAIN, ["--device", "meta"], "--device"),
        (TRAIN, ["--threads", "-1"], "--threads"),
        (TRAIN, ["--threads", str(10**30)], "--threads"),
        (TRAIN, ["--out", ""], "--out"),
        (TRAIN, ["--data", ""], "--data"),
        (TRAIN, ["--max-unreadable", "nan"], "unreadable"),
        (PRODUCE, ["--out", ""], "--out"),
        (PRODUCE, ["--weights", ""], "--weights"),
        (PRODUCE, ["--k", "8"], "'middle' has 7"),
        (PRODUCE, ["--k", "9", "--small-classes", "drop"], "at least k = 9"),
        (PRODUCE, ["--count", "5000"], "at most"),
        (PRODUCE, ["--count", "10000000000"], "at most"),
        (PRODUCE, ["--grouping", "nonsense"], "grouping"),
        (PRODUCE, ["--resume", "--overwrite"], "both"),
        (PRODUCE, ["--test-csv", "t.csv"], "--test"),
        (PRODUCE, ["--audit-steps", str(10**30)], "audit_steps"),
        (PRODUCE, ["--audit-seeds", str(10**9)], "audit_seeds"),
        (PRODUCE, ["--title", ""], "title"),
        (PRODUCE, ["--workers", "3"], "workers"),
    ],
)  # fmt: skip
def test_options(command, options, told, refused, data, weights, tmp_path):
    argv = [*command, "--data", data, "--out", tmp_path / "out"]
    if command is PRODUCE:
        argv += ["--weights", weights]
    assert told in refused(*argv, *options)
    assert not (tmp_path / "out" / "set").exists()


@pytest.mark.filterwarnings("default::latentpath.core.errors.LatentpathWarning")
@pytest.mark.parametrize("network", ["generator", "classifier", "identity"])
def test_a_class_without_images(network, refused, private, tmp_path):
    """Found before the first of four trainings, not after the last."""
    images = tiny_models.write_folder(tmp_path / "images", private)
    (images / "absent").mkdir()
    (images / "absent" / "1.png").write_bytes(b"cannot be read")
    argv = ["train", network, "--data", images, "--max-unreadable", "0.1", "--out", tmp_path / "w"]
    assert "none of 'absent'" in refused(*argv)


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: 1 byte")]
)
def test_memory_that_is_not_there(error, refused, data, tmp_path, monkeypatch):
    """Sizes that are each possible, but not together."""

    def too_large(*_, **__):
        raise error

    monkeypatch.setattr("latentpath.production.network_training.train_generator", too_large)
    argv = ["train", "generator", "--data", data, "--out", tmp_path / "w"]
    assert "memory" in refused(*argv)
