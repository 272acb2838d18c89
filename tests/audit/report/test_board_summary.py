"""The one-page summary: what it says, that it is one page, and that everybody can read it."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path

import pytest

from latentpath.audit import Report, check_report, write_report
from latentpath.audit.report import report_html
from latentpath.audit.report.board_summary import people_behind
from latentpath.audit.verdict import WEAK_INSTRUMENT, answer
from latentpath.core.errors import OutputExistsError
from support import browser, made_reports as made
from support.page_text import text_of
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
        "not_ready": ["classifier_balanced_accuracy", "identity_reconstructions"],
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


def of_people(**changes):
    sets = {"real": {"images": 120, "people": 60, "counted_by": "patients"}}
    sets["holdout"] = {"images": 13, "people": 13, "counted_by": "patients"}
    certificate = CERTIFICATE | {"identities_used": 55}
    settings = {"certificate": certificate, "settings": {"sets": sets}, **changes}
    return people_behind(made.report(1, **settings))


def test_it_says_how_many_people_are_behind_it_and_what_k_is(tmp_path, plain_figures):
    found = of_people()
    assert found["behind"] == (
        "60 people are behind it, 55 of them in its averages. "
        "13 other people were held out to compare with."
    )
    assert found["told_apart"] == "By the patients and studies of DICOM files."
    assert "k is 5. An endpoint is an average over at least 5 people" in found["endpoints"]
    assert "from the 4 others" in found["endpoints"]
    sets = {"real": {"images": 3, "people": 1, "counted_by": "images"}}
    alone = {"settings": {"sets": sets}, "reading": {"counted_by": "names"}}
    write_report(tmp_path / "r.html", made.report(1, **alone))
    text = text_of(tmp_path / "summary.html")
    assert "1 person is behind it. Nobody was held out" in text
    assert "nothing told otherwise, for this audit; when the set was made, by the names" in text
    assert "Unknown: the set does not say how it was made" in text


def test_what_nobody_knows_is_called_unknown():
    found = of_people(settings={}, certificate=None)
    assert found["behind"].startswith("Unknown how many are behind it.")
    assert found["told_apart"] == "Unknown."
    odd = of_people(settings={}, reading={"counted_by": ["by magic"]})
    assert odd["told_apart"] == "Unknown."


def test_differential_privacy_is_not_broken_by_an_exact_number():
    formal = {"kind": "differential privacy", "promise": "epsilon 1"}
    found = of_people(certificate=formal)
    assert "60" not in found["behind"]
    assert "There is no k." in found["endpoints"]


def test_an_open_question_shows_its_reason_and_no_figure(tmp_path, plain_figures):
    few = made.audit(
        membership=made.membership(0.5, blind=0.7), utility=made.utility(0.9), fidelity=None
    )
    bad = made.real_audit(utility=made.utility(0.52))
    report = made.report(1, few, verdicts=answer(few, bad, None))
    write_report(tmp_path / "r.html", report)
    text = text_of(tmp_path / "summary.html")
    use = text.partition("Are models trained on it any good?")[2].partition("Does it look")[0]
    assert "Not answered Guessing gives 50.0%" in use
    assert "Models trained on it reach" not in use
    told = text.partition("Can one tell who is behind the set?")[2].partition("Are models")[0]
    assert "differ in themselves. Choose the holdout at random" in told
    assert WEAK_INSTRUMENT in told
    assert "50.0 times in 100" not in told
    page = text_of(tmp_path / "r.html")
    assert "Measured, but not to be relied on: Models trained on it reach" in page


def test_what_a_weak_instrument_condemns_stays_condemned_and_is_called_so(tmp_path, plain_figures):
    """And sentences on limits begin with a capital, losses below nothing with a minus sign."""
    leak = made.audit(membership=made.membership(0.65, blind=0.7), utility=made.utility(0.93))
    write_report(tmp_path / "r.html", made.report(1, leak))
    text = text_of(tmp_path / "summary.html")
    told = text.partition("Can one tell who is behind the set?")[2].partition("Are models")[0]
    assert "Red Of one person behind the set" in told
    assert f"Green up to 55.0%, red above 60.0%. {WEAK_INSTRUMENT}" in told
    use = text.partition("Are models trained on it any good?")[2].partition("Does it look")[0]
    assert "95% interval of the loss: \N{MINUS SIGN}" in use
    assert not re.search(r"[;.] green|-\d", told + use)


def test_a_seal_is_written_once_and_broken_in_its_middle(folder, tmp_path):
    page = folder / "summary.html"
    assert page.read_text("utf-8").count(SEAL) == 1
    for shown in browser.layouts([(page, 1000), (page, 360)], tmp_path):
        first, second = shown["seal"]
        assert first == pytest.approx(second, rel=0.02)


def test_networks_that_were_not_ready_are_named_on_both_pages(tmp_path, plain_figures):
    networks = {
        "weak": [],
        "not_ready": ["classifier_balanced_accuracy"],
        "not_judged": {"generator": "too_few_people"},
    }
    path = write_report(tmp_path / "r.html", made.report(1, networks=networks))
    for page in (path, path.with_name("summary.html")):
        text = text_of(page)
        assert "Made with networks that were not ready by the judgement" in text
        assert "(how well the class of new people is told, usually 50%" in text
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
    assert report_html.print_page(folder / "summary.html", pdf)
    assert len(re.findall(rb"/Type\s*/Page[^s]", pdf.read_bytes())) == 1


def test_without_a_browser_there_is_no_pdf(folder, tmp_path, monkeypatch):
    for named in ("", "no-such-browser", "false"):
        monkeypatch.setenv("LATENTPATH_BROWSER", named)
        assert not report_html.print_page(folder / "summary.html", tmp_path / "a.pdf")
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
