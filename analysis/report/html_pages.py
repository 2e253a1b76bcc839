"""Notebooks as web pages that need no network: figures inside, formulas as MathML, no scripts fetched."""

import html
import re
from pathlib import Path
from typing import NamedTuple

from jinja2 import pass_context
from jinja2.runtime import Context
from latex2mathml.converter import convert
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbformat import NotebookNode

# nbconvert's own page, less the three scripts it would load from elsewhere, plus the way back to the list.
TEMPLATE = """
{%- extends 'lab/index.html.j2' -%}
{%- block html_head_js -%}{%- endblock -%}
{%- block html_head_js_mathjax -%}{%- endblock -%}
{%- block html_head_js_mermaidjs -%}{%- endblock -%}
{%- block html_head_css -%}
<style>
body { max-width: 60rem; margin: auto; }
img, svg { max-width: 100%; height: auto; }
nav { font: 1rem system-ui, sans-serif; margin: .7rem 0 0 1.4rem; }
nav a { color: #1557b0; }
</style>
{%- endblock -%}
{%- block body_header -%}{{ super() }}<nav><a href="index.html">&larr; All notebooks</a></nav>{%- endblock -%}
"""
# latex2mathml hands through what it does not know: a command, or the & of an environment it does not align.
UNKNOWN = re.compile(r"<mi>(\\|&<)")


def formula(tex: str, display: str = "inline") -> str:
    r"""Return a LaTeX formula as MathML, or its source as code where it cannot be converted.

    >>> formula("x").endswith("<mrow><mi>x</mi></mrow></math>")
    True
    >>> formula(r"\nosuch x")
    '<code class="tex">\\nosuch x</code>'
    """
    try:
        mathml = convert(tex.replace("{aligned}", "{align*}"), display=display)  # the second is all it knows
    except Exception:  # its parser has a dozen errors without a common parent, and IndexError besides
        mathml = ""
    if not mathml or UNKNOWN.search(mathml):
        return f'<code class="tex">{html.escape(tex, quote=False)}</code>'
    return mathml


class MathRenderer(IPythonRenderer):
    """Notebook Markdown with its formulas written out."""

    def inline_math(self, body: str) -> str:
        """Return the HTML of ``$body$``."""
        return formula(body)

    def block_math(self, body: str) -> str:
        """Return the HTML of ``$$body$$``."""
        return formula(body, "block")

    def latex_environment(self, name: str, body: str) -> str:
        """Return the HTML of an environment that stands without dollars."""
        return formula(rf"\begin{{{name}}}{body}\end{{{name}}}", "block")


def markdown(source: str, **where_pictures_are) -> str:
    r"""Return Markdown as HTML, the way the pages show it; the keywords go to nbconvert's renderer.

    >>> markdown("so *little*")
    '<p>so <em>little</em></p>\n'
    """
    renderer = MathRenderer(escape=False, exclude_anchor_links=True, **where_pictures_are)
    return MarkdownWithMath(renderer=renderer).render(source)


class Heading(NamedTuple):
    """What a notebook says first, as HTML."""

    title: str
    summary: str


def heading(notebook: NotebookNode, name: str) -> Heading:
    """Return the first heading, or `name` if there is none, and the first paragraph of a notebook."""
    prose = "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    title = re.search(r"^#+ +(.+?)[ #]*$", prose, re.MULTILINE)
    blocks = [block.strip() for block in re.sub(r"^#+ .*$", "", prose, flags=re.MULTILINE).split("\n\n")]
    paragraph = next((block for block in blocks if block), "")
    inline = markdown(title[1]) if title else html.escape(name)
    return Heading(re.sub(r"</?p>|\n", "", inline), markdown(paragraph))


class PageExporter(HTMLExporter):
    """nbconvert's HTML with `TEMPLATE` and `MathRenderer`."""

    raw_template = TEMPLATE

    @pass_context
    def markdown2html(self, context: Context, source: str) -> str:
        """Return the HTML of a Markdown cell, its pictures inside."""
        attachments = context["cell"].get("attachments", {})
        path = context["resources"]["metadata"]["path"]
        return markdown(source, attachments=attachments, path=path, embed_images=True)


def page(notebook: NotebookNode, name: str, folder: Path) -> str:
    """Return a notebook as one HTML page; pictures that its prose names are read from `folder`."""
    exporter = PageExporter()
    return exporter.from_notebook_node(notebook, {"metadata": {"name": name, "path": str(folder)}})[0]
