"""Pictures of what was found, and the texts that say how to read them."""

import matplotlib
import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from semaug.insight.directions import ClassDirections
from semaug.insight.maps import FeatureMap
from semaug.insight.shown import Visualization
from semaug.insight.tightness import CONTROL, Tightness
from semaug.report.picture import INK, SERIES, add_legend, settings, shortened, wrapped

# K directions, E images at an end, h and w pixels.

_SIDE = 96  # most pixels of an image
_GAP = 0.08  # between images, in sides
_INCHES = 0.8  # a side
_MOST_NAMED = 20  # classes in a legend
_MOST_COLUMNS = 2
_TITLE_LETTERS_AN_INCH = 12

WORDS = {
    "directions": "A row is a direction in feature space, and the training images of the class "
    "that lie lowest and highest along it. The percentage is its share of the variance of the "
    "class; a direction at random has {random:.2f} % on average.",
    "tightness": "Mean over {images:,} training images, with the batch norm and the dropout of "
    "{mode} mode. The expected loss is estimated from {draws:,} draws. The control is the bound "
    "with covariances that are 1.5 times too large. Covariances are {origin}.",
    "features": "A point is a test image; colors are classes, the same images in each panel. "
    "Crosses are augmented features, drawn around the image that a line leads to. Sizes and "
    "distances of clusters in such a layout mean little: the numbers are of the features "
    "themselves.",
    "visualize": "Images whose features are meant to be those of the image (reconstruction), drawn "
    "from N(a, λ Σ) around them (augmented), and equally far away in directions at random. Below "
    "each: how far the features are from what was meant, in parts of its length, and the "
    "probability of the class. On average the mean feature of the class would be off by "
    "{within:.2f}, and augmentation moves features by {shift:.2f}: an image shows what was meant "
    "only where the number below it is well under these. λ is {strength:g}, covariances are "
    "{origin}.{tested} Random images are {random}. Below these, the training images nearest to the "
    "first augmented one of {compared:,}, with their distances.",
}


def draw_directions(found: ClassDirections, title: str) -> Figure:
    """Draw the images at both ends of each direction."""
    pictures = torch.stack([one.pictures for one in found.directions])  # (K, 2, E, 3, h, w)
    num_rows = len(pictures)
    canvas = _side_by_side(pictures)
    side = canvas.shape[0] / num_rows
    height, width = num_rows, canvas.shape[1] / side
    with matplotlib.rc_context(settings("directions") | {"font.size": 8}):
        figure = Figure((_INCHES * width + 2.2, _INCHES * height + 0.8), layout="constrained")
        axes = figure.subplots()
        axes.imshow(canvas.numpy(), interpolation="nearest", extent=(0, width, height, 0))
        rows = [f"{wrapped(one.name, 24)}\n{100 * one.share:.1f} %" for one in found.directions]
        axes.set_yticks([k + 0.5 for k in range(num_rows)], rows)
        axes.set_xticks([width / 4, 3 * width / 4], ["lowest", "highest"])
        axes.xaxis.tick_top()
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        figure.suptitle(_title(figure.get_figwidth(), title), fontsize=9)
        return figure


def draw_visualization(found: Visualization, title: str) -> Figure:
    """Draw two lines for each image: what was made of it, and the nearest training images."""
    shown, gap = found.shown, 3 * _GAP
    high = shown["original"].pictures.shape[3] / shown["original"].pictures.shape[4]
    line = high + 0.6  # with a heading and captions
    begins = {}
    width = 0.0
    for name, one in shown.items():
        begins[name], width = width, width + one.pictures.shape[1] + gap
    step = max(one.places.shape[1] for one in found.nearest.values()) + gap
    width, height = max(width, 2 * step), 2 * line * len(found.names)
    left, wide = 0.8, _INCHES * width + 0.9
    title = _title(wide, title)
    top = 0.22 + 0.16 * len(title.splitlines())
    inches = wide, _INCHES * height + top
    with matplotlib.rc_context(settings("visualize") | {"font.size": 6.5}):
        figure = Figure(inches)
        edges = {"left": left / inches[0], "right": 0.99, "bottom": 0, "top": 1 - top / inches[1]}
        axes = figure.subplots(gridspec_kw=edges)
        axes.set_axis_off()
        for row, name in enumerate(found.names):
            y = 2 * line * row
            words = f"{shortened(found.labels[row], 14)}\n{shortened(name, 14)}"
            axes.text(-0.15, y + 0.3, words, ha="right", va="top")
            for group, one in shown.items():
                told = [f"{100 * prob:.0f} %" for prob in one.probs[row].tolist()]
                if one.residuals is not None:
                    errors = one.residuals[row].tolist()
                    told = [f"{a:.2f}  {b}" for a, b in zip(errors, told, strict=True)]
                heading = group + ("s" if group.startswith("random") and len(told) > 1 else "")
                _put(axes, begins[group], y, heading, one.pictures[row], told)
            for place, (space, near) in enumerate(found.nearest.items()):
                told = [f"{distance:.2f}" for distance in near.distances[row].tolist()]
                heading = f"nearest training images by {space}"
                _put(axes, place * step, y + line, heading, near.pictures[row], told)
        axes.set(xlim=(0, width), ylim=(height, 0))
        figure.suptitle(title, fontsize=9, y=1 - 0.06 / inches[1])
        return figure


def _put(
    axes: Axes, x: float, y: float, heading: str, pictures: Tensor, captions: list[str]
) -> None:
    """Put pictures ``(K, C, h, w)`` of a width of 1 side by side, with words above and below."""
    high = (1 - _GAP) * pictures.shape[2] / pictures.shape[3]
    axes.text(x, y + 0.25, heading, va="bottom")
    for place, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
        pixels, begin = picture.expand(3, -1, -1).movedim(0, -1).numpy(), x + place
        extent = (begin, begin + 1 - _GAP, y + 0.3 + high, y + 0.3)
        axes.imshow(pixels, extent=extent, interpolation="nearest", aspect="auto")
        axes.text(begin + (1 - _GAP) / 2, y + 0.35 + high, caption, ha="center", va="top")


def draw_tightness(found: Tightness, title: str) -> Figure:
    """Draw the three losses over the training, and the gap below them."""
    epochs = [one.epoch for one in found.moments]
    values = [one.values for one in found.moments]
    expected = [one.expected for one in values]
    lines = {
        "cross-entropy": ([one.cross_entropy for one in values], 0, ":"),
        f"expected loss, {found.num_samples:,} draws": (expected, 2, "-"),
        "bound of ISDA": ([one.bound for one in values], 1, "-"),
        f"control: bound with {CONTROL:g} Σ": ([one.control for one in values], 4, "--"),
    }
    marker = "o" if len(epochs) == 1 else ""
    with matplotlib.rc_context(settings("tightness")):
        figure = Figure((5.2, 4.6), layout="constrained")
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
        for label, (curve, color, style) in lines.items():
            look = {"color": SERIES[color], "marker": marker, "linestyle": style}
            upper.plot(epochs, curve, label=label, **look)
            if curve is not expected and color:
                above = [one - other for one, other in zip(curve, expected, strict=True)]
                lower.plot(epochs, above, **look)
        upper.set_ylabel("loss in nats")
        lower.set_ylim(0)
        lower.set(xlabel="epoch", ylabel="above expected loss")
        lower.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        for axes in (upper, lower):
            axes.grid(axis="y")
        figure.suptitle(_title(figure.get_figwidth(), title), fontsize=9)
        add_legend(figure, upper.get_lines())
        return figure


def draw_maps(maps: list[FeatureMap], title: str) -> Figure:
    """Draw a panel for each network."""
    columns = min(_MOST_COLUMNS, len(maps))
    rows = -(-len(maps) // columns)
    with matplotlib.rc_context(settings("features")):
        figure = Figure((max(5.0, 4.2 * columns), 4.2 * rows), layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes, one in zip(grid, maps, strict=False):
            _draw_map(axes, one)
        for axes in grid[len(maps) :]:
            axes.set_axis_off()
        figure.suptitle(_title(figure.get_figwidth(), title), fontsize=9.5)
        classes = maps[0].classes
        if len(classes) <= _MOST_NAMED:
            points = [
                Line2D([], [], color=color, marker="o", linestyle="", label=shortened(name, 20))
                for name, color in zip(classes, _colors(len(classes)), strict=True)
            ]
            add_legend(figure, points, columns=5 if columns > 1 else 4)
        return figure


def _draw_map(axes: Axes, one: FeatureMap) -> None:
    colors = _colors(len(one.classes))
    own = [colors[label] for label in one.labels.tolist()]
    axes.scatter(one.points[:, 0].numpy(), one.points[:, 1].numpy(), s=5, c=own, linewidths=0)
    for source, drawn in zip(one.sources.tolist(), one.augmented.transpose(0, 1), strict=True):
        for x, y in drawn.tolist():
            ends = zip(one.points[source].tolist(), (x, y), strict=True)
            axes.plot(*ends, color=INK, linewidth=0.3, alpha=0.5)
            color = colors[int(one.labels[source])]
            axes.plot(x, y, "X", color=color, markersize=4, mec=INK, mew=0.4)
    told = one.separation
    axes.set_title(
        f"{wrapped(one.label, 48)}\nneighbors of the class {100 * told.neighbor_purity:.1f} %, "
        f"scatter within / between {told.scatter_ratio:.2f}, silhouette {told.silhouette:.2f}",
        fontsize=7.5,
    )
    axes.set(xticks=[], yticks=[])  # distances in such a plane have no unit
    axes.spines[:].set_visible(True)
    axes.set_aspect("equal", "datalim")


def _colors(number: int) -> list[str]:
    """Return a color for each class: told apart without color vision where there are few."""
    if number <= len(SERIES):
        return list(SERIES[:number])
    if number <= _MOST_NAMED:
        order = [*range(0, 20, 2), *range(1, 20, 2)][:number]  # light colors last
        return [to_hex(matplotlib.colormaps["tab20"](place)) for place in order]
    return [to_hex(matplotlib.colormaps["hsv"](place / number)) for place in range(number)]


def _side_by_side(pictures: Tensor) -> Tensor:
    """Return ``(K, 2, E, 3, h, w)`` on a white canvas ``(height, width, 3)``, a row for each K."""
    num_rows, _, count = pictures.shape[:3]
    flat = pictures.flatten(0, 2)
    if max(flat.shape[2:]) > _SIDE:
        scale = _SIDE / max(flat.shape[2:])
        flat = F.interpolate(flat, scale_factor=scale, mode="bilinear", antialias=True)
    gap = max(1, round(_GAP * flat.shape[3]))
    cells = F.pad(flat, (0, gap, 0, gap), value=255).unflatten(0, (num_rows, 2, count))
    ends = cells.permute(1, 0, 4, 2, 5, 3).flatten(1, 2).flatten(2, 3)  # (2, height, width, 3)
    middle = ends.new_full((ends.shape[1], 4 * gap, 3), 255)
    return torch.cat([ends[0], middle, ends[1]], dim=1)


def _title(inches: float, text: str) -> str:
    return wrapped(text, int(_TITLE_LETTERS_AN_INCH * inches))
