"""The site needs no network: what a page loads lies beside it."""

import re
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

_LOADED = re.compile(
    r"""<(?:script|link|img|iframe|source)\b[^>]*?\b(?:src|href)=["'](?:https?:)?//[^>]*>"""
    r"""|(?:url\(|@import\s+)["']?(?:https?:)?//[^)\s]*"""
)


def loaded_from_network(text: str) -> list[str]:
    """Return what a page or a style sheet loads from a network; links are not loaded.

    >>> loaded_from_network('<a href="https://arxiv.org"><script src="//cdn.net/a.js"></script>')
    ['<script src="//cdn.net/a.js">']
    """
    return _LOADED.findall(text)


def check_that_nothing_is_loaded(app: Sphinx, failure: Exception | None) -> None:
    """Refuse a site that loads anything from a network.

    Raises:
        ExtensionError: If a page or a style sheet does.
    """
    for path in [*Path(app.outdir).rglob("*.html"), *Path(app.outdir).rglob("*.css")]:
        if found := loaded_from_network(path.read_text(encoding="utf-8")):
            raise ExtensionError(f"{path} loads from a network: {found[0]}")
