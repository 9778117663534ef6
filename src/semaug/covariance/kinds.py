"""The kinds of covariances by name."""

from typing import Literal, get_args

from semaug.covariance.diagonal import DiagonalKind
from semaug.covariance.form import KindState
from semaug.covariance.full import FullKind
from semaug.covariance.identity import IdentityKind
from semaug.covariance.learned import LearnedKind
from semaug.covariance.low_rank import LowRankKind
from semaug.covariance.sharded import ShardedKind
from semaug.covariance.shared import SharedKind

__all__ = ["KINDS", "Kind", "kind_state"]

Kind = Literal["full", "diagonal", "shared", "identity", "low_rank", "learned"]
KINDS: tuple[Kind, ...] = get_args(Kind)


def kind_state(kind: Kind, num_classes: int, rank: int | None, sharded: bool) -> KindState:
    """Make what knows how the covariances of a kind are kept."""
    if kind == "full":
        return ShardedKind(num_classes) if sharded else FullKind()
    if kind == "diagonal":
        return DiagonalKind()
    if kind == "shared":
        return SharedKind(num_classes)
    if kind == "identity":
        return IdentityKind()
    return LowRankKind(rank or 0) if kind == "low_rank" else LearnedKind()
