"""Stripes in four directions: a data set that needs no file, and a network for it."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn

from semaug.data import DataSet, ImageSet
from semaug.errors import check_option
from semaug.registry import Sizes

DIRECTIONS = ("horizontal", "rising", "vertical", "falling")


@dataclass(frozen=True, kw_only=True)
class Stripes:
    """Noisy stripes of any width, phase and color; the class is their direction.

    Args:
        train_images: Images to train on.
        test_images: Images to test on.
        noise: Standard deviation of a pixel, where the stripes swing between 0 and 1.
    """

    num_classes: ClassVar[int] = len(DIRECTIONS)
    side: ClassVar[int] = 16

    train_images: int = 400
    test_images: int = 200
    noise: float = 0.5

    def __post_init__(self) -> None:
        check_option("noise", self.noise, self.noise >= 0, ">= 0")

    def load(self, root: Path, workers: int | None) -> DataSet:
        generator = torch.Generator().manual_seed(0)
        train, test = (self.draw(n, generator) for n in (self.train_images, self.test_images))
        return DataSet("stripes", train, test, mean=(0.5,) * 3, std=(0.5,) * 3)

    def draw(self, num_images: int, generator: torch.Generator) -> ImageSet:
        labels = torch.arange(num_images) % self.num_classes

        def uniform(low: float, high: float, *more: int) -> Tensor:
            draws = torch.rand(num_images, *more, 1, 1, generator=generator)
            return low + (high - low) * draws

        angle = labels.view(-1, 1, 1) * math.pi / 4 + uniform(-0.2, 0.2)
        place = torch.arange(self.side)
        along = angle.cos() * place.view(-1, 1) + angle.sin() * place
        waves = (2 * math.pi * along / uniform(4, 8) + uniform(0, 2 * math.pi)).sin()
        images = 0.5 + 0.5 * waves.unsqueeze(1) * uniform(-1, 1, 3)
        images += self.noise * torch.randn(images.shape, generator=generator)
        pixels = (255 * images).round().clamp(0, 255).to(torch.uint8)
        return ImageSet(pixels, labels, DIRECTIONS)


@dataclass(frozen=True, kw_only=True)
class StripeNet:
    """Two convolutions, the mean of each channel, and a linear classifier.

    Args:
        width: Channels of both convolutions.
    """

    width: int = 16

    def build(self, sizes: Sizes) -> nn.Module:
        return nn.Sequential(
            *self.convolution(3),
            *self.convolution(self.width),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(self.width, sizes.num_classes),
        )

    def convolution(self, in_channels: int) -> list[nn.Module]:
        convolution = nn.Conv2d(in_channels, self.width, kernel_size=5, bias=False)
        return [convolution, nn.BatchNorm2d(self.width), nn.ReLU()]
