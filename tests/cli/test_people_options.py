"""Who is a person and what is a class: the same options in every command that reads images."""

from __future__ import annotations

from pathlib import Path

import pytest

from latentpath.cli import main, make_parser
from latentpath.cli.audit_sets import _source
from latentpath.cli.common_options import data_source, people_options
from latentpath.cli.produce_command import _test_options
from support.picture_files import save_pictures, write_table

PEOPLE = {
    "class_folder": 2,
    "identity_folder": 1,
    "identity_pattern": "p([0-9]+)_",
    "one_image_per_person": True,
    "public_class_names": True,
}
WORDS = (
    "--class-folder", "2", "--identity-folder", "1", "--identity-pattern", "p([0-9]+)_",
    "--one-image-per-person", "--public-class-names",
)  # fmt: skip
COMMANDS = {
    "scan": ("scan", "--data", "d"),
    "train": ("train", "identity", "--data", "d", "--out", "w"),
    "produce": ("produce", "--data", "d", "--weights", "w", "--out", "r"),
    "audit": ("audit", "--real", "d", "--synthetic", "s", "--out", "r"),
    "experiment": ("experiment", "pneumoniamnist", "--data", "d.npz", "--out", "r"),
}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_every_command_takes_them(command):
    parse = make_parser().parse_args
    assert people_options(parse([*command, *WORDS])) == PEOPLE
    none = {"class_folder": None, "identity_folder": None, "identity_pattern": None}
    assert people_options(parse(command)) == {
        **none, "one_image_per_person": False, "public_class_names": False
    }  # fmt: skip


@pytest.mark.parametrize("command", ["scan", "train", "produce"])
def test_they_reach_the_source(command, tmp_path):
    words = [*COMMANDS[command], "--csv", "t.csv", "--findings", "a, b", "--label-separator", "/"]
    source = data_source(make_parser().parse_args([*words, "--identity-folder", "3"]))
    assert source.identity_folder == 3
    assert source.findings == ("a", "b")
    assert source.label_separator == "/"


def test_an_audit_asks_of_people_alone(tmp_path):
    arguments = make_parser().parse_args([*COMMANDS["audit"], "--identity-folder", "2"])
    for role, folder in (("real", 2), ("holdout", 2), ("synthetic", None), ("lines", None)):
        source = _source(arguments, role, tmp_path)
        assert source.identity_folder == folder
        # Nobody is behind a synthetic image, whatever its name.
        assert source.synthetic == (folder is None)
    arguments = make_parser().parse_args([
        *COMMANDS["audit"], "--real-csv", "t.csv", "--identity-column", "who", "--holdout", "h",
        "--one-image-per-person", "--findings", "a",
    ])  # fmt: skip
    real = _source(arguments, "real", tmp_path)
    assert (real.identity_column, real.one_image_per_person) == ("who", False)
    assert real.findings == ("a",)
    assert _source(arguments, "holdout", tmp_path).one_image_per_person


def test_other_peoples_images(tmp_path):
    words = [*COMMANDS["produce"], "--identity-column", "who", "--csv", "t.csv"]
    plain = _test_options(make_parser().parse_args([*words, "--test", "x"]))
    assert plain["one_image_per_person"]
    tabled = _test_options(make_parser().parse_args([*words, "--test", "x", "--test-csv", "y.csv"]))
    assert tabled["identity_column"] == "who"
    assert not tabled["one_image_per_person"]


def test_as_a_user_reads_it(tmp_path, capsys):
    """Refused, with the option that helps; given that option, read."""
    save_pictures(
        tmp_path, [f"{8863 + p}/{c}/{i}.png" for p in range(6) for c in "01" for i in "12"]
    )
    assert main(["scan", "--quiet", "--data", str(tmp_path)]) == 2
    line = capsys.readouterr().err.strip()
    assert line == (
        "latentpath: error: expected folders of which it is clear what they mean, got 6 top "
        "folders, whose names look like people's: 6 of 6 are long numbers, dates or identifiers "
        "made by a machine, with the same 2 names of folders below them: if the top folders are "
        "people and those below them classes, say --class-folder 2 --identity-folder 1; if the "
        "top folders are classes, say --public-class-names"
    )
    told = ["--class-folder", "2", "--identity-folder", "1"]
    assert main(["scan", "--quiet", "--data", str(tmp_path), *told]) == 0
    report = capsys.readouterr().out
    assert "class '0': 12 images of 6 people" in report
    assert "people: 6, with 4 to 4 images each" in report


def test_a_report_before_the_refusal(tmp_path, capsys):
    root = save_pictures(tmp_path / "d", [f"{p}_{side}.png" for p in "1234" for side in "lr"])
    write_table(Path(root) / "t.csv", [f"{p}_{side},{int(p) % 2}" for p in "1234" for side in "lr"])
    assert main(["scan", "--quiet", "--data", str(root), "--csv", "t.csv"]) == 2
    shown = capsys.readouterr()
    assert "people: 8, with 1 to 1 images each" in shown.out
    assert "8 of 8 images whose names share a recurring part, 4 different ones" in shown.err
    assert "--identity-pattern '([0-9]+)_[^/]*$'" in shown.err
