"""Keep what a classifier received, gave and weighed in a forward.

One hook keeps all three, so the loss sees the weight that made the logits: also of
``torch.func.functional_call``, and without another power iteration of spectral normalization.
"""

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized
from torch.utils.hooks import RemovableHandle
from torch.utils.module_tracker import ModuleTracker

from semaug.features.probe import Args, Capture, Kwargs, Linear, captured

BACKWARD = ModuleTracker()  # torch's public way to ask whether backward runs; never entered


class Tap:
    """A forward hook, of which ``torch.jit.script`` says what to do with it."""

    __name__ = "a hook of semaug"

    @property
    def __globals__(self) -> dict[str, object]:
        """What a scripted hook would see.

        Raises:
            RuntimeError: Always.
        """
        raise RuntimeError(
            "torch.jit.script: expected a model without hooks of semaug; call detach() of the "
            "criterion or of with_features before"
        )


class FeatureTap(Tap):
    """Forward hook that keeps a layer's latest forward in training and in evaluation mode.

    Restarted as ``owned``, it belongs to one forward: it starts and ends empty. Otherwise it
    keeps the latest ones, but not the repetition of a forward by activation checkpointing
    during backward, which would leave a stale capture alive. A copy of it, deep or pickled,
    starts empty, so that an EMA teacher neither shares the student's captures nor drags them
    along.

    Attributes:
        trained: The latest forward in training mode since the restart, or None.
        evaluated: The latest one in evaluation mode after that, or None.
        trained_weight: That of the latest forward in training mode, restarted or not.
        evaluated_weight: That of the latest one in evaluation mode.
        sources: What a computed weight was made of, and the versions of these tensors.
    """

    def __init__(self, weight_tap: "WeightTap | None" = None) -> None:
        self.weight_tap = weight_tap
        self.trained_weight: Tensor | None = None
        self.evaluated_weight: Tensor | None = None
        self.sources: list[tuple[Tensor, int]] = []
        self.restart()

    def restart(self, owned: bool = False) -> None:
        """Forget the captures, and begin to belong to one forward or to none.

        It is no context manager: torch 2.11 compiles none here.
        """
        self.trained: Capture | None = None
        self.evaluated: Capture | None = None
        self.owned = owned

    def __call__(self, module: Linear, args: Args, kwargs: Kwargs, output: Tensor) -> None:
        """Keep what the module received, gave and weighed."""
        if not (torch.compiler.is_compiling() or self.owned or not BACKWARD.is_bw):
            return
        computed = None if self.weight_tap is None else self.weight_tap.take()
        weight = module.weight if computed is None else computed
        if computed is not None and not torch.compiler.is_compiling():
            self.sources = [(source, source._version) for source in module.parameters()]
        seen = captured(module, args, kwargs, output, weight)
        if module.training:
            self.trained, self.trained_weight, self.evaluated = seen, weight, None
        else:
            self.evaluated, self.evaluated_weight = seen, weight

    def weight_in(self, training: bool) -> Tensor | None:
        """Return the weight of the latest forward in a mode, unless it is no longer what it was.

        A weight that is computed changes with the next step of an optimizer.
        """
        if any(source._version != version for source, version in self.sources):
            return None
        return self.trained_weight if training else self.evaluated_weight

    def __reduce__(self) -> tuple[type["FeatureTap"], tuple["WeightTap | None"]]:
        return FeatureTap, (self.weight_tap,)


class WeightTap(Tap):
    """Forward hook that keeps the weight that a parametrization computed for a forward."""

    def __init__(self) -> None:
        self.weight: Tensor | None = None

    def __call__(self, module: nn.Module, args: Args, output: Tensor) -> None:
        """Keep it."""
        self.weight = output

    def take(self) -> Tensor | None:
        """Return it and forget it."""
        weight, self.weight = self.weight, None
        return weight

    def __reduce__(self) -> tuple[type["WeightTap"], tuple[()]]:
        return WeightTap, ()


def hook(module: Linear) -> tuple[FeatureTap, list[RemovableHandle]]:
    """Hook a layer; return the hook and the handles to remove it."""
    weight_tap, handles = None, []
    if is_parametrized(module, "weight"):
        weight_tap = WeightTap()
        computed = module.get_submodule("parametrizations.weight")
        handles.append(computed.register_forward_hook(weight_tap))
    tap = FeatureTap(weight_tap)
    handles.append(module.register_forward_hook(tap, with_kwargs=True))
    return tap, handles
