"""What all methods share."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from semaug.covariance import ClassCovariance
from semaug.losses import ISDALoss, isda_diagnostics
from semaug.methods.batch import Batch, StepOutput

__all__ = ["Method", "diagnose"]

# K networks, N images, C classes, A features.


class Method(nn.Module, ABC):
    """What one training step does.

    ``network`` is what is trained, averaged and tested: one network, or a list of them.
    """

    network: nn.Module

    @property
    @abstractmethod
    def classification_losses(self) -> Sequence[nn.Module]:
        """Losses of single predictions, one for each network."""

    @abstractmethod
    def loss(self, batch: Batch) -> StepOutput:
        """Compute the loss of a batch, in training mode with all side effects of the loss."""

    @abstractmethod
    def predict(self, images: Tensor) -> Tensor:
        """Map images ``(N, 3, H, W)`` to logits ``(N, C)``, of the first network."""

    def predict_each(self, images: Tensor) -> Tensor:
        """Map images ``(N, 3, H, W)`` to logits ``(K, N, C)`` of each network."""
        return self.predict(images).unsqueeze(0)

    @abstractmethod
    def diagnostics(self, sample: Callable[[], Batch]) -> dict[str, Tensor]:
        """Return scalars worth a place in the log: what the loss does now.

        In evaluation mode, so that nothing is drawn and nothing changes.

        Args:
            sample: Makes a batch of a few training images that are not mixed; only called if
                there is something to tell of them.
        """

    def start_epoch(self) -> None:
        """Tell the statistics that an epoch begins, if they remember by epochs."""
        for estimator in self._estimators():
            estimator.start_epoch()

    def warn_of_skipped(self) -> None:
        """Warn of samples that the statistics left out; after an epoch, for it reads values.

        See :meth:`semaug.ClassCovariance.warn_of_skipped`.
        """
        for estimator in self._estimators():
            estimator.warn_of_skipped()

    def _estimators(self) -> list[ClassCovariance]:
        found = [getattr(loss, "estimator", None) for loss in self.classification_losses]
        return [estimator for estimator in found if isinstance(estimator, ClassCovariance)]


@torch.no_grad()
def diagnose(
    loss: nn.Module, predict: Callable[[], tuple[Tensor, Tensor, Tensor]]
) -> dict[str, Tensor]:
    """Return the strength of ISDA now, and what it does to a few images; nothing of other losses.

    For what that is see :func:`semaug.losses.isda_diagnostics`.

    Args:
        loss: A classification loss.
        predict: Makes logits ``(N, C)``, labels ``(N,)`` and the weight ``(C, A)`` of the
            classifier; only called if they are needed.
    """
    current_strength = getattr(loss, "current_strength", None)
    if current_strength is None:
        return {}
    strength = {"strength": current_strength()}
    if not isinstance(loss, ISDALoss):
        return strength
    logits, labels, weight = predict()
    return strength | isda_diagnostics(logits, labels, weight, loss.estimator, strength["strength"])
