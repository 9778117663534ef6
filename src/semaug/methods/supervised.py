"""Supervised training: one network, one loss on its logits, or on logits and features."""

import inspect
from collections.abc import Callable

import torch
from torch import Tensor, nn

from semaug.covariance import ClassCovariance
from semaug.features import WithFeatures, with_features
from semaug.losses import ISDALoss, isda_diagnostics
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

    @torch.no_grad()
    def diagnostics(self, sample: Callable[[], Batch]) -> dict[str, Tensor]:
        """Return scalars worth a place in the log: the strength of ISDA now, and what it does.

        In evaluation mode, so that nothing is drawn and nothing changes. For the others see
        :func:`semaug.losses.isda_diagnostics`.

        Args:
            sample: Makes a batch of a few training images that are not mixed; only called if
                there is something to tell of them.
        """
        loss = self.criterion
        current_strength = getattr(loss, "current_strength", None)
        if current_strength is None:
            return {}
        strength = {"strength": current_strength()}
        if not isinstance(loss, ISDALoss):
            return strength
        batch = sample()
        logits, _ = self.network(batch.images)
        weight: Tensor = self.network.weight  # type: ignore[assignment]
        return strength | isda_diagnostics(
            logits, batch.labels, weight, loss.estimator, strength["strength"]
        )

    def warn_of_skipped(self) -> None:
        """Warn of samples that the statistics left out; after an epoch, for it reads values.

        See :meth:`semaug.ClassCovariance.warn_of_skipped`.
        """
        estimator = getattr(self.criterion, "estimator", None)
        if isinstance(estimator, ClassCovariance):
            estimator.warn_of_skipped()
