"""The Pi-model: two views of an unlabeled image, each under its own dropout, are to agree.

    L_host = host_weight * mean over images and classes of (p_a - p_b)^2

The views share their flip and are shifted apart. The gradient flows through both predictions, as
in the code of the source; many others take one as constant, which is about half as much.

Source: Laine and Aila, ICLR 2017, https://arxiv.org/abs/1610.02242
"""

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from semaug.methods.batch import View
from semaug.methods.semi_supervised import (
    Agreement,
    SemiSupervised,
    SemiSupervisedMethod,
    Unlabeled,
    squared_difference,
)
from semaug.registry import methods

__all__ = ["PiModel", "PiModelMethod"]


class PiModel(SemiSupervised):
    """A network that predicts alike for two views of an unlabeled image.

    Args:
        network: As of :class:`SemiSupervised`.
        loss: Likewise.
        one_sided: Whether the second prediction is constant.
        **options: Of :class:`SemiSupervised`.
    """

    joint_views = 2

    def __init__(
        self, network: nn.Module, loss: nn.Module, *, one_sided: bool = False, **options: Any
    ) -> None:
        super().__init__(network, loss, **options)
        self.one_sided = one_sided

    def agree(self, seen: Unlabeled) -> Agreement:
        """Compare the predictions of both views."""
        first, second = seen.logits.softmax(dim=2)
        wanted: Tensor = second.detach() if self.one_sided else second
        value = self.host_weight * squared_difference(first, wanted).mean()
        return Agreement({"consistency": value}, target=first.detach())


@methods.register("pi_model")
@dataclass(frozen=True, kw_only=True)
class PiModelMethod(SemiSupervisedMethod):
    """Pi-model: two views of an unlabeled image are to agree.

    Args:
        one_sided: Whether the gradient flows through one prediction alone.
    """

    host_weight: float = 100.0
    one_sided: bool = False

    host = PiModel

    def views(self, recipe: Any) -> tuple[View, ...]:
        """Return two views with one flip, shifted apart."""
        shares = ("flip",) if getattr(recipe.augment, "flip", False) else ()
        return (View(), View(shares=shares))

    def own_options(self, builder: Any) -> dict[str, Any]:
        """Return what else the host takes."""
        return {"one_sided": self.one_sided}
