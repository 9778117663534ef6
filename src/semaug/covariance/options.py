"""Checks of the options of :class:`semaug.ClassCovariance`."""

from semaug._torch.checks import check_positive_int

__all__ = ["check_effect", "checked_memory", "checked_rank"]


def check_effect(kind: str, option: str, value: object, kinds: tuple[str, ...]) -> None:
    """Check that an option is given only to kinds that it is for.

    Raises:
        ValueError: If it has no effect on this one.
    """
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
    check_positive_int("ClassCovariance", rank=rank)
    if rank > num_features:
        raise ValueError(f"ClassCovariance: expected `rank` <= {num_features}, got {rank}")
    return rank


def checked_memory(memory: float | str | None) -> float | str | None:
    """Return the memory.

    Raises:
        ValueError: If it is neither None, ``"epoch"`` nor between 0 and 1.
    """
    if memory is None or memory == "epoch":
        return memory
    if isinstance(memory, bool) or not isinstance(memory, float) or not 0 < memory < 1:
        raise ValueError(
            "ClassCovariance: expected `memory` to be None, 'epoch' or a number between 0 and 1, "
            f"got {memory!r}"
        )
    return memory
