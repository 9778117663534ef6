"""Pictures of matplotlib: as part of a page that has two themes, and as files of their own."""

import io
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import matplotlib
from matplotlib.figure import Figure

from semaug.runs.files import write_atomically

# Colors on white, told apart without color vision too; a page has its own for each theme.
SERIES = (
    "#4d4d4d",
    "#c2344a",
    "#1f77a4",
    "#3d8b5f",
    "#8a5a00",
    "#7b4fb5",
    "#c0569b",
    "#00808a",
)
INK, _GRID = "#222222", "#cccccc"

# What the page replaces by its variables.
_VARIABLES = {color: f"var(--series-{place})" for place, color in enumerate(SERIES)} | {
    INK: "currentColor",
    _GRID: "var(--grid)",
}

_SVG = "http://www.w3.org/2000/svg"
_XLINK = "http://www.w3.org/1999/xlink"


def settings(name: str) -> Any:  # the type of newer matplotlib lists all settings there are
    """Return the settings of matplotlib for a picture, by whose name its ids are made."""
    return {
        "svg.fonttype": "none",  # text stays text
        "svg.hashsalt": name,  # the same picture is the same file
        "font.family": "sans-serif",
        "font.size": 9.5,
        "text.parse_math": False,  # a name may hold dollars
        "text.color": INK,
        "axes.labelcolor": INK,
        "axes.titlesize": 9,
        "axes.edgecolor": INK,
        "axes.linewidth": 0.6,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "xtick.color": INK,
        "ytick.color": INK,
        "grid.color": _GRID,
        "grid.linewidth": 0.6,
        "lines.linewidth": 1.6,
        "axes.formatter.limits": (-4, 5),
    }


def save_figure(figure: Figure, path: Path, name: str) -> None:
    """Write a picture on white, as PNG or SVG by the ending of its path.

    Args:
        figure: The picture.
        path: Of the file.
        name: Of the picture.

    Raises:
        OSError: If the disk does not take it.
    """
    format, content = path.suffix.removeprefix("."), io.BytesIO()
    date = {"Date": None} if format == "svg" else None
    with matplotlib.rc_context(settings(name)):
        figure.savefig(content, format=format, dpi=150, metadata=date)
    write_atomically(path, lambda file: file.write(content.getvalue()))


def page_svg(figure: Figure, name: str, title: str, description: str) -> str:
    """Let a picture take colors and size from the page, and keep its ids apart from others."""
    content = io.BytesIO()
    with matplotlib.rc_context(settings(name)):
        figure.savefig(content, format="svg", transparent=True)
    ElementTree.register_namespace("", _SVG)
    ElementTree.register_namespace("xlink", _XLINK)
    root = ElementTree.fromstring(content.getvalue())  # ours: drawn a moment ago
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag.rpartition("}")[2] in ("metadata", "style"):
                parent.remove(child)
    for element in root.iter():
        for key, value in list(element.attrib.items()):
            element.set(key, _adapt(key.rpartition("}")[2], value, name))
    for size in ("width", "height"):
        del root.attrib[size]
    root.attrib |= {"role": "img", "aria-labelledby": f"{name}-title {name}-desc"}
    for place, (tag, text) in enumerate((("title", title), ("desc", description))):
        element = ElementTree.Element(f"{{{_SVG}}}{tag}", {"id": f"{name}-{tag}"})
        element.text = text
        root.insert(place, element)
    return ElementTree.tostring(root, encoding="unicode")


def _adapt(key: str, value: str, name: str) -> str:
    if key == "id":
        return f"{name}-{value}"
    if key == "href":
        return f"#{name}-{value.removeprefix('#')}"
    value = value.replace("url(#", f"url(#{name}-")
    if key == "style":
        for color, variable in _VARIABLES.items():
            value = value.replace(color, variable)
    return value
