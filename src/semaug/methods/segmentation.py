"""Segmentation: a label for each pixel, and a loss for each head of the network.

    loss = mean of the pixels' losses + auxiliary_weight * the same of the auxiliary head

A loss of features, such as that of ISDA, has statistics of its own for each head. A mean is over
the pixels that count, of all processes together; over none it is 0.

Source: Zhao et al., CVPR 2017, https://arxiv.org/abs/1612.01105, section 3.3, and T-PAMI 2021,
https://arxiv.org/abs/2007.10538, section 6.4, for ISDA in both heads.

Literal form: tests/references/segmentation.py, ``head_by_loops``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from semaug.covariance.batch import IGNORE_INDEX, nearest_labels
from semaug.errors import UserError, as_recipe_error, as_user_error, check_option
from semaug.features import WithFeatures
from semaug.features.classifier import logits_of
from semaug.features.probe import PROBE_ERRORS, evaluating
from semaug.losses import ISDALoss, hard_pixels, takes_features
from semaug.losses._arguments import CrossEntropyOptions
from semaug.losses._pixels import pixel_losses
from semaug.methods.batch import Batch, StepOutput, Term
from semaug.methods.method import Method
from semaug.metrics import BoundaryIoU, ClassAccuracy, MeanIoU, Metric, PixelAccuracy
from semaug.registry import Sizes, losses, methods

__all__ = ["HardPixels", "Segmentation", "SegmentationMethod"]

# N images, C classes, A features, H x W pixels of images and labels, h x w pixels of logits.


class HardPixels(NamedTuple):
    """Options of :func:`semaug.losses.hard_pixels`."""

    threshold: float
    kept: int


class Segmentation(Method):
    """A network for labels of pixels, and a loss for each of its heads.

    Args:
        network: Maps images ``(N, 3, H, W)`` to logits ``(N, C, h, w)``. One with
            ``forward_heads``, such as :class:`semaug.networks.SegmentationNetwork`, may have
            several heads; any other has one, and is the result of :func:`semaug.with_features` if
            the loss takes features. Its attribute ``align_corners`` says how logits are
            interpolated; without one corners are not aligned.
        criteria: A loss for each head, the main one first: :class:`semaug.ISDALoss`, which is set
            to return the loss of each pixel, :class:`torch.nn.CrossEntropyLoss`, or any other of
            ``(logits, labels)`` or ``(logits, labels, features, weight)``.
        auxiliary_weight: Weight of all heads but the first.
        before_dropout: Whether statistics are of features before dropout.
        class_weights: ``(C,)`` weights of the pixels of each class; none weighs all alike.
        hard: Which pixels count in the first head; None are all.

    Raises:
        ValueError: If there is no loss for each head, or what asks for the loss of each pixel is
            combined with a loss that has none.
    """

    class_weights: Tensor

    def __init__(
        self,
        network: nn.Module,
        criteria: Sequence[nn.Module],
        *,
        auxiliary_weight: float = 0.4,
        before_dropout: bool = False,
        class_weights: Sequence[float] = (),
        hard: HardPixels | None = None,
    ) -> None:
        super().__init__()
        self.network, self.criteria = network, nn.ModuleList(criteria)
        num_heads = len(network.get_heads()) if hasattr(network, "get_heads") else 1  # type: ignore[operator]
        if len(criteria) != num_heads:
            raise ValueError(
                f"Segmentation: expected a loss for each of {num_heads} heads, got {len(criteria)}"
            )
        self.auxiliary_weight, self.before_dropout = auxiliary_weight, before_dropout
        self.hard = hard
        self.register_buffer("class_weights", torch.tensor([*class_weights]), persistent=False)
        for criterion in self.criteria:
            if isinstance(criterion, ISDALoss):
                criterion.reduction, criterion.align_corners = "none", self.align_corners
            elif not isinstance(criterion, nn.CrossEntropyLoss) and (hard or class_weights):
                raise ValueError(
                    "Segmentation: expected a loss of each pixel, ISDA or cross-entropy, for "
                    f"`hard` and `class_weights`, got {type(criterion).__name__}"
                )
            smoothing: float = getattr(criterion, "label_smoothing", 0.0)
            if hard and smoothing:
                raise ValueError("Segmentation: expected no label smoothing for `hard`")

    def loss(self, batch: Batch) -> StepOutput:
        """Compute the loss of a batch, in training mode with all side effects of the losses."""
        labels = batch.labeled.labels
        assert labels is not None
        heads = self._forward(batch.labeled.images)
        terms = {}
        for number, (criterion, head) in enumerate(zip(self.criteria, heads, strict=True)):
            name = ("auxiliary" if number else "main") if len(heads) > 1 else "loss"
            scale = self.auxiliary_weight if number else 1.0
            value, count = self._mean(criterion, *head, labels, None if number else self.hard)
            terms[name] = Term(scale * value, size=count)
        return StepOutput(terms, heads[0][0])

    def _forward(self, images: Tensor) -> list[tuple[Tensor, Tensor | None, Tensor | None]]:
        """Return logits, features and weight of each head; no features where no loss takes any."""
        network: Any = self.network
        if hasattr(network, "forward_heads"):
            outputs = zip(network.forward_heads(images), network.get_heads(), strict=True)
            return [
                (seen.logits, seen.undropped if self.before_dropout else seen.features, head.weight)
                for seen, head in outputs
            ]
        found = network(images)
        if isinstance(network, WithFeatures):
            return [(*found, network.weight)]
        return [(logits_of("segmentation", found), None, None)]

    def _mean(
        self,
        criterion: nn.Module,
        logits: Tensor,
        features: Tensor | None,
        weight: Tensor | None,
        labels: Tensor,
        hard: HardPixels | None,
    ) -> tuple[Tensor, Tensor]:
        """Return the mean loss of the pixels that count, and how many these are."""
        options = CrossEntropyOptions(align_corners=self.align_corners)
        if isinstance(criterion, nn.CrossEntropyLoss):
            smoothed = options._replace(label_smoothing=criterion.label_smoothing)
            found = pixel_losses(logits, labels, smoothed)
        else:
            own = (features, weight) if takes_features(criterion) else ()
            found = criterion(logits, labels, *own)
        if found.ndim == 0:
            return found, (labels != IGNORE_INDEX).sum().to(found.dtype)
        labels = nearest_labels(labels, found.shape[1:], self.align_corners)
        counted = labels != IGNORE_INDEX
        if hard is not None:
            counted = hard_pixels(found, labels, threshold=hard.threshold, kept=hard.kept)
        shares = counted.to(found.dtype)
        if len(self.class_weights):
            shares = shares * self.class_weights.to(found.dtype)[torch.where(counted, labels, 0)]
        count = shares.sum()
        return (found * shares).sum() / torch.where(count > 0, count, 1.0), count

    def predict(self, images: Tensor) -> Tensor:
        """Map images ``(N, 3, H, W)`` to logits ``(N, C, h, w)``."""
        found = self.network(images)
        return logits_of("segmentation", found[0] if isinstance(found, tuple) else found)

    def predictors(self) -> dict[str, Callable[[Tensor], Tensor]]:
        """Return the network."""
        return {"": self.predict}

    def metrics(self, sizes: Sizes) -> list[Metric]:
        """Return the mean intersection over union, accuracies, and the same near borders."""
        kinds = MeanIoU, PixelAccuracy, ClassAccuracy, BoundaryIoU
        return [kind(sizes.num_classes) for kind in kinds]

    @torch.no_grad()
    def diagnostics(self, sample: Callable[[], Batch]) -> dict[str, Tensor]:
        """Return strength and statistics of ISDA in the first head, and nothing of images.

        Args:
            sample: Not called, for a few dozen images at full size take too much memory.
        """
        criterion = self.criteria[0]
        if not isinstance(criterion, ISDALoss):
            return {}
        fewest = criterion.estimator.count.min().to(torch.float32)
        return {"strength": criterion.current_strength(), "fewest_samples": fewest}


@methods.register("segmentation")
@dataclass(frozen=True, kw_only=True)
class SegmentationMethod:
    """A label for each pixel; networks may have an auxiliary head, each with its own statistics.

    Args:
        auxiliary_weight: Weight of the loss of the auxiliary head, of networks that have one.
        statistics: Whether statistics are of features ``after_dropout``, as in the released code,
            which makes variances 11 % larger, or ``before_dropout``.
        class_weights: Weights of the pixels of each class; none weighs all alike.
        ohem_threshold: Train the main head on hard pixels: those whose class has at most this
            probability. None trains it on all.
        ohem_kept: How many pixels of a step count at least, then, in each process.

    Raises:
        UserError: If a number is out of range.
    """

    auxiliary_weight: float = 0.4
    statistics: Literal["after_dropout", "before_dropout"] = "after_dropout"
    class_weights: tuple[float, ...] = ()
    ohem_threshold: float | None = None
    ohem_kept: int = 200_000

    def __post_init__(self) -> None:
        weight, threshold = self.auxiliary_weight, self.ohem_threshold
        check_option(
            "auxiliary_weight",
            weight,
            0 < weight < float("inf"),
            "> 0; a network without auxiliary head is network.auxiliary=false",
        )
        weights = self.class_weights
        check_option("class_weights", weights, all(0 <= x < float("inf") for x in weights), ">= 0")
        inside = threshold is None or 0 <= threshold <= 1
        check_option("ohem_threshold", threshold, inside, "from 0 to 1, or none")
        check_option("ohem_kept", self.ohem_kept, self.ohem_kept >= 0, ">= 0")

    def build(self, builder: Any) -> Segmentation:
        """Build the network of the recipe, and a loss for each of its heads.

        Raises:
            UserError: If the images have one label each, or the network or the loss do not take
                pixels.
        """
        if builder.begins and not builder.data.has_masks:
            raise UserError(
                "recipe: method=segmentation expects a label for each pixel, got one for each "
                f"image of data={builder.data.name}"
            )
        own = len(self.class_weights)
        check_option(
            "class_weights",
            self.class_weights,
            own in (0, builder.sizes.num_classes),
            f"for each of {builder.sizes.num_classes} classes",
        )
        network, found = _network_and_losses(builder)
        hard = self.ohem_threshold
        with as_recipe_error():
            method = Segmentation(
                network,
                found,
                auxiliary_weight=self.auxiliary_weight,
                before_dropout=self.statistics == "before_dropout",
                class_weights=self.class_weights,
                hard=None if hard is None else HardPixels(hard, self.ohem_kept),
            )
        context = f"recipe: loss={losses.name_of(builder.recipe.loss)} does not take pixels: "
        with as_user_error(context, *PROBE_ERRORS), evaluating(method), torch.no_grad():
            for criterion in method.criteria:
                method._mean(criterion, *_few_pixels(builder.sizes, criterion), None)
        return method


def _network_and_losses(builder: Any) -> tuple[nn.Module, list[nn.Module]]:
    network = builder.trained()
    if not hasattr(network, "get_heads"):
        network, loss = builder.loss_for(network)
        return network, [loss]
    return network, [builder.loss(head.weight.shape[1]) for head in network.get_heads()]


def _few_pixels(
    sizes: Sizes, criterion: nn.Module
) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor]:
    """Return logits, features, weight and labels of an image of 2 x 2 pixels."""
    num_classes = sizes.num_classes
    labels = torch.zeros(1, 2, 2, dtype=torch.int64)
    estimator = getattr(criterion, "estimator", None)
    if not takes_features(criterion) or estimator is None:
        return torch.zeros(1, num_classes, 2, 2), None, None, labels
    num_features = estimator.num_features
    features, weight = torch.zeros(1, num_features, 2, 2), torch.zeros(num_classes, num_features)
    return torch.zeros(1, num_classes, 2, 2), features, weight, labels
