"""Wasserstein GAN with clipped weights, one for each class.

    critic:     mean f(made) - mean f(real)        after each step all weights are clipped to ±clip
    generator:  -mean f(made)

The critic takes ``critic_steps`` steps for one of the generator, and ``warmup_critic_steps`` for
each of the first 25, and for every 500th, so that it is near its optimum. Minus the critic's loss
estimates the distance of the two distributions, up to a factor.

Source: Arjovsky et al., ICML 2017, https://arxiv.org/abs/1701.07875, Algorithm 1, and its code for
the networks and the first steps; one for each class: Wang et al., T-PAMI 2021,
https://arxiv.org/abs/2007.10538, Appendix C
"""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from semaug.errors import check_option
from semaug.generation.dcgan import critic_layers, generator_layers, normal_weights
from semaug.generation.gan import Gan, GanSpec, Losses, PerClass, Shown, side_by_side
from semaug.registry import Sizes, generators

__all__ = ["WGan", "WGanSpec"]

_FIRST, _EVERY = 25, 500  # steps of the generator before which the critic is trained for long


class WGan(Gan):
    """Generators and critics of all classes, side by side.

    Args:
        generator: Of all classes.
        critic: Maps ``(n, C * 3, H, W)`` to scores ``(n, C)``.
        num_classes: C.
        clip: Largest weight of the critic; None is no limit.
    """

    def __init__(
        self, generator: PerClass, critic: nn.Module, num_classes: int, clip: float | None
    ) -> None:
        super().__init__(generator, critic)
        self.num_classes, self.clip = num_classes, clip

    def scores(self, images: Tensor) -> Tensor:
        """Map images (n C, 3, H, W), whose classes take turns, to scores (n, C)."""
        return side_by_side(self.critic, images, self.num_classes).view(-1, self.num_classes)

    def critic_losses(self, shown: Shown) -> Losses:
        """Return the sum over classes, whose networks have nothing in common."""
        estimates = self.scores(shown.real).mean(0) - self.scores(self.constant(shown)).mean(0)
        return Losses(-estimates.sum(), {"critic_estimate": estimates.mean()})

    def generator_losses(self, shown: Shown) -> Losses:
        """Return the sum over classes."""
        return Losses(-self.scores(self.generator(shown.z, shown.labels)).mean(0).sum())

    @torch.no_grad()
    def after_critic_step(self) -> None:
        """Clip all weights of the critic, those of batch norm too."""
        if self.clip is not None:
            for parameter in self.critic.parameters():
                parameter.clamp_(-self.clip, self.clip)


@dataclass(frozen=True, kw_only=True)
class Wasserstein(GanSpec):
    """What both ways to bound a critic share.

    Args:
        critic_steps: Steps of the critic for one of the generator.
    """

    critic_steps: int = 5

    per_class: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_option("critic_steps", self.critic_steps, self.critic_steps >= 1, ">= 1")

    def critic_steps_at(self, step: int) -> int:
        """Return how many steps the critic takes before a step of the generator, from 0."""
        return self.critic_steps


@generators.register("wgan")
@dataclass(frozen=True, kw_only=True)
class WGanSpec(Wasserstein):
    """Wasserstein GAN with clipped weights, one for each class.

    Args:
        clip: Largest weight of the critic.
        warmup_critic_steps: Steps of the critic before each of the first 25 of the generator, and
            before every 500th.
    """

    lr: float = 5e-5
    critic_lr: float = 5e-5
    clip: float = 0.01
    warmup_critic_steps: int = 100

    def __post_init__(self) -> None:
        super().__post_init__()
        check_option("clip", self.clip, 0 < self.clip < float("inf"), "> 0")
        steps = self.warmup_critic_steps
        check_option("warmup_critic_steps", steps, steps >= 1, ">= 1")

    def build(self, sizes: Sizes) -> WGan:
        """Build the networks of DCGAN's shape, with weights from N(0, 0.02^2)."""
        assert sizes.image is not None
        channels, side, _ = sizes.image
        z, width = self.z_size, self.width

        def make(groups: int) -> nn.Module:
            return generator_layers(z, channels, side, width, groups=groups)

        critic = critic_layers(channels, side, self.critic_width, groups=sizes.num_classes)
        gan = WGan(PerClass(make, sizes.num_classes), critic, sizes.num_classes, self.clip)
        normal_weights(gan)
        return gan

    def optimizer(self, parameters: list[nn.Parameter], lr: float) -> torch.optim.Optimizer:
        """Build RMSprop: with momentum the critic's loss is not stationary."""
        return torch.optim.RMSprop(parameters, lr, foreach=True)

    def critic_steps_at(self, step: int) -> int:
        """Return how many steps the critic takes before a step of the generator, from 0."""
        long = step < _FIRST or step % _EVERY == 0
        return self.warmup_critic_steps if long else self.critic_steps

    def quick(self) -> "WGanSpec":
        """Return what a smoke test trains: without the long training of the critic."""
        return replace(self, warmup_critic_steps=min(self.warmup_critic_steps, self.critic_steps))
