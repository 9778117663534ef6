"""The classification loss inside losses that add a term of their own."""

import inspect

from torch import Tensor, nn

from semaug._torch.checks import check_floating, check_labels, check_same_device, check_shapes
from semaug.losses._arguments import at_least_float32

__all__ = [
    "check_given",
    "check_stack",
    "check_stack_and_labels",
    "classification_of",
    "classify",
    "takes_features",
    "takes_positions",
]

# V views or networks, N samples, C classes, H x W pixels of labels, h x w pixels of logits.


def classification_of(owner: str, loss: nn.Module | None) -> nn.Module:
    """Return the loss given, or cross-entropy.

    Raises:
        TypeError: If it is no module.
        ValueError: If it takes no mean.
    """
    if loss is None:
        return nn.CrossEntropyLoss()
    if not isinstance(loss, nn.Module):
        raise TypeError(
            f"{owner}: expected `classification` to be a module, got {type(loss).__name__}"
        )
    reduction = getattr(loss, "reduction", "mean")
    if reduction != "mean":
        raise ValueError(
            f"{owner}: expected `classification` with reduction='mean', got {reduction!r}"
        )
    return loss


def takes_features(loss: nn.Module) -> bool:
    """Tell whether a loss is called with features and weight, such as ISDALoss.

    Its signature tells, so that losses of others need neither a base class nor a flag; unless it
    says so itself, as those do whose options decide.
    """
    return _takes(loss, "features")


def takes_positions(loss: nn.Module) -> bool:
    """Tell whether a loss is called with ``positions=``, such as DisturbLabelLoss.

    They are ``(N,)`` int64, of the images in their set, for losses that draw for each image or
    remember it. Its signature tells, likewise.
    """
    return _takes(loss, "positions")


def _takes(loss: nn.Module, argument: str) -> bool:
    declared = getattr(loss, f"needs_{argument}", None)
    if isinstance(declared, bool):
        return declared
    return argument in inspect.signature(loss.forward).parameters


def classify(
    owner: str,
    loss: nn.Module,
    logits: Tensor,
    labels: Tensor,
    *rest: Tensor | None,
    **options: Tensor | None,
) -> Tensor:
    """Call a loss for a scalar, with logits and soft targets in at least float32.

    Raises:
        ValueError: If it returns another shape.
    """
    logits = at_least_float32(logits)
    if labels.is_floating_point():
        labels = labels.to(logits.dtype)
    value: Tensor = loss(logits, labels, *rest, **options)
    if value.ndim > 0:
        raise ValueError(
            f"{owner}: expected `classification` to return a scalar, got shape {tuple(value.shape)}"
        )
    return value


def check_given(owner: str, why: str, **arguments: tuple[object, bool]) -> None:
    """Check that what is wanted is given, and nothing else.

    Raises:
        ValueError: If one is missing, or would be ignored.
    """
    for name, (value, wanted) in arguments.items():
        if wanted and value is None:
            raise ValueError(f"{owner}: expected `{name}` for {why}, got None")
        if value is not None and not wanted:
            raise ValueError(f"{owner}: expected no `{name}` for {why}")


def check_stack(function: str, name: str, stack: Tensor, letters: str = "V N C") -> None:
    """Check outputs ``(V, N, C)`` or ``(V, N, C, H, W)`` of at least two views.

    Raises:
        TypeError: If it is no tensor of floating-point numbers.
        ValueError: If the shape is another one, or there is one view.
    """
    dense = isinstance(stack, Tensor) and stack.ndim == 5
    check_shapes(function, **{name: (stack, f"{letters} H W" if dense else letters)})
    check_floating(function, **{name: stack})
    if len(stack) < 2:
        letter, *rest = letters.split()
        raise ValueError(
            f"{function}: expected `{name}` of shape ({letter}, {', '.join(rest)}) with "
            f"{letter} >= 2, got {tuple(stack.shape)}"
        )


def check_stack_and_labels(
    function: str, logits: Tensor, labels: Tensor, letters: str = "V N C"
) -> None:
    """Check logits as :func:`check_stack` does, and labels, or soft targets, that all share.

    Raises:
        TypeError: If a dtype is wrong.
        ValueError: If shapes or devices disagree, or there is one view.
    """
    check_stack(function, "logits", logits, letters)
    soft = isinstance(labels, Tensor) and labels.is_floating_point()
    name = "targets" if soft else "labels"
    pixels, label_pixels = (" h w", " h w" if soft else " H W") if logits.ndim == 5 else ("", "")
    pattern = ("N C" if soft else "N") + label_pixels
    check_shapes(function, logits=(logits, letters + pixels), **{name: (labels, pattern)})
    if not soft:
        check_labels(function, labels)
    check_same_device(function, logits=logits, **{name: labels})
