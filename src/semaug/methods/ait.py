"""Augmentation invariant training: one network, several views of each image.

Source: Chen et al., *Augmentation Invariant Training*, ICCV Workshops 2019, section 3.2.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from semaug.augmentation.standard import VIEW_PARTS
from semaug.errors import UserError, as_recipe_error, as_user_error, check_option
from semaug.features import WithFeatures
from semaug.features.probe import PROBE_ERRORS, run_probe
from semaug.losses import AugmentationInvariantLoss, takes_features
from semaug.methods.batch import Batch, StepOutput, Stream, Term, View
from semaug.methods.feature_map import WithFeatureMap
from semaug.methods.method import diagnose
from semaug.methods.supervised import Supervised
from semaug.registry import methods

__all__ = ["AIT", "LAYERS", "METRICS", "AITMethod", "check_view_augments", "views_of"]

# V views, N images, C classes, A features.


class AIT(Supervised):
    """A network that learns to predict alike for views of one image.

    All views of a batch pass through the network at once: batch norm sees them together, and a
    step costs what a step of V N images costs.

    Args:
        network: Maps images ``(N, 3, H, W)`` to logits ``(N, C)``. For feature maps it follows
            the conventions of timm; see :class:`~semaug.methods.feature_map.WithFeatureMap`.
        loss: With the classification loss inside, such as :class:`semaug.ISDALoss`.
        example_images: ``(N, 3, H, W)``; see :class:`Supervised`.

    Raises:
        ValueError: If the loss needs features and the classifier cannot be found, or feature maps
            and the network does not say which.

    >>> network = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
    >>> method = AIT(network, AugmentationInvariantLoss(weight=1.0))
    >>> views, labels = torch.zeros(2, 5, 3, 2, 2), torch.zeros(5, dtype=torch.int64)
    >>> method.loss(Batch.of(views, labels)).outputs.shape
    torch.Size([5, 2])
    """

    criterion: AugmentationInvariantLoss

    def __init__(
        self,
        network: nn.Module,
        loss: AugmentationInvariantLoss,
        example_images: Tensor | None = None,
    ) -> None:
        self.needs_feature_map = loss.layer == "feature_map"
        if self.needs_feature_map:
            network = WithFeatureMap(network)
        super().__init__(network, loss, example_images)
        self._needs_weight = takes_features(loss.classification)

    def loss(self, batch: Batch) -> StepOutput:
        """Compute the loss of views ``(V, N, 3, H, W)``, in training mode with all side effects."""
        samples = batch.labeled
        logits, arguments = self._forward(samples.images)
        value = self.criterion(logits, samples.wanted, **arguments, **self.loss_arguments(samples))
        return StepOutput({"loss": Term(value)}, logits[0])

    def predict(self, images: Tensor) -> Tensor:
        """Map images ``(N, 3, H, W)`` to logits ``(N, C)``."""
        if self.needs_feature_map:
            return self.network(images)[0]
        return super().predict(images)

    @torch.no_grad()
    def diagnostics(self, sample: Callable[[], Batch]) -> dict[str, Tensor]:
        """Return the invariance of a few images, and what ISDA does to their first views.

        Args:
            sample: Makes a batch of views of a few training images that are not mixed.
        """
        samples = sample().labeled
        logits, arguments = self._forward(samples.images)
        invariance = self.criterion.invariance(logits, **arguments)

        def predict() -> tuple[Tensor, Tensor, Tensor]:
            return logits[0], samples.wanted, arguments["weight"]

        return {"invariance": invariance} | diagnose(self.criterion.classification, predict)

    def _forward(self, views: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the logits ``(V, N, C)`` of views, and what else the loss is called with."""
        if views.ndim != 5:
            raise ValueError(f"AIT: expected views (V, N, 3, H, W), got {tuple(views.shape)}")
        outputs = self.network(views.flatten(0, 1))
        if not (self.needs_features or self.needs_feature_map):
            return outputs.unflatten(0, (len(views), -1)), {}
        logits, *others = (output.unflatten(0, (len(views), -1)) for output in outputs)
        arguments = {}
        if self.needs_features:
            arguments["features"] = others[0]
        if self.needs_feature_map:
            arguments["feature_map"] = others[-1]
        if self._needs_weight:
            arguments["weight"] = self.network.weight
        return logits, arguments


# What AIT compares, and how, in section 4.2.1.
LAYERS = ("logits", "features", "feature_map")
METRICS = ("kl", "euclidean", "both")


@methods.register("ait")
@dataclass(frozen=True, kw_only=True)
class AITMethod:
    """Augmentation invariant training: one network sees several views and predicts alike.

    Args:
        views: How many times each image of a batch is augmented, 2 or more.
        view_augments: What each view has of the augmentation: ``r``, then letters of p
            (padding), g (grayscale), c (jitter), a (policy) and o (cutout), or ``h`` for none of
            them; all flip. ``rp,rg`` crops the first view and grays the second. None: each view
            has all.
        ai_weight: Weight of the divergence between predictions, lambda in the paper.
        ai_layer: Representation whose views are compared: ``"logits"``, ``"features"`` or
            ``"feature_map"``.
        ai_metric: How: ``"kl"``, ``"euclidean"`` or ``"both"``.
        ai_target_gradient: Whether the gradient flows through both sides of a divergence, as the
            formula says, or not through the target, as in the released code.
        ai_convention: Whether cross-entropies of the views are summed (``"paper"``) or averaged
            (``"released"``).

    Raises:
        UserError: If a number is out of range, or options do not fit together.
    """

    views: int = 2
    view_augments: tuple[str, ...] = ()
    ai_weight: float = 1.0  # section 4.2.2
    ai_layer: Literal["logits", "features", "feature_map"] = "logits"
    ai_metric: Literal["kl", "euclidean", "both"] = "kl"
    ai_target_gradient: bool = True
    ai_convention: Literal["paper", "released"] = "paper"

    num_networks: ClassVar[int] = 1

    def __post_init__(self) -> None:
        check_option("views", self.views, self.views >= 2, ">= 2")
        check_option("ai_weight", self.ai_weight, 0 <= self.ai_weight < float("inf"), ">= 0")
        if self.ai_metric != "kl" and not self.ai_target_gradient:
            raise UserError(
                "recipe: expected ai_metric=kl with ai_target_gradient=false, got "
                f"{self.ai_metric}: of a distance it would be half the gradient"
            )
        check_view_augments(self.view_augments, self.views)

    def streams(self, recipe: Any) -> dict[str, Stream]:
        """Return the labeled images in several views."""
        return {"labeled": Stream(views=views_of(recipe, self.view_augments, self.views))}

    def build(self, builder: Any) -> AIT:
        """Build the network of the recipe, its loss and the divergence around it.

        Raises:
            UserError: If the network has no such layer.
        """
        network, loss = builder.with_loss(several_views=True)
        with as_recipe_error():
            criterion = AugmentationInvariantLoss(
                weight=self.ai_weight,
                metric=self.ai_metric,
                layer=self.ai_layer,
                target_gradient=self.ai_target_gradient,
                convention=self.ai_convention,
                classification=loss,
            )
        if self.ai_layer == "feature_map" and isinstance(network, WithFeatures):
            network = network.model
        context = f"recipe: ai_layer={self.ai_layer} network={builder.name_of_network()}: "
        with as_user_error(context, *PROBE_ERRORS):
            method = AIT(network, criterion, builder.example_images)
            if self.ai_layer == "feature_map":
                run_probe(method.network, builder.example_images, {})
        return method


def views_of(recipe: Any, kinds: tuple[str, ...], count: int) -> tuple[View, ...]:
    """Return views with all of the augmentation, or with what the letters of each keep.

    Raises:
        UserError: If letters ask for what the augmentation does not have.
    """
    if not kinds:
        return (View(),) * count
    return tuple(View(augment=recipe.augment.only(kind[1:])) for kind in kinds)


def check_view_augments(kinds: tuple[str, ...], num_views: int) -> None:
    """Check what views have of the augmentation, see :class:`AITMethod`.

    Raises:
        UserError: If letters are unknown, or views are missing.
    """
    for kind in kinds:
        letters = kind[1:]
        known = letters == "h" or set(letters) <= set(VIEW_PARTS)
        if kind[:1] != "r" or not letters or not known or len(set(letters)) < len(letters):
            raise UserError(
                "recipe: expected each of `view_augments` to be rh, or r and some of the letters "
                f"{''.join(VIEW_PARTS)}, such as rp or rpg, got {kind!r}"
            )
    if kinds and len(kinds) != num_views:
        raise UserError(
            f"recipe: expected `view_augments` for each of {num_views} views, got {len(kinds)}"
        )
