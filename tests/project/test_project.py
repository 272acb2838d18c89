"""All the way in one call: from images to a set and its report, and on from a stop."""

from __future__ import annotations

import importlib
import json
import re
import shutil
import signal
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("monai")
pytest.importorskip("safetensors")
pytest.importorskip("matplotlib")

from latentpath.audit import AuditConfig, MembershipConfig, wings
from latentpath.cli import main, make_parser
from latentpath.core import StoppedError
from latentpath.core.errors import (
    InputError,
    IntegrityError,
    LatentpathWarning,
    OutputExistsError,
    PrivacyError,
    WeightsError,
)
from latentpath.data import read_image_set, split_people
from latentpath.production import (
    NEEDED,
    OutputConfig,
    RunOptions,
    TrainingConfig,
    check_networks,
    ready_networks,
    train_network,
    verify_set,
)
from latentpath.project import (
    ProjectConfig,
    StageEstimate,
    estimate_times,
    read_project,
    run_project,
    time_generator,
)
from latentpath.project.hours import in_hours
from latentpath.training import (
    ClassifierConfig,
    EncoderConfig,
    GeneratorConfig,
    IdentityConfig,
    ShadowConfig,
    WitnessConfig,
)
from support import tiny_models
from support.page_text import text_of
from support.plain_figures import draw_nothing

SMALL = {"steps": 2, "batch": 8, "width": 2}
CONFIG = ProjectConfig(
    training=TrainingConfig(
        generator=GeneratorConfig(
            total_images=16, batch=8, z_dim=4, w_dim=8, channel_base=64, channel_max=4
        ),
        encoder=EncoderConfig(**SMALL),
        identity=IdentityConfig(**SMALL),
        classifier=ClassifierConfig(**SMALL),
    ),
    produce=tiny_models.quick_config(count=8),
    output=OutputConfig(layouts="npz"),  # no folder to read images from
    audit=AuditConfig(
        seeds=(0,),
        classifier=ClassifierConfig(**SMALL),
        witness=WitnessConfig(**SMALL),
        membership=MembershipConfig(
            shadows=2, targets=1, blind_folds=2, training=ShadowConfig(steps=2), resamples=20
        ),
    ),
)
DATA = tiny_models.private_set((14, 12), per_person=2)
DATA_BEHIND = split_people(DATA, CONFIG.hold_out, CONFIG.hold_out_seed).private


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished project, what it told, and its files with the times of their last change."""
    folder = tmp_path_factory.mktemp("projects") / "one"
    told = []
    options = RunOptions(anyway=True)
    with pytest.MonkeyPatch.context() as patch:
        draw_nothing(patch)
        with pytest.warns(LatentpathWarning, match="not ready|not judged"):
            made = run_project(
                DATA, folder, CONFIG, resolution=16, say=told.append, options=options
            )
    return folder, made, told


def test_it_makes_a_set_and_its_report(finished):
    folder, made, told = finished
    samples = read_image_set(folder / "run" / "set" / "medmnist.npz", split="all")
    assert samples.images.shape == (8, 16, 16, 1)
    assert samples.num_classes == DATA.num_classes
    assert made.report_file.is_file()
    networks = json.loads((folder / "report" / "audit.json").read_bytes())["networks"]
    assert networks == made.run.manifest["networks"]
    assert networks["not_judged"] == {"generator": "too_few_people"}
    assert "not ready" in (folder / "report" / "summary.html").read_text("utf-8")
    assert "group_attack" in made.audit.results, "who is behind each image was told"
    walks = made.audit.sets["synthetic"].identities
    assert 1 < len(np.unique(walks)) < 8, "to every interval a walk is one person"
    assert set(made.audit.baselines) == {"straight lines", "centroids"}
    assert made.audit.holdout is not None
    lines = "\n".join(told)
    assert "people: 21 behind the set, 5 held out for the audit" in lines
    for stage in ("generator", "encoder", "identity", "classifier", "set", "report"):
        assert f"\n{stage}: about" in lines
    assert "all together: about" in lines


def test_the_report_names_the_numbers_of_people_that_the_dry_run_names(finished):
    _, made, told = finished
    numbers = {}
    for wing in (wing for wing in wings() if wing.people_held_out):
        (verdict,) = [v for v in made.audit.verdicts if v.question == wing.question]
        (said,) = [line for line in told if wing.question in line]
        assert f"It takes {wing.people_held_out} people held out" in said
        for check in (check for f in verdict.findings for check in f.relies_on):
            if check.instrument == "Number of other people":
                numbers[wing.name] = int(re.search(r"(\d+) to acquit a set", check.what)[1])
                assert numbers[wing.name] == wing.people_held_out
    assert numbers == {"attacks": 100, "closeness": 30}


def test_the_report_names_settings_as_the_command_line_has_them(finished):
    page = finished[1].report_file.read_text("utf-8")
    audit = make_parser()._subparsers._group_actions[0].choices["audit"]
    audit.declare(audit)
    named = set(re.findall(r"<td>(--[^<]+)</td>", page))
    assert {"--witness-steps", "--measures", "--limits-closeness-green"} <= named
    assert named <= set(audit._option_string_actions)
    assert "<td>sets, real, counted by</td>" in page
    assert "witness.steps" not in page


def test_the_people_held_out_are_in_nothing(finished):
    _, made, _ = finished
    assert made.run.plan.settings["certificate"]["identities_used"] == 21


def test_a_finished_project_is_left_as_it_is(finished):
    folder, made, _ = finished
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    again = run_project(DATA, folder, CONFIG, resolution=16)
    assert again.audit is None
    assert again.run.manifest == made.run.manifest
    kept = ("weights/", "run/set/", "report/")
    for path, changed in before.items():
        if str(path.relative_to(folder)).startswith(kept):
            assert path.stat().st_mtime_ns == changed, path


def test_other_data_or_options_are_refused(finished):
    folder, _, _ = finished
    other = tiny_models.private_set((14, 12), per_person=2, seed=9)
    with pytest.raises(InputError, match="data"):
        run_project(other, folder, CONFIG, resolution=16)
    with pytest.raises(InputError, match="hold_out"):
        run_project(DATA, folder, replace(CONFIG, hold_out=0.3), resolution=16)
    with pytest.raises(InputError, match="resolution"):
        run_project(DATA, folder, CONFIG, resolution=32)


def test_a_generator_of_all_people_is_refused_whatever_else_is_accepted(tmp_path):
    folder, told = tmp_path / "p", []
    train_network(
        "generator", DATA, folder / "weights", config=CONFIG.training.generator, resolution=16
    )
    (folder / "project.json").write_text("{}")
    with pytest.raises(WeightsError, match=r"generator trained on other people.*held out") as error:
        run_project(
            DATA, folder, CONFIG, resolution=16, say=told.append, options=RunOptions(anyway=True)
        )
    assert "generator.checkpoint away" in error.value.fix
    assert not (folder / "weights" / "encoder.safetensors").exists()


def test_a_network_that_is_absent_is_trained_again(finished, tmp_path):
    folder, made, _ = finished
    path = folder / "weights" / "classifier.safetensors"
    before = path.read_bytes()
    path.unlink()
    told = []
    again = run_project(DATA, folder, CONFIG, resolution=16, say=told.append)
    assert path.read_bytes() == before
    assert again.run.manifest == made.run.manifest
    assert not any("about" in line for line in told), "what was begun goes on"


def test_what_was_begun_goes_on_however_slow_the_machine_is_today(finished):
    folder, made, _ = finished
    (folder / "weights" / "identity.safetensors").unlink()
    again = run_project(DATA, folder, replace(CONFIG, hours=1e-6))
    assert again.run.manifest == made.run.manifest


@pytest.fixture(scope="module")
def tried(tmp_path_factory):
    """A project's folder after a trial, its result and what it told."""
    folder, told = tmp_path_factory.mktemp("trials") / "p", []
    with pytest.MonkeyPatch.context() as patch:
        draw_nothing(patch)
        with pytest.warns(LatentpathWarning, match="not ready|not judged"):
            made = run_project(
                DATA, folder, replace(CONFIG, trial=True), resolution=16, say=told.append
            )
    return folder, made, told


def test_a_trial_says_so_wherever_it_is_read(tried):
    folder, made, told = tried
    says = "A trial, not to be shared"
    assert made.run.folder.set == folder / "trial" / "run" / "set"
    assert made.run.manifest["networks"]["trial"] is True
    assert any(line.startswith("a trial: ") and "not to be shared" in line for line in told)
    assert not any("all together" in line for line in told), "minutes need no more than a line"
    (line,) = [line for line in told if line.startswith("the trial: about ")]
    assert re.search(r"\(networks \d+ seconds?, report \d+ \w+, and the set\)", line)
    assert says in (made.run.folder.set / "README.md").read_text("utf-8")
    report = folder / "trial" / "report"
    for name in ("report.html", "summary.html"):
        assert f"<h1>{says}" in (report / name).read_text("utf-8")
    assert json.loads((report / "audit.json").read_bytes())["networks"]["trial"] is True
    assert verify_set(made.run.folder.set).ok
    assert not (folder / "run").exists()


def tells_of_a_trial(weights, capsys):
    capsys.readouterr()
    assert main(["info", str(weights), "--quiet"]) == 0
    return capsys.readouterr().out.count("trained by a trial, far too short")


def test_what_a_trial_trained_says_so_and_no_more_once_it_is_trained_on(tried, tmp_path, capsys):
    assert tells_of_a_trial(tried[0] / "weights", capsys) == 4
    shutil.copytree(tried[0] / "weights", tmp_path / "w")
    ready_networks(
        DATA_BEHIND,
        tmp_path / "w",
        with_training("generator", total_images=24).training,
        renew=True,
    )
    assert tells_of_a_trial(tmp_path / "w", capsys) == 0


def test_the_same_call_goes_on_after_a_trial(tried, tmp_path):
    shutil.copytree(tried[0], tmp_path / "p")
    longer, told = with_training("generator", total_images=24), []
    with pytest.warns(LatentpathWarning, match="not ready|not judged"):
        made = run_project(
            DATA, tmp_path / "p", longer, say=told.append, options=RunOptions(anyway=True)
        )
    assert "generator: trained on, from 16 to 24 images" in told
    assert (
        "resolution: 16 pixels, as the project was begun with; another one takes another --out"
        in told
    )
    assert any(line.startswith("all together: about") for line in told)
    assert "trial" not in made.run.manifest["networks"]
    assert made.run.folder.set == tmp_path / "p" / "run" / "set"
    assert "trial" not in text_of(tmp_path / "p" / "report" / "report.html").lower()
    assert (tmp_path / "p" / "trial" / "run" / "set").is_dir()
    shutil.copytree(tried[0], tmp_path / "q")
    with pytest.raises(InputError, match="hours"):
        run_project(DATA, tmp_path / "q", replace(longer, hours=1e-6))


def stopped_in(stage):
    def stop(name, done, total, figures):
        if name == stage:
            signal.raise_signal(signal.SIGINT)

    return stop


def test_trainings_that_are_under_way_are_left_to_the_whole(tmp_path):
    folder, longer = tmp_path / "p", with_training("encoder", steps=4)
    with pytest.raises(StoppedError):
        run_project(DATA, folder, longer, resolution=16, progress=stopped_in("encoder"))
    before = (folder / "weights" / "encoder.checkpoint").read_bytes()
    with pytest.raises(InputError, match="trainings under way: encoder"):
        run_project(DATA, folder, replace(CONFIG, trial=True))
    assert (folder / "weights" / "encoder.checkpoint").read_bytes() == before


def test_a_trial_that_was_stopped_does_not_stand_in_the_way(tmp_path):
    folder = tmp_path / "p"
    trial = replace(with_training("encoder", steps=3), trial=True)
    with pytest.raises(StoppedError):
        run_project(DATA, folder, trial, resolution=16, progress=stopped_in("encoder"))
    with pytest.raises(WeightsError, match="ready to make a set"):
        run_project(DATA, folder, CONFIG)  # which trained all of them


class TestStatus:
    """What `status` and `verify` say of a project before, between and after its parts."""

    @pytest.fixture
    def part(self, finished, tmp_path):
        """A copy of a finished project without some of its files."""

        def made(*left_out):
            shutil.copytree(finished[0], tmp_path / "p", ignore=shutil.ignore_patterns(*left_out))
            return tmp_path / "p"

        return made

    def test_a_finished_project(self, finished, capsys):
        folder, made, _ = finished
        assert main(["status", str(folder)]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[0] == "project of 16x16 pixels"
        assert lines[1] == "networks trained: generator, encoder, identity, classifier"
        assert "state: finished" in lines
        verdicts = lines[lines.index("report: there") + 1 :][:2]
        for line, aspect in zip(verdicts, made.audit.headline, strict=True):
            assert line == f"{aspect.colour:<6} {aspect.about}: {aspect.answer}"
        assert lines[-1].startswith("next: nothing: ")
        assert main(["status", str(folder), "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
        assert (told["state"], told["project"]["reported"]) == ("finished", True)
        assert main(["verify", "--quiet", str(folder)]) == 0

    def test_a_set_without_its_report(self, part):
        status = read_project(part("report"))
        assert status.has_set
        assert status.next_step.endswith("again: the set is finished, its report comes next")

    def test_networks_without_a_set(self, part, capsys):
        folder = part("run", "report", "identity.safetensors", "classifier.*")
        assert main(["status", str(folder)]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[1] == (
            "networks trained: generator, encoder; begun: identity; absent: classifier"
        )
        assert "set: none yet" in lines
        assert lines[-1] == (
            "next: give the same `latentpath run` command again: it trains identity, classifier, "
            "then come set and report"
        )
        assert main(["verify", "--quiet", str(folder)]) == 2
        error = capsys.readouterr().err
        assert "got a project without a set yet (networks trained: generator, encoder;" in error
        assert "give the same `latentpath run` command again" in error

    def test_after_a_trial(self, tried):
        status = read_project(tried[0])
        assert status.tried
        assert "without --trial" in status.next_step
        assert "a trial, not to be shared, lies in its folder `trial`" in status.lines()
        assert status.networks_line == (
            "networks trained by a trial, far too short: generator, encoder, identity, classifier"
        )
        assert status.as_dict()["project"]["networks"]["encoder"] == "tried"

    def test_a_trial_is_none_to_share_whatever_its_files_are(self, tried, capsys):
        for place in (tried[0] / "trial", tried[0] / "trial" / "run" / "set"):
            assert main(["verify", "--quiet", str(place)]) == 0
            told = capsys.readouterr().out
            assert told.count("\n") == 1
            assert "; it is a trial, not to be shared" in told
        assert main(["status", str(tried[0] / "trial")]) == 0
        told = capsys.readouterr().out
        assert "the set: it is a trial, not to be shared" in told
        assert re.search(r"^gate: none; \d+ samples$", told, re.MULTILINE)

    def test_what_the_report_says_is_told_with_whether_it_is_about_the_set(self, finished, capsys):
        folder, made, _ = finished
        words = ["verify", "--quiet", str(folder / "run" / "set"), "--report"]
        for report in ("report", "report/report.html", "report/audit.json"):
            assert main([*words, str(folder / report)]) == 0
            first, said, *verdicts = capsys.readouterr().out.splitlines()
            assert "the report is about this very set" in first
            assert "made with networks that were not ready" in first
            assert said == "the report says:"
            assert [line.split()[0] for line in verdicts] == [a.colour for a in made.audit.headline]
        assert main([*words, str(folder / "report"), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["report"] == verdicts

    def test_what_is_no_project(self, tmp_path):
        assert read_project(tmp_path) is None
        (tmp_path / "project.json").write_text("{}")
        assert read_project(tmp_path) is None


def test_a_dry_run_makes_nothing(tmp_path):
    told = []
    folder = tmp_path / "dry"
    assert run_project(DATA, folder, CONFIG, dry_run=True, say=told.append) is None
    assert not folder.exists()
    assert any(line.startswith("resolution: 16x16 pixels") for line in told)
    assert sum(line.startswith("too few people to acquit the set by: ") for line in told) == 3
    assert sum(line.startswith("too few people to judge generator") for line in told) == 1


@pytest.mark.parametrize("dry_run", [False, True])
def test_no_work_begins_that_takes_too_long(tmp_path, dry_run):
    slow = replace(CONFIG.training, identity=replace(CONFIG.training.identity, steps=10**7))
    config = replace(CONFIG, hours=0.01, training=slow)
    told = []
    with pytest.raises(
        InputError, match=r"at most 0\.01 hours, as --hours says, got about [0-9.e+]+ hours by"
    ) as error:
        run_project(DATA, tmp_path / "slow", config, dry_run=dry_run, say=told.append)
    assert any(line.startswith("all together: about") for line in told)
    assert "--hours " in error.value.fix
    assert "--resolution" not in error.value.fix, "the images have no smaller one"
    assert not (tmp_path / "slow").exists()


def with_training(network, **options):
    training = CONFIG.training
    changed = replace(getattr(training, network), **options)
    return replace(CONFIG, training=replace(training, **{network: changed}))


@pytest.mark.parametrize(
    ("network", "options", "got"),
    [
        ("generator", {"total_images": 24}, "generator from 16 to 24 images"),
        ("classifier", {"steps": 3}, "classifier with steps 3 instead of 2"),
    ],
)
@pytest.mark.parametrize("dry_run", [False, True])
def test_other_networks_of_a_planned_set_are_refused_before_any_training(
    finished, network, options, got, dry_run
):
    folder, _, _ = finished
    before = {path: path.stat().st_mtime_ns for path in (folder / "weights").iterdir()}
    with pytest.raises(InputError, match=got) as error:
        run_project(DATA, folder, with_training(network, **options), resolution=16, dry_run=dry_run)
    assert f"remove {folder / 'run'}" in error.value.fix
    assert {path: path.stat().st_mtime_ns for path in (folder / "weights").iterdir()} == before


def test_a_dry_run_reckons_with_what_is_left_of_a_longer_training(finished, tmp_path, monkeypatch):
    folder, _, _ = finished
    shutil.copytree(folder / "weights", tmp_path / "p" / "weights")
    shutil.copy(folder / "project.json", tmp_path / "p")
    stages = ("generator", "encoder", "identity", "classifier", "set", "report")
    longer, told, before = with_training("generator", total_images=64), [], []

    def measured(*_, **__):
        before.extend(told)
        return [StageEstimate(stage, 7200.0, "24 images") for stage in stages]

    monkeypatch.setattr("latentpath.project.project.estimate_times", measured)
    run_project(DATA, tmp_path / "p", longer, resolution=16, dry_run=True, say=told.append)
    assert "generator: trained on, from 16 to 64 images" in before, "it is told before the trial"
    assert "generator: about 1.5 hours (75% of 24 images)" in told
    assert "encoder: about 2.0 hours (24 images)" in told
    assert not any(line.startswith(("identity", "classifier")) for line in told)


def test_networks_that_are_not_ready_are_told_with_options_that_run_has(tmp_path):
    with pytest.raises(WeightsError, match=r"with a larger --train-") as error:
        run_project(DATA, tmp_path / "p", CONFIG, resolution=16)
    assert "a larger --train-identity-steps" in error.value.fix
    assert "`latentpath train" not in error.value.fix


def test_a_stop_while_the_set_is_made_says_how_the_project_goes_on(finished, tmp_path):
    folder, _, _ = finished
    shutil.copytree(folder / "weights", tmp_path / "p" / "weights")
    shutil.copy(folder / "project.json", tmp_path / "p")

    def stop(stage, done, total, figures):
        if stage == "produce":
            signal.raise_signal(signal.SIGINT)

    options = RunOptions(anyway=True)
    config = replace(CONFIG, produce=tiny_models.quick_config(count=20))
    with pytest.warns(LatentpathWarning), pytest.raises(StoppedError) as error:
        run_project(DATA, tmp_path / "p", config, resolution=16, options=options, progress=stop)
    assert str(error.value) == (
        "stopped at a shard, as asked: give the same command again; what is finished is kept"
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_between_set_and_report_says_that_the_same_command_goes_on(
    finished, tmp_path, number
):
    folder, _, _ = finished
    shutil.copytree(folder, tmp_path / "p", ignore=shutil.ignore_patterns("report"))

    def stop(stage, done, total, figures):
        if stage.startswith("audit"):
            signal.raise_signal(number)

    with pytest.raises(StoppedError) as error:
        run_project(DATA, tmp_path / "p", CONFIG, resolution=16, progress=stop)
    assert str(error.value) == (
        "stopped before its report was written, as asked: give the same command again; the set in "
        f"{tmp_path / 'p' / 'run' / 'set'} is finished"
    )
    assert error.value.exit_code == 128 + number
    assert not (tmp_path / "p" / "report").exists()


def test_a_damaged_ledger_is_mended_by_an_option_that_run_has(finished, tmp_path):
    folder, made, _ = finished
    shutil.copytree(folder, tmp_path / "p")
    (tmp_path / "p" / "run" / "private" / "ledger.sqlite").write_bytes(b"no ledger")
    with pytest.raises(IntegrityError, match="the same command with --rebuild-ledger"):
        run_project(DATA, tmp_path / "p", CONFIG, resolution=16)
    again = run_project(
        DATA, tmp_path / "p", CONFIG, resolution=16, options=RunOptions(rebuild_ledger=True)
    )
    assert again.run.manifest == made.run.manifest


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_generator_that_saw_more_images_than_are_asked_for_is_kept_and_said_to_be(
    finished, dry_run
):
    folder, made, _ = finished
    told, shorter = [], with_training("generator", total_images=8)
    again = run_project(DATA, folder, shorter, resolution=16, dry_run=dry_run, say=told.append)
    assert dry_run or again.run.manifest == made.run.manifest
    assert [line for line in told if line.startswith("generator: kept")] == [
        "generator: kept as it is, trained on 16 images, more than the 8 that are asked for; for a "
        "shorter training move generator.safetensors and generator.checkpoint away"
    ]


def test_networks_that_are_there_are_looked_at_once(finished, monkeypatch):
    folder, _, _ = finished
    safetensors = importlib.import_module("safetensors")
    opened, real = Counter(), safetensors.safe_open

    def counting(path, *words, **options):
        opened[Path(path).name] += 1
        return real(path, *words, **options)

    monkeypatch.setattr(safetensors, "safe_open", counting)
    known = check_networks(folder / "weights", DATA_BEHIND)
    assert known == ()
    assert set(opened.values()) == {1}
    opened.clear()
    options = {"renew": True, "resolution": 16}
    ready_networks(DATA_BEHIND, folder / "weights", CONFIG.training, **options)
    before = opened.total()
    opened.clear()
    ready_networks(
        DATA_BEHIND, folder / "weights", CONFIG.training, of_unknown_people=known, **options
    )
    assert opened.total() == before - len(NEEDED)


@pytest.mark.parametrize(
    ("seconds", "below", "told"),
    [(7300, 1, "2"), (185, 0.05, "0.051"), (180.1, 0.05, "0.05003"), (3601, 1, "1.0003")],
)
def test_a_time_and_its_limit_are_told_apart_in_one_unit(seconds, below, told):
    assert in_hours(seconds, below) == told


def test_a_dry_run_of_what_was_begun_tells_and_refuses_nothing(finished):
    folder, _, _ = finished
    told = []
    hurried = replace(CONFIG, hours=1e-9)
    assert run_project(DATA, folder, hurried, resolution=16, dry_run=True, say=told.append) is None
    assert any(line.startswith("resolution: 16x16 pixels") for line in told)


def test_a_predictor_is_not_a_projects(tmp_path):
    fast = replace(CONFIG.produce.walk.fast, predictor=True)
    with pytest.raises(InputError, match="without --predictor"):
        replace(
            CONFIG, produce=replace(CONFIG.produce, walk=replace(CONFIG.produce.walk, fast=fast))
        )


def test_the_options_that_bring_it_below_the_hours_are_named(tmp_path, monkeypatch):
    estimates = [
        StageEstimate("generator", 10 * 3600.0, ""),
        StageEstimate("set", 2 * 3600.0, ""),
        StageEstimate("report", 3600.0, ""),
    ]
    module = "latentpath.project.project"
    monkeypatch.setattr(f"{module}.estimate_times", lambda *_, **__: estimates)
    large = replace(DATA, images=DATA.images.repeat(8, 1).repeat(8, 2))
    config = replace(CONFIG, hours=10)
    with pytest.raises(InputError) as error:
        run_project(large, tmp_path / "p", config, resolution=64, dry_run=True)
    # Three hours too many: seven tenths of the generator's images, less a tenth; not of the set.
    assert error.value.fix == (
        "choose --hours 15 or --resolution 32 or --train-generator-total-images 10 or a GPU "
        "(--device cuda)"
    )


def test_a_resolution_that_stays_is_none_to_choose(tried, tmp_path, monkeypatch):
    estimates = [StageEstimate("report", 10 * 3600.0, "")]
    monkeypatch.setattr("latentpath.project.project.estimate_times", lambda *_, **__: estimates)
    monkeypatch.setattr("latentpath.project.hours.smallest_side", lambda _: 8)
    shutil.copytree(tried[0], tmp_path / "p")
    with pytest.raises(InputError, match="hours") as error:
        run_project(DATA, tmp_path / "p", replace(CONFIG, hours=1), dry_run=True)
    assert error.value.fix == "choose --hours 11 or a GPU (--device cuda)"


@pytest.mark.parametrize(("share", "told"), [(0.996, "9 images"), (0.75, "75% of 9 images")])
def test_nearly_all_of_a_stage_is_all_of_it(share, told):
    assert StageEstimate("generator", 100.0, "9 images").part(share).what == told


def test_too_few_people_are_told_before_any_work(tmp_path):
    few = tiny_models.private_set((4, 12))
    with pytest.raises(PrivacyError, match="at least k = 3 people"):
        run_project(few, tmp_path / "few", replace(CONFIG, hold_out=0.5), resolution=16)


def test_what_no_set_can_be_is_told_before_any_training(tmp_path):
    people = replace(DATA, class_names=("patient 1", "patient 2"))
    with pytest.raises(PrivacyError, match="names of classes"):
        run_project(people, tmp_path / "names", CONFIG, resolution=16)
    assert not any(tmp_path.iterdir())


def test_safe_endpoints_are_timed():
    safe = tiny_models.quick_config(
        count=8, endpoints="safe", gate_identity=0.9, gate_quantile=0.01
    )
    found = estimate_times(DATA, replace(CONFIG, produce=safe), 16)
    names = ["generator", "encoder", "identity", "classifier", "set", "report"]
    assert [estimate.stage for estimate in found] == names
    assert all(estimate.seconds > 0 for estimate in found)


def test_a_folder_of_something_else(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OutputExistsError, match="project"):
        run_project(DATA, tmp_path, CONFIG, resolution=16)


def test_estimates_grow_with_the_work():
    generator = replace(CONFIG.training.generator, total_images=80_000)
    longer = replace(CONFIG, training=replace(CONFIG.training, generator=generator))
    short, long = (time_generator(DATA, config, 16) for config in (CONFIG, longer))
    assert long.seconds > 100 * short.seconds
    assert long.what.startswith("80,000 images at ")
