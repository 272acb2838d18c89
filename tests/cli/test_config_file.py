"""Configuration files of `produce`: the same options as on the command line."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("monai")
pytest.importorskip("safetensors")
pytest.importorskip("PIL")

from latentpath.cli import main, make_parser
from latentpath.cli.config_file import read_toml, toml_value
from latentpath.core import InputError, flat_values

OPEN = {"gate_quantile": 0.0, "gate_identity": 1, "gate_class": False}
QUICK = {"k": 3, "steps": 5, "passes": 1.0, "count": 6, "portion_walks": 2, **OPEN}


TABLES = {
    "portion_walks": "run",
    "k": "endpoints",
    "steps": "walk",
    "optim_steps": "walk.published",
    "passes": "walk.fast",
    "lr": "walk.published",
}


def write(path, **options):
    """A file with these options, as the command line names them, each in its table."""
    tables = {"": {}}
    for name, value in options.items():
        table = "gate" if name.startswith("gate_") else TABLES.get(name, "")
        key = {"class": "in_class"}.get(name.removeprefix("gate_"), name.removeprefix("gate_"))
        tables.setdefault(table, {})[key] = value
    lines = []
    for table, values in tables.items():
        lines += [f"[{table}]"] if table else []
        lines += [f"{name} = {toml_value(value)}" for name, value in values.items()]
    path.write_text("\n".join(lines) + "\n")
    return path


def parse(*words):
    return make_parser().parse_args(["produce", *map(str, words)])


def error_of(capsys, *words):
    code = main(["produce", *map(str, words)])
    lines = capsys.readouterr().err.splitlines()
    assert code == 2
    assert len(lines) == 1, lines
    return lines[0]


@pytest.fixture
def places(images, weights, tmp_path):
    return {"data": str(images), "weights": str(weights), "out": str(tmp_path / "run")}


def test_a_run_by_its_file_alone(places, tmp_path, capsys):
    file = write(tmp_path / "run.toml", **places, **QUICK)
    assert main(["produce", "--config", str(file), "--quiet"]) == 0
    assert "6 images" in capsys.readouterr().out
    stored = (tmp_path / "run/private/config.toml").read_text()
    for name in (
        "k = 3",
        "[gate]",
        "in_class = false",
        "[run]",
        'engine = "local"',
        "portion_walks = 2",
    ):
        assert name in stored
    for place in (*places.values(), str(tmp_path)):
        assert place not in stored
    # What is stored is itself such a file; the places are given anew.
    kept = tmp_path / "run/private/config.toml"
    words = [f"--{name}={value}" for name, value in places.items()]
    assert main(["produce", "--config", str(kept), "--quiet", "--resume", *words]) == 0


def test_the_command_line_counts_more(tmp_path):
    file = write(tmp_path / "f.toml", data="a", weights="b", out="c", k=7, balanced=True, lr=1)
    found = parse("--config", file, "--k", 9, "--out", "elsewhere", "--no-balanced")
    assert (found.out, found.data, found.balanced) == ("elsewhere", "a", False)
    options = vars(found)
    assert options["endpoints.k"] == 9
    assert options["walk.published.lr"] == 1.0
    assert isinstance(options["walk.published.lr"], float)


def test_required_options_may_come_from_either(tmp_path):
    file = write(tmp_path / "f.toml", data="a")
    with pytest.raises(InputError, match="--weights"):
        parse("--config", file, "--out", "c")
    assert parse("--config", file, "--out", "c", "--weights", "w").data == "a"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("countt = 3", "did you mean count?"),
        ("k = 3", "did you mean endpoints.k?"),
        ("nonsense = 3", "--schema"),
        ('endpoints.k = "3"', "integer as endpoints.k"),
        ("[endpoints]\nk = 3.5", "integer as endpoints.k"),
        ("[endpoints]\nk = true", "integer as endpoints.k"),
        ("endpoints = 3", "'endpoints'"),
        ("[balanced]\nk = 3", "'balanced.k'"),
        ("balanced = 1", "boolean as balanced"),
        ("data = 5", "string as data"),
        ("channels = 2", "[1, 3]"),
        ("[pipeline]\nk = 3", "'pipeline.k'"),
        ("resume = true", "'resume'"),
        ("k = ", "Invalid value"),
        ("k = 3\nk = 4", "TOML"),
    ],
)
def test_mistakes_are_named(text, said, tmp_path, capsys):
    file = tmp_path / "f.toml"
    file.write_text(text)
    assert said in error_of(capsys, "--config", file)


def test_a_byte_order_mark_and_line_ends_of_windows(tmp_path):
    (tmp_path / "w.toml").write_bytes('\ufeff# "x"\r\nk = 3\r\n'.encode())
    assert read_toml(tmp_path / "w.toml") == {"k": 3}


def test_a_file_that_cannot_be_read(tmp_path, capsys):
    assert "No such file" in error_of(capsys, "--config", tmp_path / "none.toml")
    (tmp_path / "b.toml").write_bytes(b"\xff\xfe")
    assert "b.toml" in error_of(capsys, "--config", tmp_path / "b.toml")


def test_values_survive_toml(tmp_path):
    values = {"a": 'Ünï "quoted" \\ \n\x7f 😀', "b": -3, "c": 1e-5, "d": True, "e": ""}
    assert read_toml(write(tmp_path / "x.toml", **values)) == values


class TestExample:
    @pytest.fixture
    def example(self, tmp_path, capsys):
        with pytest.raises(SystemExit) as stop:
            main(["produce", "--init", str(tmp_path / "run.toml")])
        assert stop.value.code == 0
        assert "run.toml" in capsys.readouterr().out
        return tmp_path / "run.toml"

    def test_it_is_valid_and_names_what_must_be_set(self, example):
        assert set(flat_values(read_toml(example))) == {"data", "weights", "out"}
        parse("--config", example)

    def test_its_comments_hold_every_option_with_its_default(self, example, tmp_path):
        lines = [
            line.removeprefix("# ")
            for line in example.read_text().splitlines()
            if line.startswith("[")
            or (line.removeprefix("# ").split(" = ")[0].isidentifier() and " = " in line)
        ]
        whole = tmp_path / "whole.toml"
        # Options without a default show what kind of place they take.
        shown = tuple(f'= "{word}"' for word in ("FILE", "PATH", "ARRAY", "COLUMN"))
        given = [line for line in lines if not line.endswith(shown)]
        given = [line for line in given if not line.startswith(("channels", "identity_column"))]
        whole.write_text("\n".join(['data = "d"', *given]))
        plain = vars(parse("--data", "d", "--weights", "DIR", "--out", "DIR"))
        commented = vars(parse("--config", whole))
        names = flat_values(read_toml(whole))
        assert {"count", "endpoints.k", "walk.fast.passes", "output.title"} <= names.keys()
        for name in names:
            assert commented[name] == plain[name], name

    def test_it_overwrites_nothing(self, example, capsys):
        before = example.read_text()
        assert "exists" in error_of(capsys, "--init", example)
        assert example.read_text() == before


class TestSchema:
    @pytest.fixture
    def schema(self, capsys):
        with pytest.raises(SystemExit) as stop:
            main(["produce", "--schema"])
        assert stop.value.code == 0
        return json.loads(capsys.readouterr().out)

    def test_it_holds_every_option_of_the_configurations(self, schema):
        import dataclasses

        from latentpath.production import OutputConfig, ProduceConfig, RunConfig

        kinds = {bool: "boolean", int: "integer", float: "number", str: "string"}

        def check(config, place):
            for field in dataclasses.fields(config):
                value, found = getattr(config, field.name), place["properties"][field.name]
                if dataclasses.is_dataclass(value):
                    check(value, found)
                    continue
                assert found["type"] == kinds[type(value)], field.name
                assert found["default"] == value
                assert found["description"]

        check(ProduceConfig(), schema)
        check(RunConfig(), schema["properties"]["run"])
        check(OutputConfig(), schema["properties"]["output"])

    def test_a_validator_agrees_with_the_command(self, schema, tmp_path):
        jsonschema = pytest.importorskip("jsonschema")
        validator = jsonschema.Draft202012Validator(schema)
        jsonschema.Draft202012Validator.check_schema(schema)
        good = {"data": "d", "weights": "w", "out": "o", "k": 3, "lr": 1, "channels": 3}
        file = write(tmp_path / "good.toml", **good)
        assert validator.is_valid(read_toml(file))
        parse("--config", file)
        for wrong in ({"k": "3"}, {"kk": 3}, {"channels": 2}, {"balanced": 1}, {"resume": True}):
            file = write(tmp_path / "wrong.toml", **{**good, **wrong})
            assert not validator.is_valid(read_toml(file))
            with pytest.raises(Exception, match="expected"):
                parse("--config", file)
