"""How all pictures look: as part of a page that has two themes, and as files of their own."""

import io
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar
from xml.etree import ElementTree

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import get_font_names
from matplotlib.patches import Patch
from rich.console import Console
from rich.text import Text

from semaug.report.data import Group
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

# Fonts with the letters of East Asia, of Linux, macOS and Windows: for what the first one lacks.
_FALLBACKS = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Noto Sans CJK KR",
    "Source Han Sans SC",
    "WenQuanYi Zen Hei",
    "WenQuanYi Micro Hei",
    "Droid Sans Fallback",
    "IPAexGothic",
    "NanumGothic",
    "PingFang SC",
    "Hiragino Sans",
    "Apple SD Gothic Neo",
    "Microsoft YaHei",
    "Yu Gothic",
    "Malgun Gothic",
    "Arial Unicode MS",
)
_LETTERS_AN_INCH = 15  # of a legend, rounded down
_INCHES_A_LINE = 0.16  # of a legend, rounded up
_LETTERS_OF_A_TITLE = 60

_SVG = "http://www.w3.org/2000/svg"
_XLINK = "http://www.w3.org/1999/xlink"


@dataclass(frozen=True)
class Picture(ABC):
    """A picture of a group of runs.

    Args:
        name: Unique in a report; names its files.
        title: What it shows.
        group: Whose runs.
    """

    name: str
    title: str
    group: Group
    in_page: ClassVar[bool] = True  # else the page shows the same in another way

    @property
    @abstractmethod
    def size(self) -> tuple[float, float]:
        """Inches, without a legend."""

    @abstractmethod
    def fill(self, axes: Axes) -> None:
        """Draw lines that have names."""

    @abstractmethod
    def describe(self) -> str:
        """Say in words what there is to see."""

    def draw(self, *, legend: bool) -> Figure:
        """Draw it; a page has its own legend and title."""
        with matplotlib.rc_context(settings(self.name)):
            figure = Figure(self.size, layout="constrained")
            axes = figure.subplots()
            self.fill(axes)
            if legend:
                title = f"{self.group.title}: {self.title}"
                axes.set_title(wrapped(title, _LETTERS_OF_A_TITLE))
                if lines := axes.get_lines():
                    add_legend(figure, lines)
            return figure

    def svg(self) -> str:
        """Return the picture for a page: without size, in the page's colors, with a description."""
        return page_svg(self.draw(legend=False), self.name, self.title, self.describe())


def settings(name: str) -> Any:  # the type of newer matplotlib lists all settings there are
    """Return the settings of matplotlib for a picture, by whose name its ids are made."""
    installed = get_font_names()
    return {
        "svg.fonttype": "none",  # text stays text
        "svg.hashsalt": name,  # the same picture is the same file
        "font.family": ["sans-serif", *(one for one in _FALLBACKS if one in installed)],
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


def wrapped(text: str, width: int) -> str:
    """Break a long name into lines, after its commas where possible; wide letters count twice.

    >>> wrapped("digits_resnet8,lr=0.2", 44), wrapped("digits_resnet8,lr=0.2", 16).splitlines()
    ('digits_resnet8,lr=0.2', ['digits_resnet8,', 'lr=0.2'])
    """
    lines = Text(text.replace(",", ", ")).wrap(Console(), width)
    return "\n".join(line.plain.rstrip() for line in lines).replace(", ", ",")


def shortened(text: str, width: int) -> str:
    """Cut a long name and end it with dots; wide letters count twice.

    >>> shortened("aquarium_fish", 8)
    'aquariu…'
    """
    name = Text(text)
    name.truncate(width, overflow="ellipsis")
    return name.plain


def add_legend(figure: Figure, artists: Iterable[Any], columns: int = 1) -> None:
    """Put the names of what is drawn below it, whole, and make the figure higher by them."""
    artists, (width, height) = list(artists), figure.get_size_inches()
    letters = max(10, int((width / columns - 0.5) * _LETTERS_AN_INCH))
    # Without a first letter that is invisible, a name that begins with _ would be left out.
    names = ["\N{ZERO WIDTH SPACE}" + wrapped(str(one.get_label()), letters) for one in artists]
    num_lines = max(sum(name.count("\n") + 1 for name in names[k::columns]) for k in range(columns))
    figure.set_size_inches(width, height + _INCHES_A_LINE * num_lines)
    figure.legend(artists, names, loc="outside lower center", fontsize=7, ncols=columns)


def patches_of(colors: Mapping[str, Sequence[int]]) -> list[Patch]:
    """Return a patch for each name, of red, green and blue from 0 to 255, for a legend."""
    return [
        Patch(facecolor=(red / 255, green / 255, blue / 255), label=name)
        for name, (red, green, blue) in colors.items()
    ]


def export(pictures: Iterable[tuple[str, Figure]], folder: Path) -> list[Path]:
    """Write each figure, by its name, as PNG and as SVG.

    Returns:
        The files.

    Raises:
        OSError: If the disk does not take them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for name, figure in pictures:
        files += [folder / f"{name}.{format}" for format in ("png", "svg")]
        for path in files[-2:]:
            save(figure, path)
    return files


def save(figure: Figure, path: Path) -> None:
    """Write a figure on white, as PNG or SVG by the ending of its path, and cut no text.

    Raises:
        OSError: If the disk does not take it.
    """
    options = {"metadata": {"Date": None}} if path.suffix == ".svg" else {"dpi": 150}
    content = _encode(figure, path.stem, path.suffix[1:], bbox_inches="tight", **options)
    write_atomically(path, lambda file: file.write(content))


def _encode(figure: Figure, name: str, format: str, **options: Any) -> bytes:
    content = io.BytesIO()
    with matplotlib.rc_context(settings(name)), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")  # no font has it: a box
        figure.savefig(content, format=format, **options)
    return content.getvalue()


def page_svg(figure: Figure, name: str, title: str, description: str) -> str:
    """Let a picture take colors and size from the page, and keep its ids apart from others."""
    ElementTree.register_namespace("", _SVG)
    ElementTree.register_namespace("xlink", _XLINK)
    root = ElementTree.fromstring(_encode(figure, name, "svg", transparent=True))  # ours
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag.rpartition("}")[2] in ("metadata", "style"):
                parent.remove(child)
    for element in root.iter():
        for key, value in list(element.attrib.items()):
            element.set(key, _adapt_attribute(key.rpartition("}")[2], value, name))
    for size in ("width", "height"):
        del root.attrib[size]
    root.attrib |= {"role": "img", "aria-labelledby": f"{name}-title {name}-desc"}
    for place, (tag, text) in enumerate((("title", title), ("desc", description))):
        element = ElementTree.Element(f"{{{_SVG}}}{tag}", {"id": f"{name}-{tag}"})
        element.text = text
        root.insert(place, element)
    return ElementTree.tostring(root, encoding="unicode")


def _adapt_attribute(key: str, value: str, name: str) -> str:
    if key == "id":
        return f"{name}-{value}"
    if key == "href":
        return f"#{name}-{value.removeprefix('#')}"
    value = value.replace("url(#", f"url(#{name}-")
    if key == "style":
        for color, variable in _VARIABLES.items():
            value = value.replace(color, variable)
    return value
