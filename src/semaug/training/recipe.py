"""What a recipe says: frozen data that describes one training run, but for its seed."""

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from semaug._names import unknown_name
from semaug.training.errors import UserError

__all__ = ["LOSSES", "Loss", "Recipe"]

# Names of losses, each with one line for a person who chooses.
LOSSES = {
    "cross_entropy": "the baseline: softmax cross-entropy",
    "isda": "cross-entropy after infinite augmentation of the features; strength, ramp, "
    "covariance, memory",
}


@dataclass(frozen=True)
class Loss:
    """Which loss, with its options. An option that a loss does not have stays None.

    Args:
        name: One of ``LOSSES``.
        strength: Of ISDA, lambda_0 in the papers.
        ramp: Of ISDA, how the strength grows: ``"linear"`` over all steps, or ``"constant"``.
        covariance: Of ISDA, a kind of :class:`semaug.ClassCovariance`.
        memory: Of ISDA, which samples the statistics remember: None, all; a number, see
            :class:`semaug.ClassCovariance`; ``"epoch"``, those of the epoch before.

    Raises:
        UserError: If the name is unknown, an option is missing, out of range or without effect.
    """

    name: str = "cross_entropy"
    strength: float | None = None
    ramp: Literal["linear", "constant"] | None = None
    covariance: Literal["full", "diagonal", "shared", "identity", "low_rank", "learned"] | None = (
        None
    )
    memory: float | Literal["epoch"] | None = None

    def __post_init__(self) -> None:
        if self.name not in LOSSES:
            raise UserError(unknown_name("recipe", "loss", self.name, LOSSES))
        if self.name == "isda":
            self._check_isda()
            return
        for option in ("strength", "ramp", "covariance", "memory"):
            if getattr(self, option) is not None:
                raise UserError(
                    f"recipe: `{option}` has no effect on the loss {self.name!r}; "
                    "take a recipe whose name ends in _isda, or add loss=isda"
                )

    def _check_isda(self) -> None:
        if self.strength is None or not 0 <= self.strength < float("inf"):
            raise UserError(f"recipe: expected `strength` >= 0 for ISDA, got {self.strength}")
        # Absent options take the papers' choice, so that the run folder states it.
        object.__setattr__(self, "ramp", self.ramp or "linear")
        object.__setattr__(self, "covariance", self.covariance or "full")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides what a run learns, but for its seed.

    Durations are in epochs, or in percent of all epochs, and become steps in one place,
    :mod:`semaug.training.schedule`.

    Args:
        data: Data set, see ``semaug list data``.
        network: Network, see ``semaug list networks``; any name that timm knows.
        loss: The loss and its options.
        epochs: Passes over the training images.
        batch_size: Images in a step; the last step of an epoch may have fewer.
        lr: Learning rate at the start.
        schedule: ``"step"`` or ``"cosine"``, moved at every step.
        milestones_percent: When the step schedule multiplies the learning rate, in percent of
            all epochs.
        lr_factor: What it multiplies by.
        momentum: Of SGD.
        nesterov: Whether the momentum is Nesterov's.
        weight_decay: On all parameters, as in the papers.
        padding: Pixels that the random crop may move the image by; 0 is none.
        padding_mode: What lies beyond the border: ``"zero"`` or ``"reflect"``.
        flip: Whether images are mirrored with probability one half.
        train_per_class: Train on the first so many images of each class; None is all.
        test_images: Test on the first so many images; None is all.
        evaluate_every_epochs: How often to test before the last ten epochs, which always are.
        evaluation_batch_size: Images in a step of testing.
        precision: ``"32"``, ``"bf16"`` (mixed), or ``"auto"``: what is fastest on the device.
        channels_last: Memory format of images and kernels, or ``"auto"``.

    Raises:
        UserError: If a number is out of range.
    """

    data: str
    network: str
    loss: Loss = field(default_factory=Loss)
    epochs: int
    batch_size: int = 128
    lr: float = 0.1
    schedule: Literal["step", "cosine"] = "step"
    milestones_percent: tuple[float, ...] = (50.0, 75.0)
    lr_factor: float = 0.1
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 1e-4
    padding: int = 4
    padding_mode: Literal["zero", "reflect"] = "zero"
    flip: bool = True
    train_per_class: int | None = None
    test_images: int | None = None
    evaluate_every_epochs: int = 1
    evaluation_batch_size: int = 1000
    precision: Literal["auto", "32", "bf16"] = "auto"
    channels_last: bool | Literal["auto"] = "auto"

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "evaluate_every_epochs", "evaluation_batch_size"):
            self._expect(name, getattr(self, name) >= 1, ">= 1")
        for name in ("train_per_class", "test_images"):
            value = getattr(self, name)
            self._expect(name, value is None or value >= 1, ">= 1 or none")
        for name in ("lr", "lr_factor"):
            self._expect(name, 0 < getattr(self, name) < float("inf"), "> 0")
        self._expect("momentum", 0 <= self.momentum < 1, "from 0 to below 1")
        self._expect("nesterov", not self.nesterov or self.momentum > 0, "with momentum > 0")
        self._expect("weight_decay", 0 <= self.weight_decay < float("inf"), ">= 0")
        self._expect("padding", self.padding >= 0, ">= 0")
        rising = sorted(set(self.milestones_percent)) == list(self.milestones_percent)
        inside = all(0 < percent < 100 for percent in self.milestones_percent)
        self._expect("milestones_percent", rising and inside, "rising between 0 and 100")

    def _expect(self, name: str, holds: bool, wanted: str) -> None:
        if not holds:
            raise UserError(f"recipe: expected `{name}` {wanted}, got {getattr(self, name)}")

    def is_evaluated(self, epoch: int) -> bool:
        """Whether the run is tested after ``epoch``, counted from 1."""
        return epoch % self.evaluate_every_epochs == 0 or epoch > self.epochs - 10

    def as_plain_data(self) -> dict[str, Any]:
        """Return dicts, lists, numbers and strings only, as JSON would give them back."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return plain
