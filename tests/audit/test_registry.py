"""A measure is its own folder: registered from outside it is in the numbers, tables and page."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest

from latentpath.audit import (
    AuditSetup,
    Figure,
    Finding,
    Measure,
    Wing,
    audit_schema,
    audit_set,
    chosen_measures,
    measure_names,
    measure_real,
    quick_measures,
    register,
    registry,
    report_on,
    wings,
    write_report,
)
from latentpath.audit.report.report_sections import Section
from latentpath.audit.report.report_tables import UP, Column, cell_of, table
from latentpath.audit.statistics.intervals import Interval
from latentpath.core.errors import InputError
from support.fresh import python


@dataclass(frozen=True)
class Brightness:
    """Mean grey level, 0 to 1."""

    mean: float

    def as_dict(self):
        return {"mean": self.mean}


def brightness(subject):
    return Brightness(float(subject.images.images.mean()) / 255)


def too_dark(evidence):
    if evidence.own.brightness:
        mean = evidence.own.brightness.mean
        what = f"Its images are at {mean:.1%} of full brightness"
        yield Finding("brightness", what, Interval(mean, mean, mean), 0.2, 0.1, False)


COLUMN = Column(
    "Brightness" + UP,
    cell_of("brightness", lambda found: f"{found.mean:.4f}"),
    "Brightness: mean grey level.",
)


def section(report):
    yield Section.of("How bright it is", tables=[table(report, [COLUMN])], notes=["Black is 0."])


TOY = Wing(
    name="light",
    question="Is it bright enough?",
    measures=(
        Measure(
            "brightness",
            brightness,
            of_real=True,
            of_holdout=True,
            figures=(Figure("bright", "Brightness", ("brightness", "mean"), True),),
        ),
    ),
    findings=too_dark,
    answered_by=("brightness",),
    about="use",
    overview=(COLUMN,),
    sections=section,
    summary=lambda report: ["Somebody has measured its brightness."],
    cautions=lambda report: ["It may be brighter elsewhere."],
    methods=lambda report: [("Grey levels", "Averaged.")],
)


@pytest.fixture
def toy(monkeypatch):
    monkeypatch.setattr(registry, "_WINGS", {wing.name: wing for wing in wings()})
    register(TOY)


def test_a_measure_from_outside_is_everywhere(toy, people, lpips, tmp_path):
    audit = audit_set(
        people(6, seed=1),
        real=people(5),
        holdout=people(5, seed=2),
        measures=["brightness", "nearest"],
        lpips=lpips,
    )
    assert measure_names()[-1] == "brightness"
    assert 0 < audit.brightness.mean < 1
    assert audit.yardstick.brightness.mean == pytest.approx(people(5).images.mean() / 255)
    assert audit.holdout.brightness is not None
    verdict = audit.verdicts[-1]
    assert (verdict.key, verdict.colour) == ("light", "green")
    report = report_on(audit)
    numbers = json.loads(json.dumps(report.as_dict(), allow_nan=False))
    assert numbers["questions"]["light"]["value"]["value"] == audit.brightness.mean
    assert numbers["sets"]["synthetic"]["brightness"] == {"mean": audit.brightness.mean}
    assert TOY.measures[0].figures[0].of(numbers["sets"]["synthetic"]) == audit.brightness.mean
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.Draft202012Validator(audit_schema()).validate(numbers)
    for package in ("jinja2", "matplotlib", "PIL"):
        pytest.importorskip(package)
    page = write_report(tmp_path / "report.html", report).read_text(encoding="utf-8")
    for shown in (
        "Is it bright enough?",
        "How bright it is",
        "Black is 0.",
        "Brightness: mean grey level.",
        "Somebody has measured its brightness.",
        "It may be brighter elsewhere.",
        "Grey levels",
    ):
        assert shown in page
    assert page.count(f"{audit.brightness.mean:.4f}") == 2  # in the overview and in its section


def test_what_was_left_out_is_open(toy, people, lpips):
    audit = audit_set(people(4, seed=1), real=people(5), measures=["nearest"], lpips=lpips)
    assert audit.brightness is None
    assert audit.not_measured["brightness"] == "Left out on request."
    assert audit.verdicts[-1].colour == "grey"


def test_names_are_unique(toy):
    for wing in (TOY, Wing("dark", "?", TOY.measures, too_dark, ())):
        with pytest.raises(InputError, match="names of their own"):
            register(wing)


def test_without_it_the_name_is_unknown(people, lpips):
    with pytest.raises(InputError, match="measures out of copies, nearest"):
        chosen_measures(["brightness"])
    setup = AuditSetup(people(3), lpips=lpips, measures=("nearest",))
    with pytest.raises(AttributeError, match="brightness"):
        _ = measure_real(setup).brightness


def test_every_wing_answers_by_its_own_measures():
    for wing in wings():
        own = [measure.name for measure in wing.measures]
        assert set(wing.answered_by) <= set(own)
        assert all(figure.path[0] in own for m in wing.measures for figure in m.figures)
    names = [figure.name for wing in wings() for m in wing.measures for figure in m.figures]
    assert len(names) == len(set(names))
    assert set(quick_measures()) < set(measure_names())


HEAVY = {
    "copies": "copies.duplicates",
    "closeness": "closeness.closest_record",
    "recognition": "recognition.reidentification",
    "attacks": "attacks.membership",
    "utility": "utility.classifier_utility",
    "fidelity": "fidelity.set_fidelity",
}


@pytest.mark.parametrize(
    ("measure", "wing"), [("copies", "copies"), ("record_ratio", "closeness"), (None, None)]
)
def test_one_measure_loads_its_own_wing_alone(measure, wing):
    code = f"""
import sys
import numpy as np
from latentpath.audit import AuditConfig, AuditSetup, measure_names, measure_set
from latentpath.data import ImageSet
assert len(measure_names()) == 10
def people(seed):
    images = np.random.default_rng(seed).integers(0, 256, (6, 16, 16, 1)).astype(np.uint8)
    return ImageSet(images, np.arange(6) % 2, np.arange(6), ("a", "b"))
if {measure!r}:
    setup = AuditSetup(people(0), people(1), measures=({measure!r},))
    assert getattr(measure_set(people(2), setup), {measure!r}) is not None
extras = ("monai", "torchmetrics", "jinja2", "matplotlib")
print([name for name in extras if name in sys.modules])
print([wing for wing, module in {HEAVY!r}.items() if "latentpath.audit." + module in sys.modules])
"""
    found = python(code)
    assert found.returncode == 0, found.stderr
    extras, loaded = map(eval, found.stdout.splitlines())  # lists of names that we printed
    assert extras == []
    assert loaded == ([wing] if wing else [])
