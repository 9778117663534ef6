"""FixMatch: confident pseudo-labels of weak views are the targets of strong views.

    L_host = host_weight * mean over images of [max q >= threshold] CE(argmax q, p_strong)

q is the prediction of the weak view, constant. Images below the threshold count as zeros. All
views pass through the network together with the labeled images.

With an unlabeled loss, that is of the strong view, of the images above the threshold; its target
``host`` is q.

Source: Sohn et al., NeurIPS 2020, https://arxiv.org/abs/2001.07685
"""

from dataclasses import dataclass, replace
from typing import Any

import torch.nn.functional as F
from torch import nn

from semaug.errors import UserError, check_option
from semaug.methods.batch import View
from semaug.methods.semi_supervised import (
    Agreement,
    SemiSupervised,
    SemiSupervisedMethod,
    Unlabeled,
)
from semaug.registry import methods

__all__ = ["FixMatch", "FixMatchMethod"]


class FixMatch(SemiSupervised):
    """A network that learns its own confident pseudo-labels from strong views.

    Args:
        network: As of :class:`SemiSupervised`.
        loss: Likewise.
        threshold: Confidence from which a label counts.
        **options: Of :class:`SemiSupervised`.
    """

    joint_views = 2  # weak and strong

    def __init__(
        self, network: nn.Module, loss: nn.Module, *, threshold: float = 0.95, **options: Any
    ) -> None:
        super().__init__(network, loss, **options)
        self.threshold = threshold

    def agree(self, seen: Unlabeled) -> Agreement:
        """Compare predictions of strong views with confident pseudo-labels of weak ones."""
        target = seen.probs.detach()
        confidence, labels = target.max(dim=1)
        mask = (confidence >= self.threshold).to(target.dtype)
        losses = F.cross_entropy(seen.logits[1], labels, reduction="none") * mask
        terms = {"pseudo_label": self.host_weight * losses.mean()}
        return Agreement(terms, target, mask, {"utilization": mask.mean()})


@methods.register("fixmatch")
@dataclass(frozen=True, kw_only=True)
class FixMatchMethod(SemiSupervisedMethod):
    """FixMatch: confident pseudo-labels of weak views are the targets of strong views.

    Args:
        threshold: Confidence from which a label counts.
        strong_ops: Operations of RandAugment on each strong view.
        strong_magnitude: Their magnitude, 0 to 30.
        strong_cutout: Side of the hole in each strong view, in pixels.
    """

    unlabeled_batch_size: int | None = 448  # seven times the 64 labeled images
    ramp_percent: float = 0.0
    threshold: float = 0.95
    strong_ops: int = 2
    strong_magnitude: int = 10
    strong_cutout: int = 16

    host = FixMatch

    def __post_init__(self) -> None:
        super().__post_init__()
        check_option("threshold", self.threshold, 0 <= self.threshold <= 1, "from 0 to 1")

    def views(self, recipe: Any) -> tuple[View, ...]:
        """Return a weak view, with the augmentation of the recipe, and a strong one.

        Raises:
            UserError: If the augmentation of the recipe cannot be made stronger.
        """
        if not hasattr(recipe.augment, "policy"):
            raise UserError("recipe: method=fixmatch expects augment=standard, to make it stronger")
        strong = replace(
            recipe.augment,
            policy="randaugment",
            randaugment_ops=self.strong_ops,
            randaugment_magnitude=self.strong_magnitude,
            fill=None,
            cutout=self.strong_cutout,
        )
        return (View(), View(augment=strong))

    def own_options(self, builder: Any) -> dict[str, Any]:
        """Return what else the host takes."""
        return {"threshold": self.threshold}
