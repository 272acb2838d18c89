"""How much of the package one command enters, and how much an import loads."""

from __future__ import annotations

from support.trace_files import files_of_a_run, modules_of

MOST_FILES = 104


def test_a_configuration_is_read_without_the_pipeline():
    loaded = modules_of("latentpath.production.produce_config")
    assert "latentpath.production.produce_config" in loaded
    assert len(loaded) <= 40, loaded


def test_the_gate_loads_a_search_and_no_audit():
    loaded = modules_of("latentpath.production.gate")
    assert "latentpath.similarity.search" in loaded
    assert not [name for name in loaded if name.startswith("latentpath.audit")]


def test_files_that_one_produce_enters():
    """A ceiling, so that it does not grow unseen; `tests/support/trace_files.py` lists them."""
    files = files_of_a_run()
    assert {"production/plan.py", "production/gate.py", "walks/pool.py"} <= files.keys()
    assert len(files) <= MOST_FILES, sorted(files)
