"""The first page: the ledger on top, a card for each notebook with its question, its finding and its figure."""

import base64
import html
import re

import pytest

from analysis.report.claims import CLAIMS, MODELS
from analysis.report.index_page import ReportEntry, index
from analysis.report.notebook_cards import Card, Figure
from tests.analysis.report.test_html_pages import PIXEL

FIGURE = Figure(base64.b64decode(PIXEL), 'two "curves"')


def entry(name, question="", finding="", figure=None, error=""):
    first = f"About {name}", "<p>first words</p>"
    return ReportEntry(f"{name}.html", *first, Card(question, finding), figure, 3.0, error)


def rows(page):
    return re.findall(r"<tr><th scope=\"row\">.*?</tr>", page)


NOTEBOOKS = {found.notebook for claim in CLAIMS for found in claim.verdicts} - {""}


def test_every_claim_has_a_row_with_its_verdicts_and_links_to_their_pages():
    page = index([entry(name) for name in sorted(NOTEBOOKS)], "")
    for row, claim in zip(rows(page), CLAIMS, strict=True):
        assert row.count("<td class") == len(MODELS)
        for found in claim.verdicts:
            assert f'class="{found.kind}">{found.verdict}' in row and html.escape(found.number) in row
            assert (f'href="{found.notebook}.html"' in row) == bool(found.notebook)
    assert all(f'<th scope="col">{model}</th>' in page for model in MODELS)
    assert page.index("<table>") < page.index("<ol>")


def test_a_claim_whose_notebook_was_not_run_has_no_link():
    page = index([entry("04_metrics")], "")
    assert re.findall('href="([^"]*)"', "".join(rows(page))) == ["04_metrics.html"] * 2


def test_other_notebooks_are_listed_without_the_ledger():
    page = index([entry("of_mine")], "")
    assert "<table>" not in page and "About of_mine" in page and "<p>first words</p>" in page


def test_a_card_has_question_finding_and_figure():
    page = index([entry("a", "Is it *so*?", "No, <b> 0.1 [0, 0.2]", FIGURE)], "")
    (card,) = re.findall("<li.*?</li>", page, re.DOTALL)
    assert "Is it <em>so</em>?" in card and "No, &lt;b&gt; 0.1 [0, 0.2]" in card and "first words" not in card
    assert re.search(r'<img src="data:image/png;base64,[^"]+" alt="two &quot;curves&quot;">', card)


def test_a_failure_hides_the_finding_it_no_longer_supports():
    page = index([entry("a", "Is it?", "No.", error="KeyError: 'x'")], "")
    assert "FAILED" in page and "KeyError: &#x27;x&#x27;" in page and "No." not in page


@pytest.mark.parametrize("model", ["", "some/model"])
def test_findings_on_another_model_are_not_said_to_be_its_own(model):
    page = index([entry("04_metrics")], model)
    assert ("The ledger and the findings are about the models they name" in page) == bool(model)


@pytest.mark.parametrize("model", ["", "some/<model>"])
def test_a_card_says_on_which_model_its_finding_was_made(model):
    (card,) = re.findall("<li.*?</li>", index([entry("a", "Is it?", "No")], model), re.DOTALL)
    assert ("found on the embedded model, not on some/&lt;model&gt;:" in card) == bool(model)


def test_the_page_needs_nothing_else():
    page = index([entry("04_metrics", figure=FIGURE)], "")
    assert not re.search(r"<link|<script|@import|url\(|src=\"(?!data:)", page)
