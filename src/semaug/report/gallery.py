"""A picture of what a recipe does to training images."""

from pathlib import Path

import matplotlib
import torch
from matplotlib.figure import Figure
from torch import Tensor

from semaug.data import ImageSet
from semaug.engine.build import build_data
from semaug.engine.pipeline import Pipeline
from semaug.errors import UserError
from semaug.recipe.recipe import Recipe
from semaug.runs.files import write_atomically

__all__ = ["augmented_images", "draw_gallery"]

# R images, E epochs, C channels, H and W pixels.

_GAP = 2  # pixels between images
_INCHES = 1.1  # an image


def draw_gallery(
    path: Path,
    recipe: Recipe,
    *,
    data_root: Path | None = None,
    seed: int = 0,
    num_images: int = 6,
    num_epochs: int = 9,
) -> None:
    """Write a PNG: a row for each of a few training images, a column for each epoch and view.

    Where images lie in memory, the first column has them as they are.

    Args:
        path: Of the picture; an old one is replaced.
        recipe: Says how images are augmented.
        data_root: Folder of the data sets.
        seed: Of the run whose images are wanted; its epochs show these very pictures, but for
            the partners that Mixup and CutMix find.
        num_images: Rows.
        num_epochs: Columns.

    Raises:
        FileNotFoundError: If there are no data files.
        OSError: If the picture cannot be written.
        UserError: If data or augmentation do not exist or do not fit, or there is no such folder.
    """
    if path.suffix != ".png":
        raise UserError(f"show: expected the name of a PNG file, such as a.png, got {str(path)!r}")
    if not path.parent.is_dir():
        raise UserError(f"show: expected a folder that exists, got {str(path.parent)!r}")
    data, _ = build_data(recipe, data_root, torch.device("cpu"))
    num_images = min(num_images, len(data.train))
    # Evenly spread, for many sets are sorted by class.
    places = torch.arange(num_images) * len(data.train) // num_images
    with Pipeline(recipe, data) as pipeline:
        images = augmented_images(pipeline, seed, places, num_epochs)
    titles = [f"epoch {epoch + 1}" for epoch in range(num_epochs)]
    num_views = recipe.method.num_views
    if num_views > 1:
        views = range(1, num_views + 1)
        titles = [f"{title},\nview {view}" for title in titles for view in views]
    if isinstance(data.train, ImageSet):
        images = torch.cat([data.train.images[places].unsqueeze(1), images], dim=1)
        titles = ["as it is", *titles]
    names = [data.train.classes[label] for label in data.train.labels[places].tolist()]
    _write(path, images, titles, names)


def augmented_images(pipeline: Pipeline, seed: int, places: Tensor, num_epochs: int) -> Tensor:
    """Return a few training images as so many epochs show them.

    Args:
        pipeline: Of a recipe.
        seed: Of a run.
        places: ``(R,)`` int64, which images.
        num_epochs: E.

    Returns:
        ``(R, E, C, H, W)`` uint8; ``(R, E V, C, H, W)`` of V views. Whitened images, which are
        no colors, are stretched.
    """
    columns = []
    for epoch in range(num_epochs):
        batches = [batch.images for batch in pipeline.train_batches(seed, epoch, order=places)]
        if pipeline.num_views == 1:
            columns.append(torch.cat(batches))
        else:
            columns.extend(torch.cat(batches, dim=1))
    images = torch.stack(columns, dim=1).contiguous()
    if pipeline.white is None:
        mean, std = (
            torch.tensor(values).view(-1, 1, 1)
            for values in (pipeline.data.mean, pipeline.data.std)
        )
        images = images * std + mean
    else:
        lowest, highest = images.aminmax()
        images = (images - lowest) / (highest - lowest).clamp(min=1e-8)
    return images.mul(255).round().clamp(0, 255).byte()


def _write(path: Path, images: Tensor, titles: list[str], names: list[str]) -> None:
    num_rows, num_columns, num_channels, height, width = images.shape
    grid = torch.full(
        (num_channels, num_rows * (height + _GAP), num_columns * (width + _GAP)), 255
    ).byte()
    for row in range(num_rows):
        for column in range(num_columns):
            top, left = row * (height + _GAP), column * (width + _GAP)
            grid[:, top : top + height, left : left + width] = images[row, column]
    with matplotlib.rc_context({"font.size": 8}):
        figure = Figure(
            figsize=(_INCHES * (num_columns + 1), _INCHES * (num_rows + 0.5)), layout="constrained"
        )
        axes = figure.subplots()
        axes.imshow(grid.expand(3, -1, -1).permute(1, 2, 0).numpy(), interpolation="nearest")
        axes.set_xticks([(width + _GAP) * (c + 0.5) for c in range(num_columns)], titles)
        axes.set_yticks([(height + _GAP) * (r + 0.5) for r in range(num_rows)], names)
        axes.xaxis.tick_top()
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        write_atomically(path, lambda file: figure.savefig(file, format="png", dpi=150))
