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

import math
import warnings
from collections.abc import Callable
from typing import Literal, Self

import torch
from torch import Tensor, nn

from semaug._autocast import without_autocast
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
from semaug.quadratic_form import chunks, quadratic_form

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

    Sizes of batches are agreed on at each update, for which an accelerator waits.

    Samples with a feature that is not finite, or so large that its square would not be, are
    left out and counted in ``num_skipped``.
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
        num_skipped: int64 scalar, samples left out.

    Raises:
        TypeError: If a size is not an int.
        ValueError: If a size is below 1 or the kind is unknown.

    >>> estimator = ClassCovariance(num_classes=2, num_features=1)
    >>> estimator.update(torch.tensor([[1.0], [3.0], [7.0]]), torch.tensor([0, 0, 1]))
    >>> estimator.mean.flatten(), estimator.covariance.flatten().round(decimals=4)
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

    def update(self, features: Tensor, labels: Tensor) -> None:
        """Merge one batch.

        Args:
            features: ``(N, A)`` of any floating dtype; gradients are not followed.
            labels: ``(N,)`` int64 class ids.

        Raises:
            TypeError: If a dtype is wrong.
            ValueError: If shapes or devices disagree.
        """
        name = "ClassCovariance.update"
        check_shapes(
            name, mean=(self.mean, "C A"), features=(features, "N A"), labels=(labels, "N")
        )
        check_floating(name, features=features)
        check_labels(name, labels)
        check_same_device(name, covariance=self.covariance, features=features, labels=labels)
        self._update(features, labels)

    def _update(self, features: Tensor, labels: Tensor, rows: ClassRows | None = None) -> None:
        """:meth:`update` for losses, which have checked already and know the rows."""
        with torch.no_grad(), without_autocast(features.device):
            local = labels
            features, labels = gather_over_ranks(features.detach().to(self.mean.dtype), labels)
            rows = rows if labels is local else None
            if is_static(features.device):
                self._update_static(features, labels, rows)
            else:
                self._update_present(features, labels, rows)

    def _update_present(self, features: Tensor, labels: Tensor, rows: ClassRows | None) -> None:
        """On a CPU: leave samples out, touch only the classes present."""
        largest = _largest_feature(features.dtype)
        if not torch.linalg.vector_norm(features) < largest:  # a quick look at all at once
            usable = features.abs().amax(dim=1) < largest
            self.num_skipped.add_((~usable).sum())
            self.warn_of_skipped()
            features, labels, rows = features[usable], labels[usable], None
        rows = rows or class_rows(labels, self.num_classes)
        if rows.samples is not None and len(rows.samples) > 0:
            self._merge_rows(rows, features, rows.samples, None)

    def _update_static(self, features: Tensor, labels: Tensor, rows: ClassRows | None) -> None:
        """On an accelerator: samples left out stay, with zeros and a weight of zero."""
        usable = features.abs().amax(dim=1) < _largest_feature(features.dtype)
        self.num_skipped.add_((~usable).sum())
        rows = rows or class_rows(labels, self.num_classes)
        features = torch.where(usable.unsqueeze(1), features, 0.0)
        new = torch.zeros_like(rows.classes).index_add_(0, rows.position, usable.to(torch.int64))
        self._merge_rows(rows, features, new, usable)

    def _merge_rows(
        self, rows: ClassRows, features: Tensor, new: Tensor, usable: Tensor | None
    ) -> None:
        """Merge samples given as a table; ``new`` (R,) counts those of each row.

        Where shapes are static, ``usable`` (N,) says which samples count; None is all of them,
        on a CPU, where the others are gone already.
        """
        size = new.to(features.dtype).clamp_(min=1)
        share = new / (rows.take(self.count) + size).clamp_(min=1)  # w; 0 if nothing is new
        sums = features.new_zeros(len(new), self.num_features).index_add_(
            0, rows.position, features
        )
        batch_mean = sums.div_(size.unsqueeze(1))
        shift = batch_mean - rows.take(self.mean)  # d

        # Rows whose products sum to w S' + w (1 - w) d d^T, so that one symmetric product
        # per class finishes the update.
        deviation = features - batch_mean[rows.position]
        factor = (share / size).sqrt_()[rows.position]
        deviation.mul_((factor if usable is None else factor * usable).unsqueeze(1))
        drift = shift * (share * (1 - share)).sqrt_().unsqueeze(1)
        if self.kind == "diagonal":
            added = drift.square_().index_add_(0, rows.position, deviation.square_())
            rows.add_to(
                self.covariance, added.sub_(rows.take(self.covariance) * share.unsqueeze(1))
            )
        elif usable is None:
            _add_products(self.covariance, rows, share, deviation, drift, new)
        else:
            _add_products_static(self.covariance, rows, share, deviation, drift)
        rows.add_to(self.mean, shift.mul_(share.unsqueeze(1)))
        rows.add_to(self.count, new)

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
        total = (self.count + other.count).clamp(min=1).to(self.mean)
        share = (other.count / total).unsqueeze(1)
        shift = other.mean.to(self.mean) - self.mean
        drift = shift * (share * (1 - share)).sqrt()
        if self.kind == "diagonal":
            drift = drift.square()
        else:
            share = share.unsqueeze(2)
            drift = drift.unsqueeze(2) * drift.unsqueeze(1)
        self.covariance.lerp_(other.covariance.to(self.covariance), share).add_(drift)
        self.mean.add_(shift * (other.count / total).unsqueeze(1))
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

    def warn_of_skipped(self) -> None:
        """Warn, once, if samples were left out.

        :meth:`update` does so by itself on a CPU. On an accelerator it would have to wait
        for the device at every step: call this now and then, for instance after an epoch.
        """
        if not self._warned and int(self.num_skipped) > 0:
            self._warned = True
            warnings.warn(
                f"ClassCovariance: left out {int(self.num_skipped)} sample(s) with non-finite or "
                "huge features; the count goes on in `num_skipped`",
                stacklevel=2,
            )

    def extra_repr(self) -> str:  # noqa: D102
        return (
            f"num_classes={self.num_classes}, num_features={self.num_features}, kind={self.kind!r}"
        )

    def _signature(self) -> tuple[int, int, str]:
        return self.num_classes, self.num_features, self.kind

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        def keep_precision(tensor: Tensor) -> Tensor:
            moved = fn(tensor)
            half = moved.is_floating_point() and moved.dtype.itemsize < 4
            return tensor.to(moved.device) if half else moved

        return super()._apply(keep_precision, recurse)


def _largest_feature(dtype: torch.dtype) -> float:
    """Bound on features whose squares and their sums are finite."""
    return math.sqrt(torch.finfo(dtype).max) / 8


def _add_products(
    covariance: Tensor,
    rows: ClassRows,
    share: Tensor,
    deviation: Tensor,
    drift: Tensor,
    new: Tensor,
) -> None:
    """Scale the matrices of ``rows`` by 1 - share and add the products of their samples.

    Samples of a class are brought together, its drift behind them, so that a class
    costs one product in place; small matrices go through one batched product.
    """
    num_rows, num_features = drift.shape
    row, order = rows.position.sort(stable=True)
    longest = int(new.max()) + 1  # the drift behind the samples
    even = num_rows * longest <= 8 * (len(order) + num_rows)  # else padding takes the memory
    if even and num_rows * num_features**2 <= BATCHED_ELEMENTS:
        start = torch.arange(num_rows).mul_(longest).sub_(new.cumsum(0)).add_(new)
        place = torch.arange(len(order)).add_(start[row])
        padded = drift.new_zeros(num_rows * longest, num_features)
        padded.index_copy_(0, place, deviation[order])
        padded = padded.view(num_rows, longest, num_features)
        padded[:, -1] = drift
        matrices = rows.take(covariance).mul_((1 - share).view(-1, 1, 1))
        matrices.baddbmm_(padded.mT, padded)
        if not rows.complete:
            covariance.index_copy_(0, rows.classes, matrices)
        return
    samples = deviation[order].split(new.tolist())
    keep = (1 - share).tolist()
    for r, c in enumerate(rows.classes.tolist()):
        own = torch.cat([samples[r], drift[r : r + 1]])
        covariance[c].addmm_(own.T, own, beta=keep[r])


def _add_products_static(
    covariance: Tensor, rows: ClassRows, share: Tensor, deviation: Tensor, drift: Tensor
) -> None:
    """Do what :func:`_add_products` does with shapes that no value decides."""
    num_rows, num_features = drift.shape
    mask = torch.arange(num_rows, device=drift.device).unsqueeze(1) == rows.position
    for start, stop in chunks(num_rows, num_features * (num_features + len(deviation)), covariance):
        own = mask[start:stop].unsqueeze(1) * deviation.T  # (r, A, N)
        added = torch.matmul(own, deviation)
        added.baddbmm_(drift[start:stop].unsqueeze(2), drift[start:stop].unsqueeze(1))
        factor = share[start:stop].view(-1, 1, 1)
        if rows.complete:
            covariance[start:stop].mul_(1 - factor).add_(added)
        else:
            chunk = rows.classes[start:stop]
            covariance.index_add_(0, chunk, added.sub_(factor * covariance[chunk]))


# Below this many elements of covariance, one batched product beats a loop over classes.
BATCHED_ELEMENTS = 2**20
