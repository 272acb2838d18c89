"""`--help` fits a screen or two, and `--help-all` explains every option."""

from __future__ import annotations

import re

import pytest

COMMANDS = [
    ["run"],
    ["produce"],
    ["audit"],
    ["scan"],
    ["verify"],
    ["demo"],
    ["train", "generator"],
    ["train", "surrogate"],
    ["experiment", "digits"],
]


def flags(text):
    return set(re.findall(r"--[a-z0-9-]*[a-z0-9]\*?(?=[\s,|]|$)|--[a-z0-9-]+-\*", text))


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_it_is_short_and_names_every_option_or_its_group(command, words, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    code, short, errors = command(*words, "--help")
    assert (code, errors) == (0, [])
    lines = short.splitlines()
    assert len(lines) <= 80
    assert max(map(len, lines)) <= 100
    code, whole, errors = command(*words, "--help-all")
    assert (code, errors) == (0, [])
    listed = re.findall(r"^  (?:-\w, )?(--[a-z0-9-]+)", whole, re.MULTILINE)
    assert {"--help", "--help-all", "--quiet"} <= set(listed)
    named = flags(short)
    groups = tuple(flag[:-1] for flag in named if flag.endswith("*"))
    for flag in listed:
        assert flag in named or flag.startswith(groups or "="), flag


def test_what_a_first_user_needs_has_a_line_of_its_own(command):
    _, short, _ = command("run", "--help")
    for flag in ("--data PATH", "--identity-column COLUMN", "--dry-run", "--hours"):
        assert re.search(rf"^  {flag}", short, re.MULTILINE), flag
    assert "--train-generator-*" in short
    assert "latentpath run --help-all" in short
    assert "The same command goes on" in short


def test_an_audit_shows_which_split_is_the_private_one(command):
    _, short, _ = command("audit", "--help")
    assert re.search(r"^  --real-split", short, re.MULTILINE)


def test_a_mistyped_option_leads_to_the_help_that_has_all(refused):
    assert "`latentpath run --help-all`" in refused("run", "--xyzzy")
