"""The strength of a loss's augmentation, and how it grows."""

from collections.abc import Callable
from typing import Self

import torch
from torch import Tensor, nn

from semaug._torch.checks import check_at_least, check_positive_int
from semaug._torch.compile import settled

__all__ = ["Ramp", "Ramped"]


class Ramp(nn.Module):
    """A strength that grows in proportion to the step until ``num_steps``, then stays.

    Args:
        owner: Name of the loss, for messages.
        strength: At the end, at least 0; may be set at any time.
        num_steps: Length of the ramp; None is constant from the start.

    Attributes:
        step: int64 scalar, training calls so far.

    Raises:
        TypeError: If a number has the wrong type.
        ValueError: If a number is out of range.
    """

    step: Tensor
    _strength_tensor: Tensor

    def __init__(self, owner: str, strength: float, num_steps: int | None) -> None:
        super().__init__()
        self.owner = owner
        self.num_steps = num_steps
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))
        # Computed with as a tensor, so that a new value reaches compiled code and CUDA graphs;
        # not in the state, because it is an argument: a checkpoint must not bring back an old one.
        strength_tensor = torch.zeros((), dtype=torch.float32)  # whatever torch's default is
        self.register_buffer("_strength_tensor", strength_tensor, persistent=False)
        self.strength = strength

    @property
    def num_steps(self) -> int | None:
        """Length of the ramp."""
        return self._num_steps

    @num_steps.setter
    def num_steps(self, value: int | None) -> None:
        if value is not None:
            check_positive_int(self.owner, ramp_steps=value)
        self._num_steps = value

    @property
    def strength(self) -> float:
        """Strength at the end of the ramp."""
        return self._strength

    @strength.setter
    def strength(self, value: float) -> None:
        check_at_least(self.owner, "strength", value, 0)
        self._strength = float(value)
        self._strength_tensor.fill_(value)

    def advance(self) -> None:
        """Take one step."""
        self.step.add_(1)

    def current(self) -> Tensor:
        """Strength of the latest step, a scalar tensor; not to be kept, for it may change."""
        if self.num_steps is None:
            return self._strength_tensor
        step = self.step.to(self._strength_tensor.dtype)  # torch's default may be half precision
        return settled(self._strength_tensor * (step / self.num_steps).clamp(max=1))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        super()._apply(fn, recurse)
        dtype = torch.promote_types(self._strength_tensor.dtype, torch.float32)
        self._strength_tensor = torch.full_like(
            self._strength_tensor, self._strength, dtype=dtype
        )  # exact again after a cast
        return self

    def extra_repr(self) -> str:
        return f"strength={self.strength:g}, ramp_steps={self.num_steps}"


class Ramped:
    """What a loss shows of its ``ramp``."""

    ramp: Ramp

    @property
    def strength(self) -> float:
        """Strength at the end of the ramp; may be set."""
        return self.ramp.strength

    @strength.setter
    def strength(self, value: float) -> None:
        self.ramp.strength = value

    @property
    def ramp_steps(self) -> int | None:
        """Length of the ramp; may be set, also when training goes on."""
        return self.ramp.num_steps

    @ramp_steps.setter
    def ramp_steps(self, value: int | None) -> None:
        self.ramp.num_steps = value

    @property
    def step(self) -> Tensor:
        """Training calls so far, int64 scalar."""
        return self.ramp.step

    def current_strength(self) -> Tensor:
        """Strength of the latest training call, a scalar tensor."""
        return self.ramp.current().clone()
