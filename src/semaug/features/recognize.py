"""Recognize the output of a layer in the logits of a model.

Logits are the layer's output if they share its memory, unchanged, or if autograd's graph has
nothing but views and copies between both, or bilinear interpolation, which commutes with the layer.
Neither reads a value, so nothing waits for a GPU.
"""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import BackwardCFunction

from semaug.features.probe import Capture

# Names of graph nodes that hand on every value of a tensor, in its order.
PASSING = {
    "AliasBackward0",
    "CloneBackward0",
    "ReshapeAliasBackward0",
    "SqueezeBackward0",
    "SqueezeBackward1",
    "SqueezeBackward2",
    "ToCopyBackward0",
    "UnsafeViewBackward0",
    "UnsqueezeBackward0",
    "ViewBackward0",
}

INTERPOLATING = {"UpsampleBilinear2DBackward0", "UpsampleBilinear2DAaBackward0"}


def is_output(logits: Tensor, seen: Capture) -> bool | None:
    """Whether logits are the output of a layer, unchanged; None if values alone can tell.

    Inside a compiled forward, changes in place are not seen.
    """
    output = seen.output
    if seen.version is not None and output._version != seen.version:
        return False
    if logits is output:
        return True
    dense = _may_be_interpolated(logits, output)
    if logits.numel() == output.numel():
        twin = logits.reshape(output.shape)
        if twin.data_ptr() == output.data_ptr() and twin.stride() == output.stride():
            return True
    elif not dense:
        return False
    passing = PASSING | INTERPOLATING if dense else PASSING
    node = logits.grad_fn
    while node is not None and node is not output.grad_fn and type(node).__name__ in passing:
        node = node.next_functions[0][0]
    if node is None or isinstance(node, BackwardCFunction):  # no graph, or a compiled one
        return None
    if dense and logits.shape != output.shape and node is not output.grad_fn:
        return None  # deterministic interpolation on a GPU is made of other operators
    return node is output.grad_fn


def maker(logits: Tensor, trained: Capture, evaluated: Capture) -> Capture:
    """Choose the forward that made the logits, of one in training and one in evaluation mode.

    Where neither memory nor graph tells, logits with a graph are those of training.
    """
    own, other = is_output(logits, trained), is_output(logits, evaluated)
    if own or other is False or (own is None and other is None and logits.requires_grad):
        return trained
    return evaluated


@torch.no_grad()
def equals_output(logits: Tensor, seen: Capture) -> Tensor:
    """Whether logits are a copy of the output of a layer in any precision: a bool, on its device.

    Of a layer that was changed in place this tells nothing.
    """
    wide = torch.promote_types(logits.dtype, torch.float32)
    output = seen.output.to(wide)
    if output.shape != logits.shape and _may_be_interpolated(logits, output):
        size = logits.shape[2:]
        found = [
            F.interpolate(output, size, mode="bilinear", align_corners=x) for x in (False, True)
        ]
    else:
        found = [output.reshape(logits.shape)]
    # Rounding to bfloat16 is within it. Not `<=`: an overflow in the first step is no other layer.
    others = [(logits.to(wide) - one).norm() > 5e-3 * one.norm() for one in found]
    return ~torch.stack(others).all()


def _may_be_interpolated(logits: Tensor, output: Tensor) -> bool:
    return logits.ndim == 4 == output.ndim and logits.shape[:2] == output.shape[:2]


def is_made_from(logits: Tensor, seen: Capture) -> bool:
    """Whether the output of a layer is somewhere behind the logits in autograd's graph."""
    todo, known = [logits.grad_fn], set()
    while todo:
        node = todo.pop()
        if node is None or node in known:
            continue
        if node is seen.output.grad_fn:
            return True
        known.add(node)
        todo += [before for before, _ in node.next_functions]
    return False


def mismatch(function: str, name: str, logits: Tensor, seen: Capture) -> Exception:
    """Say why logits are not those of a forward.

    Args:
        function: Who asks.
        name: Of the classifier.
        logits: Not its output.
        seen: What it did.
    """
    if len(logits) != len(seen.inputs):
        return ValueError(
            f"{function}: expected `logits` of the latest forward, of {len(seen.inputs)} images, "
            f"got {len(logits)}; call the criterion after each forward, or use with_features"
        )
    if function == "attach" and not is_made_from(logits, seen):
        return RuntimeError(
            "attach: expected `logits` of the latest forward, got others, such as those of an "
            "earlier one or of another model; call the criterion after each forward, or use "
            "with_features"
        )
    return ValueError(
        f"{function}: expected logits features @ weight.T + bias of the classifier {name!r}, got "
        f"others, of shape {tuple(logits.shape)}: something is added, averaged, scaled or cut "
        "behind it; name another one by `classifier`"
    )


class LateCheck:
    """Checks logits without waiting: an answer that a GPU works out is read at a later call."""

    def __init__(self) -> None:
        self._pending: tuple[torch.Event, Tensor, Exception] | None = None

    def check(self, function: str, name: str, logits: Tensor, seen: Capture) -> None:
        """Check that logits are the output of a layer.

        Args:
            function: Who asks, for messages.
            name: Of the layer.
            logits: Of the model.
            seen: What the layer did.

        Raises:
            RuntimeError: If they are of another forward.
            ValueError: If something is behind the layer, or they are of other images.
        """
        if self._pending is not None and self._pending[0].query():
            _, equal, error = self._pending
            self._pending = None
            if not equal:
                raise error
        same = is_output(logits, seen)
        if same is None and logits.is_cuda:
            if self._pending is None:
                equal = torch.empty((), dtype=torch.bool, pin_memory=True)
                equal.copy_(equals_output(logits, seen), non_blocking=True)
                event = torch.Event("cuda")
                event.record()
                self._pending = event, equal, mismatch(function, name, logits.detach(), seen)
        elif not (equals_output(logits, seen) if same is None else same):
            raise mismatch(function, name, logits, seen)

    def __reduce__(self) -> tuple[type["LateCheck"], tuple[()]]:
        return LateCheck, ()
