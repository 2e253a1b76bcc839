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

# nbconvert's own page, less the scripts it would load from elsewhere, plus the way back to the list, pictures that are
# described, and its dark theme where the reader's system is dark.
TEMPLATE = """
{%- extends 'lab/index.html.j2' -%}
{%- block html_head_js -%}{%- endblock -%}
{%- block jupyter_widgets -%}{%- endblock -%}
{%- block html_head_js_mathjax -%}{%- endblock -%}
{%- block html_head_js_mermaidjs -%}{%- endblock -%}
{%- block html_head_css -%}
{{ resources.include_css("static/theme-dark.css") | replace("<style", '<style media="(prefers-color-scheme: dark)"') }}
<style>
:root { color-scheme: light dark; }
body { max-width: 62rem; margin: auto; background: var(--jp-layout-color0); }
img, svg { max-width: 100%; height: auto; }
.jp-RenderedImage img { background: #fff; }
.jp-RenderedHTMLCommon { overflow-x: auto; }
nav { font: 1rem system-ui, sans-serif; margin: .7rem 0 0 1.4rem; }
nav a { color: var(--jp-content-link-color); }
@media (max-width: 44rem) {
  body.jp-Notebook { padding: .3rem; }
  nav { margin-left: .6rem; }
  .jp-InputPrompt, .jp-OutputPrompt { display: none; }
}
</style>
{%- endblock -%}
{%- block data_png scoped -%}
<div class="jp-RenderedImage jp-OutputArea-output {{ extra_class }}">
<img src="data:image/png;base64,{{ output.data['image/png'] | escape_html }}"
{%- for name in ("alt", "width", "height") if output | get_metadata(name, 'image/png') %} {{ name -}}
="{{ output | get_metadata(name, 'image/png') | escape_html_keep_quotes | replace('"', '&quot;') }}"
{%- endfor %}>
</div>
{%- endblock data_png -%}
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
    r"""Return Markdown as HTML, the way the pages show it; HTML in it is text. The keywords go to nbconvert's renderer.

    >>> markdown("so *little* <script>")
    '<p>so <em>little</em> &lt;script&gt;</p>\n'
    """
    renderer = MathRenderer(escape=True, allow_harmful_protocols=False, exclude_anchor_links=True, **where_pictures_are)
    return MarkdownWithMath(renderer=renderer).render(source)


class Opening(NamedTuple):
    """What a notebook says first, as HTML."""

    title: str
    summary: str


HEADING = re.compile(r"^#+ +(.+?)[ #]*$", re.MULTILINE)


def title_and_summary(notebook: NotebookNode, name: str) -> Opening:
    """Return the first heading, or `name` if there is none, and the first paragraph of a notebook."""
    prose = "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    title = HEADING.search(prose)
    blocks = [block.strip() for block in re.sub(r"^#+ .*$", "", prose, flags=re.MULTILINE).split("\n\n")]
    paragraph = next((block for block in blocks if block), "")
    inline = markdown(title[1]) if title else html.escape(name)
    return Opening(re.sub(r"</?p>|\n", "", inline), markdown(paragraph))


def describe_pictures(notebook: NotebookNode) -> None:
    """Give every picture in the outputs that has no description the heading that it stands under."""
    heading = "this notebook"
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            heading = next(reversed(HEADING.findall(cell.source)), heading)
        for output in cell.get("outputs", []):
            for kind in output.get("data", {}):
                if kind.startswith("image/"):
                    about = output.metadata.setdefault(kind, NotebookNode())
                    about["alt"] = about.get("alt") or f"Figure under the heading: {re.sub('[$*`]', '', heading)}"


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
    """Return a notebook as one HTML page; pictures that its prose names are read from `folder`.

    Pictures in its outputs that have no description get one (`describe_pictures`).
    """
    describe_pictures(notebook)
    exporter = PageExporter()
    return exporter.from_notebook_node(notebook, {"metadata": {"name": name, "path": str(folder)}})[0]
