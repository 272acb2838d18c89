"""`--thorough` gives the audit's options their long defaults, and what is given stays."""

from __future__ import annotations

import pytest

from latentpath.audit import AuditConfig
from latentpath.cli import make_parser
from latentpath.cli.config_options import read_options
from latentpath.project import ProjectConfig

AUDIT = ["audit", "--real", "r", "--synthetic", "s", "--out", "o"]
RUN = ["run", "--data", "d", "--out", "o"]


def read(words) -> AuditConfig:
    arguments = make_parser().parse_args(words)
    if words[0] == "audit":
        return read_options(arguments, AuditConfig)
    return read_options(arguments, ProjectConfig).audit


@pytest.mark.parametrize(("words", "prefix"), [(AUDIT, "--"), (RUN, "--audit-")])
def test_long_defaults_where_they_are_asked_for(words, prefix):
    assert read(words) == AuditConfig.short()
    assert read([*words, "--thorough"]) == AuditConfig()
    given = read([*words, f"{prefix}witness-steps", "7", "--thorough"])
    assert given.witness.steps == 7
    assert given.classifier == AuditConfig().classifier
