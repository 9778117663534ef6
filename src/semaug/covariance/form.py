"""What losses ask of the covariances of all classes, however these are kept.

Each kind of covariance has a form: a tuple of the tensors that describe it, with these
functions. All are differentiable in ``weight`` as often as one likes, and work in the
precision of their arguments.
"""

from typing import Protocol

import torch
from torch import Tensor

from semaug.covariance.rows import ClassRows
from semaug.covariance.scatter import Scatter

__all__ = ["Form", "KindState", "Noise", "centred", "difference_form", "pair_variance"]

# N samples, C classes, A features, R rows of a table of classes, K reference classes, M draws.


class Form(Protocol):
    """Covariances S_c of C classes."""

    @property
    def like(self) -> Tensor:
        """One of the tensors, for its dtype and device."""

    @property
    def shape(self) -> tuple[int, int]:
        """``(C, A)``."""

    def to(self, dtype: torch.dtype) -> "Form":
        """Convert the tensors."""

    def differences(self, weight: Tensor, rows: ClassRows) -> Tensor:
        """Rows ``(R, C)`` of Q: ``(w_j - w_c)^T S_c (w_j - w_c)`` for the classes c of ``rows``."""

    def gram(self, weight: Tensor, classes: Tensor, references: Tensor) -> Tensor:
        """``(R, K, C)``: ``u_k^T S_r w_j`` for classes r and references u, ``(K, A)``."""

    def variance(self, weight: Tensor, classes: Tensor) -> Tensor:
        """``(R, C)``: ``w_j^T S_r w_j``."""

    def draw(self, noise: "Noise", classes: Tensor, position: Tensor) -> Tensor:
        """Noise ``(M, N, A)``, sample n with the covariance of ``classes[position[n]]``."""

    def dense(self) -> Tensor:
        """``(C, A, A)``."""


class KindState(Protocol):
    """How covariances of a kind are kept, in tensors by name, and change."""

    @property
    def sums_over_ranks(self) -> bool:
        """Whether what ranks add to the covariances is as good as their samples."""

    def buffers(self, num_classes: int, num_features: int) -> dict[str, Tensor]:
        """Create the state."""

    def form(self, state: dict[str, Tensor]) -> Form:
        """Show the state to losses."""

    def add(self, state: dict[str, Tensor], rows: ClassRows, scatter: Scatter) -> None:
        """Scale the rows by 1 - share and add the products of a batch."""

    def merge(
        self, state: dict[str, Tensor], other: dict[str, Tensor], share: Tensor, drift: Tensor
    ) -> None:
        """Add another state, of weight ``share`` (C,), and the products of ``drift`` (C, A)."""


class Noise:
    """Standard normal numbers for M draws of N samples."""

    def __init__(self, num_draws: int, like: Tensor, generator: torch.Generator | None) -> None:
        self.num_draws, self.like, self.generator = num_draws, like, generator

    def __call__(self, num_samples: int, length: int) -> Tensor:
        """Draw ``(M, N, length)``."""
        return torch.randn(
            self.num_draws,
            num_samples,
            length,
            dtype=self.like.dtype,
            device=self.like.device,
            generator=self.generator,
        )


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
