"""What all methods of adversarial generation share: two networks that take turns."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semaug.errors import check_option
from semaug.registry import Sizes

__all__ = ["Conditional", "Gan", "GanSpec", "Losses", "PerClass", "Shown", "entropy_losses"]

# N images of 3 x H x W from -1 to 1, C classes, Z numbers that an image is made of.


class Shown(NamedTuple):
    """What one step of an optimizer sees."""

    z: Tensor  # (N, Z)
    labels: Tensor  # (N,) of what is made of them
    real: Tensor  # (N, 3, H, W); nothing of a step of the generator looks at it
    real_labels: Tensor  # (N,)


class Losses(NamedTuple):
    """A loss, and scalars for the log."""

    loss: Tensor
    logs: Mapping[str, Tensor] = {}


class Gan(nn.Module, ABC):
    """A generator, and a critic that tells what it makes from real images.

    Args:
        generator: Maps ``z`` ``(N, Z)`` and labels ``(N,)`` to images ``(N, 3, H, W)``.
        critic: Judges images; only this class calls it.
    """

    def __init__(self, generator: nn.Module, critic: nn.Module) -> None:
        super().__init__()
        self.generator, self.critic = generator, critic

    @abstractmethod
    def critic_losses(self, shown: Shown) -> Losses:
        """Return what the critic's optimizer minimizes; the generator is constant."""

    @abstractmethod
    def generator_losses(self, shown: Shown) -> Losses:
        """Return what the generator's optimizer minimizes; the critic is constant."""

    def after_critic_step(self) -> None:
        """Act after each step of the critic's optimizer."""

    @torch.no_grad()
    def constant(self, shown: Shown) -> Tensor:
        """Return what the generator makes, without gradients."""
        made: Tensor = self.generator(shown.z, shown.labels)
        return made


class Conditional(nn.Module):
    """A generator that gets the class as C more inputs, one of which is 1.

    Args:
        layers: Map ``(N, Z + C)`` to images.
        num_classes: C.
    """

    def __init__(self, layers: nn.Module, num_classes: int) -> None:
        super().__init__()
        self.layers, self.num_classes = layers, num_classes

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        """Map (N, Z) and (N,) to (N, 3, H, W)."""
        one_hot = F.one_hot(labels, self.num_classes).to(z.dtype)
        images: Tensor = self.layers(torch.cat([z, one_hot], dim=1))
        return images


class PerClass(nn.Module):
    """A generator for each class, side by side as the groups of one network.

    In training each step shows as many z to each class, in the order of ``labels = 0, 1, ...,
    C - 1, 0, 1, ...``; all networks are computed at once. In evaluation labels may be any, and each
    z passes through the network of its class alone.

    Args:
        make: Builds a network of so many groups, from ``(n, groups * Z)`` to
            ``(n, groups * 3, H, W)``.
        num_classes: C.
    """

    def __init__(self, make: Callable[[int], nn.Module], num_classes: int) -> None:
        super().__init__()
        self.together, self.num_classes = make(num_classes), num_classes
        self._single = [make(1).requires_grad_(False).eval()]  # in a list: not a part of this one

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        """Map (N, Z) and (N,) to (N, 3, H, W)."""
        if self.training:
            return side_by_side(self.together, z, self.num_classes)
        if torch.compiler.is_exporting():  # a graph cannot depend on labels
            every = self.together(z.repeat(1, self.num_classes))
            every = every.unflatten(1, (self.num_classes, -1))
            place = labels.view(-1, 1, 1, 1, 1).expand(-1, 1, *every.shape[2:])
            return every.gather(1, place).squeeze(1)
        present = labels.unique().tolist()
        places = [(labels == label).nonzero().squeeze(1) for label in present]
        parts = [
            torch.func.functional_call(self._single[0], self._state(label), (z[own],))
            for label, own in zip(present, places, strict=True)
        ]
        return torch.cat(parts)[torch.cat(places).argsort()]

    def _state(self, label: int) -> dict[str, Tensor]:
        """Return parameters and statistics of the network of a class: parts of those of all."""
        state = {**dict(self.together.named_parameters()), **dict(self.together.named_buffers())}
        return {
            name: value.chunk(self.num_classes)[label] if value.ndim else value
            for name, value in state.items()
        }


def side_by_side(network: nn.Module, values: Tensor, groups: int) -> Tensor:
    """Show rows to a network of groups, row n to group n mod ``groups``, and undo that after it.

    Args:
        network: Of so many groups.
        values: ``(n * groups, ...)``.
        groups: How many.
    """
    seen = network(values.unflatten(0, (-1, groups)).flatten(1, 2))
    return seen.unflatten(1, (groups, -1)).flatten(0, 1)


def entropy_losses(real: Tensor | None, made: Tensor) -> Tensor:
    """Return the losses of the first GAN of scores: of a critic, or without ``real`` the other.

    ``mean softplus(-real) + mean softplus(made)``, and ``mean softplus(-made)`` of a generator,
    which does not saturate.

    Source: Goodfellow et al., NeurIPS 2014, https://arxiv.org/abs/1406.2661, section 3
    """
    if real is None:
        return F.softplus(-made).mean()
    return F.softplus(-real).mean() + F.softplus(made).mean()


@dataclass(frozen=True, kw_only=True)
class GanSpec(ABC):
    """What the specs of all methods share.

    Args:
        z_size: Numbers that an image is made of, drawn from N(0, 1).
        width: Channels of the widest images inside of the generator.
        critic_width: Likewise of the critic.
        lr: Learning rate of the generator.
        critic_lr: Learning rate of the critic.

    Raises:
        UserError: If a number is out of range.
    """

    z_size: int = 100
    width: int = 64
    critic_width: int = 64
    lr: float
    critic_lr: float

    per_class: ClassVar[bool] = False  # whether each class has networks of its own
    num_codes: ClassVar[int] = 0  # further inputs behind z, drawn from U(-1, 1)

    def __post_init__(self) -> None:
        for name in ("z_size", "width", "critic_width"):
            check_option(name, getattr(self, name), getattr(self, name) >= 1, ">= 1")
        for name in ("lr", "critic_lr"):
            check_option(name, getattr(self, name), 0 < getattr(self, name) < float("inf"), "> 0")

    @abstractmethod
    def build(self, sizes: Sizes) -> Gan:
        """Build generator and critic with random weights."""

    def optimizer(self, parameters: list[nn.Parameter], lr: float) -> torch.optim.Optimizer:
        """Build an optimizer: Adam, as for DCGAN."""
        return torch.optim.Adam(parameters, lr, betas=(0.5, 0.999), fused=True)

    def critic_steps_at(self, step: int) -> int:
        """Return how many steps the critic takes before a step of the generator, from 0."""
        return 1

    def quick(self) -> Any:
        """Return what a smoke test trains."""
        return self
