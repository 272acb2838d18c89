"""The report: self-contained, escaped, whole, and as private as it says."""

from __future__ import annotations

import base64
import json
import os
import sys
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from latentpath.audit import (
    AuditSetup,
    EnergyComparison,
    GateSummary,
    Report,
    ReportSet,
    WalkProfile,
    audit_set,
    measure_real,
    write_report,
)
from latentpath.audit.recognition.reidentification import Reidentification
from latentpath.audit.report.run_figures import encode_png
from latentpath.audit.utility.classifier_utility import Accuracy, Utility
from latentpath.core import plain_values
from latentpath.core.errors import InputError, MissingExtraError
from latentpath.similarity import prepare_real

for package in ("jinja2", "matplotlib", "PIL"):
    pytest.importorskip(package)

NASTY = ("<script>alert('x')</script>", "a\"b&c'd<e>")


class Page(HTMLParser):
    """Collect tags, every attribute that could load something, and the text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.text = ""
        self.style = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        names = ("src", "href", "srcset", "data", "action", "poster", "background")
        self.loads += [value for name, value in attrs if name in names]
        self.loads += [value for name, value in attrs if name.startswith("on")]

    def handle_data(self, data):
        if self.tags and self.tags[-1] == "style":
            self.style += data
        else:
            self.text += " ".join(data.split()) + " "


def figures(rate: float) -> Reidentification:
    return Reidentification(rate, 0.5, rate, rate / 2, rate, 0.01, 12)


@pytest.fixture
def make_report(people, lpips):
    def make(*, channels=1, classes=("dark", "bright"), plots=False, **changes) -> Report:
        real = people(12, channels=channels, classes=classes)
        reference = prepare_real(real, lpips)
        measures = ("nearest",)
        rows = [
            ReportSet(
                "real",
                "Real images",
                measure_real(AuditSetup(reference.images, prepared=reference, measures=measures)),
            )
        ]
        for seed, key in enumerate(("line", "walk"), start=1):
            images = people(9, channels=channels, classes=classes, seed=seed)
            gate = GateSummary(11, {"too close": 2})
            rows.append(
                ReportSet(
                    key,
                    key.title(),
                    audit_set(images, real=reference, measures=measures),
                    images,
                    gate,
                )
            )
        settings = {
            "title": "Audit",
            "sets": tuple(rows),
            "real": real,
            "certificate": {"k": 5, "promise": "Five people each.", "configuration": {"deep": 1}},
            "settings": {"walk": {"steps": 50}, "seeds": [0, 1]},
            "created": "2024-05-06",
        }
        if plots:
            rng = np.random.default_rng(0)
            settings["profile"] = WalkProfile(rng.random((4, 6)), rng.random((4, 6)))
            before, after = ({t: rng.random(4) for t in ("identity", "total")} for _ in range(2))
            settings["energies"] = EnergyComparison(before, after)
        return Report(**(settings | changes))

    return make


@pytest.mark.parametrize("channels", [1, 3])
def test_one_file_without_any_reference(make_report, tmp_path, channels):
    path = write_report(
        tmp_path / "new" / "report.html", make_report(channels=channels, plots=True)
    )
    page = Page(path.read_text(encoding="utf-8"))
    assert page.loads
    assert all(load.startswith("data:image/") for load in page.loads)
    assert not {"script", "link", "iframe", "object", "base"} & set(page.tags)
    assert "url(" not in page.style
    assert "@import" not in page.style
    assert sorted(os.listdir(path.parent)) == ["audit.json", "report.html"]
    for svg in (load for load in page.loads if load.startswith("data:image/svg")):
        drawing = base64.b64decode(svg.split(",", 1)[1]).decode()
        assert 'href="http' not in drawing
        assert "<image" not in drawing
    assert "Along the walks" in page.text
    assert "Path energies" in page.text


def test_text_from_the_user_is_escaped(plain_figures, make_report, tmp_path):
    report = make_report(
        classes=NASTY,
        title=NASTY[0],
        certificate={NASTY[0]: NASTY[1]},
        settings={NASTY[0]: {NASTY[1]: NASTY[0]}},
        created=NASTY[0],
    )
    gate = GateSummary(3, {NASTY[0]: 1})
    row = report.sets[2]
    nasty = ReportSet("walk", NASTY[0], row.audit, row.images, gate)
    report = make_report(
        classes=NASTY,
        title=NASTY[0],
        settings=report.settings,
        certificate=report.certificate,
        created=NASTY[0],
        sets=(*report.sets[:2], nasty),
    )
    html = write_report(tmp_path / "report.html", report).read_text(encoding="utf-8")
    page = Page(html)
    assert "script" not in page.tags
    assert "<script" not in html
    assert "e>" not in page.tags
    assert page.text.count(NASTY[0]) >= 5
    assert json.loads((tmp_path / "audit.json").read_text())["title"] == NASTY[0]


def test_real_images_only_where_asked(plain_figures, make_report, tmp_path):
    report = make_report()
    shown = write_report(tmp_path / "a.html", report).read_text()
    hidden = write_report(tmp_path / "b.html", report, include_real=False).read_text()
    real = [base64.b64encode(encode_png(image)).decode() for image in report.real.images]
    assert sum(picture in shown for picture in real) > 0
    assert sum(picture in hidden for picture in real) == 0
    synthetic = base64.b64encode(encode_png(report.sets[2].images.images[0])).decode()
    assert synthetic in shown
    assert synthetic in hidden
    assert "Do not share this page" in shown
    assert "Do not share this page" not in hidden


def test_the_table_shows_the_measures(plain_figures, make_report, tmp_path):
    report = make_report()
    utility = Utility((Accuracy(0.9, 0.8, ()), Accuracy(0.94, 0.82, ())), (0, 1), 300)
    rates = {"real": 0.99, "line": 0.6, "walk": 0.0004}
    rows = []
    for row in report.sets:
        found = {"reidentification": figures(rates[row.key]), "utility": utility}
        audit = replace(row.audit, results={**row.audit.results, **found})
        rows.append(ReportSet(row.key, row.title, audit, row.images, row.gate))
    path = write_report(tmp_path / "report.html", make_report(sets=tuple(rows)))
    text = Page(path.read_text(encoding="utf-8")).text
    for expected in (
        f"{report.sets[2].audit.nearest.mean:.3f}",
        "<0.1%",  # small is not nothing
        "60.0%",
        "92.0 ± 2.8%",
        "81.0 ± 1.4%",
        "against 60.0% of “Line” and 99.0% of “Real images”",
        "reaches a balanced accuracy of 81.0% on 300 real test images",
        "2 too close",
        "9 (81.8%)",
        "Five people each.",
        "walk.steps 50",
        "2024-05-06",
    ):
        assert expected in text, expected
    assert "It sees little" not in text
    sets = json.loads((tmp_path / "audit.json").read_text())["sets"]
    assert list(sets) == ["real", "line", "walk"]
    assert sets["walk"]["reidentification"]["rate"] == 0.0004
    assert sets["walk"]["gate"] == {"tested": 11, "kept": 9, "rejected": {"too close": 2}}


def test_a_weak_identity_classifier_is_called_so(plain_figures, make_report, tmp_path):
    rows = make_report().sets
    weak = replace(rows[0].audit, results={"reidentification": figures(0.3)})
    report = make_report(sets=(ReportSet("real", "Real", weak), *rows[1:]))
    text = Page(write_report(tmp_path / "report.html", report).read_text(encoding="utf-8")).text
    assert "names only 30.0% of the real images" in text
    assert "It sees little" in text


def test_numbers_beside_the_page(plain_figures, make_report, tmp_path):
    report = make_report(plots=True)
    write_report(tmp_path / "report.html", report)
    numbers = json.loads((tmp_path / "audit.json").read_text())
    mean = report.sets[1].audit.nearest.mean
    assert numbers["sets"]["line"]["nearest"]["mean_lpips_to_nearest_real"] == mean
    np.testing.assert_allclose(numbers["profile"]["walk"]["mean"], report.profile.walk.mean(0))
    before = report.energies.before["identity"]
    assert numbers["energies"]["identity"]["before"]["mean"] == pytest.approx(before.mean())
    assert numbers["certificate"]["configuration"] == {"deep": 1}
    assert numbers["settings"]["seeds"] == [0, 1]


def test_a_bare_report(plain_figures, make_report, tmp_path):
    whole = make_report(classes=("all",))
    bare = Report("Bare", whole.sets[2:], whole.real)
    text = Page(write_report(tmp_path / "report.html", bare).read_text(encoding="utf-8")).text
    assert "Along the walks" not in text
    assert "certificate" not in text
    assert "holds 9 images" in text


def test_one_sample_and_large_images(plain_figures, people, lpips, tmp_path):
    large = people(3).images.repeat(12, 1).repeat(10, 2)  # 192 x 160
    real = type(people(3))(large, np.array([0, 1, 0]), np.arange(3), ("dark", "bright"))
    one = real.subset([1])
    found = audit_set(one, real=real, lpips=lpips, measures=("nearest",))
    row = ReportSet("walk", "Walk", found, one)
    html = write_report(tmp_path / "report.html", Report("T", (row,), real)).read_text()
    assert "holds 1 image." in html
    assert "LPIPS 0.000" in html


def test_an_older_report_stays_whole_when_writing_fails(
    plain_figures, make_report, tmp_path, monkeypatch
):
    path = write_report(tmp_path / "report.html", make_report(title="older"))
    older = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(InputError, match="no space left"):
            write_report(path, make_report(title="newer"))
    assert path.read_bytes() == older
    assert sorted(os.listdir(tmp_path)) == ["audit.json", "report.html"]
    write_report(path, make_report(title="newer"))
    assert "newer" in path.read_text()


def test_the_subject_must_be_there(make_report):
    with pytest.raises(InputError, match="'nothing'"):
        make_report(subject="nothing")
    rows = make_report().sets
    with pytest.raises(InputError, match="different keys"):
        make_report(sets=(*rows, rows[0]))


def test_missing_extra_is_named(make_report, tmp_path, monkeypatch):
    report = make_report()
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(MissingExtraError, match=r"latentpath\[pipeline\]"):
        write_report(tmp_path / "report.html", report)


def test_plain_values():
    values = {"a": np.float32(0.5), 2: (np.int64(3), float("nan")), "b": np.array([[True]])}
    assert plain_values(values, for_readers=True) == {"a": 0.5, "2": [3, None], "b": [[True]]}
