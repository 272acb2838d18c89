"""What no library below could bear is refused in one line, before any work."""

from __future__ import annotations

import argparse
import dataclasses
import shutil
import sys
import typing

import numpy as np
import pytest

pytest.importorskip("monai")
pytest.importorskip("safetensors")
pytest.importorskip("PIL")

from latentpath import cli
from latentpath.audit import AuditConfig
from latentpath.cli.command import PLACES
from latentpath.core import InputError
from latentpath.experiments import CompareConfig, MeasureConfig, TradeoffConfig
from latentpath.ksame.grouping import _METHODS
from latentpath.ksame.pairing import PAIR_METHODS
from latentpath.production import (
    DpConfig,
    EndpointsConfig,
    OutputConfig,
    ProduceConfig,
    RunConfig,
    TrainingConfig,
    WalkOptions,
)
from latentpath.production.produce_config import GROUPINGS, PAIRINGS
from latentpath.training import (
    ClassifierConfig,
    EncoderConfig,
    GeneratorConfig,
    IdentityConfig,
    PredictorConfig,
    SurrogateConfig,
)
from support import tiny_models
from support.tiny_splits import write_npz

CONFIGS = [
    AuditConfig, ClassifierConfig, CompareConfig, EncoderConfig, GeneratorConfig, IdentityConfig,
    MeasureConfig, OutputConfig, PredictorConfig, ProduceConfig, RunConfig, SurrogateConfig,
    TradeoffConfig, TrainingConfig,
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
        (GeneratorConfig, "channel_base", -1),
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
        (MeasureConfig, "shadows", 1),
        (MeasureConfig, "trainings", 10**9),
        (CompareConfig, "seeds", 10**9),
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
LONG = "x" * 300
OUTPUTS = {"out", "target", "run"}
# What each command needs to be given beside these.
ENOUGH = {
    "audit": ["--real", "{data}", "--synthetic", "{data}"],
    "convert": ["{weights}/generator.safetensors"],
    **{
        f"experiment {name}": ["--data", "{data}/none.npz"]
        for name in ("pneumoniamnist", "chest-xray-64", "chest-xray-128")
    },
    "produce": ["--data", "{data}", "--weights", "{weights}"],
    "run": ["--data", "{data}"],
    "scan": ["--data", "{data}"],
    "train": ["--data", "{data}"],
    "verify": ["{data}"],
}


def commands(parser, words=()):
    """Every command with its parser."""
    if parser.declare is not None:
        declare, parser.declare = parser.declare, None
        declare(parser)
    inside = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    if not inside:
        yield words, parser
    for action in inside:
        for name, inner in action.choices.items():
            yield from commands(inner, (*words, name))


@pytest.fixture
def every_command(data, weights, tmp_path):
    """Of every command its words, its parser, and what it needs to be given."""
    found = []
    for words, parser in commands(cli.make_parser()):
        enough = ENOUGH.get(" ".join(words)) or ENOUGH.get(words[0], [])
        given = [each.format(data=data, weights=weights) for each in enough]
        for action in parser._actions:
            if action.dest in OUTPUTS:
                given += [*action.option_strings, str(tmp_path / "out")]
        found.append((words, parser, given))
    assert len(found) > 10
    yield found
    assert not list(tmp_path.iterdir())


def unreadable(action):
    """Values that none of an option's kind can have."""
    if action.nargs == 0 or not action.option_strings:
        return []
    if action.metavar in PLACES:
        return ["", LONG, "a\0b"]
    if action.choices is not None:
        return ["nonsense", ""]
    return {int: ["", "nan", "1.5"], float: ["", "x"]}.get(action.type, [])


def test_every_option_is_read_or_refused(every_command):
    for _, parser, given in every_command:
        for action in parser._actions:
            for value in unreadable(action):
                with pytest.raises(InputError) as refusal:
                    parser.parse_args([*given, f"{action.option_strings[0]}={value}"])
                assert action.option_strings[0] in str(refusal.value)
                assert len(str(refusal.value)) < 500


def test_no_option_takes_a_number_below_zero(every_command, refused):
    """Of those that are no fields of configurations, which have been tried above."""
    networks = {words for words, *_ in every_command if words[0] == "train"}
    for words, parser, given in every_command:
        for action in parser._actions:
            fields = action.container.title not in ("options", "how the sets are read")
            if fields or action.type not in (int, float) or words in networks - {TRAIN}:
                continue
            refused(*words, *given, f"{action.option_strings[0]}=-1")


PRODUCE = ("produce", "--k", "3", "--steps", "4")


@pytest.mark.parametrize(
    ("command", "options", "told"),
    [
        (TRAIN, ["--resolution", "24"], "power of two"),
        (TRAIN, ["--resolution", "2"], "power of two"),
        (TRAIN, ["--resolution", str(2**40)], "from 4 to 4096"),
        (TRAIN, ["--resolution", "-8"], "resolution"),
        (TRAIN, ["--device", "gpu"], "--device"),
        (TRAIN, ["--device", ""], "--device"),
        (TRAIN, ["--device", "cuda:99"], "--device"),
        (TRAIN, ["--device", "meta"], "--device"),
        (TRAIN, ["--device", "vulkan"], "info`"),
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
        (PRODUCE, ["--report", "{out}"], "the folder of the run"),
    ],
)  # fmt: skip
def test_options(command, options, told, refused, data, weights, tmp_path):
    argv = [*command, "--data", data, "--out", tmp_path / "out"]
    if command is PRODUCE:
        argv += ["--weights", weights]
    options = [each.format(out=tmp_path / "out") for each in options]
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


@pytest.mark.parametrize(
    ("splits", "options", "told"),
    [
        ({"train": 4, "val": 3, "test": 3}, [], "at least k = 5"),
        ({"train": 6, "test": 2}, ["--count", "5000"], "at most"),
        ({"train": 6}, [], "split of other people"),
        ({"train": 6, "test": 6}, ["--k", "2"], "nobody else"),
        ({"train": 6, "test": 2, "side": 8}, ["--k", "2"], "the same classes and image sizes"),
        ({"train": 6, "test": 2}, ["--k", "2", "--count", "50"], "15 people"),
        ({"train": 6, "test": 2}, ["--seed", str(2**53)], "seed"),
    ],
)
def test_an_experiment_trains_nothing_in_vain(splits, options, told, refused, weights, tmp_path):
    splits = dict(splits)
    side = splits.pop("side", None)
    place = write_npz(tmp_path / "some.npz", **splits)
    if side:
        arrays = dict(np.load(place))
        arrays["test_images"] = arrays["test_images"][:, :side, :side]
        np.savez(place, **arrays)
    if told == "nobody else":
        arrays = dict(np.load(place))
        for what in ("images", "labels"):
            arrays[f"test_{what}"] = arrays[f"train_{what}"]
        np.savez(place, **arrays)
    # A weights folder with one network, of 15 other people.
    (tmp_path / "weights").mkdir()
    shutil.copy(weights / "identity.safetensors", tmp_path / "weights")
    argv = ["experiment", "pneumoniamnist", "--data", place, "--weights", tmp_path / "weights"]
    assert told in refused(*argv, "--out", tmp_path / "out", *options)


@pytest.mark.parametrize(
    ("package", "command", "options"),
    [
        ("jinja2", "audit", []),
        ("torchmetrics", "audit", []),
        ("safetensors", "train classifier", []),
        ("matplotlib", "experiment digits", []),
        ("jinja2", "demo", []),
        ("mlxtend", "demo", []),
        ("matplotlib", "produce", ["--report", "{out}/report.html"]),
        ("ray", "produce", ["--engine", "ray"]),
        ("dp_accounting", "produce", ["--dp-epsilon", "4", "--count", "9", "--balanced"]),
        ("pyarrow", "produce", ["--layouts", "parquet"]),
    ],
)
def test_packages_that_are_not_installed(
    package, command, options, refused, data, weights, tmp_path, monkeypatch
):
    for name in [package, *sys.modules]:
        if name.split(".")[0] == package:
            monkeypatch.setitem(sys.modules, name, None)
    words = command.split()
    given = [*ENOUGH.get(words[0], []), "--out", "{out}/run", *options]
    line = refused(*words, *(w.format(data=data, weights=weights, out=tmp_path) for w in given))
    assert package in line
    assert "pip install 'latentpath[" in line


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--out", "{data}/left/person000.png/x"], "report file"),
        (["--holdout-csv", "t.csv"], "--holdout with"),
        (["--baseline", f"lines={LONG}"], "--baseline lines"),
        (["--baseline", "lines={data}/middle", "--out", "{data}/middle/x"], "inside it"),
    ],
)
def test_places_of_an_audit(options, told, refused, data):
    options = [each.format(data=data) for each in options]
    given = ["--real", data / "left", "--synthetic", data / "right", "--out", "unused"]
    assert told in refused("audit", *given, *options)


@pytest.mark.parametrize("given", ["0,1", "0, 1", "0;1,"])
def test_lists_of_numbers_are_parted_by_spaces(given, refused, tmp_path):
    told = refused("audit", "--real", "a", "--synthetic", "b", "--out", tmp_path, "--seeds", given)
    assert "part numbers with spaces: --seeds 0 1" in told
    told = refused("produce", "--data", "a", "--out", tmp_path, "--audit-seeds", given)
    assert "spaces" not in told, "this one takes a single number"
