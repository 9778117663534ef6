"""What losses ask of the covariances of all classes, however these are kept.

Each kind of covariance has a form, the tensors that describe it with the functions below, and
a way to keep these tensors up to date. All functions are differentiable in ``weight`` as often
as one likes, and work in the precision of their arguments.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import fields
from typing import Any, Self

import torch
from torch import Tensor

from semaug._torch.autocast import without_autocast
from semaug.covariance.batch import Scatter
from semaug.covariance.rows import ClassRows

__all__ = [
    "Form",
    "KindState",
    "Noise",
    "State",
    "at_working_precision",
    "centred",
    "class_variance",
    "difference_form",
    "pair_variance",
]

# N samples, C classes, A features, R rows of a table of classes, K reference classes, M draws.

# ``mean`` (C, A), what the kind keeps, and, where there are such options, ``sample_weight`` (C,)
# and ``pooled``.
State = dict[str, Tensor]


class Form(ABC):
    """Covariances S_c of C classes: a dataclass of tensors, numbers and other forms."""

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the covariances: that of the first field."""
        dtype: torch.dtype = self._values()[0].dtype
        return dtype

    def to(self, dtype: torch.dtype) -> Self:
        """Convert the tensors."""
        return type(self)(*[x if isinstance(x, int) else x.to(dtype) for x in self._values()])

    def _values(self) -> list[Any]:
        """Return the values of the fields; not ``vars``, which torch 2.10 cannot compile."""
        return [getattr(self, field.name) for field in fields(self)]  # type: ignore[arg-type]

    def tensors(self) -> Iterator[Tensor]:
        """All tensors."""
        for value in self._values():
            if isinstance(value, Form):
                yield from value.tensors()
            elif isinstance(value, Tensor):
                yield value

    @abstractmethod
    def differences(self, weight: Tensor, rows: ClassRows) -> Tensor:
        """Rows ``(R, C)`` of Q: ``(w_j - w_c)^T S_c (w_j - w_c)`` for the classes c of ``rows``."""

    @abstractmethod
    def gram(self, weight: Tensor, classes: Tensor, references: Tensor) -> Tensor:
        """``(R, K, C)``: ``u_k^T S_r w_j`` for classes r and references u, ``(K, A)``."""

    @abstractmethod
    def variance(self, weight: Tensor, classes: Tensor) -> Tensor:
        """``(R, C)``: ``w_j^T S_r w_j``."""

    @abstractmethod
    def draw(self, noise: "Noise", classes: Tensor, position: Tensor) -> Tensor:
        """Noise ``(M, N, A)``, sample n with the covariance of ``classes[position[n]]``."""

    @abstractmethod
    def dense(self) -> Tensor:
        """``(C, A, A)``."""


class KindState(ABC):
    """How covariances of a kind are kept, in tensors by name, and change.

    Args:
        num_classes: C.
        rank: Of ``low_rank``.
    """

    # Whether what ranks add to the covariances is as good as their samples.
    sums_over_ranks = True

    def __init__(self, num_classes: int, rank: int = 0) -> None:
        self.num_classes, self.rank = num_classes, rank

    def buffers(self, num_rows: int, num_features: int) -> State:
        """Create the state that batches change, for so many covariances."""
        return {}

    def parameters(self, num_features: int) -> State:
        """Create the state that the optimizer changes."""
        return {}

    @abstractmethod
    def form(self, state: State) -> Form:
        """Show the state to losses."""

    # Kinds without buffers have nothing to do.

    def add(self, state: State, rows: ClassRows, scatter: Scatter) -> None:  # noqa: B027
        """Scale the rows by 1 - share and add the products of a batch."""

    def merge(self, state: State, other: State, share: Tensor, drift: Tensor) -> None:  # noqa: B027
        """Add another state, of weight ``share`` (C,), and the products of ``drift`` (C, A)."""


class Noise:
    """Standard normal numbers for M draws of N samples."""

    def __init__(self, num_draws: int, generator: torch.Generator | None = None) -> None:
        self.num_draws, self.generator = num_draws, generator

    def __call__(self, like: Tensor, num_samples: int, length: int) -> Tensor:
        """Draw ``(M, N, length)`` of the dtype and on the device of a tensor."""
        shape, generator = (self.num_draws, num_samples, length), self.generator
        return torch.randn(shape, dtype=like.dtype, device=like.device, generator=generator)


def class_variance(weight: Tensor, form: Form, rows: ClassRows) -> Tensor:
    """Variance that the noise of a class gives each logit relative to that of the class.

    The quadratic term of Eq. (7) of https://arxiv.org/abs/2007.10538.

    Args:
        weight: ``(C, A)``.
        form: The covariances.
        rows: The classes c that are wanted.

    Returns:
        ``(R, C)``: ``(w_j - w_c)^T S_c (w_j - w_c)``, in float32 or better whatever autocast does.
    """
    with without_autocast(weight.device):
        weight, form = at_working_precision(weight, form)
        return form.differences(weight, rows)


def at_working_precision(weight: Tensor, form: Form) -> tuple[Tensor, Form]:
    """Bring a weight and covariances to the better of their precisions, float32 at least."""
    dtype = torch.promote_types(torch.promote_types(weight.dtype, form.dtype), torch.float32)
    return weight.to(dtype), form.to(dtype)


def centred(weight: Tensor) -> Tensor:
    """Take the mean over classes off: differences do not see it, products would cancel it."""
    return weight - weight.mean(dim=0)


def difference_form(own: Tensor, every: Tensor, product: Tensor, classes: Tensor) -> Tensor:
    """``u'u + v'v - 2 u'v`` in a given metric, for u of the own class and v of every class.

    Args:
        own: ``(R, 1)`` or ``(R, K, 1)``, squares of the own class.
        every: Squares of every class, of a shape that broadcasts.
        product: ``(R, C)`` or ``(R, K, C)`` products of own and every.
        classes: Own classes, which have no difference to themselves.
    """
    index = classes.expand(product.shape[:-1]).unsqueeze(-1)
    return (own + every - 2 * product).clamp(min=0).scatter(-1, index, 0.0)


def pair_variance(
    form: Form, weight: Tensor, classes: Tensor, references: Tensor, variance: Tensor
) -> Tensor:
    """Variance of ``z_j - z_k`` under the covariance of each class, for reference classes k.

    Args:
        form: The covariances.
        weight: ``(C, A)``, centred.
        classes: ``(R,)`` whose covariances are wanted.
        references: ``(K,)`` classes k.
        variance: ``(R, C)``, ``form.variance(weight, classes)``.

    Returns:
        ``(R, K, C)``: ``(w_j - w_k)^T S_r (w_j - w_k)``.
    """
    gram = form.gram(weight, classes, weight.index_select(0, references))
    own = variance.index_select(1, references).unsqueeze(2)
    return difference_form(own, variance.unsqueeze(1), gram, references)
