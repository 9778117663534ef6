"""Semantic consistency: ISDA for images without labels.

The prediction p of an image should not change when its features are augmented. With the
covariance of the pseudo label y = argmax p, the expected cross-entropy between p, taken as
constant, and the augmented prediction has the bound

    sum over k of p[n, k] (log sum over j of exp(z[n, j] + strength / 2 * Q[n, j, k]) - z[n, k])
    with Q[n, j, k] = (w_j - w_k)^T S_y (w_j - w_k)

which is that of the KL divergence up to the entropy of p. It takes a reference class k for
each term. Since the terms share one expectation, that of the log-sum-exp, any one reference
bounds them all, and with the pseudo label alone the loss needs no more than the supervised
one: ``reference="pseudo_label"``,

    log sum over j of exp(z[n, j] + strength / 2 * Q[n, j, y]) - sum over k of p[n, k] z[n, k]

which is the tighter one where p is confident.

Source: Proposition 2, Eq. (15), of Wang et al., T-PAMI 2021, https://arxiv.org/abs/2007.10538; the
second bound is ours.

Literal form: tests/references/losses.py, ``consistency_by_loops``.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from semaug._torch.autocast import without_autocast
from semaug._torch.autograd import version
from semaug._torch.checks import check_one_of, check_tensors
from semaug.covariance import ClassCovariance
from semaug.covariance.form import (
    Form,
    at_working_precision,
    centred,
    class_variance,
    pair_variance,
)
from semaug.covariance.quadratic_form import as_form
from semaug.covariance.rows import class_rows
from semaug.errors import check_option
from semaug.losses._arguments import (
    REDUCTIONS,
    Reduction,
    at_least_float32,
    checked_strength,
    reduced,
)
from semaug.losses._references import reference_logsumexp
from semaug.losses._strength import Ramp, Ramped
from semaug.registry import unlabeled_losses

__all__ = [
    "NoUnlabeledLoss",
    "SemanticConsistency",
    "SemanticConsistencyLoss",
    "semantic_consistency_loss",
]

# N samples, C classes, A features, R rows of a table of classes, K reference classes.

Reference = Literal["every", "pseudo_label"]
REFERENCES: tuple[Reference, ...] = ("every", "pseudo_label")


def semantic_consistency_loss(
    logits: Tensor,
    weight: Tensor,
    covariance: Tensor | ClassCovariance,
    *,
    strength: float | Tensor,
    probs: Tensor | None = None,
    reference: Reference = "every",
    reduction: Reduction = "mean",
) -> Tensor:
    """Bound on the expected cross-entropy of predictions with and without augmentation, Eq. (15).

    Args:
        logits: ``(N, C)`` of the clean features of unlabeled images.
        weight: ``(C, A)`` of the linear classifier.
        covariance: ``(C, A, A)``, symmetric positive semi-definite, or ``(C, A)`` variances,
            treated as constant; or an estimator; of labeled images.
        strength: lambda of the paper, at least 0; a tensor is not checked.
        probs: ``(N, C)`` predictions to agree with, such as a teacher's, treated as constant;
            None is ``logits.softmax(1)``. A row of zeros contributes 0.
        reference: ``"every"`` is Eq. (15), for N x C x C exponentials, made a few at a time;
            ``"pseudo_label"`` is the bound that costs as little as supervised ISDA.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Returns:
        A scalar, or ``(N,)`` for ``reduction="none"``, at least float32. Differentiable in
        ``logits`` and ``weight``, twice as well, and by ``torch.func.grad`` unless there are
        so many classes that they go in parts (``PART_ELEMENTS``); not by ``vmap`` or forward
        mode.

    Raises:
        TypeError: If a dtype is wrong.
        ValueError: If shapes or devices disagree, ``strength`` is negative or a name unknown.

    >>> logits, weight = torch.zeros(1, 2), torch.eye(2)
    >>> semantic_consistency_loss(logits, weight, torch.ones(2, 2), strength=1.0)
    tensor(1.3133)
    """
    name = "semantic_consistency_loss"
    form = _checked(name, logits, weight, covariance, probs)
    checked_strength(name, strength)
    check_one_of(name, "reference", reference, REFERENCES)
    check_one_of(name, "reduction", reduction, REDUCTIONS)
    return _loss(logits, weight, form, strength, probs, reference, reduction)


class SemanticConsistencyLoss(Ramped):
    """:func:`semantic_consistency_loss` with the covariances of a loss on labeled images.

    It reads the statistics and never changes them: features without labels do not count. They
    are no part of its state, which is the step of its ramp: the supervised loss saves them.

    Args:
        covariance: The estimator of the supervised loss, ``isda.estimator``.
        strength: lambda_0 of the paper, at least 0, reached at the end of the ramp.
        ramp_steps: Training calls over which the strength grows; None keeps it constant.
        reference: ``"every"`` or ``"pseudo_label"``.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        augment_in_eval: As in :class:`semaug.ISDALoss`.

    Raises:
        TypeError: If ``covariance`` is no estimator.
        ValueError: If a number is out of range or a name unknown.

    >>> from semaug import ISDALoss
    >>> isda = ISDALoss(num_classes=10, num_features=64, strength=0.5)
    >>> consistency = SemanticConsistencyLoss(isda.estimator, strength=0.5)
    >>> consistency(torch.randn(8, 10), torch.randn(10, 64)).shape
    torch.Size([])
    """

    estimator: ClassCovariance

    def __init__(
        self,
        covariance: ClassCovariance,
        *,
        strength: float,
        ramp_steps: int | None = None,
        reference: Reference = "every",
        reduction: Reduction = "mean",
        augment_in_eval: bool = True,
    ) -> None:
        super().__init__()
        name = "SemanticConsistencyLoss"
        if not isinstance(covariance, ClassCovariance):
            raise TypeError(
                f"{name}: expected `covariance` to be a ClassCovariance, "
                f"got {type(covariance).__name__}"
            )
        check_one_of(name, "reference", reference, REFERENCES)
        check_one_of(name, "reduction", reduction, REDUCTIONS)
        self.ramp = Ramp(name, strength, ramp_steps, augment_in_eval)
        # No submodule: statistics are saved, moved and given to the optimizer by their owner.
        object.__setattr__(self, "estimator", covariance)
        self.reference: Reference = reference
        self.reduction: Reduction = reduction

    def forward(self, logits: Tensor, weight: Tensor, probs: Tensor | None = None) -> Tensor:
        """Compute the loss.

        Args:
            logits: ``(N, C)`` of unlabeled images.
            weight: ``(C, A)`` of the classifier.
            probs: ``(N, C)`` predictions to agree with; None is those of the logits.

        Returns:
            A scalar, or ``(N,)`` for ``reduction="none"``.

        Raises:
            TypeError: If a dtype is wrong.
            ValueError: If shapes or devices disagree.
        """
        form = _checked("SemanticConsistencyLoss", logits, weight, self.estimator, probs)
        if self.counting:
            self.ramp.advance()
        strength = self.ramp.applied()
        return _loss(logits, weight, form, strength, probs, self.reference, self.reduction)


def _checked(
    function: str,
    logits: Tensor,
    weight: Tensor,
    covariance: Tensor | ClassCovariance,
    probs: Tensor | None,
) -> Form:
    tensors = {"logits": (logits, "N C"), "weight": (weight, "C A"), "probs": (probs, "N C?")}
    check_tensors(function, **tensors)
    return as_form(function, weight, covariance)


def _loss(
    logits: Tensor,
    weight: Tensor,
    form: Form,
    strength: float | Tensor,
    probs: Tensor | None,
    reference: Reference,
    reduction: Reduction,
) -> Tensor:
    logits = at_least_float32(logits)
    probs = (logits.softmax(dim=1) if probs is None else probs.to(logits.dtype)).detach()
    rows = class_rows(probs.argmax(dim=1), len(weight))  # of the pseudo labels
    if reference == "every":
        sums = _sums(logits, weight, form, strength, rows.classes, rows.position)
        losses = (probs * (sums - logits)).sum(dim=1)  # Eq. (15)
    else:
        variance = rows.per_sample(class_variance(weight, form, rows), logits)
        raised = logits + strength / 2 * variance
        losses = raised.logsumexp(dim=1) - (probs * logits).sum(dim=1)
        losses = torch.where((probs == 0).all(dim=1), 0.0, losses)
    return reduced(losses, reduction)


# Numbers that hold the variances of all reference classes; above, they go in parts.
PART_ELEMENTS = 2**24


def _sums(
    logits: Tensor,
    weight: Tensor,
    form: Form,
    strength: float | Tensor,
    classes: Tensor,
    position: Tensor,
) -> Tensor:
    """``log sum over j of exp(z[n, j] + strength / 2 * Q[n, j, k])``, ``(N, C)``.

    If there are many reference classes k, they go a part at a time, and parts are not kept
    but computed again in the backward pass.
    """
    with without_autocast(weight.device):
        weight, form = at_working_precision(weight, form)
        weight = centred(weight)
        variance = form.variance(weight, classes)
        unchanged = _watch(form)

        def part(weight: Tensor, variance: Tensor, logits: Tensor, references: Tensor) -> Tensor:
            unchanged()
            raises = pair_variance(form, weight, classes, references, variance)
            raises = (strength / 2 * raises).to(logits.dtype)
            return reference_logsumexp(logits, raises, position)

        num_classes, num_features = weight.shape
        every = torch.arange(num_classes, device=weight.device)
        # By shapes that all ranks share, who must agree on the parts where matrices are sharded.
        size = num_classes * (num_classes + num_features)
        parts = every.split(max(PART_ELEMENTS // size, 1))
        if len(parts) == 1:
            return part(weight, variance, logits, every)
        sums = [
            checkpoint(
                part, weight, variance, logits, own, use_reentrant=False, preserve_rng_state=False
            )
            for own in parts
        ]
        return torch.cat(sums, dim=1)


def _watch(form: Form) -> Callable[[], None]:
    """Return a check that the statistics are still those of now."""
    if torch.compiler.is_compiling() or not torch.is_grad_enabled():
        return lambda: None
    tensors = list(form.tensors())
    versions = [version(x) for x in tensors]

    def unchanged() -> None:
        if [version(x) for x in tensors] != versions:
            raise RuntimeError(
                "semantic_consistency_loss: expected the backward pass before the next update of "
                "the statistics, because so many classes are computed again in it"
            )

    return unchanged


class _Shared(nn.Module):
    """:func:`semantic_consistency_loss` with statistics and strength of the labeled loss."""

    labeled: Any

    def __init__(self, labeled: nn.Module, options: "SemanticConsistency") -> None:
        super().__init__()
        object.__setattr__(self, "labeled", labeled)  # no submodule: its owner saves it
        self.options = options

    def forward(
        self,
        logits: Tensor,
        features: Tensor,
        weight: Tensor,
        target: Tensor | None,
        mask: Tensor | None,
    ) -> Tensor:
        """Compute the loss of the latest step of the labeled loss, times ``eta1``."""
        del features  # of the logits, which say all
        probs = target
        if self.options.target == "prediction" or probs is None:
            probs = at_least_float32(logits).softmax(dim=1)
        if mask is not None:
            probs = probs * mask.unsqueeze(1)  # rows of zeros contribute 0
        return self.options.eta1 * semantic_consistency_loss(
            logits,
            weight,
            self.labeled.estimator,
            strength=self.labeled.current_strength(),
            probs=probs,
            reference=self.options.reference,
        )


@unlabeled_losses.register("none")
@dataclass(frozen=True, kw_only=True)
class NoUnlabeledLoss:
    """No loss of unlabeled images but that of the method."""

    def build(self, labeled: nn.Module) -> None:
        """Build nothing."""


@unlabeled_losses.register("semantic_consistency")
@dataclass(frozen=True, kw_only=True)
class SemanticConsistency:
    """ISDA without labels (Proposition 2), with statistics and strength of the labeled ISDA.

    Args:
        eta1: Weight, of Eq. (19); 0 is none.
        target: What predictions under augmentation are to agree with: the network's own clean
            ``"prediction"``, or what the ``"host"`` wants, such as that of a teacher.
        reference: ``"every"`` class as in Eq. (15), or the ``"pseudo_label"`` alone.

    Raises:
        UserError: If ``eta1`` is out of range.
    """

    eta1: float = 1.0
    target: Literal["prediction", "host"] = "prediction"
    reference: Reference = "every"

    def __post_init__(self) -> None:
        check_option("eta1", self.eta1, 0 <= self.eta1 < math.inf, ">= 0")

    def build(self, labeled: nn.Module) -> nn.Module | None:
        """Build the loss beside that of labeled images; None if its weight is 0.

        Raises:
            ValueError: If that has no statistics.
        """
        if self.eta1 == 0:
            return None
        if not (hasattr(labeled, "estimator") and hasattr(labeled, "current_strength")):
            raise ValueError(
                "unlabeled_loss=semantic_consistency expects a loss of labeled images with "
                "covariances, such as loss=isda, got one without"
            )
        return _Shared(labeled, self)
