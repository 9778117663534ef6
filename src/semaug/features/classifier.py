"""Find the layer of a model that turns features into logits, and check that it does."""

from collections.abc import Mapping
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils.parametrize import is_parametrized

from semaug.features.probe import (
    GUESSED_SIZE,
    PROBE_ERRORS,
    Candidates,
    Capture,
    Linear,
    Probe,
    declared_size,
    probe_images,
    run_probe,
)
from semaug.features.recognize import equals_output, is_made_from, is_output, mismatch

# N samples, C classes, A features.


class Classifier:
    """The linear map from features to logits inside a model.

    Not a module, so that whoever holds it does not own the parameters a second time.

    Args:
        module: ``nn.Linear``, or ``nn.Conv2d`` of kernel size 1.
        name: Where it is in the model, for messages.
    """

    def __init__(self, module: Linear, name: str) -> None:
        self.module, self.name = module, name
        self.num_classes, self.num_features = _sizes(module)

    def weight(self, function: str, seen: Tensor | None = None) -> Tensor:
        """``(C, A)``: what a forward used, if it was seen, else read anew.

        Raises:
            RuntimeError: If it is gone, since the first FSDP shards it after the forward.
        """
        sharded = not is_parametrized(self.module, "weight") and _is_sharded(self.module.weight)
        weight: Any = self.module.weight if seen is None or sharded else seen
        if _is_sharded(weight):
            from torch.distributed.tensor import Partial

            # Each rank's loss contributes its own gradient, and FSDP averages over ranks.
            weight = weight.full_tensor(grad_placements=[Partial("avg")])
        elif weight.numel() != self.num_classes * self.num_features or _is_freed(weight):
            raise RuntimeError(
                f"{function}: expected the weight of the classifier {self.name!r} after the "
                f"forward, found it sharded by FullyShardedDataParallel; use fully_shard, or wrap "
                "the model without its classifier"
            )
        return weight.flatten(1)

    def features(self, function: str, inputs: Tensor, logits: Tensor) -> Tensor:
        """Reshape what the layer received to ``(N, A)``, or ``(N, A, h, w)`` for dense logits.

        Raises:
            ValueError: If it received more feature vectors for an image than there are logits.
        """
        if isinstance(self.module, nn.Conv2d) and inputs.ndim == 4 == logits.ndim:
            return inputs
        if inputs.numel() != len(inputs) * self.num_features:
            raise ValueError(
                f"{function}: expected one feature vector for each image at the classifier "
                f"{self.name!r}, got an input of shape {tuple(inputs.shape)} and logits of shape "
                f"{tuple(logits.shape)}; pool before it, or return dense logits of a 1x1 "
                "convolution as they are"
            )
        return inputs.flatten(1)


def _sizes(module: Linear) -> tuple[int, int]:
    if isinstance(module, nn.Conv2d):
        return module.out_channels, module.in_channels
    return module.out_features, module.in_features


def _is_sharded(weight: Any) -> bool:
    return hasattr(weight, "full_tensor")  # a DTensor, of FSDP2


def _is_freed(weight: Tensor) -> bool:
    return not torch.compiler.is_compiling() and weight.untyped_storage().size() == 0


def find_classifier(
    function: str,
    model: nn.Module,
    given: nn.Module | str | None,
    example_images: Tensor | None,
) -> Classifier:
    """Find the classifier of a model.

    Args:
        function: Who asks, for messages.
        model: Unwrapped.
        given: The module or its dotted name, if the user said so.
        example_images: A batch the model accepts, if the user gave one.

    Raises:
        TypeError: If an argument or the output of the model is of the wrong type.
        ValueError: If there is no such classifier, or it has no size yet.
    """
    if example_images is not None and not isinstance(example_images, Tensor):
        raise TypeError(
            f"{function}: expected `example_images` to be a tensor, "
            f"got {type(example_images).__name__}"
        )
    candidates = {name: module for name, module in model.named_modules() if _is_linear(module)}
    if not candidates:
        raise ValueError(
            f"{function}: expected a `model` with a Linear or 1x1 convolution as classifier, "
            "got one without either"
        )
    if any(map(_is_lazy, model.modules())):
        if example_images is None:
            raise ValueError(
                f"{function}: expected `model` to have been called once, since lazy layers have no "
                "size before; call it, or give `example_images`"
            )
        run_probe(model, example_images[:2], {})
    module = _given(function, given, candidates) or _declared(model)
    size = None if given is not None else declared_size(model)
    if module is not None and size is None and example_images is None:
        return _named(model, module)
    images = probe_images(model, example_images, size or GUESSED_SIZE)
    try:
        probe = run_probe(model, images, candidates)
    except PROBE_ERRORS as error:
        if example_images is not None:
            raise
        if module is not None:
            return _named(model, module)
        raise ValueError(
            f"{function}: expected `example_images`, a batch that the model accepts, or "
            f"`classifier`; a guessed batch of shape {tuple(images.shape)} failed: {error}"
        ) from error
    return _confirmed(function, model, module, probe, candidates)


def unwrap(function: str, model: nn.Module) -> nn.Module:
    """Take off ``torch.compile`` and ``DistributedDataParallel``.

    Raises:
        TypeError: If the model is no module.
        ValueError: If it is wrapped by ``DataParallel`` or the first FSDP.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(
            f"{function}: expected `model` to be an nn.Module, got {type(model).__name__}"
        )
    for wrapper, why in REFUSED.items():
        if wrapper in (kind.__name__ for kind in type(model).__mro__):
            raise ValueError(f"{function}: expected `model` not to be wrapped by {wrapper}, {why}")
    inner = model.module if isinstance(model, DistributedDataParallel) else None
    inner = getattr(model, "_orig_mod", inner)  # a compiled module
    return model if inner is None else unwrap(function, inner)


REFUSED = {
    "DataParallel": "whose replicas hide the features; use DistributedDataParallel",
    "FullyShardedDataParallel": "which keeps parameters flat; use fully_shard, or attach first",
}


def logits_of(function: str, output: Any) -> Tensor:
    """Logits of a model's output.

    A tensor, an object with ``logits`` as in transformers, or a dict with ``"out"`` as
    torchvision's networks for segmentation return it.

    Raises:
        TypeError: If it is something else.
        ValueError: If it has logits of other classifiers too.
    """
    if isinstance(output, Tensor):
        return output
    is_dict = isinstance(output, Mapping) and not hasattr(output, "logits")
    own = "out" if is_dict else "logits"
    found = output if is_dict else _attributes(output)
    logits = found.get(own)
    if not isinstance(logits, Tensor):
        raise TypeError(
            f"{function}: expected the model to return logits, an object with `logits` or a dict "
            f"with 'out', got {type(output).__name__}"
        )
    is_one = (lambda name: True) if own == "out" else (lambda name: "logits" in name)
    others = [name for name in found if name != own and is_one(name)]
    others = [f"`{name}`" for name in others if found[name] is not None]
    if others:
        read = "output['out']" if own == "out" else "output.logits"
        raise ValueError(
            f"{function}: expected logits of one classifier, got {type(output).__name__} with "
            f"`{own}` and {', '.join(others)}, which would be passed over; attach the loss, "
            f"call it with `{read}` and add a loss of the others, or build the model "
            "without them"
        )
    return logits


def _attributes(output: Any) -> dict[str, Any]:
    names = getattr(output, "_fields", getattr(output, "__dict__", ()))
    return {name: getattr(output, name) for name in (*names, "logits") if hasattr(output, name)}


def _is_linear(module: object) -> TypeGuard[Linear]:
    if isinstance(module, nn.Conv2d):
        return (
            module.kernel_size == (1, 1)
            and module.groups == 1
            and module.padding in ((0, 0), "valid")
        )
    return isinstance(module, nn.Linear)


def _given(function: str, given: nn.Module | str | None, candidates: Candidates) -> Linear | None:
    if given is None:
        return None
    for name, module in candidates.items():
        if given is module or given == name:
            return module
    shown = repr(given) if isinstance(given, str) else type(given).__name__
    raise ValueError(f"{function}: expected `classifier` to be {_listed(candidates)}; got {shown}")


def _declared(model: nn.Module) -> Linear | None:
    """What the model says of itself: timm's accessor, or the end of a plain Sequential."""
    accessor = getattr(model, "get_classifier", None)
    last: Any = accessor() if callable(accessor) else model
    while isinstance(last, nn.Sequential) and len(last) > 0:
        last = last[-1]
    return last if _is_linear(last) else None


def _confirmed(
    function: str,
    model: nn.Module,
    module: Linear | None,
    probe: Probe,
    candidates: Candidates,
) -> Classifier:
    """Accept the declared module, or the last one whose output is the output of the model."""
    logits = logits_of(function, probe.output)
    calls = [
        call
        for call in probe.calls
        # Zeros of a fresh head would prove nothing.
        if (
            _matches(logits, call) and (call.output.requires_grad or call.output.any())
            if module is None
            else call.module is module
        )
    ]
    if calls:
        classifier = _named(model, calls[-1].module)
        classifier.features(function, calls[-1].inputs, logits)
        if not _matches(logits, calls[-1]):
            raise mismatch("with_features", classifier.name, logits, calls[-1])
        return classifier
    if module is not None:
        raise ValueError(
            f"{function}: expected the forward of the model to call the classifier "
            f"{_named(model, module).name!r}, it did not; name another one by `classifier`, "
            f"{_listed(candidates)}"
        )
    wide = [
        f"{name!r} of kernel size {tuple(m.kernel_size)}"
        for name, m in model.named_modules()
        if isinstance(m, nn.Conv2d) and not _is_linear(m) and m.out_channels == logits.shape[1]
    ]
    if logits.ndim == 4 and wide:
        raise ValueError(
            f"{function}: expected a 1x1 convolution as classifier, got {wide[-1]}, which reads "
            "the features of neighboring pixels too; replace it by nn.Conv2d(A, C, 1), or put the "
            "other convolution before it"
        )
    fitting = {
        name: linear for name, linear in candidates.items() if _sizes(linear)[0] == logits.shape[-1]
    }
    behind = [name for name, m in fitting.items() if _is_behind(logits, m, probe)]
    averaged = f"; it is made of those of {', '.join(map(repr, behind))}" if behind[1:] else ""
    raise ValueError(
        f"{function}: found no layer whose output is the output of the model{averaged}; name the "
        f"classifier by `classifier`, {_listed(fitting or candidates)}"
    )


def _is_behind(logits: Tensor, module: Linear, probe: Probe) -> bool:
    return any(call.module is module and is_made_from(logits, call) for call in probe.calls)


def _matches(logits: Tensor, seen: Capture) -> bool:
    """Whether logits are the output of a layer, by identity or else by value."""
    same = is_output(logits, seen)
    return bool(equals_output(logits, seen)) if same is None else same


def _is_lazy(module: nn.Module) -> bool:
    return isinstance(module, LazyModuleMixin) and module.has_uninitialized_params()


def _named(model: nn.Module, module: Linear) -> Classifier:
    return Classifier(module, next(n for n, m in model.named_modules() if m is module))


def _listed(candidates: Candidates) -> str:
    """Name the last candidates with their weights' shapes; classifiers stand at the end."""
    last = list(candidates.items())[-NUM_LISTED:]
    return "one of " + ", ".join(f"{name!r} {_sizes(m)}" for name, m in last)


NUM_LISTED = 8
