"""How docstrings become pages: equations keep their lines, and names lead to where they are."""

import re
from functools import cache
from inspect import ismodule
from itertools import accumulate
from pydoc import locate
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.nodes import get_node_source, make_refnode


def write_as_markup(
    app: Sphinx, what: str, name: str, value: Any, options: Any, lines: list[str]
) -> None:
    """Turn what docstrings hold for people into what Sphinx takes for it."""
    lines[:] = as_markup("\n".join(lines)).split("\n")


def as_markup(text: str) -> str:
    r"""Return a docstring whose indented paragraphs are code, and ``num_classes: C.`` no list.

    >>> as_markup("the loss\n\n    a + b\n    + c\n\nof")
    'the loss\n\n::\n\n    a + b\n    + c\n\nof'
    """
    text = re.sub(r"\n\n(?=    (?! |>>>))", "\n\n::\n\n", text)
    return re.sub(r"(?<=: )(?=[A-Z]\.$)", r"\\", text, flags=re.MULTILINE)


def leave_out_fields_of_tuples(
    app: Sphinx, what: str, name: str, value: Any, skip: bool, options: Any
) -> bool | None:
    """Leave out fields of named tuples, of which Python says nothing but their number."""
    return True if str(value.__doc__).startswith("Alias for field number") else None


def find_by_another_name(
    app: Sphinx, env: BuildEnvironment, node: addnodes.pending_xref, content: nodes.TextElement
) -> nodes.Node | None:
    """Find what a docstring or a signature calls by another name than the API is listed by.

    What exists and is not public stays plain text. What does not exist is left to Sphinx, which
    warns.
    """
    if node["refdomain"] != "py":
        return None
    documented = env.get_domain("py").data["objects"]
    written_in = (get_node_source(node) or "").rpartition("docstring of ")[2]
    names = [node["reftarget"]]
    for scope in (written_in, node.get("py:module") or ""):
        outer = accumulate(scope.split("."), "{}.{}".format)
        names += [f"{part}.{node['reftarget']}" for part in outer if part]
    found = {_identity(locate(name)) for name in names} - {None}
    known = _by_identity(tuple(documented))
    for name in [known[one] for one in found if one in known]:
        place = documented[name]
        return make_refnode(app.builder, node["refdoc"], place.docname, place.node_id, content)
    return content if found else None


@cache
def _by_identity(names: tuple[str, ...]) -> dict[tuple[str, str], str]:
    return {one: name for name in names if (one := _identity(locate(name))) is not None}


def _identity(value: Any) -> Any:
    """Return what an object has under all of its names; None for nothing."""
    if value is None or ismodule(value):
        return value and value.__name__
    return getattr(value, "__module__", None), getattr(value, "__qualname__", id(value))
