"""Optimizers, and which parameters have learning rates and weight decays of their own."""

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

_OF_GROUPS = ("layer_decay", "decay_norms")


@dataclass(frozen=True, kw_only=True)
class Optimizer:
    """What optimizers share. Subclasses have an ``lr`` and a ``weight_decay``.

    Args:
        layer_decay: Multiply the learning rate by this for each layer further from the
            classifier, in networks that know their layers as those of timm; None is one rate for
            all.
        decay_norms: Whether biases and the parameters of normalization are decayed too, as in
            the papers.

    Raises:
        UserError: If a number is out of range.
    """

    lr: Any
    weight_decay: Any
    layer_decay: float | None = None
    decay_norms: bool = True

    def __post_init__(self) -> None:
        check_option("lr", self.lr, 0 < self.lr < float("inf"), "> 0")
        decay = self.weight_decay
        check_option("weight_decay", decay, 0 <= decay < float("inf"), ">= 0")
        inside = self.layer_decay is None or 0 < self.layer_decay <= 1
        check_option("layer_decay", self.layer_decay, inside, "above 0 and <= 1, or none")

    def _own(self) -> dict[str, Any]:
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
        return torch.optim.SGD(groups, fused=True, **self._own())


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
        return torch.optim.AdamW(groups, fused=True, **self._own())


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
                groups, opt=self.factory_name, **self._own()
            )
        return optimizer


@cache
def _of_timm(name: str) -> type | None:
    if name not in timm.optim.list_optimizers():
        return None
    return type(name, (TimmOptimizer,), {"factory_name": name, "__doc__": f"{name} of timm."})


optimizers.fallback = _of_timm


def parameter_groups(spec: Optimizer, method: Method) -> list[dict[str, Any]]:
    """Return the groups of a method as an optimizer of torch takes them.

    ``lr_scale`` of a group is its learning rate over that of the recipe, at every step.

    Raises:
        UserError: If a network does not know its layers, which ``layer_decay`` needs.
    """
    scales = {} if spec.layer_decay is None else _layer_scales(method, spec.layer_decay)
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
