"""The kinds of covariances by name, and which options each of them has."""

from typing import Literal, get_args

import torch

from semaug._torch.checks import check_positive_int
from semaug._torch.memory import in_words
from semaug.covariance.diagonal import DiagonalKind
from semaug.covariance.form import KindState
from semaug.covariance.full import FullKind
from semaug.covariance.identity import IdentityKind
from semaug.covariance.learned import LearnedKind
from semaug.covariance.low_rank import LowRankKind
from semaug.covariance.sharded import ShardedKind
from semaug.covariance.shared import SharedKind

__all__ = [
    "KINDS",
    "Kind",
    "check_effect",
    "checked_memory",
    "checked_rank",
    "describe_memory",
    "kind_state",
    "num_bytes",
]

# What is assumed of the covariance of a class.
Kind = Literal["full", "diagonal", "shared", "identity", "low_rank", "learned"]
KINDS: tuple[Kind, ...] = get_args(Kind)  # all kinds of covariance

_STATES: dict[Kind, type[KindState]] = {
    "full": FullKind,
    "diagonal": DiagonalKind,
    "shared": SharedKind,
    "identity": IdentityKind,
    "low_rank": LowRankKind,
    "learned": LearnedKind,
}
_KINDS_OF_OPTION: dict[str, tuple[Kind, ...]] = {
    "rank": ("low_rank",),
    "memory": ("full", "diagonal", "shared", "low_rank"),
    "shrinkage": ("full", "diagonal", "low_rank"),
    "sharded": ("full",),
    "entropy_weight": ("learned",),
    "entropy_margin": ("learned",),
    "entropy_share": ("learned",),
}


def kind_state(kind: Kind, num_classes: int, rank: int | None, sharded: bool) -> KindState:
    """Make what knows how the covariances of a kind are kept."""
    return (ShardedKind if sharded else _STATES[kind])(num_classes, rank or 0)


def num_bytes(
    kind: Kind, num_classes: int, num_features: int, rank: int | None = None, sharded: bool = False
) -> int:
    """Bytes of the covariances of a kind in float32; of one process if they are sharded."""
    with torch.device("meta"):
        state = kind_state(kind, num_classes, rank or min(32, num_features), sharded)
        tensors = state.buffers(1 if kind == "shared" else num_classes, num_features)
        tensors |= state.parameters(num_features)
    return 4 * sum(tensor.numel() for tensor in tensors.values())


def describe_memory(
    kind: Kind, num_classes: int, num_features: int, rank: int | None = None, sharded: bool = False
) -> str:
    """Say how much memory covariances take, and how to need less."""
    own = num_bytes(kind, num_classes, num_features, rank, sharded)
    parts = [
        f"{kind} covariances of {num_classes} classes x {num_features} features take "
        f"{in_words(own)}{' in each process' if sharded else ''}"
    ]
    for other in ("low_rank", "diagonal"):
        size = num_bytes(other, num_classes, num_features)
        parts += [f"{other} takes {in_words(size)}"] if size < own else []
    if kind == "full" and not sharded:
        parts.append("sharded=True divides them among processes")
    return "; ".join(parts)


def check_effect(kind: Kind, **options: object) -> None:
    """Check that options are given only to kinds that they are for; None is not given.

    Raises:
        ValueError: If one has no effect on this kind.
    """
    for option, value in options.items():
        kinds = _KINDS_OF_OPTION[option]
        if value is not None and kind not in kinds:
            raise ValueError(
                f"ClassCovariance: expected no `{option}` for kind={kind!r}, on which it has no "
                f"effect, got {value!r}; it is for {', '.join(kinds)}"
            )


def checked_rank(rank: int | None, num_features: int) -> int:
    """Return the rank of ``low_rank``, 32 if it is not given.

    Raises:
        TypeError: If it is no int.
        ValueError: If it is out of range.
    """
    if rank is None:
        return min(32, num_features)
    (rank,) = check_positive_int("ClassCovariance", rank=rank)
    if rank > num_features:
        raise ValueError(f"ClassCovariance: expected `rank` <= {num_features}, got {rank}")
    return rank


def checked_memory(memory: float | str | None) -> float | str | None:
    """Return the memory.

    Raises:
        ValueError: If it is neither None, ``"epoch"`` nor between 0 and 1.
    """
    fades = isinstance(memory, float) and 0 < memory < 1
    if memory is not None and memory != "epoch" and not fades:
        raise ValueError(
            "ClassCovariance: expected `memory` to be None, 'epoch' or a number between 0 and 1, "
            f"got {memory!r}"
        )
    return memory
