"""The one-page summary: what it says, that it is one page, and that everybody can read it."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path

import pytest

from latentpath.audit import Report, check_report, write_report
from latentpath.audit.report import page_printing
from latentpath.core.errors import OutputExistsError
from support import browser, made_reports as made
from support.plain_figures import draw_nothing

for package in ("jinja2", "matplotlib", "PIL"):
    pytest.importorskip(package)

SEAL = "0123456789abcdef" * 4
CERTIFICATE = {
    "kind": "k-anonymity",
    "k": 5,
    "promise": "Every endpoint is an average over at least 5 people.",
    "not_promised": "Points between endpoints.",
}


def worst() -> Report:
    """Every answer bad or open, and long names."""
    leak = made.audit(
        copies=made.copies((3, 2, 2, 2)),
        membership=made.membership(0.65, 0.1),
        group_attack=None,
        fidelity=made.fidelity(0.2, 0.1),
        utility=made.utility(0.5),
    )
    title = "An audit of a set with a title that goes on for a while, as titles of studies do"
    networks = {
        "weak": ["encoder_explained_variance", "classifier_class_agreement"],
        "unfit": ["classifier_balanced_accuracy", "identity_reconstructions"],
        "not_judged": {"generator": "too_few_people"},
    }
    return made.report(2, leak, seal=SEAL, certificate=CERTIFICATE, title=title, networks=networks)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("board")
    with pytest.MonkeyPatch.context() as patch:
        draw_nothing(patch)
        write_report(place / "report.html", worst())
    return place


def text_of(page: Path) -> str:
    text = re.sub(r"<(style|svg).*?</\1>", " ", page.read_text("utf-8"), flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]*>", " ", text).split())


def test_it_names_the_set_and_who_may_read_it(folder):
    text = text_of(folder / "summary.html")
    assert SEAL in text
    assert "at least 5 people" in text
    assert "Privacy: Red. This set gives away people behind it" in text
    assert "Use: Red." in text
    assert "an ethics board or a data protection officer: it shows no image" in text
    assert "whoever is given it" not in text  # of a set that must not be
    assert "for the data holder alone" in text
    for verdict in worst().verdicts:
        assert verdict.question in text
    assert "<img" not in (folder / "summary.html").read_text("utf-8")


def test_networks_that_were_not_ready_are_named_on_both_pages(tmp_path, plain_figures):
    networks = {
        "weak": [],
        "unfit": ["classifier_balanced_accuracy"],
        "not_judged": {"generator": "too_few_people"},
    }
    path = write_report(tmp_path / "r.html", made.report(1, networks=networks))
    for page in (path, path.with_name("summary.html")):
        text = text_of(page)
        assert "Made with networks that were not ready by the judgement" in text
        assert "(classifier balanced accuracy)" in text
        assert "generator: too few people could be held out" in text
    assert json.loads(path.with_name("audit.json").read_bytes())["networks"] == networks
    quiet = write_report(
        tmp_path / "q" / "r.html", made.report(1, networks=dict.fromkeys(networks))
    )
    assert "Its networks" in text_of(path.with_name("summary.html"))
    assert "Its networks" not in text_of(quiet.with_name("summary.html"))
    assert "judgement" not in text_of(quiet)


def test_a_good_set_may_be_handed_on_with_it(tmp_path, plain_figures):
    write_report(tmp_path / "r.html", made.report(1), include_real=False)
    text = text_of(tmp_path / "summary.html")
    assert "Privacy: Green." in text
    assert "and whoever is given it" in text
    assert "no real image either" in text
    assert "None: the set was not written by latentpath" in text


def test_noiseless_figures_are_not_covered_by_differential_privacy(tmp_path, plain_figures):
    formal = {"kind": "differential privacy", "promise": "epsilon 1"}
    write_report(tmp_path / "r.html", made.report(1, certificate=formal))
    assert "the promise above does not cover them" in text_of(tmp_path / "summary.html")


def test_an_older_summary_does_not_stay(tmp_path, plain_figures):
    for name in ("summary.html", "summary.pdf"):
        (tmp_path / name).write_text("old")
        with pytest.raises(OutputExistsError):
            check_report(tmp_path / "r.html")
    write_report(tmp_path / "r.html", made.report(1, verdicts=()))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["audit.json", "r.html"]


def test_one_page_of_paper(folder, monkeypatch):
    monkeypatch.setenv("LATENTPATH_BROWSER", browser.browser())
    pdf = folder / "summary.pdf"
    assert page_printing.print_page(folder / "summary.html", pdf)
    assert len(re.findall(rb"/Type\s*/Page[^s]", pdf.read_bytes())) == 1


def test_without_a_browser_there_is_no_pdf(folder, tmp_path, monkeypatch):
    for named in ("", "no-such-browser", "false"):
        monkeypatch.setenv("LATENTPATH_BROWSER", named)
        assert not page_printing.print_page(folder / "summary.html", tmp_path / "a.pdf")
    assert list(tmp_path.iterdir()) == []


def test_nothing_stands_in_the_way_of_a_screen_reader(folder, tmp_path):
    """Rules of axe-core for WCAG 2.1 A and AA, in the light and in the dark."""
    found = importlib.util.find_spec("axe_core_python")
    if found is None or not found.submodule_search_locations:
        pytest.skip("needs axe-core-python")
    axe = Path(found.submodule_search_locations[0]) / "axe.min.js"
    light, report = ((folder / name).read_text("utf-8") for name in ("summary.html", "report.html"))
    dark, report_dark = (
        text.replace("(prefers-color-scheme: dark)", "(min-width: 1px)") for text in (light, report)
    )
    assert (light, report) != (dark, report_dark)
    spoilt = light.replace("--soft: #59636e", "--soft: #c0c0c0").replace(' lang="en"', "")
    pages = [light, dark, report_dark, spoilt]
    *results, planted = browser.axe_findings(pages, tmp_path, axe)
    assert {rule for rule, _ in planted["violations"]} == {"color-contrast", "html-has-lang"}
    for result in results:
        assert result["violations"] == []
        assert result["passes"] > 15
