"""A picture of what a recipe does to training images."""

from collections.abc import Mapping
from pathlib import Path

import matplotlib
import torch
from matplotlib.figure import Figure
from torch import Tensor
from torchvision.utils import make_grid

from semaug.data import DataSet, ImageSet
from semaug.data.colors import Color, class_colors, colored
from semaug.engine.data import load_data
from semaug.engine.options import TrainOptions
from semaug.engine.preprocessing import stretched
from semaug.engine.streams import Streams
from semaug.errors import UserError
from semaug.recipe.recipe import Recipe
from semaug.report.picture import add_legend, patches_of, save, settings
from semaug.runs.run import Run

# R images, E epochs, V views, C channels, H and W pixels.

_GAP = 2  # pixels between images
_INCHES = 1.1  # an image
_OPACITY = 0.5  # of masks over their images


def draw_gallery(
    path: Path,
    recipe: Recipe,
    options: TrainOptions | None = None,
    *,
    seed: int = 0,
    num_images: int = 6,
    num_epochs: int = 9,
) -> None:
    """Write a PNG: a row for each of a few training images, a column for each epoch and view.

    Where images lie in memory, the first column has them as they are. Masks are drawn over their
    images, in the views that move them along.

    Args:
        path: Of the picture; an old one is replaced.
        recipe: Says how images are augmented.
        options: Folder of the data sets, and processes that read images in files.
        seed: Of the run whose images are wanted; its epochs show these very pictures, but for
            the partners that Mixup and CutMix find.
        num_images: Rows.
        num_epochs: Columns.

    Raises:
        FileNotFoundError: If there are no data files.
        OSError: If the picture cannot be written.
        UserError: If data or augmentation do not exist or do not fit, there is no such folder, or
            the recipe or its images are no ones that can be shown.
    """
    if path.suffix != ".png":
        raise UserError(f"show: expected the name of a PNG file, such as a.png, got {str(path)!r}")
    if not path.parent.is_dir():
        raise UserError(f"show: expected a folder that exists, got {str(path.parent)!r}")
    if not isinstance(recipe, Recipe):
        raise UserError(
            "show: expected a recipe that augments images, got one of a generator or of a detector"
        )
    run = Run("show", recipe, seed)
    data = load_data(run, options or TrainOptions(), torch.device("cpu"))[0]
    train = data.train
    num_images = min(num_images, len(train))
    # Evenly spread, for many sets are sorted by class.
    places = torch.arange(num_images) * len(train) // num_images
    with Streams(recipe, data) as streams:
        if (num_channels := streams.example_images().shape[1]) not in (1, 3):
            raise UserError(f"show: expected images of 1 or 3 channels, got {num_channels}")
        images = augmented_images(streams, seed, places, num_epochs)
        num_views = images.shape[1] // num_epochs
        titles = [f"epoch {epoch + 1}" for epoch in range(num_epochs)]
        if num_views > 1:
            titles = [
                f"{title},\nview {view}" for title in titles for view in range(1, num_views + 1)
            ]
        if isinstance(train, ImageSet):
            plain = _to_bytes(train.images[places], streams)
            if data.has_masks:
                plain = _draw_masks(plain, train.labels[places].long(), data)
            images = torch.cat([plain.unsqueeze(1), images], dim=1)
            titles = ["as it is", *titles]
    classes = {}
    if data.has_masks:
        colors = class_colors(data.num_classes, data.colors)
        classes = dict(zip(train.classes, colors, strict=True))
    rows = places.tolist() if classes else [train.classes[k] for k in train.labels[places].tolist()]
    _write_picture(path, images, titles, [*map(str, rows)], classes)


def augmented_images(streams: Streams, seed: int, places: Tensor, num_epochs: int) -> Tensor:
    """Return a few images of the first stream as so many epochs show them.

    Args:
        streams: Of a recipe.
        seed: Of a run.
        places: ``(R,)`` int64, which images.
        num_epochs: E.

    Returns:
        ``(R, E V, C, H, W)`` uint8, all views of an epoch side by side, with their masks over
        those of the first view. Images that are no bytes are stretched, and so are whitened ones.
    """
    columns: list[Tensor] = []
    masks: list[Tensor] = []
    for epoch in range(num_epochs):
        shown = list(streams.shown(seed, epoch, places))
        several = int(shown[0].images.ndim == 5)
        images = torch.cat([samples.images for samples in shown], dim=several)
        columns += images.unbind() if several else [images]
        if streams.data.has_masks and shown[0].labels is not None:
            masks.append(torch.cat([samples.wanted for samples in shown]))
    images = _to_bytes(torch.stack(columns, dim=1), streams)
    if masks:
        images = images.expand(-1, -1, 3, -1, -1).clone()
        first = slice(None, None, len(columns) // num_epochs)
        images[:, first] = _draw_masks(images[:, first], torch.stack(masks, dim=1), streams.data)
    return images


def _to_bytes(images: Tensor, streams: Streams) -> Tensor:
    """Return images ``(..., C, H, W)``, bytes or network input, as bytes that people see."""
    if images.dtype == torch.uint8:
        return images
    if streams.white is None and streams.data.has_bytes:
        mean, std = (
            torch.tensor(values).view(-1, 1, 1) for values in (streams.data.mean, streams.data.std)
        )
        return (images * std + mean).mul(255).round().clamp(0, 255).byte()
    return stretched(images)


def _draw_masks(images: Tensor, masks: Tensor, data: DataSet) -> Tensor:
    """Color bytes ``(..., C, H, W)`` by the class in masks ``(..., H, W)``; others are none."""
    colors = colored(masks, class_colors(data.num_classes, data.colors)).movedim(-1, -3)
    mixed = (1 - _OPACITY) * images + _OPACITY * colors
    known = (masks >= 0) & (masks < data.num_classes)
    return torch.where(known.unsqueeze(-3), mixed.round().byte(), images)


def _write_picture(
    path: Path, images: Tensor, titles: list[str], names: list[str], classes: Mapping[str, Color]
) -> None:
    """Write images ``(R, K, C, H, W)`` side by side, and below them colors of classes, if any."""
    num_rows, num_columns, _, height, width = images.shape
    grid = make_grid(images.flatten(0, 1), num_columns, _GAP, pad_value=255).permute(1, 2, 0)
    with matplotlib.rc_context(settings("gallery") | {"font.size": 8}):
        size = _INCHES * (num_columns + 1), _INCHES * (num_rows + 0.5)
        figure = Figure(size, layout="constrained")
        axes = figure.subplots()
        axes.imshow(grid.numpy(), interpolation="nearest")
        axes.set_xticks([(width + _GAP) * (c + 0.5) for c in range(num_columns)], titles)
        axes.set_yticks([(height + _GAP) * (r + 0.5) for r in range(num_rows)], names)
        axes.xaxis.tick_top()
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        if classes:
            add_legend(figure, patches_of(classes), columns=max(1, num_columns // 2))
        save(figure, path)
