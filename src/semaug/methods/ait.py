"""Augmentation invariant training: one network, several views of each image.

Source: Chen et al., *Augmentation Invariant Training*, ICCV Workshops 2019, section 3.2.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from semaug.losses import AugmentationInvariantLoss
from semaug.losses._classification import takes_features
from semaug.methods.batch import Batch, StepOutput
from semaug.methods.feature_map import WithFeatureMap
from semaug.methods.method import diagnose
from semaug.methods.supervised import Supervised

__all__ = ["AIT"]

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
    >>> method.loss(Batch(views, labels)).logits.shape
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

    @property
    def classification_losses(self) -> Sequence[nn.Module]:
        """The classification loss of all views."""
        return (self.criterion.classification,)

    def loss(self, batch: Batch) -> StepOutput:
        """Compute the loss of views ``(V, N, 3, H, W)``, in training mode with all side effects."""
        wanted = batch.labels if batch.targets is None else batch.targets
        logits, arguments = self._see(batch.images)
        return StepOutput(self.criterion(logits, wanted, **arguments), logits[0])

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
        batch = sample()
        logits, arguments = self._see(batch.images)
        invariance = self.criterion.invariance(logits, **arguments)

        def predict() -> tuple[Tensor, Tensor, Tensor]:
            return logits[0], batch.labels, arguments["weight"]

        return {"invariance": invariance} | diagnose(self.criterion.classification, predict)

    def _see(self, views: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
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
