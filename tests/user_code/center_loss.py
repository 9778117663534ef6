"""Center loss: features are pulled towards a center of their class, which moves with them.

    loss = cross-entropy + strength / 2 * mean over n of |a[n] - c[y_n]|^2

and each step moves the center of a class k by ``-lr`` times

    sum over n of class k of (c[k] - a[n]) / (1 + number of them)

Source: Wen et al., ECCV 2016, https://doi.org/10.1007/978-3-319-46478-7_31, equations 2 to 5,
with a mean over the batch in equation 2
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semaug.errors import check_option
from semaug.registry import Sizes

# N samples, C classes, A features.


@dataclass(frozen=True, kw_only=True)
class Center:
    """Cross-entropy, and a pull of the features towards the center of their class.

    Args:
        strength: Weight of the pull.
        lr: How far a step moves a center, alpha in the paper; the schedule scales it.
    """

    takes_features: ClassVar[bool] = True

    strength: float = 0.01
    lr: float = 0.5

    def __post_init__(self) -> None:
        check_option("strength", self.strength, self.strength >= 0, ">= 0")
        check_option("lr", self.lr, 0 < self.lr <= 1, "above 0 and at most 1")

    def build(self, sizes: Sizes) -> nn.Module:
        return CenterLoss(sizes.num_classes, sizes.num_features, strength=self.strength, lr=self.lr)


class CenterLoss(nn.Module):
    """Cross-entropy and center loss; the centers are parameters with options of their own."""

    def __init__(self, num_classes: int, num_features: int, *, strength: float, lr: float) -> None:
        super().__init__()
        self.strength = strength
        self.lr = lr
        self.centers = nn.Parameter(torch.zeros(num_classes, num_features))

    def forward(self, logits: Tensor, labels: Tensor, features: Tensor, weight: Tensor) -> Tensor:
        """Map logits (N, C), labels (N,) and features (N, A) to a scalar."""
        features, centers = features.float(), self.centers[labels]
        pull = (features - centers.detach()).square().sum(dim=1).mean()
        # Its value is 0, and its gradient in the centers the step of equation 4.
        share = 1 / (1 + torch.bincount(labels, minlength=len(self.centers)))[labels]
        step = (share * (centers - features.detach()).square().sum(dim=1)).sum() / 2
        value = F.cross_entropy(logits, labels) + self.strength / 2 * pull
        return value + (step - step.detach())

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Give the centers plain gradient descent at their own rate."""
        return [
            {"params": [self.centers], "lr": self.lr}
            | {"momentum": 0.0, "nesterov": False, "weight_decay": 0.0}
        ]
