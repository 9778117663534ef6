"""Streaming statistics of features, and how they change: by batches, epochs and merging.

What makes them and what they are asked for is in :mod:`semaug.covariance.estimator`.
"""

import warnings
from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor, nn

from semaug._torch.autocast import without_autocast
from semaug._torch.checks import check_tensors
from semaug.covariance.form import KindState
from semaug.covariance.learned import LearnedKind
from semaug.covariance.merging import merge_samples, merge_states, one_class
from semaug.covariance.rows import ClassRows, is_static
from semaug.covariance.samples import IGNORE_INDEX, Samples, nearest_labels, take_samples
from semaug.covariance.sharded import ShardedKind

__all__ = ["ClassStatistics"]

# N samples, C classes, A features, H x W and h x w pixels.


class ClassStatistics(nn.Module):
    """The part of :class:`semaug.ClassCovariance` that changes its state.

    Buffers are made by that class.
    """

    num_classes: int
    num_features: int
    kind: str
    rank: int | None
    memory: float | str | None
    shrinkage: float | None
    max_batch_size: int | None
    sharded: bool
    fresh: Self | None  # being filled for later, where memory is of epochs

    count: Tensor
    mean: Tensor
    covariance: Tensor
    num_skipped: Tensor
    sample_weight: Tensor  # (C,), of the samples that count still, where memory fades
    pooled: Tensor  # (A, A) or (A,), mean covariance of all classes, for shrinkage
    basis: Tensor
    variance: Tensor
    factor: Tensor
    epoch: Tensor  # how many have ended

    _kind: KindState
    _state_names: tuple[str, ...]
    _first_epoch: bool  # what the buffer says, which is read when it is loaded
    _warned: bool

    def update(
        self, features: Tensor, labels: Tensor, *, ignore_index: int | None = IGNORE_INDEX
    ) -> None:
        """Merge one batch.

        Args:
            features: ``(N, A)`` of any floating dtype, or ``(N, A, h, w)``; gradients are not
                followed.
            labels: ``(N,)`` int64 class ids, or ``(N, H, W)``, of which the pixels nearest
                to those of the features count.
            ignore_index: Label of samples that do not count.

        Raises:
            TypeError: If a dtype is wrong.
            ValueError: If shapes or devices disagree, or, on a CPU, a label is out of range.
        """
        name = "ClassCovariance.update"
        dense = isinstance(features, Tensor) and features.ndim == 4
        check_tensors(
            name,
            mean=(self.mean, "M A"),
            features=(features, "N A h w" if dense else "N A"),
            labels=(labels, "N H W" if dense else "N"),
        )
        if dense:
            labels = nearest_labels(labels, features.shape[2:]).flatten()
        self._update(features, labels, ignore_index=ignore_index)

    def _update(
        self,
        features: Tensor,
        labels: Tensor,
        rows: ClassRows | None = None,
        *,
        ignore_index: int | None = IGNORE_INDEX,
    ) -> None:
        """:meth:`update` for losses, which have checked already and know the rows.

        Args:
            features: ``(N, A)``, or ``(N, A, h, w)``, whose pixels are samples, too many to
                travel between ranks.
            labels: ``(N,)`` or ``(N h w,)``.
            rows: The classes of ``labels``.
            ignore_index: Label of samples that do not count.
        """
        with torch.no_grad(), without_autocast(features.device):
            samples = take_samples(
                features,
                labels,
                rows,
                num_classes=self.num_classes,
                dtype=self.mean.dtype,
                ignore_index=ignore_index,
                sums_over_ranks=self._kind.sums_over_ranks,
                max_batch_size=self.max_batch_size,
            )
            if samples.skipped is not None:
                self.num_skipped.add_(samples.skipped)
                if not is_static(features.device):
                    self.warn_of_skipped()
            if len(samples.rows.classes) == 0:
                return
            *others, last = self._targets()
            for estimator in others:
                estimator._merge_samples(samples._replace(features=samples.features.clone()))
            last._merge_samples(samples)

    def _targets(self) -> "list[ClassStatistics]":
        """Estimators that a batch goes to: this one, or the one being filled for later."""
        if self.fresh is None:
            return [self]
        return [self, self.fresh] if self._first_epoch else [self.fresh]

    def _merge_samples(self, samples: Samples) -> None:
        if self.kind == "shared":
            samples = samples._replace(rows=one_class(samples.rows))
        merge_samples(self._kind, self.count, self._state(), samples, self.memory)

    def _state(self) -> dict[str, Tensor]:
        return {name: getattr(self, name) for name in self._state_names}

    def start_epoch(self) -> None:
        """Put the statistics of the epoch that ends in use, and begin new ones.

        For ``memory="epoch"``; call it before each epoch. Until the second call the samples
        so far are in use. Does nothing for other memories.
        """
        if self.fresh is None:
            return
        if int(self.fresh.count.sum()) > 0:
            for name in ("count", *self._state_names):
                getattr(self, name).copy_(getattr(self.fresh, name))
            self.fresh.reset()
            self.epoch.add_(1)
            self._first_epoch = False

    @torch.no_grad()
    def merge(self, other: "ClassStatistics") -> None:
        """Merge another estimator's samples, as if all had been seen here.

        For ``low_rank`` up to what both have cut off; ``learned`` keeps its own factors.

        Args:
            other: Of the same sizes, kind and options; it is not changed. Its
                ``entropy_weight``, ``entropy_margin`` and ``max_batch_size`` may differ: they
                are not of the statistics.

        Raises:
            TypeError: If ``other`` is no estimator.
            ValueError: If sizes, kinds or options differ.
        """
        if not isinstance(other, ClassStatistics):
            raise TypeError(
                f"merge: expected `other` to be a ClassCovariance, got {type(other).__name__}"
            )
        if other._signature() != self._signature():
            raise ValueError(
                f"merge: expected `other` to be {self._signature()}, got {other._signature()}"
            )
        merge_states(self._kind, self.count, self._state(), other.count, other._state())
        self.num_skipped.add_(other.num_skipped.to(self.num_skipped.device))
        if self.fresh is not None and other.fresh is not None:
            self.fresh.merge(other.fresh)
            self.epoch.clamp_(min=other.epoch.to(self.epoch.device))
            self._first_epoch = self._first_epoch and other._first_epoch

    @torch.no_grad()
    def reset(self) -> None:
        """Forget every sample; ``learned`` becomes the identity again."""
        for buffer in self.buffers():
            buffer.zero_()
        if isinstance(self._kind, LearnedKind):
            self.factor.copy_(torch.eye(self.num_features).to(self.factor))
        self._first_epoch = True

    def warn_of_skipped(self) -> None:
        """Warn, once, if samples were left out.

        :meth:`update` does so by itself on a CPU. On an accelerator it would have to wait
        for the device at every step: call this now and then, for instance after an epoch.
        """
        if self._warned:
            return
        if int(self.num_skipped) > 0:
            self._warned = True
            warnings.warn(
                f"ClassCovariance: left out {int(self.num_skipped)} sample(s) with non-finite or "
                "huge features; the count goes on in `num_skipped`. Training may be diverging: "
                "a lower strength or learning rate, or clipped gradients, may help",
                stacklevel=2,
            )

    def extra_repr(self) -> str:  # noqa: D102
        return self._signature()

    def _signature(self) -> str:
        options = {
            "rank": self.rank,
            "memory": self.memory,
            "shrinkage": self.shrinkage,
            "sharded": self.sharded or None,
        }
        return ", ".join(
            [
                f"num_classes={self.num_classes}, num_features={self.num_features}",
                f"kind={self.kind!r}",
                *(f"{name}={value!r}" for name, value in options.items() if value is not None),
            ]
        )

    def _save_to_state_dict(
        self, destination: dict[str, Any], prefix: str, keep_vars: bool
    ) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        if isinstance(self._kind, ShardedKind):
            destination[prefix + "covariance"] = self._kind.gathered(self.covariance)

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *args: Any) -> None:
        name = prefix + "covariance"
        if isinstance(self._kind, ShardedKind) and len(state.get(name, ())) == self.num_classes:
            state = {**state, name: state[name][self._kind.first : self._kind.last]}
        # Half precision of others must not replace ours, as ``assign=True`` would have it.
        keys = [prefix + name for name in self._state_names if prefix + name in state]
        state = {**state, **{key: _float32_or_better(state[key]) for key in keys}}
        super()._load_from_state_dict(state, prefix, *args)
        if self.fresh is not None and not self.epoch.is_meta:
            self._first_epoch = int(self.epoch) == 0

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        def keep_precision(tensor: Tensor) -> Tensor:
            moved = fn(tensor)
            return tensor.to(moved.device) if _is_half(moved) else moved

        return super()._apply(keep_precision, recurse)


def _is_half(tensor: Tensor) -> bool:
    return tensor.is_floating_point() and tensor.dtype.itemsize < 4


def _float32_or_better(tensor: Tensor) -> Tensor:
    return tensor.float() if _is_half(tensor) else tensor
