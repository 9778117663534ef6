"""Streaming mean and covariance of deep features, for each class.

A batch that holds m samples of a class, with mean mu' and population covariance S',
meets a state of n samples, mean mu and covariance S. With w = m / (n + m) and
d = mu' - mu:

    mu <- mu + w d
    S  <- (1 - w) S + w S' + w (1 - w) d d^T
    n  <- n + m

which is exact: any split of the samples into batches gives the covariance of all of
them at once. A convex combination, so S stays positive semi-definite.

Source: Wang et al., https://arxiv.org/abs/2007.10538, Eqs. (1) to (3); merging two
states: Chan, Golub and LeVeque, 1979.
"""

import warnings
from collections.abc import Callable
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn

from semaug._checks import (
    check_floating,
    check_labels,
    check_one_of,
    check_positive_int,
    check_same_device,
    check_shapes,
)
from semaug._classes import ClassRows, class_rows, is_static
from semaug._distributed import gather_over_ranks
from semaug.quadratic_form import chunks, logit_variance, quadratic_form

__all__ = ["KINDS", "ClassCovariance", "Kind"]

# N samples, C classes, A features, R rows of a table of classes.

Kind = Literal["full", "diagonal"]
KINDS: tuple[Kind, ...] = ("full", "diagonal")


class ClassCovariance(nn.Module):
    """Mean and covariance of features for each class, over every sample seen.

    Batches merge exactly, so the result does not depend on how the samples were split.
    Under ``torch.distributed`` the batches of all ranks are joined first: every rank
    holds the statistics of all samples, and all ranks must call :meth:`update`. The
    module needs no ``DistributedDataParallel``.

    Samples with a non-finite feature are left out and counted in ``num_skipped``.
    The statistics stay float32 or better, also when a model around them is cast to
    half precision.

    Args:
        num_classes: C.
        num_features: A.
        kind: ``"full"`` keeps a matrix for each class, ``"diagonal"`` the variance of
            each feature.

    Attributes:
        count: ``(C,)`` int64, samples seen of each class.
        mean: ``(C, A)``.
        covariance: ``(C, A, A)``, or ``(C, A)`` variances for ``kind="diagonal"``;
            population covariance (divided by the count), zero before the first sample.
        num_skipped: int64 scalar, samples left out because they were not finite.

    Raises:
        TypeError: If a size is not an int.
        ValueError: If a size is below 1 or the kind is unknown.

    >>> estimator = ClassCovariance(num_classes=2, num_features=1)
    >>> estimator.update(torch.tensor([[1.0], [3.0], [7.0]]), torch.tensor([0, 0, 1]))
    >>> estimator.mean.flatten(), estimator.covariance.flatten()
    (tensor([2., 7.]), tensor([1., 0.]))
    """

    count: Tensor
    mean: Tensor
    covariance: Tensor
    num_skipped: Tensor

    def __init__(self, num_classes: int, num_features: int, kind: Kind = "full") -> None:
        super().__init__()
        check_positive_int("ClassCovariance", num_classes=num_classes, num_features=num_features)
        check_one_of("ClassCovariance", "kind", kind, KINDS)
        self.num_classes, self.num_features, self.kind = num_classes, num_features, kind
        shape = (num_classes, num_features) + ((num_features,) if kind == "full" else ())
        self.register_buffer("count", torch.zeros(num_classes, dtype=torch.int64))
        self.register_buffer("mean", torch.zeros(num_classes, num_features))
        self.register_buffer("covariance", torch.zeros(shape))
        self.register_buffer("num_skipped", torch.zeros((), dtype=torch.int64))
        self._warned = False

    @torch.no_grad()
    def update(self, features: Tensor, labels: Tensor) -> None:
        """Merge one batch.

        Args:
            features: ``(N, A)`` of any floating dtype; gradients are not followed.
            labels: ``(N,)`` int64 class ids.

        Raises:
            TypeError: If a dtype is wrong.
            ValueError: If shapes or devices disagree.
        """
        self._check("update", features, labels)
        with torch.autocast(features.device.type, enabled=False):
            features, labels = gather_over_ranks(features.detach().to(self.mean.dtype), labels)
            finite = features.isfinite().all(dim=1)
            self.num_skipped.add_((~finite & (labels >= 0)).sum())
            usable = finite & (labels >= 0)
            if not is_static(features.device):
                self.warn_of_skipped()
                if not usable.all():
                    features, labels, usable = features[usable], labels[usable], usable[usable]
            self._merge_batch(features, labels, usable)

    def _merge_batch(self, features: Tensor, labels: Tensor, usable: Tensor) -> None:
        rows = class_rows(labels.clamp(min=0), self.num_classes)
        features = torch.where(usable.unsqueeze(1), features, 0.0)
        new = torch.zeros_like(rows.classes).index_add_(0, rows.index, usable.to(torch.int64))
        sums = features.new_zeros(len(new), self.num_features).index_add_(0, rows.index, features)
        batch_mean = sums / new.clamp(min=1).unsqueeze(1)

        old = self.count[rows.classes]
        share = (new / (old + new).clamp(min=1)).to(features.dtype)  # w; 0 for an unused row
        shift = batch_mean - self.mean[rows.classes]  # d
        deviation = (features - batch_mean[rows.index]) * usable.unsqueeze(1)

        # Rows whose products sum to w S' + w (1 - w) d d^T, so that one symmetric product
        # per class finishes the update.
        own_share = (share / new.clamp(min=1)).sqrt()
        deviation = deviation * own_share[rows.index].unsqueeze(1)
        drift = shift * (share * (1 - share)).sqrt().unsqueeze(1)
        if self.kind == "diagonal":
            added = drift.square().index_add_(0, rows.index, deviation.square())
            added -= share.unsqueeze(1) * self.covariance[rows.classes]
            self.covariance.index_add_(0, rows.classes, added)
        else:
            step = _add_products_static if is_static(features.device) else _add_products
            step(self.covariance, rows, share, deviation, drift, new)
        self.mean.index_add_(0, rows.classes, shift * share.unsqueeze(1))
        self.count.index_add_(0, rows.classes, new)

    @torch.no_grad()
    def merge(self, other: "ClassCovariance") -> None:
        """Merge another estimator's samples, as if all had been seen here.

        Args:
            other: Of the same sizes and kind; it is not changed.

        Raises:
            TypeError: If ``other`` is no estimator.
            ValueError: If sizes or kinds differ.
        """
        if not isinstance(other, ClassCovariance):
            raise TypeError(
                f"merge: expected `other` to be a ClassCovariance, got {type(other).__name__}"
            )
        if other._signature() != self._signature():
            raise ValueError(
                f"merge: expected `other` with (num_classes, num_features, kind) = "
                f"{self._signature()}, got {other._signature()}"
            )
        total = (self.count + other.count).clamp(min=1)
        share = (other.count / total).to(self.mean).unsqueeze(1)
        shift = other.mean.to(self.mean) - self.mean
        drift = shift * (share * (1 - share)).sqrt()
        if self.kind == "diagonal":
            drift = drift.square()
        else:
            share = share.unsqueeze(2)
            drift = drift.unsqueeze(2) * drift.unsqueeze(1)
        self.covariance.lerp_(other.covariance.to(self.covariance), share).add_(drift)
        self.mean.add_(shift * (other.count / total).to(self.mean).unsqueeze(1))
        self.count.add_(other.count)
        self.num_skipped.add_(other.num_skipped)

    @torch.no_grad()
    def reset(self) -> None:
        """Forget every sample."""
        for buffer in (self.count, self.mean, self.covariance, self.num_skipped):
            buffer.zero_()

    def quadratic_form(self, weight: Tensor) -> Tensor:
        """Matrix Q of :func:`semaug.quadratic_form.quadratic_form` for these statistics.

        Args:
            weight: ``(C, A)`` of the linear classifier.

        Returns:
            ``(C, C)``, differentiable in ``weight``.
        """
        return quadratic_form(weight, self.covariance)

    def logit_variance(self, weight: Tensor, labels: Tensor) -> Tensor:
        """Rows ``Q[labels]``, ``(N, C)``; only the classes that occur are computed."""
        return logit_variance(weight, self.covariance, labels)

    def warn_of_skipped(self) -> None:
        """Warn, once, if samples were left out.

        :meth:`update` does so by itself on a CPU. On an accelerator it would have to wait
        for the device, so it is done when the state is saved, or by calling this.
        """
        if not self._warned and int(self.num_skipped) > 0:
            self._warned = True
            warnings.warn(
                f"ClassCovariance: left out {int(self.num_skipped)} sample(s) with non-finite "
                "features; the count goes on in `num_skipped`",
                stacklevel=2,
            )

    def extra_repr(self) -> str:  # noqa: D102
        return f"num_classes={self.num_classes}, num_features={self.num_features}, kind={self.kind!r}"

    def _signature(self) -> tuple[int, int, str]:
        return self.num_classes, self.num_features, self.kind

    def _check(self, method: str, features: Tensor, labels: Tensor) -> None:
        name = f"ClassCovariance.{method}"
        check_shapes(name, mean=(self.mean, "C A"), features=(features, "N A"), labels=(labels, "N"))
        check_floating(name, features=features)
        check_labels(name, labels)
        check_same_device(name, covariance=self.covariance, features=features, labels=labels)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        def keep_precision(tensor: Tensor) -> Tensor:
            moved = fn(tensor)
            half = moved.is_floating_point() and moved.dtype.itemsize < 4
            return tensor.to(moved.device) if half else moved

        return super()._apply(keep_precision, recurse)

    def _save_to_state_dict(self, *args: Any, **kwargs: Any) -> None:
        self.warn_of_skipped()
        super()._save_to_state_dict(*args, **kwargs)


def _add_products(
    covariance: Tensor, rows: ClassRows, share: Tensor, deviation: Tensor, drift: Tensor, new: Tensor
) -> None:
    """Scale the matrices of ``rows`` by 1 - share and add the products of their samples.

    Samples of a class are brought together, its drift behind them, so that a class
    costs one product in place; small matrices go through one batched product.
    """
    if len(new) == 0:
        return
    num_features = covariance.shape[1]
    sizes = (new + 1).tolist()
    position = torch.cat([rows.index, torch.arange(len(new))]).argsort(stable=True)
    samples = torch.cat([deviation, drift])[position]
    if len(new) * num_features**2 <= BATCHED_ELEMENTS:
        padded = torch.nn.utils.rnn.pad_sequence(samples.split(sizes), batch_first=True)
        scaled = covariance[rows.classes].mul_((1 - share).view(-1, 1, 1))
        covariance[rows.classes] = scaled.baddbmm_(padded.mT, padded)
        return
    for c, keep, own in zip(
        rows.classes.tolist(), (1 - share).tolist(), samples.split(sizes), strict=True
    ):
        covariance[c].addmm_(own.T, own, beta=keep)


def _add_products_static(
    covariance: Tensor, rows: ClassRows, share: Tensor, deviation: Tensor, drift: Tensor, new: Tensor
) -> None:
    """Do what :func:`_add_products` does with shapes that no value decides."""
    num_rows, num_features = drift.shape
    mask = (torch.arange(num_rows, device=new.device).unsqueeze(1) == rows.index).to(deviation)
    for start, stop in chunks(num_rows, num_features * (num_features + len(deviation)), covariance):
        own = mask[start:stop].unsqueeze(1) * deviation.T  # (r, A, N)
        added = torch.matmul(own, deviation)
        added.baddbmm_(drift[start:stop].unsqueeze(2), drift[start:stop].unsqueeze(1))
        factor = share[start:stop].view(-1, 1, 1)
        if rows.all_classes:
            covariance[start:stop].mul_(1 - factor).add_(added)
        else:
            chunk = rows.classes[start:stop]
            covariance.index_add_(0, chunk, added.sub_(factor * covariance[chunk]))


# Below this many elements of covariance, one batched product beats a loop over classes.
BATCHED_ELEMENTS = 2**20
