"""What a batch adds to the covariances."""

from typing import NamedTuple

from torch import Tensor

__all__ = ["Scatter"]

# N samples, A features, R rows of a table of classes.


class Scatter(NamedTuple):
    """Rows whose products ``x x^T``, summed by class, are added to (1 - share) S.

    They are scaled such that the sum is w S' + w (1 - w) d d^T, so that one symmetric
    product for each class finishes an update.
    """

    deviation: Tensor  # (N, A): sqrt(w / m) (feature - mean of its class in the batch)
    position: Tensor  # (N,) row of each; sorted where `samples` is known
    drift: Tensor  # (R, A): sqrt(w (1 - w)) d
    share: Tensor  # (R,): w
    samples: Tensor | None  # (R,) int64, how many deviations each row has, on a CPU
    usable: Tensor | None  # (N,) bool, whose deviations are not just zeros; elsewhere
