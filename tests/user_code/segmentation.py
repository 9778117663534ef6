"""Segmentation of drawn shapes, with an auxiliary head; each head has statistics of ISDA.

    loss = ISDA of the deep head + auxiliary_weight * ISDA of the middle head

Source: Zhao et al., CVPR 2017, https://arxiv.org/abs/1612.01105, section 3.3
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn

from semaug.augmentation import Augmentation
from semaug.data import IGNORED, DataSet, ImageSet
from semaug.engine.build import Builder
from semaug.errors import UserError, check_option
from semaug.methods import Batch, Method, StepOutput, Term
from semaug.metrics import MeanIoU, Metric
from semaug.registry import Sizes

SHAPES = ("ground", "disc", "square", "triangle")

# N images, C classes, A features, H x W pixels of images and labels, h x w of outputs.


@dataclass(frozen=True, kw_only=True)
class Shapes:
    """Discs, squares and triangles on noisy ground; their outlines have no label.

    Args:
        train_images: Images to train on.
        test_images: Images to test on.
        shapes: Shapes drawn into an image, each over those before it.
    """

    num_classes: ClassVar[int] = len(SHAPES)
    side: ClassVar[int] = 32

    train_images: int = 200
    test_images: int = 100
    shapes: int = 3

    def __post_init__(self) -> None:
        check_option("shapes", self.shapes, self.shapes >= 1, ">= 1")

    def load(self, root: Path, workers: int | None) -> DataSet:
        generator = torch.Generator().manual_seed(0)
        train, test = (self.draw(n, generator) for n in (self.train_images, self.test_images))
        return DataSet("shapes", train, test, mean=(0.5,) * 3, std=(0.25,) * 3)

    def draw(self, num_images: int, generator: torch.Generator) -> ImageSet:
        """Draw images and their masks; a shape is where its middle is at most 1 radius away."""

        def uniform(low: float, high: float, *shape: int) -> Tensor:
            return low + (high - low) * torch.rand(num_images, *shape, generator=generator)

        images = uniform(0.2, 0.8, 3, 1, 1).repeat(1, 1, self.side, self.side)
        masks = torch.zeros(num_images, self.side, self.side, dtype=torch.int64)
        place = torch.arange(self.side)
        for _ in range(self.shapes):
            kinds = torch.randint(1, len(SHAPES), (num_images, 1, 1), generator=generator)
            radius = uniform(4, 8, 1, 1)
            down = (place.view(-1, 1) - uniform(6, 26, 1, 1)) / radius
            right = (place - uniform(6, 26, 1, 1)) / radius
            disc = down.square() + right.square()
            square = torch.maximum(down.abs(), right.abs())
            triangle = torch.maximum(down.abs(), 2 * right.abs() - down)
            distance = torch.stack([disc, square, triangle]).gather(
                0, (kinds - 1).expand(1, num_images, 1, 1).expand(-1, -1, self.side, self.side)
            )
            inside = distance.squeeze(0) <= 1
            masks = torch.where(inside, kinds, masks)
            images = torch.where(inside.unsqueeze(1), uniform(0, 1, 3, 1, 1), images)
        images += 0.05 * torch.randn(images.shape, generator=generator)
        outline = torch.zeros_like(masks, dtype=torch.bool)
        outline[:, :-1] |= masks[:, :-1] != masks[:, 1:]
        outline[:, :, :-1] |= masks[:, :, :-1] != masks[:, :, 1:]
        pixels = (255 * images).round().clamp(0, 255).to(torch.uint8)
        return ImageSet(pixels, masks.masked_fill(outline, IGNORED).to(torch.uint8), SHAPES)


@dataclass(frozen=True, kw_only=True)
class QuarterTurns:
    """Turn square images by 0, 90, 180 or 270 degrees, and mirror every second one."""

    def build(self, data: DataSet) -> Augmentation:
        return Turned()


class Turned(Augmentation):
    """The eight symmetries of a square, of images and of their masks alike."""

    num_draws = 2

    def __call__(self, images: Tensor, draws: Tensor) -> Tensor:
        symmetry = (4 * draws[:, 0]).long() + 4 * (draws[:, 1] < 0.5)
        turned = images.clone()
        for turns in range(4):
            for mirrored in (False, True):
                chosen = (symmetry == turns + 4 * mirrored).view(-1, *[1] * (images.ndim - 1))
                moved = images.flip(-1) if mirrored else images
                turned = torch.where(chosen, moved.rot90(turns, dims=(-2, -1)), turned)
        return turned

    def move(self, masks: Tensor, draws: Tensor) -> Tensor:
        return self(masks, draws)


@dataclass(frozen=True, kw_only=True)
class TwoHeads:
    """A small fully convolutional network; a second head reads its middle.

    Args:
        width: Channels of the middle; the deep features have twice as many.
    """

    width: int = 16

    def build(self, sizes: Sizes) -> nn.Module:
        return TwoHeadNet(self.width, sizes.num_classes)


class TwoHeadNet(nn.Module):
    """Features at half the resolution of the images, twice, and a classifier for each."""

    def __init__(self, width: int, num_classes: int) -> None:
        super().__init__()
        self.middle = nn.Sequential(
            convolution(3, width, stride=2, padding=1),
            convolution(width, width, padding=1),
        )
        self.deep = nn.Sequential(
            convolution(width, 2 * width, padding=2, dilation=2),
            convolution(2 * width, 2 * width, padding=4, dilation=4),
        )
        self.classifier = nn.Conv2d(2 * width, num_classes, 1)
        self.auxiliary = nn.Conv2d(width, num_classes, 1)

    def features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Map images (N, 3, H, W) to deep and middle features (N, A, h, w)."""
        middle = self.middle(images)
        return self.deep(middle), middle

    def forward(self, images: Tensor) -> Tensor:
        """Map images (N, 3, H, W) to logits (N, C, h, w)."""
        return self.classifier(self.features(images)[0])


def convolution(in_channels: int, out_channels: int, **options: int) -> nn.Module:
    """Convolve by 3 x 3 pixels, normalize and rectify."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, bias=False, **options),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(),
    )


@dataclass(frozen=True, kw_only=True)
class AuxiliaryHead:
    """Segmentation with a second head, for networks that have one, and losses of features.

    Args:
        auxiliary_weight: Weight of the loss of that head.
    """

    auxiliary_weight: float = 0.4

    def build(self, builder: Builder) -> Method:
        if not builder.recipe.loss.takes_features:
            raise UserError(
                "recipe: method=auxiliary_head expects a loss of features, such as isda"
            )
        network = builder.network()
        heads = network.classifier, network.auxiliary
        losses = [builder.loss(num_features=head.in_channels) for head in heads]
        return Segmentation(network, *losses, auxiliary_weight=self.auxiliary_weight)


class Segmentation(Method):
    """A network with two heads, and the loss of each."""

    def __init__(
        self,
        network: nn.Module,
        criterion: nn.Module,
        auxiliary_criterion: nn.Module,
        *,
        auxiliary_weight: float,
    ) -> None:
        super().__init__()
        self.network = network
        self.criterion, self.auxiliary_criterion = criterion, auxiliary_criterion
        self.auxiliary_weight = auxiliary_weight

    def loss(self, batch: Batch) -> StepOutput:
        images, labels = batch.labeled.images, batch.labeled.labels
        deep, middle = self.network.features(images)
        logits, value = head_loss(self.criterion, self.network.classifier, deep, labels)
        _, auxiliary = head_loss(self.auxiliary_criterion, self.network.auxiliary, middle, labels)
        terms = {"deep": Term(value), "auxiliary": Term(self.auxiliary_weight * auxiliary)}
        return StepOutput(terms, outputs=logits)

    def predictors(self) -> dict[str, Callable[[Tensor], Tensor]]:
        return {"": self.network}

    def metrics(self, sizes: Sizes) -> list[Metric]:
        return [MeanIoU(sizes.num_classes)]


def head_loss(
    criterion: nn.Module, head: nn.Conv2d, features: Tensor, labels: Tensor
) -> tuple[Tensor, Tensor]:
    """Return logits (N, C, h, w) and the loss; labels (N, H, W) may have a higher resolution."""
    logits = head(features)
    return logits, criterion(logits, labels, features, head.weight.flatten(1))
