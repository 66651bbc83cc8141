"""The site: README.md and every page that it leads to, by `make docs`, or sphinx-build -W -c docs . site.

The pages are those that one reads in the repo, and they know nothing of Sphinx. What the site needs beside
them stands here: the menu, equations as MathML, and what becomes of links to folders.
"""

import tomllib
from pathlib import Path

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator

REPO = Path(__file__).parents[1]

project = "Alchemist, reproduced"
author = "the authors of alchemist-repro"
version = tomllib.loads((REPO / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
extensions = ["myst_parser"]
root_doc = "README"
include_patterns = ["README.md", "CONTRIBUTING.md", "LOG.md", "docs/**.md", "assets/**.md", "benchmarks/*.md"]
include_patterns += ["data/README.md", "reports/**.md"]
# Large, not ours, or of this build: no need to walk through them.
exclude_patterns = [".*", "**/.*", "data/[!R]*", "datasets", "site", "tests", "reports/tables"]
highlight_language = "none"  # of blocks that name no language: commands and what they say

myst_enable_extensions = ["dollarmath"]
myst_dmath_allow_space = False  # $…$ as GitHub reads it
myst_heading_anchors = 6
myst_update_mathjax = False

html_theme = "furo"
html_static_path = ["static"]
html_css_files = [("print.css", {"media": "print"})]
html_title = project
html_math_renderer = "mathml"
html_copy_source = False
html_show_copyright = False
html_use_index = False

MENU = {
    "Use it": "own_pairs pilot sweep add_a_rater report scale clusters plan faq",
    "How it works": "method models metrics pools promises",
    "What came out": "findings verdicts studies first_studies",
}
OF_THE_REPO = "CONTRIBUTING LOG assets/README benchmarks/README data/README reports/README"
OF_DATA = "laion hpdv3 flux_reason mjhq30k huggingface icons"
# Pages without a heading, which get one here. An edit of those that lie in a dep would run stages again.
UNTITLED = {
    "assets/raters/README": "Raters that are shipped",
    "reports/pools/README": "Tables of other pools",
    "reports/studies/rules": "How often the rule errs",
}


def complete(app: Sphinx, name: str, source: list[str]) -> None:
    """Adds what the site alone needs: headings, and the menu behind the text of the first page."""
    if name in UNTITLED:
        source[0] = f"# {UNTITLED[name]}\n\n{source[0]}"
    if name != root_doc:
        return
    parts = {part: [f"docs/{page}" for page in pages.split()] for part, pages in MENU.items()}
    parts["Data sets"] = [f"docs/data/{page}" for page in ("README", *OF_DATA.split())]
    parts["The repo"] = [*OF_THE_REPO.split(), *UNTITLED]
    for part, pages in parts.items():
        source[0] += "\n\n" + "\n".join(["```{toctree}", ":hidden:", f":caption: {part}", "", *pages, "```"])


def unlink_folders(app: Sphinx, page: nodes.document) -> None:
    """A link to a folder of the repo is its words alone: a site has no folders to show."""
    for link in list(page.findall(pending_xref)):
        if (Path(app.env.doc2path(app.env.docname)).parent / link["reftarget"]).is_dir():
            link.replace_self(link.children)


def inline(self: HTML5Translator, node: nodes.math) -> None:
    """An equation within a line."""
    self.body.append(convert(node.astext()))
    raise nodes.SkipNode


def displayed(self: HTML5Translator, node: nodes.math_block) -> None:
    """An equation of its own, with room: the theme's box scrolls where a sign reaches out of its line."""
    self.body.append(f'<div style="padding: 0.6em 0">{convert(node.astext(), display="block")}</div>')
    raise nodes.SkipNode


def add_first_page(app: Sphinx, error: Exception | None) -> None:
    """A site is opened at index.html; its first page is README.html."""
    if error is None:
        page = '<!doctype html><meta http-equiv="refresh" content="0; url=README.html">\n'
        Path(app.outdir, "index.html").write_text(page, encoding="utf-8")


def setup(app: Sphinx) -> None:
    """What Sphinx calls."""
    app.connect("source-read", complete)
    app.connect("doctree-read", unlink_folders)
    app.connect("build-finished", add_first_page)
    app.add_html_math_renderer("mathml", (inline, None), (displayed, None))
