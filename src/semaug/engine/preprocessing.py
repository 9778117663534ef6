"""What a network takes: size, normalization and memory format of images, by the recipe."""

from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from semaug.augmentation import normalize
from semaug.data import ResizeCenterCrop
from semaug.data.views import View, Whole


def test_view(recipe: Any, has_masks: bool) -> View:
    """Return how images that lie in files are cropped to test on; those with masks are whole."""
    augment = augment_of(recipe, recipe.augment, in_files=True)
    view: View = getattr(augment, "test_view", Whole if has_masks else ResizeCenterCrop)()
    return view


def stretched(images: Tensor) -> Tensor:
    """Return images that are no bytes as bytes, from black for the lowest number to white."""
    lowest, highest = images.aminmax()
    return ((images - lowest) / (highest - lowest).clamp(min=1e-8) * 255).round().byte()


def form_of(recipe: Any) -> tuple[torch.memory_format, torch.dtype]:
    """Return memory format and dtype of network input."""
    layout = torch.channels_last if recipe.channels_last else torch.contiguous_format
    return layout, torch.float64 if recipe.precision == "64" else torch.float32


def preprocessing_of(recipe: Any) -> Any:
    """Return what images the weights want that the network begins with, None if any will do."""
    return getattr(getattr(recipe, "network", None), "preprocessing", None)


def augment_of(recipe: Any, augment: Any, in_files: bool) -> Any:
    """Return an augmentation with the size of images in files that pretrained weights want.

    Sizes that it names itself come first.
    """
    wanted = preprocessing_of(recipe)
    if wanted is None or not in_files:
        return augment
    own = {name: getattr(wanted, name) for name in ("image_size", "test_crop")}
    return replace(augment, **{n: v for n, v in own.items() if getattr(augment, n, 0) is None})


def network_input(recipe: Any, data: Any, pixels: Tensor) -> Tensor:
    """Turn bytes into network input of the size and in the memory format of the recipe.

    Numbers that are no bytes, such as whitened images or features, are not normalized.

    Args:
        recipe: Of the run.
        data: Has ``mean`` and ``std``.
        pixels: ``(N, C, H, W)``.
    """
    wanted = preprocessing_of(recipe) or data
    if pixels.dtype == torch.uint8 and wanted.mean and wanted.std:
        pixels = normalize(pixels, wanted.mean, wanted.std)
    side = getattr(getattr(recipe, "augment", None), "image_size", None)
    if side is not None and pixels.shape[2:] != (side, side):  # files were cropped to it
        pixels = F.interpolate(pixels, (side, side), mode="bilinear", antialias=True)
    layout, dtype = form_of(recipe)
    return pixels.to(dtype).contiguous(memory_format=layout)
