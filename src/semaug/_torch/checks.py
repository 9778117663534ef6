"""Checks of arguments, shared by all public functions.

Per-step checks read shapes, dtypes and devices only: reading a value would make an
accelerator wait.
"""

import math
from collections.abc import Iterable
from numbers import Real
from operator import index
from typing import Any

import torch
from torch import Tensor


def check_shapes(function: str, **tensors: tuple[Tensor, str]) -> None:
    """Check tensors against patterns such as ``"N C"``; equal letters mean equal sizes.

    The first tensor that uses a letter fixes its size; a number stands for itself.

    Raises:
        TypeError: If a value is not a tensor.
        ValueError: If a shape does not fit; the message shows sizes known so far.
    """
    sizes: dict[str, int] = {}
    for name, (tensor, pattern) in tensors.items():
        if not isinstance(tensor, Tensor):
            raise TypeError(
                f"{function}: expected `{name}` to be a tensor, got {type(tensor).__name__}"
            )
        letters = pattern.split()
        shape = tuple(tensor.shape)
        known = {**{x: int(x) for x in letters if x.isdecimal()}, **sizes}
        fits = len(shape) == len(letters) and all(
            known.setdefault(letter, size) == size
            for letter, size in zip(letters, shape, strict=True)
        )
        if not fits:
            wanted = ", ".join(f"{x}={sizes[x]}" if x in sizes else x for x in letters)
            comma = "," if len(letters) == 1 else ""
            raise ValueError(
                f"{function}: expected `{name}` of shape ({wanted}{comma}), got {shape}"
            )
        sizes = known


def check_channels_first(function: str, images: Tensor) -> None:
    """Check that images ``(N, C, H, W)`` are not, by all appearances, ``(N, H, W, C)``.

    Raises:
        ValueError: If the last size is 1 or 3, as channels are, and the second one is neither.
    """
    _, channels, height, width = images.shape
    if width in (1, 3) and height not in (1, width) and channels not in (1, 3):
        raise ValueError(
            f"{function}: expected `images` of shape (N, C, H, W), got {tuple(images.shape)}, "
            "which looks like (N, H, W, C); give images.permute(0, 3, 1, 2)"
        )


def check_labels(function: str, labels: Tensor, name: str = "labels") -> None:
    """Check that labels are int64 class ids.

    Raises:
        TypeError: If the dtype is another one.
    """
    if labels.dtype != torch.int64:
        raise TypeError(f"{function}: expected `{name}` of dtype torch.int64, got {labels.dtype}")


def check_range(function: str, name: str, values: Tensor, stop: int) -> None:
    """Check that ids lie in 0 to below ``stop``. It reads values: an accelerator is waited for.

    Raises:
        ValueError: If one does not.
    """
    if len(values) == 0:
        return
    lowest, highest = (int(bound) for bound in values.aminmax())
    if lowest < 0 or highest >= stop:
        raise ValueError(
            f"{function}: expected `{name}` in 0..{stop - 1}, got values in {lowest}..{highest}"
        )


def check_floating(function: str, **tensors: Tensor) -> None:
    """Check that tensors hold floating-point numbers.

    Raises:
        TypeError: If one does not.
    """
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            raise TypeError(
                f"{function}: expected `{name}` of a floating-point dtype, got {tensor.dtype}"
            )


def check_same_device(function: str, **tensors: Tensor) -> None:
    """Check that all tensors live on the device of the first.

    Raises:
        ValueError: If one lives elsewhere.
    """
    (first, reference), *others = tensors.items()
    for name, tensor in others:
        if tensor.device != reference.device:
            raise ValueError(
                f"{function}: expected `{name}` on the device of `{first}` "
                f"({reference.device}), got {tensor.device}"
            )


def check_tensors(function: str, **tensors: tuple[Any, str]) -> None:
    """Check shapes as :func:`check_shapes` does, dtypes, and that all live on one device.

    One named ``labels`` is to hold int64 class ids, all others floating-point numbers. One that
    may be None has a pattern that ends with ``?``.

    Raises:
        TypeError: If a value is no tensor or has another dtype.
        ValueError: If shapes or devices disagree.
    """
    tensors = {
        name: (tensor, pattern.rstrip("?"))
        for name, (tensor, pattern) in tensors.items()
        if tensor is not None or not pattern.endswith("?")
    }
    if not tensors:
        return
    check_shapes(function, **tensors)
    values = {name: tensor for name, (tensor, _) in tensors.items()}
    floating = dict(values)
    if "labels" in values:
        check_labels(function, floating.pop("labels"))
    check_floating(function, **floating)
    check_same_device(function, **values)


def is_number(value: object) -> bool:
    """Tell whether a value is a real number; ``True`` and ``False`` are none."""
    return isinstance(value, Real) and not isinstance(value, bool)


def check_number(function: str, name: str, value: float) -> None:
    """Check that a value is a real number.

    Raises:
        TypeError: If it is not; a bool or a tensor is none.
    """
    if not is_number(value):
        raise TypeError(f"{function}: expected `{name}` to be a number, got {value!r}")


def check_finite(function: str, name: str, value: float) -> None:
    """Check that a value is a real number, and finite.

    Raises:
        TypeError: If it is no number.
        ValueError: If it is infinite or not a number.
    """
    check_number(function, name, value)
    if not math.isfinite(value):
        raise ValueError(f"{function}: expected finite `{name}`, got {value}")


def check_at_least(function: str, name: str, value: float | Tensor, minimum: float) -> None:
    """Check a finite number from below; the value of a tensor is not read.

    Raises:
        TypeError: If it is no number.
        ValueError: If the number is too small or not finite.
    """
    if isinstance(value, Tensor):
        return
    check_number(function, name, value)
    if not minimum <= value < math.inf:
        finite = "" if math.isfinite(value) else "finite "
        raise ValueError(f"{function}: expected {finite}`{name}` >= {minimum}, got {value}")


def check_positive_int(function: str, **values: int) -> tuple[int, ...]:
    """Check sizes, and return them as ints of Python.

    Raises:
        TypeError: If a value is not an int.
        ValueError: If a value is below 1.
    """
    return tuple(check_int(function, name, value, 1) for name, value in values.items())


def check_int(function: str, name: str, value: int, minimum: int) -> int:
    """Check an int from below, and return it as one of Python, which NumPy's are not.

    Raises:
        TypeError: If it is no whole number; a bool is none.
        ValueError: If it is below ``minimum``.
    """
    try:
        is_bool = type(value).__name__ in ("bool", "bool_")  # NumPy 1's has an index
        number = None if is_bool else index(value)
    except TypeError:
        number = None
    if number is None:
        raise TypeError(f"{function}: expected `{name}` to be an int, got {value!r}")
    if number < minimum:
        raise ValueError(f"{function}: expected `{name}` >= {minimum}, got {number}")
    return number


def check_written(owner: str, count: Tensor, empty: Tensor | None = None) -> None:
    """Check that counts which left the meta device are no leftovers in memory. It reads values.

    Some loaders, such as ``from_pretrained``, allocate what a checkpoint lacks and write nothing.

    Args:
        owner: Name for messages.
        count: Integers, of which no honest one is negative or 2^48.
        empty: ``(len(count), ...)``, zeros where the count is 0.

    Raises:
        RuntimeError: If they are.
    """
    wrong = (count < 0) | (count >= 2**48)
    if empty is not None:
        wrong = wrong | ((count == 0) & (empty != 0).any(dim=1))
    if wrong.any():
        raise RuntimeError(
            f"{owner}: expected state that was loaded or reset, got memory that nobody wrote to; "
            "call `reset_parameters()` of modules that the checkpoint does not have"
        )


def check_bool(function: str, name: str, value: bool) -> None:
    """Check a switch.

    Raises:
        TypeError: If it is neither ``True`` nor ``False``.
    """
    if not isinstance(value, bool):
        raise TypeError(f"{function}: expected `{name}` to be a bool, got {value!r}")


def check_one_of(function: str, name: str, value: str, choices: Iterable[str]) -> None:
    """Check a name against the known ones.

    Raises:
        ValueError: If it is not among them; the message lists them.
    """
    choices = list(choices)
    if value not in choices:
        listed = ", ".join(repr(choice) for choice in choices)
        raise ValueError(f"{function}: expected `{name}` to be one of {listed}; got {value!r}")
