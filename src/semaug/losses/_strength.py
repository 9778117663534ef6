"""What losses share: a strength that grows, what counts, and tensors that they were given."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Self

import torch
from torch import Tensor, nn

from semaug._torch.checks import check_at_least, check_bool, check_positive_int, check_written
from semaug._torch.compile import settled
from semaug.covariance import ClassCovariance

__all__ = ["Counted", "Counting", "Ramp", "Ramped", "Steps", "given"]


class Steps(nn.Module):
    """A count of training calls, which survives a restart.

    Args:
        owner: Name of the loss, for messages.

    Attributes:
        step: int64 scalar, training calls so far.
        frozen: Whether training calls do not count for now.
    """

    step: Tensor

    def __init__(self, owner: str) -> None:
        super().__init__()
        self.owner, self.frozen = owner, False
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))
        self._written = not self.step.is_meta

    def advance(self) -> None:
        """Take one step."""
        self.step.add_(1)

    def reset_parameters(self) -> None:
        """Go back to step 0; torch's convention after ``to_empty``."""
        self.step.zero_()

    def checked(self) -> Tensor:
        """Return the step, once it is known that it was written."""
        if not (self._written or self.step.is_meta or torch.compiler.is_compiling()):
            check_written(self.owner, self.step)
            self._written = True
        return self.step

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        was_meta = self.step.is_meta
        super()._apply(fn, recurse)
        if was_meta and not self.step.is_meta:  # so that nothing was there to keep
            self.reset_parameters()
        return self


class Ramp(Steps):
    """A strength that grows in proportion to the step until ``num_steps``, then stays.

    Args:
        owner: Name of the loss, for messages.
        strength: At the end, at least 0; may be set at any time.
        num_steps: Length of the ramp; None is constant from the start.
        augment_in_eval: Whether evaluation mode has the strength too, or 0.

    Raises:
        TypeError: If a number has the wrong type.
        ValueError: If a number is out of range.
    """

    def __init__(
        self, owner: str, strength: float, num_steps: int | None, augment_in_eval: bool = True
    ) -> None:
        super().__init__(owner)
        check_bool(owner, "augment_in_eval", augment_in_eval)
        self.augment_in_eval = augment_in_eval
        self.num_steps = num_steps
        # Computed with as a tensor, so that a new value reaches compiled code and CUDA graphs. No
        # buffer, because it is an argument: neither an old checkpoint nor `to_empty` may change it.
        self._strength_tensor = torch.tensor(0.0, dtype=torch.float32, device="cpu")
        self.strength = strength

    @property
    def num_steps(self) -> int | None:
        """Length of the ramp."""
        return self._num_steps

    @num_steps.setter
    def num_steps(self, value: int | None) -> None:
        if value is not None:
            (value,) = check_positive_int(self.owner, ramp_steps=value)
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

    def current(self) -> Tensor:
        """Strength of the latest step, a scalar tensor; not to be kept, for it may change."""
        strength, step = self._strength_tensor, self.checked()
        if strength.device != self.step.device:  # which was loaded without `_apply`
            strength = torch.full_like(strength, self._strength, device=self.step.device)
            if not torch.is_inference_mode_enabled():
                self._strength_tensor = strength
        if self.num_steps is None:
            return strength
        step = step.to(strength.dtype)  # torch's default may be half precision
        return settled(strength * (step / self.num_steps).clamp(max=1))

    def applied(self) -> float | Tensor:
        """Strength that a loss has in this mode."""
        return self.current() if self.training or self.augment_in_eval else 0.0

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        super()._apply(fn, recurse)
        moved = fn(self._strength_tensor)
        dtype = torch.promote_types(moved.dtype, torch.float32)
        self._strength_tensor = torch.full_like(moved, self._strength, dtype=dtype)  # exact again
        return self

    def extra_repr(self) -> str:
        strength = f"strength={self.strength:g}, ramp_steps={self.num_steps}"
        return strength if self.augment_in_eval else f"{strength}, augment_in_eval=False"


class Counting(nn.Module):
    """A module that counts steps of a ramp and samples of statistics, its own or those inside."""

    def reset(self) -> None:
        """Forget every sample, and begin the ramp again."""
        for module in self.modules():
            if isinstance(module, Steps | ClassCovariance):
                module.reset_parameters()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Let calls inside of ``with`` not count: neither statistics nor ramp change.

        The loss is that of training otherwise, with the statistics and the strength of now. For
        what looks at a batch more than once, or only to try: all but the first closure of LBFGS,
        the second pass of SAM, a learning-rate finder.

        >>> from semaug import ISDALoss
        >>> isda = ISDALoss(num_classes=2, num_features=3, strength=0.5, ramp_steps=10)
        >>> with isda.frozen():
        ...     loss = isda(torch.ones(1, 2), torch.tensor([0]), torch.ones(1, 3), torch.ones(2, 3))
        >>> isda.step, isda.estimator.count
        (tensor(0), tensor([0, 0]))
        """
        before = [(module, module.frozen) for module in self.modules() if isinstance(module, Steps)]
        try:
            for steps, _ in before:
                steps.frozen = True
            yield
        finally:
            for steps, was in before:
                steps.frozen = was


class Counted(Counting):
    """A loss that counts its training calls in ``steps``."""

    steps: Steps

    @property
    def counting(self) -> bool:
        """Whether a call counts: in training mode, unless within :meth:`frozen`."""
        return self.training and not self.steps.frozen

    @property
    def step(self) -> Tensor:
        """Training calls so far, int64 scalar."""
        return self.steps.step


class Ramped(Counting):
    """What a loss shows of its ``ramp``."""

    ramp: Ramp

    @property
    def counting(self) -> bool:
        """Whether a call counts: in training mode, unless within :meth:`frozen`."""
        return self.training and not self.ramp.frozen

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


def given(module: nn.Module, name: str, device: torch.device) -> Tensor | None:
    """Return a tensor that a module was given as an argument, and keep it on the device.

    It is a plain attribute and no buffer, because whatever empties, loads or casts a module would
    change a buffer: ``to_empty``, ``from_pretrained``.

    Raises:
        RuntimeError: If it never had values.
    """
    value: Tensor | None = getattr(module, name)
    if value is None or value.device == device:
        return value
    if value.is_meta:
        raise RuntimeError(
            f"{type(module).__name__}: expected `{name}` with values, got a tensor of the meta "
            "device; create it with device='cpu' where the model is built on the meta device"
        )
    moved = value.to(device, non_blocking=value.device.type == "cpu")  # no accelerator waits
    if not (moved.is_meta or torch.is_inference_mode_enabled()):
        setattr(module, name, moved)
    return moved
