"""Find the layer of a model that turns features into logits, and check that it does."""

from typing import Any, TypeGuard

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from semaug.features.probe import (
    GUESSED_SIZE,
    PROBE_ERRORS,
    Candidates,
    Linear,
    Probe,
    declared_size,
    probe_images,
    run_probe,
)

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
        if isinstance(module, nn.Conv2d):
            self.num_classes, self.num_features = module.out_channels, module.in_channels
        else:
            self.num_classes, self.num_features = module.out_features, module.in_features

    @property
    def weight(self) -> Tensor:
        """``(C, A)``, read anew each time, so parametrizations and sharding are respected."""
        return _whole(self.module.weight).flatten(1)

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

    @torch.no_grad()
    def makes(self, logits: Tensor, features: Tensor) -> bool:
        """Whether ``features @ weight.T + bias`` are the logits; reads values, so it waits."""
        if logits.shape != (len(features), self.num_classes, *features.shape[2:]):
            return False
        weight = self.weight
        low_precision = any(t.dtype.itemsize < 4 for t in (logits, features, weight))
        tolerance = 5e-2 if low_precision else 5e-3  # the latter leaves room for TF32
        dtype = torch.promote_types(weight.dtype, torch.float32)
        bias = None if self.module.bias is None else _whole(self.module.bias).to(dtype)
        with torch.autocast(features.device.type, enabled=False):
            vectors = features.movedim(1, -1).to(dtype)
            expected = F.linear(vectors, weight.to(dtype), bias).movedim(-1, 1)
            # Not `<=`: an overflow in the first step is not a wrong classifier.
            return not bool((logits - expected).norm() > tolerance * expected.norm())


def _whole(parameter: Any) -> Tensor:
    if hasattr(parameter, "full_tensor"):  # a DTensor, sharded by FSDP2
        from torch.distributed.tensor import Partial

        # Each rank's loss contributes its own gradient, and FSDP averages over ranks.
        return parameter.full_tensor(grad_placements=[Partial("avg")])
    return parameter


def find_classifier(
    function: str,
    model: nn.Module,
    given: nn.Module | str | None,
    example_images: Tensor | None,
) -> tuple[Classifier, bool]:
    """Find the classifier of a model.

    Args:
        function: Who asks, for messages.
        model: Unwrapped.
        given: The module or its dotted name, if the user said so.
        example_images: A batch the model accepts, if the user gave one.

    Returns:
        The classifier, and whether a forward has shown that it makes the logits.

    Raises:
        TypeError: If an argument or the output of the model is of the wrong type.
        ValueError: If there is no such classifier.
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
    module = _given(function, given, candidates) or _declared(model)
    size = declared_size(model)
    if module is not None and size is None and example_images is None:
        return _named(model, module), False
    images = probe_images(model, example_images, size or GUESSED_SIZE)
    try:
        probe = run_probe(model, images, candidates)
    except PROBE_ERRORS as error:
        if example_images is not None:
            raise
        if module is not None:
            return _named(model, module), False
        raise ValueError(
            f"{function}: expected `example_images`, a batch that the model accepts, or "
            f"`classifier`; a guessed batch of shape {tuple(images.shape)} failed: {error}"
        ) from error
    return _confirmed(function, model, module, probe, candidates), True


def unwrap(function: str, model: nn.Module) -> nn.Module:
    """Take off ``torch.compile`` and ``DistributedDataParallel``.

    Raises:
        TypeError: If the model is no module.
        ValueError: If it is wrapped by ``DataParallel``.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(
            f"{function}: expected `model` to be an nn.Module, got {type(model).__name__}"
        )
    if isinstance(model, nn.DataParallel):
        raise ValueError(
            f"{function}: expected `model` not to be wrapped by DataParallel, whose replicas "
            "hide the features; use DistributedDataParallel"
        )
    inner = model.module if isinstance(model, DistributedDataParallel) else None
    inner = getattr(model, "_orig_mod", inner)  # a compiled module
    return model if inner is None else unwrap(function, inner)


def logits_of(function: str, output: Any) -> Tensor:
    """Logits of a model's output: a tensor, or an object with ``logits`` as in transformers.

    Raises:
        TypeError: If it is neither.
    """
    logits = getattr(output, "logits", output)
    if not isinstance(logits, Tensor):
        raise TypeError(
            f"{function}: expected the model to return logits or an object with `logits`, "
            f"got {type(output).__name__}"
        )
    return logits


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
        if (_is_same(call.output, logits) if module is None else call.module is module)
    ]
    if calls:
        classifier = _named(model, calls[-1].module)
        check_makes(
            function, classifier, logits, classifier.features(function, calls[-1].inputs, logits)
        )
        return classifier
    if module is not None:
        raise ValueError(
            f"{function}: expected the forward of the model to call the classifier "
            f"{_named(model, module).name!r}, it did not; name another one by `classifier`, "
            f"{_listed(candidates)}"
        )
    fitting = {
        name: linear
        for name, linear in candidates.items()
        if linear.weight.shape[:1] == logits.shape[-1:]
    }
    raise ValueError(
        f"{function}: found no layer whose output is the output of the model; name the "
        f"classifier by `classifier`, {_listed(fitting or candidates)}"
    )


def check_makes(function: str, classifier: Classifier, logits: Tensor, features: Tensor) -> None:
    """Check that the classifier alone makes the logits; reads values.

    Raises:
        ValueError: If it does not.
    """
    if not classifier.makes(logits, features):
        raise ValueError(
            f"{function}: expected logits features @ weight.T + bias of the classifier "
            f"{classifier.name!r}, got others, of shape {tuple(logits.shape)}: something is "
            "added, averaged, scaled or cut behind it; name another one by `classifier`"
        )


def _is_same(output: Tensor, logits: Tensor) -> bool:
    if output.untyped_storage().data_ptr() == logits.untyped_storage().data_ptr():
        return True
    # Some models and wrappers return a float32 copy. Zeros of a fresh head would prove nothing.
    if output.numel() != logits.numel() or not output.any():
        return False
    return torch.equal(output.reshape(logits.shape).to(logits.dtype), logits)


def _named(model: nn.Module, module: Linear) -> Classifier:
    return Classifier(module, next(n for n, m in model.named_modules() if m is module))


def _listed(candidates: Candidates) -> str:
    """Name the last candidates with their weights' shapes; classifiers stand at the end."""
    last = list(candidates.items())[-NUM_LISTED:]
    return "one of " + ", ".join(f"{name!r} {tuple(m.weight.shape[:2])}" for name, m in last)


NUM_LISTED = 8
