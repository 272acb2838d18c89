"""The audit's page: what it says, and how a browser lays it out on a phone, a desk and paper."""

from __future__ import annotations

import base64
import dataclasses
import html
import re
from pathlib import Path

import numpy as np
import pytest

from latentpath.audit import write_report
from latentpath.audit.report.report_tables import percent_interval
from latentpath.audit.report.run_figures import encode_png
from latentpath.audit.statistics.intervals import Interval
from latentpath.audit.utility.classifier_utility import from_predictions
from latentpath.audit.utility.predictions import Predictions
from support import browser, made_reports as made
from support.page_text import text_of

for package in ("jinja2", "matplotlib", "PIL"):
    pytest.importorskip(package)


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    leak = made.audit(copies=made.copies((3, 2, 2, 2)), membership=made.membership(0.65, 0.1))
    return {
        sets: write_report(folder / f"{sets}.html", made.report(sets, leak, seal="5e" * 32))
        for sets in (1, 2, 12)
    }


def test_answers_come_first_in_colour_word_and_shape(pages):
    source = pages[1].read_text(encoding="utf-8")
    text = text_of(pages[1])
    assert text.index("do not share it as it is") < text.index("The sets side by side")
    assert "Privacy: Red." in text
    assert "2 green, 2 red." in text  # of privacy
    assert "2 green." in text  # of use
    for colour, shape in (("green", "<circle"), ("red", '<polygon points="7.4,1')):
        light = source.index(f'<svg class="light {colour}"')
        assert shape in source[light : light + 200]
    assert "3 of its 400 images equal a real one in every pixel" in text


@pytest.mark.parametrize("sets", [1, 2, 12])
def test_every_set_has_its_row(pages, sets):
    page = html.unescape(pages[sets].read_text(encoding="utf-8"))
    rows = re.findall(r"<tr.*?</tr>", page, re.DOTALL)
    for row in made.report(sets).sets:
        assert sum(row.title in line for line in rows) >= 3, row.title


def test_methods_and_limits_are_of_what_was_measured(pages, tmp_path, plain_figures):
    everything = text_of(pages[1])
    for word in ("Carlini", "Heusel", "Lowe", "Platzer", "Wilson", "What this audit cannot see"):
        assert word in everything
    # Of the real set there is no fidelity, but membership.
    few = made.report(1, made.audit(membership=None, fidelity=None))
    text = text_of(write_report(tmp_path / "few.html", few))
    assert "Heusel" not in text
    assert "Carlini" in text
    assert "Not measured." in text


def shown_in(page: Path, title: str) -> list[str]:
    """What the set in question has in the columns of this name, of all tables."""
    source = html.unescape(page.read_text(encoding="utf-8"))
    found = []
    for row in re.findall(r'<tr class="subject">(.*?)</tr>', source, re.DOTALL):
        for name, cell in re.findall(r'data-label="(.*?)".*?<span>(.*?)</span>', row):
            if re.split("[\N{NO-BREAK SPACE} ][↑↓]", name)[0] == title:
                found.append(cell)
    return found


def test_the_interval_of_copies_is_the_one_that_is_judged(tmp_path, plain_figures):
    """Of six walks the share has a wide interval, were they a sample: green looks at none such."""
    few = dataclasses.replace(made.copies((0, 0, 0, 2)), share=Interval(0.005, 0.0, 0.39))
    page = write_report(tmp_path / "r.html", made.report(1, made.audit(copies=few)))
    assert shown_in(page, "Copies") == ["0.5%", "0.5%"]
    assert shown_in(page, "Beyond chance") == [percent_interval(few.excess)]
    assert shown_in(page, "Beyond doubt") == [percent_interval(few.certain)]
    assert "39.0" not in text_of(page)


def test_one_name_has_one_value_and_it_is_the_one_that_is_judged(tmp_path, plain_figures):
    """Coverage of all images is another than that of as many as of other people, and so on."""
    found = made.fidelity(precision=0.71, coverage=0.613)
    shares = dataclasses.replace(found.distances.manifold, precision=0.127, coverage=0.026)
    whole = dataclasses.replace(found.distances, manifold=shares)
    rng = np.random.default_rng(0)
    labels = (np.arange(400) < 100).astype(int)
    right = rng.random((2, 400)) < np.where(labels, 0.95, 0.75)
    logits = np.stack([np.zeros((2, 400)), np.where(right == (labels == 1), 1.0, -1.0)], 2)
    uneven = from_predictions(
        Predictions(logits, labels, np.arange(400), made.NAMES, np.array([200, 200])), (0, 1)
    )
    subject = made.audit(
        fidelity=dataclasses.replace(found, distances=whole),
        gradients_ratio=made.ratio(0.544),
        record_ratio=made.ratio(0.099),
        reidentification=dataclasses.replace(made.recognition(0.02), rate=0.488),
    )
    report = made.report(1, subject)
    *others, last = report.sets
    results = {**subject.results, "utility": uneven}
    last = dataclasses.replace(last, audit=dataclasses.replace(subject, results=results))
    report = dataclasses.replace(report, sets=(*others, last))
    page = write_report(tmp_path / "r.html", report)
    for title, values in {
        "Coverage, equal sizes": ["61.3%", "61.3%"],
        "Precision, equal sizes": ["71.0%"],
        "Coverage, all images": ["2.6%"],
        "Precision, all images": ["12.7%"],
        "Nearer to its own people, by LPIPS": ["9.9%", "9.9% (6.9–12.9)"],
        "Nearer to its own people, by gradients": ["54.4%", "54.4% (51.4–57.4)"],
        "Named, at 1% of the holdout": ["2.0%", "2.0% (1.0–3.0)"],
        "Coverage": [],
        "Precision": [],
        "Nearer to its own people": [],
    }.items():
        assert shown_in(page, title) == values, title
    balanced, plain = f"{uneven.balanced_accuracy:.1%}", f"{uneven.accuracy:.1%}"
    assert balanced != plain
    assert all(balanced[:-1] in cell for cell in shown_in(page, "Balanced accuracy"))
    assert all(plain[:-1] in cell for cell in shown_in(page, "Accuracy"))
    text = text_of(page)
    assert f"reaches a balanced accuracy of {balanced} on 400 real test images" in text
    assert "covered; for fresh real images it is 90.0% (coverage, 400 images each)" in text


def test_without_other_people_coverage_is_that_of_all_images(tmp_path, plain_figures):
    alone = dataclasses.replace(made.fidelity(coverage=0.026), matched=None, yardstick=None)
    page = write_report(tmp_path / "r.html", made.report(1, made.audit(fidelity=alone)))
    assert shown_in(page, "Coverage, all images") == ["2.6%", "2.6%"]
    assert shown_in(page, "Coverage, equal sizes") == []


def test_a_useless_set_is_not_called_dangerous(tmp_path, plain_figures):
    useless = made.audit(utility=made.utility(0.5))
    text = text_of(write_report(tmp_path / "useless.html", made.report(1, useless)))
    assert "Use: Red. It is of little use in place of the real images." in text
    assert "Privacy: Green." in text
    assert "do not share it" not in text


def test_without_real_images_no_copy_is_shown_either(tmp_path, plain_figures):
    subject = made.audit(copies=made.copies((5, 0, 0, 0)))
    report = made.report(1, subject)
    shown = write_report(tmp_path / "a.html", report).read_text()
    hidden = write_report(tmp_path / "b.html", report, include_real=False).read_text()
    copies = report.sets[-1].images.images[:5]
    pictures = [base64.b64encode(encode_png(image)).decode() for image in copies]
    assert all(picture in shown for picture in pictures)
    assert not any(picture in hidden for picture in pictures)
    assert "Suspected copies" not in text_of(tmp_path / "b.html").split("Samples")[-1]


@pytest.mark.parametrize("measured", [False, True])
def test_real_images_stay_away_where_nobody_looked_for_copies(tmp_path, measured, plain_figures):
    """Equal ones need no measure to be told; those of the holdout are named by it."""
    copies = made.copies((0, 0, 0, 0)) if measured else None
    report = made.report(1, made.audit(copies=copies))
    pixels = report.sets[-1].images.images
    first, second = np.argsort(report.sets[-1].audit.nearest.distance, kind="stable")[:2]

    def shown(name: str) -> list[bool]:
        page = write_report(tmp_path / name, report, include_real=False).read_text()
        return [base64.b64encode(encode_png(image)).decode() in page for image in pixels]

    before = shown("before.html")
    assert before[first]
    assert before[second]
    report.real.images[7] = pixels[first][:, ::-1]
    if copies is not None:
        object.__setattr__(copies, "holdout", np.array([second]))
    after = shown("after.html")
    assert not after[first]
    assert after[second] == (copies is None)
    assert sum(after) == sum(before)  # others take their places


def test_a_set_of_copies_alone_shows_nothing(tmp_path, plain_figures):
    subject = made.audit(copies=made.copies((made.PEOPLE, 0, 0, 0)))
    path = write_report(tmp_path / "a.html", made.report(1, subject), include_real=False)
    assert "data:image/png" not in path.read_text()


def test_nothing_reaches_past_the_edge(pages, tmp_path):
    screens = [(sets, width) for sets in pages for width in (390, 700, 1000, 1280)]
    layouts = browser.layouts([(pages[sets], width) for sets, width in screens], tmp_path)
    for (sets, width), found in zip(screens, layouts, strict=True):
        assert found["inner"] == width
        assert found["scroll"] <= width, (sets, found["beyond"])
        assert found["beyond"] == [], (sets, width)
        assert found["pictures"] > 10
        assert found["broken"] == 0


def test_it_prints(pages, tmp_path):
    pdf = browser.print_pdf(pages[2], tmp_path / "page.pdf")
    assert pdf.startswith(b"%PDF")
    count = len(re.findall(rb"/Type\s*/Page[^s]", pdf))
    assert 3 <= count <= 20


def test_signs_can_be_told_apart_without_colour():
    """The greys that the colours print as do not matter: no two signs have the same shape."""
    macros = Path(write_report.__code__.co_filename).parent / "page" / "macros.html"
    shapes = re.findall(r"<(?:circle|polygon|rect)[^>]*>", macros.read_text(encoding="utf-8"))
    assert len(shapes) == len(set(shapes)) == 4


def contrast(first: str, second: str) -> float:
    """Contrast ratio of two colours, WCAG 2.1."""

    def luminance(colour: str) -> float:
        levels = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
        linear = np.where(levels <= 0.03928, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    low, high = sorted([luminance(first), luminance(second)])
    return (high + 0.05) / (low + 0.05)


def test_words_can_be_read_on_their_background():
    style = (Path(write_report.__code__.co_filename).parent / "page" / "style.css").read_text()
    found = re.findall(r"--light: (#\w{6}); --back: (#\w{6})", style)
    papers = re.findall(r"--paper: (#\w{6}); --ink: (#\w{6}); --soft: (#\w{6})", style)
    # Four signs on paper, and four in the dark.
    assert (len(papers), len(found)) == (2, 8)
    for number, (light, back) in enumerate(found):
        assert contrast(light, back) >= 4.5
        assert contrast(light, papers[number // 4][0]) >= 4.5
    for paper, ink, soft in papers:
        assert min(contrast(ink, paper), contrast(soft, paper)) >= 4.5
