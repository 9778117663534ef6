"""Supervised training: one network, one loss on its logits, or on logits and features."""

import inspect

from torch import Tensor, nn

from semaug.covariance import ClassCovariance
from semaug.features import WithFeatures, with_features
from semaug.methods.batch import Batch, StepOutput

__all__ = ["Supervised"]


class Supervised(nn.Module):
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
        # The signature tells, so that losses of others need neither a base class nor a flag.
        self.needs_features = "features" in inspect.signature(loss.forward).parameters
        if self.needs_features and not isinstance(network, WithFeatures):
            network = with_features(network, example_images=example_images)
        self.network = network
        self.criterion = loss

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

    def start_epoch(self) -> None:
        """Tell the statistics that an epoch begins, if they remember by epochs."""
        estimator = getattr(self.criterion, "estimator", None)
        if isinstance(estimator, ClassCovariance):
            estimator.start_epoch()

    def diagnostics(self) -> dict[str, Tensor]:
        """Return scalars worth a place in the log, such as the strength of ISDA now."""
        current_strength = getattr(self.criterion, "current_strength", None)
        return {} if current_strength is None else {"strength": current_strength()}

    def warn_of_skipped(self) -> None:
        """Warn of samples that the statistics left out; after an epoch, for it reads values.

        See :meth:`semaug.ClassCovariance.warn_of_skipped`.
        """
        estimator = getattr(self.criterion, "estimator", None)
        if isinstance(estimator, ClassCovariance):
            estimator.warn_of_skipped()
