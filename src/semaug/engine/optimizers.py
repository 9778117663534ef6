"""Optimizers, and which parameters have learning rates and weight decays of their own."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any, ClassVar

import timm.models
import timm.optim
import torch
from torch import nn

from semaug.errors import UserError, as_user_error, check_option
from semaug.methods import Method
from semaug.registry import optimizers

_OF_GROUPS = ("layer_decay", "head_lr_scale", "decay_norms")


@dataclass(frozen=True, kw_only=True)
class Optimizer:
    """What optimizers share. Subclasses have an ``lr`` and a ``weight_decay``.

    Args:
        layer_decay: Multiply the learning rate by this for each layer further from the
            classifier, in networks that know their layers as those of timm; None is one rate for
            all.
        head_lr_scale: Multiply the learning rate of the classifier by this, on top, or of all heads
            of a network for segmentation: fresh ones on a pretrained network learn at ten times the
            rate of the others, say.
        decay_norms: Whether biases and the parameters of normalization are decayed too, as in
            the papers.

    Raises:
        UserError: If a number is out of range.
    """

    lr: Any
    weight_decay: Any
    layer_decay: float | None = None
    head_lr_scale: float = 1.0
    decay_norms: bool = True

    def __post_init__(self) -> None:
        check_option("lr", self.lr, 0 < self.lr < float("inf"), "> 0")
        decay = self.weight_decay
        check_option("weight_decay", decay, 0 <= decay < float("inf"), ">= 0")
        inside = self.layer_decay is None or 0 < self.layer_decay <= 1
        check_option("layer_decay", self.layer_decay, inside, "above 0 and <= 1, or none")
        positive = 0 < self.head_lr_scale < float("inf")
        check_option("head_lr_scale", self.head_lr_scale, positive, "> 0")

    def _optimizer_options(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if name not in _OF_GROUPS}


@optimizers.register("sgd")
@dataclass(frozen=True, kw_only=True)
class SGD(Optimizer):
    """Stochastic gradient descent with momentum, as in the papers.

    Args:
        lr: Learning rate at the start.
        momentum: Momentum.
        nesterov: Whether the momentum is Nesterov's.
        weight_decay: On all parameters, as in the papers.
    """

    lr: float = 0.1
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 1e-4

    def __post_init__(self) -> None:
        super().__post_init__()
        check_option("momentum", self.momentum, 0 <= self.momentum < 1, "from 0 to below 1")
        check_option(
            "nesterov", self.nesterov, not self.nesterov or self.momentum > 0, "with momentum > 0"
        )

    def build(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        """Build it; one kernel for all parameters, where a loop over them costs milliseconds."""
        for group in groups:  # Nesterov's needs a momentum, which a group may not have
            if group.get("momentum") == 0:
                group.setdefault("nesterov", False)
        whole = not any(hasattr(x, "to_local") for group in groups for x in group["params"])
        return torch.optim.SGD(
            groups, fused=whole, **self._optimizer_options()
        )  # torch has none for DTensors


@optimizers.register("adamw")
@dataclass(frozen=True, kw_only=True)
class AdamW(Optimizer):
    """Adam with decoupled weight decay (Loshchilov and Hutter, arXiv:1711.05101).

    Args:
        lr: Learning rate at the start.
        betas: Shares that the averages of gradients and of their squares keep at each step.
        eps: Added to the root of the second average.
        weight_decay: Decoupled from the gradient.
    """

    lr: float = 1e-3
    betas: tuple[float, ...] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        inside = len(self.betas) == 2 and all(0 <= beta < 1 for beta in self.betas)
        check_option("betas", self.betas, inside, "two numbers from 0 to below 1")
        check_option("eps", self.eps, self.eps > 0, "> 0")

    def build(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        """Build it."""
        return torch.optim.AdamW(groups, fused=True, **self._optimizer_options())


@dataclass(frozen=True, kw_only=True)
class TimmOptimizer(Optimizer):
    """An optimizer of timm, by the name that its factory knows.

    Args:
        lr: Learning rate at the start.
        weight_decay: As this optimizer means it.
    """

    factory_name: ClassVar[str]

    lr: float = 1e-3
    weight_decay: float = 0.0

    def build(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        """Build it.

        Raises:
            UserError: If it needs a package that is not installed.
        """
        context = f"recipe: optimizer={self.factory_name}: "
        with as_user_error(context, AssertionError, ImportError, TypeError, ValueError):
            optimizer: torch.optim.Optimizer = timm.optim.create_optimizer_v2(
                groups, opt=self.factory_name, **self._optimizer_options()
            )
        return optimizer


@cache
def _find_in_timm(name: str) -> type | None:
    if name not in timm.optim.list_optimizers():
        return None
    return type(name, (TimmOptimizer,), {"factory_name": name, "__doc__": f"{name} of timm."})


optimizers.fallback = _find_in_timm


def parameter_groups(spec: Optimizer, method: Method) -> list[dict[str, Any]]:
    """Return the groups of a method as an optimizer of torch takes them.

    ``lr_scale`` of a group is its learning rate over that of the recipe, at every step.

    Raises:
        UserError: If a network does not know its layers, which ``layer_decay`` needs, or its
            classifier, which ``head_lr_scale`` needs.
    """
    scales = {} if spec.layer_decay is None else _layer_scales(method, spec.layer_decay)
    if spec.head_lr_scale != 1:
        for parameter in _head_parameters(method):
            scales[parameter] = scales.get(parameter, 1.0) * spec.head_lr_scale
    result = []
    for group in map(dict, method.parameter_groups()):
        scale = group.pop("lr_scale", 1.0) * (group.pop("lr", spec.lr) / spec.lr)
        parts: dict[tuple[float, bool], list[nn.Parameter]] = {}
        for parameter in group.pop("params"):
            undecayed = not spec.decay_norms and parameter.ndim <= 1
            part = (scale * scales.get(parameter, 1.0), undecayed)
            parts.setdefault(part, []).append(parameter)
        for (lr_scale, undecayed), parameters in parts.items():
            own = {"weight_decay": 0.0} if undecayed else {}
            result.append({**group, "params": parameters, "lr_scale": lr_scale, **own})
    return result


def _layer_scales(method: Method, layer_decay: float) -> dict[nn.Parameter, float]:
    scales = {}
    for network in method.networks():
        layered = [module for module in network.modules() if hasattr(module, "group_matcher")]
        if not layered:
            raise UserError(
                "recipe: `layer_decay` needs a network that knows its layers by group_matcher(), "
                f"as those of timm, got {type(network).__name__}"
            )
        model: Any = layered[0]
        matcher = model.group_matcher(coarse=False)
        places = timm.models.group_parameters(model, matcher, reverse=True)
        last = max(places.values())
        for name, parameter in model.named_parameters():
            scales[parameter] = layer_decay ** (last - places[name])
    return scales


def _head_parameters(method: Method) -> Iterator[nn.Parameter]:
    """Yield the parameters of the classifiers, or of whole heads of networks that have them."""
    for network in method.networks():
        for module in network.modules():
            get = getattr(module, "get_heads", None) or getattr(module, "get_classifier", None)
            found = get() if get else None
            heads = found if isinstance(found, tuple) else (found,)
            if isinstance(heads[0], nn.Module):
                yield from (parameter for head in heads for parameter in head.parameters())
                break
        else:
            raise UserError(
                "recipe: `head_lr_scale` needs a network that knows its classifier by "
                f"get_classifier(), as those of timm, got {type(network).__name__}"
            )
