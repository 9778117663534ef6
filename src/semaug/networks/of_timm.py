"""Networks by the names that timm knows, ours among them."""

from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

import timm
from torch import nn

from semaug.errors import as_user_error, check_option
from semaug.registry import Sizes, networks


@dataclass(frozen=True, kw_only=True)
class TimmNetwork:
    """A network that timm builds.

    Args:
        block_drop_rate: Dropout inside the blocks of networks that have it, 0.3 in the Wide
            ResNets of the papers; None is the network's default.

    Raises:
        UserError: If a number is out of range.
    """

    model: ClassVar[str]

    block_drop_rate: float | None = None

    def __post_init__(self) -> None:
        rate = self.block_drop_rate
        holds = rate is None or 0 <= rate < 1
        check_option("block_drop_rate", rate, holds, "from 0 to below 1, or none")

    def build(self, sizes: Sizes) -> nn.Module:
        """Build the network with random weights.

        Raises:
            UserError: If it has no dropout inside its blocks, and some is wanted.
        """
        context = f"recipe: network={self.model} has no dropout inside its blocks: "
        dropout = () if self.block_drop_rate is None else (TypeError,)
        with as_user_error(context, *dropout):
            return timm.create_model(self.model, **self.arguments(sizes))

    def arguments(self, sizes: Sizes) -> dict[str, Any]:
        """Return what ``timm.create_model`` takes behind the name."""
        rate = self.block_drop_rate
        return {"num_classes": sizes.num_classes} | (
            {} if rate is None else {"block_drop_rate": rate}
        )


@cache
def network_of_timm(name: str, description: str = "") -> type[TimmNetwork] | None:
    """Return the spec class of a name; None if timm does not know it."""
    if not timm.is_model(name):
        return None
    return type(name, (TimmNetwork,), {"model": name, "__doc__": description or f"{name} of timm."})


def register_networks(descriptions: dict[str, str]) -> None:
    """Register the networks that are listed; timm's others are found by their names."""
    for name, description in descriptions.items():
        kind = network_of_timm(name, description)
        assert kind is not None, name
        networks.register(name)(kind)
    networks.fallback = network_of_timm
