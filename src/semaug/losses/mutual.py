"""Mutual learning: networks that are trained side by side, each toward the others.

Network k of K, with the prediction p_k, has the loss

    loss_k = cross-entropy(p_k, y) + weight / (K - 1) * sum over l != k of KL(p_l || p_k)

with its peers p_l taken as constants. On one view of each image that is deep mutual learning (DML);
where each network sees a view of its own, it is multi-AIT.

All networks train with the sum of their losses, of which each gets the gradient of its own loss,
because nothing else in the sum depends on it. With ``target_gradient=True``, the formula of
multi-AIT as it is printed, a network also learns from being the target of its peers. Either way the
sum is one number with one gradient: one optimizer for all networks, and one for each after one
backward pass, take the same step.

Source: Zhang et al., *Deep Mutual Learning*, CVPR 2018, https://arxiv.org/abs/1706.00384,
section 3; Chen et al., *Augmentation Invariant Training*, ICCV Workshops 2019, section 3.2.2.

Literal form: tests/references/invariance.py, ``invariance_by_loops`` of networks in place of views.
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from semaug._torch.checks import check_at_least, check_bool, check_one_of
from semaug.losses._arguments import REDUCTIONS, Reduction, at_least_float32, reduced
from semaug.losses._classification import (
    check_given,
    check_stack,
    check_stack_and_labels,
    classification_of,
    classify,
    takes_features,
    takes_positions,
)
from semaug.losses._divergences import divergence_from_each_other
from semaug.losses._strength import Counting

__all__ = ["MutualLoss", "MutualParts", "mutual_loss"]

# K networks, N samples, C classes, A features, H x W positions.


def mutual_loss(
    logits: Tensor, *, target_gradient: bool = False, reduction: Reduction = "mean"
) -> Tensor:
    """How much the predictions of networks differ, summed over the networks.

    It is :func:`augmentation_invariant_loss` of networks in place of views, with the peers
    taken as constants unless told otherwise.

    Args:
        logits: ``(K, N, C)`` of K >= 2 networks, or dense, ``(K, N, C, H, W)``.
        target_gradient: Whether a network also learns from being the target of its peers.
        reduction: Over samples and positions: ``"mean"``, ``"sum"`` or ``"none"``.

    Returns:
        The sum over k and l != k of ``KL(p_l || p_k) / (K - 1)``: a scalar, or ``(N,)`` or
        ``(N, H, W)`` for ``reduction="none"``, at least float32.

    Raises:
        TypeError: If a value is of the wrong type.
        ValueError: If there is one network, the shape is wrong or ``reduction`` unknown.

    >>> mutual_loss(torch.tensor([[[0.0, 0.0]], [[0.0, 1.0]]]))
    tensor(0.2311)
    """
    check_stack("mutual_loss", "logits", logits, "K N C")
    check_bool("mutual_loss", "target_gradient", target_gradient)
    check_one_of("mutual_loss", "reduction", reduction, REDUCTIONS)
    losses = divergence_from_each_other(at_least_float32(logits), target_gradient)
    return reduced(losses, reduction)


class MutualParts(NamedTuple):
    """The terms of :class:`MutualLoss`."""

    classification: Tensor  # (K,), one loss for each network
    mutual: Tensor  # scalar


class MutualLoss(Counting):
    """Classification losses of K networks, and :func:`mutual_loss` between them.

    Args:
        weight: At least 0, of the mutual term: 1 in DML, 3 in multi-AIT. May be set at any time.
        target_gradient: Whether a network also learns from being the target of its peers.
        classification: A module called as ``loss(logits, labels)``, for all networks, or one for
            each; None is cross-entropy. If its ``forward`` has a parameter ``features``, it is
            called as ``loss(logits, labels, features, weight)``, such as :class:`ISDALoss`; then
            each network needs its own, since its features have statistics of their own.

    Raises:
        TypeError: If a value is of the wrong type.
        ValueError: If a number is out of range, or ``classification`` takes no mean or is shared
            though it takes features.

    >>> criterion = MutualLoss(weight=3.0)
    >>> logits = torch.randn(2, 8, 10, requires_grad=True)  # of two networks for 8 images
    >>> criterion(logits, torch.arange(8)).backward()
    """

    def __init__(
        self,
        *,
        weight: float = 1.0,
        target_gradient: bool = False,
        classification: nn.Module | Sequence[nn.Module] | None = None,
    ) -> None:
        super().__init__()
        check_at_least("MutualLoss", "weight", weight, 0)
        check_bool("MutualLoss", "target_gradient", target_gradient)
        self.weight = weight
        self.target_gradient = target_gradient
        losses = _as_list(classification)
        self.classification = nn.ModuleList(classification_of("MutualLoss", x) for x in losses)
        # Looked up once: it takes long, and cannot be compiled.
        self._takes_features = [takes_features(loss) for loss in self.classification]
        self._takes_positions = [takes_positions(loss) for loss in self.classification]
        with_features = list(itertools.compress(self.classification, self._takes_features))
        if len(losses) == 1 and with_features:
            raise ValueError(
                "MutualLoss: expected one `classification` for each network, because "
                f"{type(losses[0]).__name__} takes features, got 1"
            )
        if len(set(with_features)) < len(with_features):
            raise ValueError(
                "MutualLoss: expected a `classification` of its own for each network, because "
                f"{type(with_features[0]).__name__} takes features, got one several times"
            )

    @property
    def needs_features(self) -> bool:
        """Whether calls take ``features`` and ``weight``."""
        return any(self._takes_features)

    @property
    def needs_positions(self) -> bool:
        """Whether calls take ``positions``."""
        return any(self._takes_positions)

    def forward(
        self,
        logits: Tensor,
        labels: Tensor,
        features: Sequence[Tensor] | None = None,
        weight: Sequence[Tensor] | None = None,
        *,
        positions: Tensor | None = None,
    ) -> Tensor:
        """Compute the sum of the losses of all networks.

        Args:
            logits: ``(K, N, C)`` of K >= 2 networks, or dense, ``(K, N, C, h, w)``.
            labels: ``(N,)`` int64 class ids of the images, ``(N, H, W)`` if dense, or soft targets
                ``(N, C)``: whatever the classification losses take.
            features: For each network ``(N, A)``, if a classification loss takes them; A may
                differ.
            weight: For each network ``(C, A)`` of its classifier, likewise.
            positions: ``(N,)`` int64 of the images in their set, for classification losses that
                draw for each image; else ignored.

        Returns:
            A scalar, at least float32.

        Raises:
            TypeError: If a dtype is wrong.
            ValueError: If shapes, devices or numbers of networks disagree, there is one network,
                or an argument is missing or would be ignored.
        """
        classification, mutual = self.parts(logits, labels, features, weight, positions=positions)
        if self.weight == 0:  # 0 times the divergence of infinite logits would be no number
            return classification.sum()
        return classification.sum() + self.weight * mutual

    def parts(
        self,
        logits: Tensor,
        labels: Tensor,
        features: Sequence[Tensor] | None = None,
        weight: Sequence[Tensor] | None = None,
        *,
        positions: Tensor | None = None,
    ) -> MutualParts:
        """Compute the terms of the loss, to log them too, and call it instead of the loss.

        That is ``parts.classification.sum() + criterion.weight * parts.mutual``. Arguments and
        errors are those of the loss.
        """
        name = "MutualLoss"
        check_stack_and_labels(name, logits, labels, "K N C")
        kinds = " and ".join(dict.fromkeys(type(x).__name__ for x in self.classification))
        wanted = self.needs_features
        check_given(name, kinds, features=(features, wanted), weight=(weight, wanted))
        takes = self._takes_features, self._takes_positions
        losses = [*zip(self.classification, *takes, strict=True)]
        if len(losses) == 1:
            losses = losses * len(logits)
        given = {"classification": losses, "features": features, "weight": weight}
        for argument, values in given.items():
            if values is not None and len(values) != len(logits):
                raise ValueError(
                    f"{name}: expected `{argument}` for each of {len(logits)} networks, "
                    f"got {len(values)}"
                )
        classification = []
        for k, (loss, of_features, of_positions) in enumerate(losses):
            rest = []
            if of_features and features is not None and weight is not None:
                rest = [features[k], weight[k]]
            told = {"positions": positions} if of_positions else {}
            classification.append(classify(name, loss, logits[k], labels, *rest, **told))
        mutual = mutual_loss(logits, target_gradient=self.target_gradient)
        return MutualParts(torch.stack(classification), mutual)

    def extra_repr(self) -> str:
        """Name the options."""
        return f"weight={self.weight:g}, target_gradient={self.target_gradient}"


def _as_list(classification: nn.Module | Sequence[nn.Module] | None) -> list[nn.Module | None]:
    if isinstance(classification, nn.ModuleList | Sequence):
        return list(classification)
    return [classification]
