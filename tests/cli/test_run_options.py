"""What `latentpath run` makes of its options, without the work."""

from __future__ import annotations

import pytest


@pytest.fixture
def asked(command, images, tmp_path, monkeypatch):
    """What `run_project` is called with."""

    def run(*words):
        found = {}

        def called(data, out, config, **options):
            found.update(options, data=data, config=config)

        monkeypatch.setattr("latentpath.project.run_project", called)
        code, _, errors = command(
            *("run", "--quiet", "--data", images, "--out", tmp_path / "p", *words)
        )
        assert (code, errors) == (0, [])
        return found

    return run


def test_a_trial_is_a_preset_whose_options_may_be_said_otherwise(asked):
    from latentpath.project import ProjectConfig

    assert asked("--trial")["config"] == ProjectConfig.for_trial()
    config = asked("--trial", "--count", "7", "--k", "3")["config"]
    assert (config.produce.count, config.produce.endpoints.k) == (7, 3)
    assert config.training == ProjectConfig.for_trial().training
    assert asked()["config"] == ProjectConfig()


def test_a_damaged_ledger_can_be_made_anew(asked):
    assert asked("--rebuild-ledger")["options"].rebuild_ledger
    assert not asked()["options"].rebuild_ledger
