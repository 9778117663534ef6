"""Supervised training: one network, one loss on its logits, or on logits and features."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from semaug.features import WithFeatures, with_features
from semaug.losses._classification import takes_features
from semaug.methods.batch import Batch, StepOutput
from semaug.methods.feature_map import WithFeatureMap
from semaug.methods.method import Method, diagnose

__all__ = ["Supervised"]


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
    >>> method.loss(Batch(images, labels)).logits.shape
    torch.Size([1, 2])
    """

    def __init__(
        self, network: nn.Module, loss: nn.Module, example_images: Tensor | None = None
    ) -> None:
        super().__init__()
        self.needs_features = takes_features(loss)
        if self.needs_features and not isinstance(network, WithFeatures | WithFeatureMap):
            network = with_features(network, example_images=example_images)
        self.network = network
        self.criterion = loss

    @property
    def classification_losses(self) -> Sequence[nn.Module]:
        """The loss."""
        return (self.criterion,)

    def loss(self, batch: Batch) -> StepOutput:
        """Compute the loss of a batch, in training mode with all side effects of the loss."""
        wanted = batch.labels if batch.targets is None else batch.targets
        if not self.needs_features:
            logits = self.network(batch.images)
            return StepOutput(self.criterion(logits, wanted), logits)
        logits, features = self.network(batch.images)
        loss = self.criterion(logits, wanted, features, self.network.weight)
        return StepOutput(loss, logits)

    def predict(self, images: Tensor) -> Tensor:
        """Map images ``(N, 3, H, W)`` to logits ``(N, C)``."""
        logits = self.network(images)
        return logits[0] if self.needs_features else logits

    @torch.no_grad()
    def diagnostics(self, sample: Callable[[], Batch]) -> dict[str, Tensor]:
        """Return what ISDA does now; see :func:`semaug.methods.method.diagnose`.

        Args:
            sample: Makes a batch of a few training images that are not mixed.
        """

        def predict() -> tuple[Tensor, Tensor, Tensor]:
            batch = sample()
            weight: Tensor = self.network.weight  # type: ignore[assignment]
            return self.predict(batch.images), batch.labels, weight

        return diagnose(self.criterion, predict)
