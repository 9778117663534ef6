"""An optimizer, a schedule and an evaluation.

Lion steps by the sign of an average of gradients, and decays weights apart from it:

    w = w - lr * (sign(b1 * m + (1 - b1) * g) + weight_decay * w)
    m = b2 * m + (1 - b2) * g

Source: Chen et al., NeurIPS 2023, https://arxiv.org/abs/2302.06675, algorithm 2
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from semaug.engine.evaluation import Evaluator, Predict
from semaug.engine.optimizers import Optimizer
from semaug.engine.schedules import Schedule
from semaug.errors import check_option
from semaug.registry import Sizes

# N images, K classes.


@dataclass(frozen=True, kw_only=True)
class Lion(Optimizer):
    """Steps of one size in all weights, by the sign of an average of gradients.

    Args:
        lr: Learning rate at the start, a tenth of that of AdamW.
        betas: Share of the average in a step, and share of itself that the average keeps.
        weight_decay: Decoupled from the gradient, ten times that of AdamW.
    """

    lr: float = 1e-4
    betas: tuple[float, ...] = (0.9, 0.99)
    weight_decay: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        inside = len(self.betas) == 2 and all(0 <= beta < 1 for beta in self.betas)
        check_option("betas", self.betas, inside, "two numbers from 0 to below 1")

    def build(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        options = {"lr": self.lr, "betas": self.betas, "weight_decay": self.weight_decay}
        return Signs(groups, options)


class Signs(torch.optim.Optimizer):
    """Lion; its averages are state, which checkpoints hold."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            first, second = group["betas"]
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                if weight not in self.state:
                    self.state[weight]["average"] = torch.zeros_like(weight)
                average = self.state[weight]["average"]
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                weight.sub_(group["lr"] * average.lerp(weight.grad, 1 - first).sign())
                average.lerp_(weight.grad, 1 - second)


@dataclass(frozen=True, kw_only=True)
class Triangle(Schedule):
    """Up to the learning rate in a straight line, and down to 0.

    Args:
        peak_percent: When it is reached, in percent of all steps.
    """

    peak_percent: float = 30.0

    def __post_init__(self) -> None:
        super().__post_init__()
        percent = self.peak_percent
        check_option("peak_percent", percent, 0 < percent < 100, "above 0 and below 100")

    def factor(self, step: int, total: int) -> float:
        peak = self.peak_percent / 100 * total
        return min((step + 1) / peak, (total - step) / (total - peak), 1.0)


@dataclass(frozen=True, kw_only=True)
class Shifts:
    """The mean of probabilities over an image and its neighbors, each a few pixels apart.

    Args:
        pixels: How far; what leaves at one side enters at the other.
    """

    pixels: int = 1

    def build(self, sizes: Sizes) -> Evaluator:
        return self.evaluate

    def evaluate(
        self, predict: Predict, images: Tensor, size: tuple[int, int] | None
    ) -> dict[str, Tensor]:
        """Return the logarithm of the mean, (N, K) for each predictor."""
        found: dict[str, list[Tensor]] = {}
        for down, right in ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)):
            shifted = images.roll((self.pixels * down, self.pixels * right), dims=(2, 3))
            for name, logits in predict(shifted).items():
                found.setdefault(name, []).append(logits.softmax(dim=1))
        return {name: torch.stack(probs).mean(dim=0).log() for name, probs in found.items()}
