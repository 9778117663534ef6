"""Streaming mean and covariance of deep features, for each class.

How batches are merged is in :mod:`semaug.covariance.merging`, with the equations of the paper.

Source: Wang et al., https://arxiv.org/abs/2007.10538, Eqs. (1) to (3).
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn
from typing_extensions import override

from semaug._torch.autocast import without_autocast
from semaug._torch.checks import (
    check_at_least,
    check_bool,
    check_finite,
    check_labels,
    check_one_of,
    check_positive_int,
    check_range,
    check_same_device,
    check_shapes,
    check_tensors,
    check_written,
)
from semaug._torch.compile import settled
from semaug._torch.distributed import refuse_join, world_size
from semaug._torch.memory import is_out_of_memory
from semaug.covariance.batch import IGNORE_INDEX, Samples, nearest_labels, take_samples
from semaug.covariance.diagonal import Diagonal
from semaug.covariance.form import Form, Noise, State, at_working_precision
from semaug.covariance.kinds import (
    KINDS,
    Kind,
    check_effect,
    checked_memory,
    checked_rank,
    describe_memory,
    kind_state,
    num_bytes,
)
from semaug.covariance.learned import UNIT_ENTROPY, Learned, uncertainty_loss
from semaug.covariance.merging import merge_samples, merge_states, one_class
from semaug.covariance.quadratic_form import as_form, quadratic_form
from semaug.covariance.rows import ClassRows, class_rows, is_static
from semaug.covariance.sharded import ShardedKind
from semaug.covariance.shared import Shared
from semaug.covariance.shrinkage import Blend

__all__ = ["KINDS", "ClassCovariance", "Kind"]

# N samples, C classes, A features, R rows of a table of classes, M draws, H x W and h x w pixels.


class ClassCovariance(nn.Module):
    """Mean and covariance of features for each class.

    Batches merge exactly, so the result does not depend on how the samples were split.
    Under ``torch.distributed`` the batches of all ranks count as one: every rank holds the
    statistics of all samples, and all ranks must call :meth:`update` equally often, with batches
    of any size; torch's ``Join`` needs ``throw_on_early_termination=True``. The module needs no
    ``DistributedDataParallel``.

    Samples with a feature that is not finite, or as large as the fourth root of the largest
    number (4e9 in float32), are left out and counted in ``num_skipped``.
    The statistics stay float32 or better, also when a model around them is cast to
    half precision.

    The kinds, and what they hold besides count and mean:

    ============  ==================================================  =====================
    kind          covariance of a class                               state
    ============  ==================================================  =====================
    `full`        a matrix                                            C x A x A
    `diagonal`    the variance of each feature                        C x A
    `low_rank`    the `rank` strongest directions, and the variance   C x (rank + 1) x A
                  that they leave over
    `shared`      one matrix of all features, whatever their class    A x A
    `identity`    the identity                                        nothing
    `learned`     D D^T, where D is a parameter for the optimizer,    C x (A + 1) x A
                  and the variance of the features
    ============  ==================================================  =====================

    Args:
        num_classes: C.
        num_features: A.
        kind: As above.
        rank: Of ``low_rank``, 32 if not given; at most A.
        memory: None weighs all samples ever seen alike, as the papers do. A number between 0
            and 1 is the factor by which each sample lowers the weight of those that its class
            saw in earlier batches: 0.99 remembers about 100 samples (not batches) of a class.
            ``"epoch"`` uses the statistics of the whole epoch before, see :meth:`start_epoch`.
            Features of a network that still changes are scattered more widely than at any one
            time.
        shrinkage: After how many samples a class weighs its own covariance as much as
            that of all classes; of ``full``, ``diagonal`` and ``low_rank``, for classes that
            are rare.
        max_batch_size: The largest batch that a rank will give. None agrees on sizes at each
            update, for which an accelerator waits, and which cannot be compiled. Only
            matters for several processes.
        sharded: Of ``full``: each rank keeps the matrices of its share of the classes, where
            they are too large for one. Create the estimator after the process group, outside
            of what ``DistributedDataParallel`` wraps, and let all ranks do all calls, those to
            ``state_dict`` too, which holds the matrices of all classes, on the CPU, and fits
            any number of ranks. Gradients of the weight are
            right once averaged over ranks, as ``DistributedDataParallel`` does.
        entropy_weight: Of ``learned``, how much :meth:`uncertainty` counts in the loss, 1 if
            not given.
        entropy_margin: Of ``learned``, entropy in nats per feature that is enough; that of
            unit variance if not given.
        entropy_share: Of ``learned``, instead of the margin: enough is the entropy of this share of
            the standard deviation of features around the means of their classes, so that it means
            the same for any network.

    Attributes:
        count: ``(C,)`` int64, samples seen of each class.
        mean: ``(C, A)``.
        covariance: ``(C, A, A)`` for ``full``, ``(C, A)`` variances for ``diagonal``,
            ``(1, A, A)`` for ``shared``, whose count and mean are ``(1,)`` and ``(1, A)`` too;
            population covariance (divided by the count), zero before the first sample.
        basis, variance: ``(C, rank, A)`` and ``(C, A)`` for ``low_rank``.
        factor: ``(C, A, A)`` for ``learned``, a parameter, beside ``variance`` of the features.
        num_skipped: int64 scalar, samples left out.
        fixed: Whether updates change nothing any more, of statistics that are exact already. May
            be set; not saved.

    Raises:
        TypeError: If a size is not an int, or another argument has the wrong type.
        ValueError: If a number is out of range, the kind is unknown, or an option has no
            effect on it.

    >>> estimator = ClassCovariance(num_classes=2, num_features=1)
    >>> estimator.update(torch.tensor([[1.0], [3.0], [7.0]]), torch.tensor([0, 0, 1]))
    >>> estimator.mean.flatten(), estimator.covariance.flatten().round(decimals=4)
    (tensor([2., 7.]), tensor([1., 0.]))
    """

    count: Tensor
    mean: Tensor
    covariance: Tensor
    basis: Tensor
    variance: Tensor
    factor: Tensor
    pooled: Tensor  # (A, A) or (A,), mean covariance of all classes, for shrinkage
    num_skipped: Tensor
    epoch: Tensor  # how many have ended, where memory is of epochs

    def __init__(
        self,
        num_classes: int,
        num_features: int,
        kind: Kind = "full",
        *,
        rank: int | None = None,
        memory: float | Literal["epoch"] | None = None,
        shrinkage: float | None = None,
        max_batch_size: int | None = None,
        sharded: bool = False,
        entropy_weight: float | None = None,
        entropy_margin: float | None = None,
        entropy_share: float | None = None,
    ) -> None:
        super().__init__()
        name = "ClassCovariance"
        sizes = check_positive_int(name, num_classes=num_classes, num_features=num_features)
        check_one_of(name, "kind", kind, KINDS)
        check_bool(name, "sharded", sharded)
        check_effect(
            kind,
            rank=rank,
            memory=memory,
            shrinkage=shrinkage,
            sharded=sharded or None,
            entropy_weight=entropy_weight,
            entropy_margin=entropy_margin,
            entropy_share=entropy_share,
        )
        self.num_classes, self.num_features = num_classes, num_features = sizes
        self.kind: Kind = kind
        self.rank = checked_rank(rank, num_features) if kind == "low_rank" else None
        self.memory = checked_memory(memory)
        self.entropy_weight = 1.0 if entropy_weight is None else entropy_weight
        self.entropy_margin = UNIT_ENTROPY if entropy_margin is None else entropy_margin
        check_at_least(name, "entropy_weight", self.entropy_weight, 0)
        check_finite(name, "entropy_margin", self.entropy_margin)
        self.entropy_share = entropy_share
        check_at_least(name, "entropy_share", 0 if entropy_share is None else entropy_share, 0)
        if entropy_share is not None and (entropy_share == 0 or entropy_margin is not None):
            raise ValueError(
                f"{name}: expected `entropy_share` > 0 and no `entropy_margin` beside it, "
                f"got {entropy_share} and {entropy_margin}"
            )
        check_at_least(name, "shrinkage", 0 if shrinkage is None else shrinkage, 0)
        self.shrinkage = None if shrinkage is None else float(shrinkage)
        if max_batch_size is not None:
            (max_batch_size,) = check_positive_int(name, max_batch_size=max_batch_size)
        self.max_batch_size, self.sharded = max_batch_size, sharded

        self._kind = kind_state(kind, num_classes, self.rank, sharded)
        num_means = 1 if kind == "shared" else num_classes
        self.register_buffer("count", torch.zeros(num_means, dtype=torch.int64))
        buffers = {"mean": torch.zeros(num_means, num_features)}
        with self._explained_memory():
            buffers |= self._kind.buffers(num_means, num_features)
            parameters = self._kind.parameters(num_features)
        if isinstance(self.memory, float):
            buffers["sample_weight"] = torch.zeros(num_means)  # of the samples that count still
        if shrinkage is not None:
            shape = (num_features,) if kind == "diagonal" else (num_features, num_features)
            buffers["pooled"] = torch.zeros(shape)
        dtype = torch.promote_types(torch.get_default_dtype(), torch.float32)
        for buffer, value in buffers.items():
            self.register_buffer(buffer, value.to(dtype))
        for parameter, value in parameters.items():
            self.register_parameter(parameter, nn.Parameter(value.to(dtype)))
        self._state_names = (*buffers, *parameters)
        self.register_buffer("num_skipped", torch.zeros((), dtype=torch.int64))
        self.fresh: ClassCovariance | None = None  # being filled for later, by memory="epoch"
        if self.memory == "epoch":
            self.fresh = ClassCovariance(
                num_classes, num_features, kind, rank=rank, shrinkage=shrinkage, sharded=sharded
            )
            self.register_buffer("epoch", torch.zeros((), dtype=torch.int64))
        self.fixed = False
        self._written = not self.count.is_meta
        self._first_epoch = True  # what the buffer says, which is read only when it is loaded
        self._warned = self._joins_refused = False

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
        self.observe(features, labels, ignore_index=ignore_index)

    def observe(
        self,
        features: Tensor,
        labels: Tensor,
        rows: ClassRows | None = None,
        *,
        ignore_index: int | None = IGNORE_INDEX,
    ) -> None:
        """:meth:`update` without its checks, for losses that have checked and know the rows.

        Args:
            features: ``(N, A)``, or ``(N, A, h, w)``, whose pixels are samples, too many to
                travel between ranks.
            labels: ``(N,)`` or ``(N h w,)``.
            rows: The classes of ``labels``, where known already.
            ignore_index: Label of samples that do not count.
        """
        if self.fixed:
            return
        if not torch.compiler.is_compiling() and world_size() > 1:
            refuse_join(first=not self._joins_refused)
            self._joins_refused = True
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
            if self.kind == "shared":
                samples = samples._replace(rows=one_class(samples.rows))
            if self.fresh is None:
                self._merge(samples)
                return
            if self._first_epoch:
                self._merge(samples._replace(features=samples.features.clone()))
            self.fresh._merge(samples)

    def _merge(self, samples: Samples) -> None:
        merge_samples(self._kind, self.count, self._state(), samples, self.memory)

    def _state(self) -> State:
        if not (self._written or self.count.is_meta or torch.compiler.is_compiling()):
            check_written("ClassCovariance", self.count, self.mean)
            self._written = True
            self._first_epoch = self.fresh is None or int(self.epoch) == 0
        return {name: getattr(self, name) for name in self._state_names}

    def start_epoch(self) -> None:
        """Put the statistics of the epoch that ends in use, and begin new ones.

        For ``memory="epoch"``; call it before each epoch. Until the second call the samples
        so far are in use. Does nothing for other memories.
        """
        if self.fresh is not None and int(self.fresh.count.sum()) > 0:
            for name in ("count", *self._state_names):
                getattr(self, name).copy_(getattr(self.fresh, name))
            self.fresh.reset()
            self.epoch.add_(1)
            self._first_epoch = False

    @torch.no_grad()
    def merge(self, other: "ClassCovariance") -> None:
        """Merge another estimator's samples, as if all had been seen here.

        For ``low_rank`` up to what both have cut off; ``learned`` keeps its own factors.

        Args:
            other: Of the same sizes, kind and options; it is not changed. Its
                ``entropy_weight``, ``entropy_margin``, ``entropy_share`` and ``max_batch_size``
                may differ: they are not of the statistics.

        Raises:
            TypeError: If ``other`` is no estimator.
            ValueError: If sizes, kinds or options differ.
        """
        if not isinstance(other, ClassCovariance):
            raise TypeError(
                f"merge: expected `other` to be a ClassCovariance, got {type(other).__name__}"
            )
        mine, theirs = self.extra_repr(), other.extra_repr()
        if mine != theirs:
            raise ValueError(f"merge: expected `other` to be {mine}, got {theirs}")
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
        for name, value in self._kind.parameters(self.num_features).items():
            getattr(self, name).copy_(value)
        self._first_epoch, self._warned = True, False

    def reset_parameters(self) -> None:
        """:meth:`reset`, by the name that torch's convention has for it after ``to_empty``."""
        self.reset()

    def warn_of_skipped(self) -> None:
        """Warn, once, if samples were left out.

        :meth:`update` does so by itself on a CPU. On an accelerator it would have to wait
        for the device at every step: call this now and then, for instance after an epoch.
        """
        if not self._warned and int(self.num_skipped) > 0:
            self._warned = True
            warnings.warn(
                f"ClassCovariance: left out {int(self.num_skipped)} sample(s) with non-finite or "
                "huge features; the count goes on in `num_skipped`. Training may be diverging: "
                "a lower strength or learning rate, or clipped gradients, may help",
                stacklevel=2,
            )

    def form(self) -> Form:
        """Return a view of the covariances for losses: free, valid until the next update.

        Raises:
            RuntimeError: If they are sharded, over another number of processes than there are.
        """
        state = self._state()
        own = self._kind.form(state)
        if self.shrinkage is None:
            return own
        weight = state.get("sample_weight", self.count).to(self.mean.dtype)
        amount = self.shrinkage / (weight + self.shrinkage).clamp(
            min=torch.finfo(weight.dtype).tiny
        )
        if self.pooled.ndim == 1:
            return Blend(own, Diagonal(self.pooled.expand(self.num_classes, -1)), settled(amount))
        return Blend(own, Shared(self.pooled, self.num_classes), settled(amount))

    def quadratic_form(self, weight: Tensor) -> Tensor:
        """Matrix Q of :func:`semaug.covariance.quadratic_form` for these statistics.

        Args:
            weight: ``(C, A)`` of the linear classifier.

        Returns:
            ``(C, C)``, differentiable in ``weight``.

        Raises:
            TypeError: If the weight is not a floating-point tensor.
            ValueError: If its shape or device is wrong.
        """
        return quadratic_form(weight, self)

    def gram(self, weight: Tensor, classes: Tensor | None = None) -> Tensor:
        """Covariance of the logits under the noise of each class.

        Args:
            weight: ``(C, A)`` of the linear classifier.
            classes: ``(R,)`` int64, whose noise; None is all of them.

        Returns:
            ``(R, C, C)``: ``weight @ S_r @ weight.T``, differentiable in ``weight``.

        Raises:
            TypeError: If a dtype is wrong.
            ValueError: If a shape or device is wrong, or, on a CPU, a class is out of range.
        """
        name = "ClassCovariance.gram"
        form = as_form(name, weight, self)
        if classes is None:
            classes = torch.arange(self.num_classes, device=weight.device)
        check_shapes(name, classes=(classes, "R"))
        check_labels(name, classes, "classes")
        check_same_device(name, weight=weight, classes=classes)
        if not is_static(classes.device):
            check_range(name, "classes", classes, self.num_classes)
        with without_autocast(weight.device):
            weight, form = at_working_precision(weight, form)
            return form.gram(weight, classes, weight)

    def sample(
        self, labels: Tensor, num_samples: int = 1, *, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw what augmentation adds to features.

        Args:
            labels: ``(N,)`` int64 class ids.
            num_samples: M, draws for each label.
            generator: Source of randomness on the device of the statistics.

        Returns:
            ``(M, N, A)`` from N(0, S_y). Differentiable for ``learned``.

        Raises:
            TypeError: If the dtype of the labels is wrong, or ``num_samples`` is not an int.
            ValueError: If the shape of the labels is wrong, a number is out of range (of labels
                on a CPU), or the estimator is sharded.
        """
        check_shapes("ClassCovariance.sample", labels=(labels, "N"))
        check_labels("ClassCovariance.sample", labels)
        check_positive_int("ClassCovariance.sample", num_samples=num_samples)
        rows = class_rows(labels, self.num_classes)
        noise = Noise(num_samples, generator)
        with without_autocast(labels.device):
            return self.form().draw(noise, rows.classes, rows.position)

    def dense(self) -> Tensor:
        """All covariances as matrices ``(C, A, A)``, for a look at small ones."""
        with without_autocast(self.mean.device):
            return self.form().dense()

    def captured(self) -> Tensor:
        """Share of the variance of each class in the kept directions of ``low_rank``, ``(C,)``.

        What is not captured is taken as uncorrelated: an element of Q is wrong by at most
        ``(1 - captured) * trace * |w_j - w_c|^2``. One for the other kinds.
        """
        if self.kind != "low_rank":
            return torch.ones(self.num_classes, device=self.mean.device)
        trace = self.variance.sum(dim=1, dtype=torch.float64)
        inside = self.basis.square().sum(dim=(1, 2), dtype=torch.float64)
        return torch.where(trace > 0, inside / trace, 1.0).clamp(max=1).to(self.mean.dtype)

    def uncertainty(
        self,
        labels: Tensor,
        *,
        ignore_index: int | None = IGNORE_INDEX,
        rows: ClassRows | None = None,
    ) -> Tensor:
        """Feature uncertainty loss that keeps learned covariances from vanishing.

        See :mod:`semaug.covariance.learned`; :class:`semaug.ISDALoss` adds it by itself.

        Args:
            labels: ``(N,)`` int64 class ids.
            ignore_index: Label of samples that do not count.
            rows: The classes of ``labels``, where known already.

        Returns:
            A scalar, ``entropy_weight`` times the loss; 0 for kinds other than ``learned``,
            and without samples.

        Raises:
            TypeError: If the dtype of the labels is wrong.
            ValueError: If their shape is wrong, or, on a CPU, one is out of range.
        """
        check_shapes("ClassCovariance.uncertainty", labels=(labels, "N"))
        check_labels("ClassCovariance.uncertainty", labels)
        rows = rows or class_rows(labels, self.num_classes, ignore_index)
        form = self._kind.form(self._state())
        if not isinstance(form, Learned):
            return self.mean.new_zeros(())
        margin: float | Tensor = self.entropy_margin
        if self.entropy_share is not None:
            weights = self.count / self.count.sum().clamp(min=1)
            spread = (weights @ self.variance.mean(dim=1).to(weights.dtype)).sqrt()
            least = torch.finfo(spread.dtype).tiny  # before anything is seen
            margin = settled(UNIT_ENTROPY + (self.entropy_share * spread).clamp(min=least).log())
        return self.entropy_weight * uncertainty_loss(form.factor, rows, margin)

    @property
    def num_bytes(self) -> int:
        """Bytes of the covariances, in float32."""
        return num_bytes(self.kind, self.num_classes, self.num_features, self.rank, self.sharded)

    def describe_memory(self) -> str:
        """Say how much memory the covariances take, and how to need less."""
        sizes = self.num_classes, self.num_features
        return describe_memory(self.kind, *sizes, self.rank, self.sharded)

    @contextmanager
    def _explained_memory(self) -> Iterator[None]:
        """Say in an error of too little memory what takes it."""
        try:
            yield
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            raise torch.OutOfMemoryError(f"ClassCovariance: {self.describe_memory()}") from error

    @override
    def extra_repr(self) -> str:
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
        state = {**state, **{key: state[key].float() for key in keys if _is_half(state[key])}}
        super()._load_from_state_dict(state, prefix, *args)
        if self.fresh is not None and not self.epoch.is_meta:
            self._first_epoch = int(self.epoch) == 0

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        def keep_precision(tensor: Tensor) -> Tensor:
            moved = fn(tensor)
            return tensor.to(moved.device) if _is_half(moved) else moved

        was_meta = self.count.is_meta
        with self._explained_memory():
            super()._apply(keep_precision, recurse)
        if was_meta and not self.count.is_meta:  # so that nothing was there to keep
            self.reset()
        return self


def _is_half(tensor: Tensor) -> bool:
    return tensor.is_floating_point() and tensor.dtype.itemsize < 4
