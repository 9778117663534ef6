"""Supervised training: one network, one loss on its logits, or on logits and features."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from semaug.features import WithFeatures, with_features
from semaug.losses import takes_features, takes_positions
from semaug.methods.batch import Batch, Samples, StepOutput, Term
from semaug.methods.feature_map import WithFeatureMap
from semaug.methods.method import Method, apply_loss, diagnose
from semaug.registry import methods

__all__ = ["Supervised", "SupervisedMethod"]


class Supervised(Method):
    """A network and its loss.

    Args:
        network: Maps images ``(N, 3, H, W)`` to logits ``(N, C)``. If the loss needs
            features, it may be the result of :func:`semaug.with_features` already.
        loss: Called as ``loss(logits, labels)``, or, if its ``forward`` has a parameter
            ``features``, as ``loss(logits, labels, features, weight)``, such as
            :class:`semaug.ISDALoss`. Mixed images come with soft targets ``(N, C)`` in place
            of labels.
        example_images: ``(N, 3, H, W)``, to find the classifier of networks that do not
            say where it is; see :func:`semaug.with_features`.

    Raises:
        ValueError: If the loss needs features and the classifier cannot be found.

    >>> import torch
    >>> network = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
    >>> method = Supervised(network, nn.CrossEntropyLoss())
    >>> images, labels = torch.zeros(1, 3, 2, 2), torch.tensor([0])
    >>> method.loss(Batch.of(images, labels)).outputs.shape
    torch.Size([1, 2])
    """

    def __init__(
        self, network: nn.Module, loss: nn.Module, example_images: Tensor | None = None
    ) -> None:
        super().__init__()
        self.needs_features, self.needs_positions = takes_features(loss), takes_positions(loss)
        if self.needs_features and not isinstance(network, WithFeatures | WithFeatureMap):
            network = with_features(network, example_images=example_images)
        self.network = network
        self.criterion = loss

    def loss(self, batch: Batch) -> StepOutput:
        """Compute the loss of a batch, in training mode with all side effects of the loss."""
        samples = batch.labeled
        value, logits = apply_loss(
            self.criterion, self.network, samples.images, samples.wanted, samples.positions
        )
        return StepOutput({"loss": Term(value)}, logits)

    def loss_arguments(self, samples: Samples) -> dict[str, Tensor | None]:
        """Return what else the loss is called with: positions, for one that draws by image."""
        return {"positions": samples.positions} if self.needs_positions else {}

    def predict(self, images: Tensor) -> Tensor:
        """Map images ``(N, 3, H, W)`` to logits ``(N, C)``."""
        logits = self.network(images)
        return logits[0] if self.needs_features else logits

    def predictors(self) -> dict[str, Callable[[Tensor], Tensor]]:
        """Return the network."""
        return {"": self.predict}

    @torch.no_grad()
    def diagnostics(self, sample: Callable[[], Batch]) -> dict[str, Tensor]:
        """Return what ISDA does now; see :func:`semaug.methods.method.diagnose`.

        Args:
            sample: Makes a batch of a few training images that are not mixed.
        """

        def predict() -> tuple[Tensor, Tensor, Tensor]:
            samples = sample().labeled
            weight: Tensor = self.network.weight  # type: ignore[assignment]
            return self.predict(samples.images), samples.wanted, weight

        return diagnose(self.criterion, predict)


@methods.register("supervised")
@dataclass(frozen=True, kw_only=True)
class SupervisedMethod:
    """One network sees each image once an epoch, augmented in one way."""

    def build(self, builder: Any) -> Supervised:
        """Build the network of the recipe and its loss."""
        return Supervised(*builder.with_loss())
