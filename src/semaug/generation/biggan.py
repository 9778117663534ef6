"""BigGAN as a generator: any of its public implementations, with weights that you have.

Source: Brock et al., ICLR 2019, https://arxiv.org/abs/1809.11096
"""

from collections.abc import Callable
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from semaug.generation.generator import Generator

__all__ = ["of_biggan"]


def of_biggan(
    model: Callable[..., Tensor],
    side: int,
    *,
    num_classes: int = 1000,
    z_size: int = 128,
    truncation: float = 1.0,
    **facts: Any,
) -> Generator:
    """Return BigGAN as a generator of images of a given size.

    Args:
        model: Called as ``model(z, model.shared(labels))`` if it has ``shared``, which embeds
            classes, as in the code of the paper's author; else as ``model(z, one_hot,
            truncation)``, as in ``pytorch_pretrained_biggan``. It returns images from -1 to 1.
        side: Of the images that the classifier takes, such as 224, to which those of the model are
            resized.
        num_classes: C; ImageNet's classes are in the order of their WordNet ids.
        z_size: Numbers that an image is made of.
        truncation: Of the statistics of batch norm, where the model takes one.
        **facts: Others that a :class:`~semaug.generation.generator.Generator` takes, such as
            ``device`` and ``classes``.
    """
    if isinstance(model, nn.Module):
        model.eval().requires_grad_(False)
    shared = getattr(model, "shared", None)

    def make(z: Tensor, labels: Tensor) -> Tensor:
        if shared is not None:
            images = model(z, shared(labels))
        else:
            images = model(z, F.one_hot(labels, num_classes).to(z.dtype), truncation)
        size = (side, side)
        if images.shape[2:] == size:
            return images
        return F.interpolate(images, size, mode="bilinear", antialias=True)

    facts = {"name": "BigGAN", **facts}
    return Generator(make, z_size, num_classes, (3, side, side), **facts)
