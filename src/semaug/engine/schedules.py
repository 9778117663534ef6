"""How the learning rate moves, step by step. One file, for each schedule is a line."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from semaug.errors import UserError, check_option
from semaug.recipe.plan import Plan
from semaug.registry import schedules

__all__ = ["Constant", "Cosine", "Poly", "Schedule", "Step"]


@dataclass(frozen=True, kw_only=True)
class Schedule(ABC):
    """What schedules share: the learning rate may rise from near 0 at first.

    In the K steps of the warm-up, the rate of step k, counted from 1, is k / K of the schedule's,
    or s + (1 - s) (k - 1) / (K - 1) of it with s = ``warmup_start``.

    Args:
        warmup_epochs: Epochs in which the learning rate rises from near 0 to that of the
            schedule, step by step.
        warmup_percent: The same in percent of all steps, instead of epochs.
        warmup_steps: The same as a number of steps.
        warmup_start: Share of the learning rate in the first step of the warm-up; None is 1 / K.

    Raises:
        UserError: If a number is out of range.
    """

    warmup_epochs: float = 0.0
    warmup_percent: float = 0.0
    warmup_steps: int = 0
    warmup_start: float | None = None

    def __post_init__(self) -> None:
        percent, first = self.warmup_percent, self.warmup_start
        check_option("warmup_percent", percent, 0 <= percent < 100, "from 0 to below 100")
        check_option("warmup_steps", self.warmup_steps, self.warmup_steps >= 0, ">= 0")
        inside = first is None or 0 <= first <= 1
        check_option("warmup_start", first, inside, "from 0 to 1, or none")
        own = ("warmup_epochs", "warmup_percent", "warmup_steps")
        if len(given := [f"`{name}`" for name in own if getattr(self, name)]) > 1:
            raise UserError(f"recipe: expected {' or '.join(given)}, got both")

    def check(self, recipe: Any) -> None:
        """Check what only the whole recipe shows.

        Raises:
            UserError: If the warm-up is not shorter than the run.
        """
        if recipe.epochs is None:
            wanted = "0 in a run of `steps`; choose warmup_percent"
            check_option("warmup_epochs", self.warmup_epochs, self.warmup_epochs == 0, wanted)
        else:
            shorter = 0 <= self.warmup_epochs < recipe.epochs
            wanted = f"from 0 to below epochs={recipe.epochs}"
            check_option("warmup_epochs", self.warmup_epochs, shorter, wanted)

    @abstractmethod
    def factor(self, step: int, total: int) -> float:
        """Return what the learning rate is multiplied by at a step of the run, from 0 on."""

    def build(self, plan: Plan) -> Callable[[float, int], float]:
        """Return the function of a learning rate and a step, from 0 on, to the rate at that step.

        >>> from semaug.recipe.plan import StreamPlan
        >>> plan = Plan(4, 2, 8, {"labeled": StreamPlan(2, 1)})
        >>> learning_rate = Step().build(plan)
        >>> [round(learning_rate(1.0, step), 3) for step in range(8)]
        [1.0, 1.0, 1.0, 1.0, 0.1, 0.1, 0.01, 0.01]
        """
        rising = self.warmup_percent / 100 * plan.total_steps
        epochs = self.warmup_epochs * plan.steps_per_epoch
        num_warmup = self.warmup_steps or round(rising or epochs)
        first = self.warmup_start

        def learning_rate(lr: float, step: int) -> float:
            warmup = 1.0
            if step < num_warmup and first is None:
                warmup = (step + 1) / num_warmup
            elif step < num_warmup and first is not None:
                warmup = first + (1 - first) * step / max(num_warmup - 1, 1)
            return lr * self.factor(step, plan.total_steps) * warmup

        return learning_rate


@schedules.register("step")
@dataclass(frozen=True, kw_only=True)
class Step(Schedule):
    """Multiply the learning rate at milestones.

    A milestone after n of E epochs is ``100 * n / E`` percent: the first step that has the new rate
    is the first one of epoch n + 1, counted from 1. What a paper does "in the 80th epoch" of 160
    comes after 79 whole epochs, 49.375 percent.

    Args:
        milestones_percent: When the learning rate is multiplied, in percent of all steps.
        lr_factor: What it is multiplied by.
    """

    milestones_percent: tuple[float, ...] = (50.0, 75.0)
    lr_factor: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_option("lr_factor", self.lr_factor, 0 < self.lr_factor < float("inf"), "> 0")
        rising = sorted(set(self.milestones_percent)) == list(self.milestones_percent)
        inside = all(0 < percent < 100 for percent in self.milestones_percent)
        wanted = "rising between 0 and 100"
        check_option("milestones_percent", self.milestones_percent, rising and inside, wanted)

    def factor(self, step: int, total: int) -> float:
        """Return ``lr_factor`` to the power of the milestones passed."""
        milestones = (round(percent / 100 * total) for percent in self.milestones_percent)
        return self.lr_factor ** sum(step >= milestone for milestone in milestones)


@schedules.register("cosine")
@dataclass(frozen=True, kw_only=True)
class Cosine(Schedule):
    """Half a cosine from the learning rate towards 0, which it would reach after the last step."""

    def factor(self, step: int, total: int) -> float:
        """Return ``(1 + cos(pi * step / total)) / 2``."""
        return (1 + math.cos(math.pi * step / total)) / 2


@schedules.register("poly")
@dataclass(frozen=True, kw_only=True)
class Poly(Schedule):
    """A power of the share of steps that are left, as in semantic segmentation.

    Args:
        power: Exponent, 0.9 in DeepLab and PSPNet.

    Source: Chen et al., https://arxiv.org/abs/1606.00915, section 4.1.2
    """

    power: float = 0.9

    def __post_init__(self) -> None:
        super().__post_init__()
        check_option("power", self.power, 0 < self.power < float("inf"), "> 0")

    def factor(self, step: int, total: int) -> float:
        """Return ``(1 - step / total) ** power``."""
        return float((1 - step / total) ** self.power)


@schedules.register("constant")
@dataclass(frozen=True, kw_only=True)
class Constant(Schedule):
    """A constant learning rate after the warm-up."""

    def factor(self, step: int, total: int) -> float:
        """Return 1."""
        return 1.0
