"""Temporal ensembling: predictions are to agree with the average of earlier ones.

    L_host = host_weight * mean over images and classes of (p - z / (1 - momentum^n))^2
    z <- momentum z + (1 - momentum) p    and    n <- n + 1    after each step that shows the image

p is the prediction in training, with augmentation and dropout; n counts how often an image was
shown. An image without an earlier prediction has no target, so the first epoch has none. Where
each image is shown once an epoch this is the source's update at the end of the epoch; where some
are left out or shown twice, the bias correction stays right.

Source: Laine and Aila, ICLR 2017, Algorithm 2, https://arxiv.org/abs/1610.02242
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from semaug._torch.distributed import gather_over_ranks, world_size
from semaug.errors import check_option
from semaug.methods.batch import Batch, StepOutput
from semaug.methods.semi_supervised import (
    Agreement,
    SemiSupervised,
    SemiSupervisedMethod,
    Unlabeled,
    squared_difference,
)
from semaug.registry import methods

__all__ = ["TemporalEnsembling", "TemporalEnsemblingMethod"]

# M images of the unlabeled set, N of a step, C classes.


class TemporalEnsembling(SemiSupervised):
    """A network that agrees with the average of its earlier predictions.

    Args:
        network: As of :class:`SemiSupervised`.
        loss: Likewise.
        num_images: M; positions of a batch are below it.
        num_classes: C.
        ensemble_momentum: Share of itself that the average keeps.
        **options: Of :class:`SemiSupervised`.
    """

    ensemble: Tensor  # (M, C), z
    visits: Tensor  # (M,) int64, n

    def __init__(
        self,
        network: nn.Module,
        loss: nn.Module,
        *,
        num_images: int,
        num_classes: int,
        ensemble_momentum: float = 0.6,
        **options: Any,
    ) -> None:
        super().__init__(network, loss, **options)
        self.ensemble_momentum = ensemble_momentum
        self.register_buffer("ensemble", torch.zeros(num_images, num_classes))
        self.register_buffer("visits", torch.zeros(num_images, dtype=torch.int64))

    def agree(self, seen: Unlabeled) -> Agreement:
        """Compare predictions with the average of earlier ones, where there are some."""
        visits = self.visits[seen.positions].unsqueeze(1)
        known = visits > 0
        shares = torch.where(known, 1 - self.ensemble_momentum**visits, 1.0)
        target = (self.ensemble[seen.positions] / shares).to(seen.logits.dtype)
        differences = squared_difference(seen.probs, target) * known.squeeze(1)
        value = self.host_weight * differences.mean()
        return Agreement({"consistency": value}, target=target, kept=seen.probs.detach())

    @torch.no_grad()
    def after_step(self, batch: Batch, output: StepOutput) -> None:
        """Take in the predictions of the step, those of other processes too."""
        probs, positions = output.kept.to(self.ensemble.dtype), batch.unlabeled.positions
        assert positions is not None, (
            "temporal ensembling: expected `positions` of unlabeled images"
        )
        if world_size() > 1:
            probs, positions = gather_over_ranks(probs, positions, None, 0)
        self.ensemble[positions] = self.ensemble[positions].lerp(probs, 1 - self.ensemble_momentum)
        self.visits[positions] += 1


@methods.register("temporal_ensembling")
@dataclass(frozen=True, kw_only=True)
class TemporalEnsemblingMethod(SemiSupervisedMethod):
    """Temporal ensembling: predictions are to agree with the average of earlier ones.

    Args:
        ensemble_momentum: Share of itself that the average keeps at each look at an image.
    """

    host_weight: float = 30.0
    ensemble_momentum: float = 0.6

    host = TemporalEnsembling

    def __post_init__(self) -> None:
        super().__post_init__()
        momentum = self.ensemble_momentum
        check_option("ensemble_momentum", momentum, 0 <= momentum < 1, "from 0 to below 1")

    def own_options(self, builder: Any) -> dict[str, Any]:
        """Return what else the host takes."""
        return {
            "num_images": builder.plan.streams["unlabeled"].num_images,
            "num_classes": builder.sizes.num_classes,
            "ensemble_momentum": self.ensemble_momentum,
        }
