"""Sphinx configuration.

The build reads nothing from the network and its pages load nothing from it: KaTeX and the fonts
it needs lie under ``_static/katex``, the theme brings the rest.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gspnl

if TYPE_CHECKING:
    from sphinx.application import Sphinx

HERE = Path(__file__).parent

project = "gspnl"
author = "The gspnl developers"
copyright = "2026, The gspnl developers"
release = gspnl.__version__
version = ".".join(release.split(".")[:2])

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "myst_nb",
    "sphinxcontrib.katex",
]
exclude_patterns = ["_build", "results/tables", "results/runs"]
templates_path = ["_templates"]

# API pages: one page a public name, written by autosummary from the docstrings.
autosummary_generate = True
autosummary_ignore_module_all = False
autodoc_typehints = "none"  # the numpydoc sections hold types and shapes
autodoc_member_order = "bysource"
numpydoc_show_class_members = False  # the class template lists them

# Notebooks: executed afresh at every build; a cell that raises fails the build.
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 120
nb_execution_in_temp = True
nb_merge_streams = True
nb_render_markdown_format = "myst"  # tables that cells write have formulas
nb_ipywidgets_js: dict[str, dict[str, str]] = {}

myst_enable_extensions = ["dollarmath", "deflist"]
myst_heading_anchors = 3
myst_update_mathjax = False

html_theme = "pydata_sphinx_theme"
html_title = "gspnl"
html_static_path = ["_static"]
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {
    "logo": {"text": "gspnl"},
    "show_toc_level": 2,
    "header_links_before_dropdown": 5,
    "secondary_sidebar_items": {"**": ["page-toc"], "blocks": []},  # its table is wide
    "primary_sidebar_end": [],
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_sidebars = {
    page: [] for page in ("installation", "blocks", "mathematics", "theory", "architecture")
}
html_sidebars |= {page: [] for page in ("changelog", "references")}

# sphinxcontrib-katex takes its two scripts by file name only, from its own folder. serve_katex
# puts ours in their place, so that scripts, style sheet and fonts are of one KaTeX version.
katex_css_path = "katex/katex.min.css"
katex_js_path = "katex.min.js"
katex_autorender_path = "auto-render.min.js"


def serve_katex(app: Sphinx) -> None:
    """Let the KaTeX scripts of ``_static/katex`` win over those of the extension."""
    scripts = (app.config.katex_js_path, app.config.katex_autorender_path)
    app.config.html_static_path += [f"_static/katex/{script}" for script in scripts]


def refresh_pages(app: Sphinx, config: Any) -> None:
    """Copy the notebooks, which live beside ``docs``, and clear what an earlier build left."""
    shutil.rmtree(HERE / "api" / "generated", ignore_errors=True)
    target = HERE / "notebooks"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    for notebook in sorted((HERE.parent / "notebooks").glob("*.md")):
        shutil.copy2(notebook, target)


def setup(app: Sphinx) -> None:
    """Connect the two steps above."""
    app.connect("config-inited", refresh_pages)
    app.connect("builder-inited", serve_katex, priority=900)  # after the extension's own, at 500
