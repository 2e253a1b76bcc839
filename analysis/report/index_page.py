"""The report's first page: the claims ledger, and under it a card for each notebook. One file that fetches nothing."""

import base64
import datetime
import html
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version

from analysis.report.claims import CLAIMS, MODELS, Claim, Verdict
from analysis.report.html_pages import markdown
from analysis.report.index_style import STYLE
from analysis.report.notebook_cards import Card, Figure, thumbnail

LEAD = (
    "V2Drop (CVPR 2026) drops the vision tokens of a language model that a decoder layer changes least. What holds of "
    "the paper's claims was measured here, with intervals; every number is printed in one of the notebooks below."
)


@dataclass(frozen=True)
class ReportEntry:
    """What the index says of one notebook: its page, its first words, what it found, how its run went."""

    href: str
    title: str  # HTML
    summary: str  # HTML; shown where the card has no question
    card: Card
    figure: Figure | None
    seconds: float
    error: str  # empty after a good run

    def item(self, model: str) -> str:
        """Return the entry as an HTML list item; `model` is as for `index`."""
        css = ' class="bad"' if self.error else ""
        href, asked, found = html.escape(self.href), self.card.question, self.card.finding
        parts = [f'<h3><a href="{href}">{self.title}</a></h3>']
        parts.append(f'<div class="question">{markdown(asked)}</div>' if asked else self.summary)
        if self.error:
            parts.append(f"<p><strong{css}>FAILED</strong> {html.escape(self.error)}</p>")
        elif found:
            about = f"<small>found on the embedded model, not on {html.escape(model)}:</small>" if model else ""
            parts.append(f'<div class="finding">{about}{markdown(found.rstrip(".") + ".")}</div>')
        return (
            f'<li{css}>{self.picture()}<div class="text">{"".join(parts)}<small>ran {self.seconds:.0f} s</small>'
            "</div></li>"
        )

    def picture(self) -> str:
        """Return the thumbnail of the main figure as HTML, or '' without one."""
        if self.figure is None:
            return ""
        data = base64.b64encode(thumbnail(self.figure)).decode()
        alt = html.escape(self.figure.alt or "The main figure of this notebook")
        image = f'<img src="data:image/png;base64,{data}" alt="{alt}">'
        return f'<a class="figure" href="{html.escape(self.href)}">{image}</a>'


def ledger(pages: set[str]) -> str:
    """Return the claims as an HTML table; `pages` are those that can be linked to."""
    heads = "".join(f'<th scope="col">{name}</th>' for name in ("", "claim", *MODELS))
    rows = "".join(_row(claim, pages) for claim in CLAIMS)
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"


def _row(claim: Claim, pages: set[str]) -> str:
    cells = "".join(_cell(model, found, pages) for model, found in zip(MODELS, claim.verdicts, strict=True))
    return f'<tr><th scope="row">{claim.name}</th><td>{html.escape(claim.claim)}</td>{cells}</tr>'


def _cell(model: str, found: Verdict, pages: set[str]) -> str:
    page, number = f"{found.notebook}.html", found.notebook[:2]
    link = f'<a href="{page}">{number}</a>' if page in pages else number
    measured = f"<small>{html.escape(found.number)} {link}</small>" if found.number else ""
    span = f'<span class="{found.kind}">{html.escape(found.verdict)}</span>'
    return f'<td class="verdict" data-label="{html.escape(model)}">{span}{measured}</td>'


def index(entries: Sequence[ReportEntry], model: str) -> str:
    """Return the page that lists all the others.

    Args:
        entries: entries of the report, one per notebook.
        model: the notebooks were run on; '' for the embedded one.
    """
    bad = sum(bool(entry.error) for entry in entries)
    failed = f'<p><strong class="bad">{bad} of {len(entries)} notebooks FAILED</strong></p>' if bad else ""
    pages = {entry.href for entry in entries}
    ours = any(
        f"{found.notebook}.html" in pages for claim in CLAIMS for found in claim.verdicts
    )  # or the notebooks are about something else
    claims = f'<h2 id="claims">What the paper claims, what was found</h2>{ledger(pages)}' if ours else ""
    other = "<p>The ledger and the findings are about the models they name; the pages are about " if ours else "<p>"
    note = f"{other}<code>{html.escape(model)}</code>.</p>" if model and ours else ""
    cards = "".join(entry.item(model) for entry in entries)
    body = (
        f"<header><h1>V2Drop: which vision tokens matter?</h1><p>{LEAD}</p>{failed}{note}</header>{claims}"
        f'<h2 id="notebooks">Notebooks</h2><ol>{cards}</ol><footer><dl>{_facts(entries, model)}</dl></footer>'
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>V2Drop report</title><style>{STYLE}</style></head><body><main>{body}</main></body></html>\n"
    )


def _facts(entries: Sequence[ReportEntry], model: str) -> str:
    facts = {
        "Model": model or "the embedded one",
        "Made": datetime.datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
        "Run time": f"{sum(entry.seconds for entry in entries):.0f} s",
        **{name: version(name) for name in ("v2drop", "torch", "transformers")},
    }
    return "".join(f"<dt>{name}</dt><dd>{html.escape(value)}</dd>" for name, value in facts.items())
