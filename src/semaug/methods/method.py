"""What all methods share."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from semaug.covariance import ClassCovariance
from semaug.losses import ISDALoss, isda_diagnostics, takes_features, takes_positions
from semaug.methods.batch import Batch, StepOutput
from semaug.metrics import Error, Metric, TopKError
from semaug.registry import Sizes

__all__ = ["Method", "apply_loss", "diagnose", "groups_of"]

# N images, C classes, A features.

MIN_CLASSES_FOR_TOP5 = 100  # of fewer, five guesses say little


class Method(nn.Module, ABC):
    """What one training step does. It owns its networks and losses: one ``state_dict``.

    A subclass writes :meth:`loss` and :meth:`predictors`; all else has a default for a method
    with one network, ``self.network``.
    """

    network: nn.Module

    @abstractmethod
    def loss(self, batch: Batch) -> StepOutput:
        """Compute the loss of a batch, in training mode with all side effects of the loss."""

    @abstractmethod
    def predictors(self) -> dict[str, Callable[[Tensor], Tensor]]:
        """Return what is tested, by name: ``""`` is the main one.

        Each maps images ``(N, 3, H, W)`` to logits ``(N, C)``, or ``(N, C, h, w)``.
        """

    def predict_each(self, images: Tensor) -> dict[str, Tensor]:
        """Map images ``(N, 3, H, W)`` to the logits of each predictor."""
        return {name: predict(images) for name, predict in self.predictors().items()}

    def networks(self) -> Sequence[nn.Module]:
        """Return the networks whose weights are averaged and whose batch norms agree.

        ``ema_decay`` averages them for the test; several processes share their batch-norm
        statistics.
        """
        return [self.network]

    @property
    def align_corners(self) -> bool:
        """Whether outputs ``(N, C, h, w)`` span images from the middle of one corner to another.

        They do if the first network says so, with an attribute of this name; else each is in the
        middle of a cell, and cells tile the image. Outputs are resized accordingly.
        """
        first = next(iter(self.networks()), None)
        asked = first, getattr(first, "model", None)  # as a WithFeatures calls it
        return any(getattr(one, "align_corners", False) for one in asked)

    def metrics(self, sizes: Sizes) -> list[Metric]:
        """Return what is measured; the first is the main metric."""
        found: list[Metric] = [Error(sizes.num_classes)]
        if sizes.num_classes >= MIN_CLASSES_FOR_TOP5:
            found.append(TopKError(sizes.num_classes))
        return found

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return groups of parameters as torch's optimizers take them.

        A group may have options of its own, such as ``weight_decay``, ``lr``, or ``lr_scale``, a
        factor on the learning rate of the recipe. The default is one group, and those of all
        modules inside that have a ``parameter_groups()``, such as a loss with centers.
        """
        return groups_of(self)

    def start_epoch(self, epoch: int) -> None:
        """Prepare for an epoch, counted from 0: statistics may remember by epochs."""
        for estimator in _estimators(self):
            estimator.start_epoch()

    def after_step(self, batch: Batch, output: StepOutput) -> None:
        """Act after the optimizer: update a teacher, remember predictions."""

    def end_epoch(self) -> None:
        """Act after the last step of an epoch.

        By default warn of samples that statistics left out, which reads values; see
        :meth:`semaug.ClassCovariance.warn_of_skipped`.
        """
        for estimator in _estimators(self):
            estimator.warn_of_skipped()

    def diagnostics(self, sample: Callable[[], Batch]) -> dict[str, Tensor]:
        """Return scalars for the log that describe the loss.

        In evaluation mode, so that nothing is drawn and nothing changes.

        Args:
            sample: Makes a batch of a few training images that are not mixed; only called if
                there is something to tell of them.
        """
        return {}


def groups_of(owner: nn.Module) -> list[dict[str, Any]]:
    """Return the groups of all modules inside that have some, behind one of all else."""
    special = [
        group
        for module in owner.modules()
        if hasattr(module, "parameter_groups") and not isinstance(module, Method)
        for group in module.parameter_groups()  # type: ignore[operator]
    ]
    special = [{**group, "params": list(group["params"])} for group in special]
    taken = {id(parameter) for group in special for parameter in group["params"]}
    rest = [parameter for parameter in owner.parameters() if id(parameter) not in taken]
    return [{"params": rest}, *special] if rest else special


def _estimators(module: nn.Module) -> Iterator[ClassCovariance]:
    """Find estimators of statistics, but for those inside of others."""
    if isinstance(module, ClassCovariance):
        return iter([module])
    return chain.from_iterable(_estimators(child) for child in module.children())


def apply_loss(
    loss: nn.Module,
    network: nn.Module,
    images: Tensor,
    wanted: Tensor,
    positions: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Call a network and its loss, with features and weight of the classifier where it takes them.

    Args:
        loss: Of logits and labels, or of ``(logits, labels, features, weight)``.
        network: Returns logits; for a loss that takes features, a
            :class:`semaug.features.WithFeatures`.
        images: ``(N, 3, H, W)``.
        wanted: Labels or soft targets.
        positions: ``(N,)`` int64 of the images in their set, for a loss that draws for each image.

    Returns:
        The loss, and the logits.
    """
    told = {"positions": positions} if takes_positions(loss) else {}
    if not takes_features(loss):
        logits = network(images)
        return loss(logits, wanted, **told), logits
    logits, features = network(images)
    return loss(logits, wanted, features, network.weight, **told), logits


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
