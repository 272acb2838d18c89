"""What the documentation says is so: its commands run, its options exist, its Python works."""

from __future__ import annotations

import argparse
import json
import re
import runpy
import shlex
import warnings
from pathlib import Path

import numpy as np
import pytest

from latentpath.cli import make_parser
from latentpath.core import LatentpathWarning, csv_writer

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]+")
# Options of other programs that the pages speak of.
FOREIGN = {"--head", "--address", "--help"}

# What makes it quick: behind the page's own words.
TRAINED = "--width 2 --steps 2 --batch 8"
QUICK = {
    "train generator": "--total-images 32 --batch 16 --z-dim 4 --w-dim 8 --channel-base 64 "
    "--channel-max 4 --resolution 16 --sheet-images 0",
    "train encoder": TRAINED,
    "train identity": TRAINED,
    "train classifier": TRAINED,
    "produce": "--count 12 --k 3 --passes 1 --gate-quantile 0 --gate-identity 1 --no-gate-class "
    "--anyway",  # networks of two steps
    "audit": "--measures nearest",
    "run": "--resolution 16 --train-generator-total-images 16 --train-generator-batch 16 "
    "--train-generator-channel-max 4 --train-generator-z-dim 4 --train-generator-w-dim 8 "
    "--train-encoder-steps 2 --train-encoder-batch 8 --train-encoder-width 2 "
    "--train-identity-steps 2 --train-identity-batch 8 --train-identity-width 2 "
    "--train-classifier-steps 2 --train-classifier-batch 8 --train-classifier-width 2 --count 12 "
    "--k 3 --passes 1 --gate-quantile 0 --gate-identity 1 --no-gate-class --audit-seeds 0 "
    "--audit-classifier-steps 2 --audit-classifier-width 2 --audit-witness-steps 2 "
    "--audit-witness-width 2 --audit-membership-shadows 2 --audit-membership-targets 1 "
    "--audit-membership-training-steps 2 --anyway",
}


def blocks(page: Path, language: str) -> list[str]:
    return [text for kind, text in BLOCK.findall(page.read_text("utf-8")) if kind == language]


def commands(page: Path) -> list[list[str]]:
    """The words of each `latentpath` command in a page's blocks of shell, as they stand."""
    lines = "\n".join(blocks(page, "sh")).replace("\\\n", " ").splitlines()
    words = [shlex.split(line, comments=True) for line in lines]
    return [line for line in words if line[:1] == ["latentpath"] and "..." not in line]


def name_of(words: list[str]) -> str:
    return " ".join(words[1:3] if words[1] == "train" else words[1:2])


def parsers() -> dict[str, argparse.ArgumentParser]:
    """Every command's parser, with its options."""
    found: dict[str, argparse.ArgumentParser] = {}

    def walk(parser, name):
        if getattr(parser, "declare", None):
            declare, parser.declare = parser.declare, None
            declare(parser)
        found[name] = parser
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                for word, inner in action.choices.items():
                    walk(inner, f"{name} {word}".strip())

    walk(make_parser(), "")
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_are_understood(page):
    for words in commands(page):
        words = [word for word in words[1:] if word != ">"]
        if "--init" in words or "--schema" in words:
            continue  # they answer while they are parsed
        make_parser().parse_args(words)


def test_links_lead_somewhere():
    """Also those that leave `docs/`, which the site shows as places in the repository."""
    pages = [*PAGES, *ROOT.glob("*.md"), ROOT / "examples" / "README.md"]
    for page in set(pages):
        text = page.read_text("utf-8")
        assert "]()" not in text, page.name
        for place in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
            if not re.match(r"[a-z]+:", place):
                assert (page.parent / place).exists(), (page.name, place)


def test_options_exist():
    known = {option for parser in parsers().values() for option in parser._option_string_actions}
    for script in (path for name in ("benches", "scripts") for path in (ROOT / name).glob("*.py")):
        known |= set(re.findall(r'"(--[a-z][a-z0-9-]+)"', script.read_text("utf-8")))
    for page in PAGES:
        text = page.read_text("utf-8")
        named = {
            option
            for code in re.findall(r"`([^`\n]+)`", text)
            for option in OPTION.findall(code)
            if not re.search(r"\bmake\b|\.py\b|\bpython\b", code)  # other programs' options
        }
        assert named - FOREIGN <= known, page.name


def test_every_command_has_its_section():
    text = (ROOT / "docs" / "commands.md").read_text("utf-8")
    leaves = [name for name, parser in parsers().items() if name and not parser._subparsers]
    assert leaves
    assert set(re.findall(r"<!-- options: (.+) -->", text)) == set(leaves)


def test_every_package_has_its_section():
    text = (ROOT / "docs" / "api.md").read_text("utf-8")
    faces = {path.parent.name for path in (ROOT / "latentpath").glob("*/__init__.pyi")}
    sections = {name.rpartition(".")[2] for name in re.findall(r"<!-- face: (.+) -->", text)}
    # `core` is for the other packages, `cli` for the command line.
    assert faces | {"latentpath", "ops"} == sections | {"core"}


@pytest.fixture
def place(tmp_path, monkeypatch, plain_figures):
    """A folder with the X-rays that the pages speak of, the table of their people, and a set."""
    pytest.importorskip("monai")
    pytest.importorskip("matplotlib")
    from support import tiny_models

    monkeypatch.chdir(tmp_path)
    data = tiny_models.private_set((14, 12))
    tiny_models.write_folder(tmp_path / "xrays", data)
    tiny_models.write_folder(tmp_path / "other-tool", tiny_models.private_set((6, 6), seed=1))
    with (tmp_path / "people.csv").open("w", newline="") as stream:
        table = csv_writer(stream)
        table.writerow(["file", "finding", "patient", "part"])
        for row, file in enumerate(sorted((tmp_path / "xrays").rglob("*.png"))):
            name, part = file.relative_to(tmp_path / "xrays"), ("train", "test")[row % 3 == 0]
            table.writerow([name, file.parent.name, file.stem, part])
    return tmp_path


def run(words: list[str]) -> None:
    from latentpath.cli import main

    quick = shlex.split(QUICK.get(name_of(words), ""))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LatentpathWarning)  # these networks are not ready
        assert main([*words[1:], "--quiet", *quick]) == 0, words


def test_ten_minutes(place, capsys, monkeypatch):
    """Each command of the page, in its order."""
    from latentpath.project import project

    measured, estimate = [], project.estimate_times

    def once(*given, **options):
        """The trial's times, which the run itself need not measure again."""
        measured.extend([] if measured else estimate(*given, **options))
        return measured

    monkeypatch.setattr(project, "estimate_times", once)
    page = ROOT / "docs" / "ten_minutes.md"
    ran = commands(page)
    assert [name_of(words) for words in ran] == [
        *("scan", "scan", "run", "run", "run", "verify", "verify", "audit"),
        *("train generator", "train encoder", "train identity", "train classifier", "produce"),
    ]
    for words in ran:
        run(words)
    assert (place / "project/trial/report/summary.html").is_file()
    assert (place / "project/report/summary.html").is_file()
    assert (place / "run/private/baselines/lines/labels.csv").is_file()
    audited = json.loads((place / "report/audit.json").read_text("utf-8"))
    assert audited["sets"]["holdout"]["images"] == 9
    (code,) = blocks(page, "python")
    capsys.readouterr()
    exec(code, {})
    assert "torch.Size([4, 1, 16, 16])" in capsys.readouterr().out


def test_from_a_pickle(place):
    from support import published_files as published

    page = ROOT / "docs" / "your_generator.md"
    small = published.small(
        c_dim=2, img_channels=1, img_resolution=16, synthesis_kwargs={"channel_max": 8}
    )
    content = published.pickled(published.snapshot(small))
    (place / "network-snapshot-025000.pkl").write_bytes(content)
    (place / "weights").mkdir()
    for words in commands(page):
        run(words)
    assert (place / "report/report.html").is_file()
    (code,) = blocks(page, "python")
    exec(code, {})


def test_from_python(place, monkeypatch, capsys):
    from latentpath.production.run import produce_run
    from support import tiny_models

    # The gate of random networks lets nothing through.
    quick = tiny_models.quick_config(count=24)
    monkeypatch.setattr(produce_run, "ProduceConfig", lambda: quick)
    monkeypatch.setattr("latentpath.production.ProduceConfig", lambda **_: quick)
    monkeypatch.setattr("latentpath.audit.quick_measures", lambda: ("nearest",))

    data = tiny_models.private_set((14, 12))
    (place / "weights").mkdir()
    tiny_models.save_bundle(place / "weights", tiny_models.bundle_for(data))
    page = ROOT / "docs" / "python.md"
    scope: dict = {"images": data.images[..., 0], "labels": data.labels, "people": data.identities}
    for code in blocks(page, "python"):
        exec(code, scope)
    assert scope["walked"].after.total.isfinite().all()

    # The examples, one after another.
    arrays = {"images": data.images, "labels": data.labels, "people": data.identities}
    np.savez(place / "private.npz", **arrays)
    for script, *words in [
        ("arrays_to_set", "private.npz", "weights", "other-run", "--count=24"),
        ("train_on_set", "other-run/set", "--epochs=1"),
        ("audit_sets", "private.npz", "other-run", "report"),
    ]:
        monkeypatch.setattr("sys.argv", [script, *words])
        runpy.run_path(str(ROOT / "examples" / f"{script}.py"), run_name="__main__")
    shown = capsys.readouterr().out
    assert "average over at least" in shown or "distinct people" in shown
    assert "of other walks" in shown
    assert (place / "report/summary.html").is_file()
