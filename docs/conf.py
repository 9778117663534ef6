"""Settings of Sphinx; ``make docs`` builds the site. Its pages are those of :mod:`semaug_site`."""

import sys
from pathlib import Path

from sphinx.application import Sphinx

sys.path.insert(0, str(Path(__file__).parent))
import semaug
from semaug_site.docstrings import (
    find_by_another_name,
    leave_out_fields_of_tuples,
    write_as_markup,
)
from semaug_site.offline import check_that_nothing_is_loaded
from semaug_site.sources import write_sources

project = "semaug"
version = release = semaug.__version__
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
highlight_language = "text"
pygments_style, pygments_dark_style = "friendly", "monokai"  # lines of a diff are red and green
nitpicky = True
nitpick_ignore_regex = [
    ("py:.*", r"(torch|timm|lightning_fabric|numpy|PIL|typing|collections|pathlib)\..*")
]

myst_heading_anchors = 4  # as a code host makes them
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 80

html_theme = "furo"
html_static_path = ["semaug_site/static"]
html_css_files = ["site.css"]
html_title = f"semaug {release}"
html_copy_source = html_show_search_summary = False  # pages cannot be fetched from a file
html_show_sphinx = html_show_copyright = False
html_theme_options = {"top_of_page_buttons": []}


def setup(app: Sphinx) -> None:
    """Connect what the site is made of."""
    app.connect("builder-inited", lambda app: write_sources(Path(app.srcdir)))
    app.connect("autodoc-process-docstring", write_as_markup)
    app.connect("autodoc-skip-member", leave_out_fields_of_tuples)
    app.connect("missing-reference", find_by_another_name)
    app.connect("build-finished", check_that_nothing_is_loaded)
