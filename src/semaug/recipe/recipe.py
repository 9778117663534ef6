"""What a recipe says: frozen data that describes one training run, but for its seed."""

import json
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from typing import Any, Literal

from semaug.errors import UserError
from semaug.recipe.method_options import METHODS, VIEW_PARTS, Method
from semaug.recipe.options import LOSSES, Augment, Loss, Subset, expect

__all__ = ["LOSSES", "METHODS", "Augment", "Loss", "Method", "Recipe", "Subset", "default_options"]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides what a run learns, but for its seed.

    Durations are in epochs, or in percent of all epochs, and become steps in one place,
    :mod:`semaug.engine.schedule`.

    Args:
        data: Data set, see ``semaug list data``.
        network: Network, see ``semaug list networks``; any name that timm knows.
        block_drop_rate: Dropout inside the blocks of networks that have it, 0.3 in the Wide
            ResNets of the papers; None is what the network has by itself. Not of ``peers``.
        method: Name of the method, what one step does; see ``semaug list methods``.
        loss: Name of the loss, see ``semaug list losses``.
        augment: How training images are changed.
        subset: Which images are trained and tested on.
        epochs: Passes over the training images.
        batch_size: Images in a step; the last step of an epoch may have fewer.
        lr: Learning rate at the start.
        schedule: ``"step"`` or ``"cosine"``, moved at every step.
        milestones_percent: When the step schedule multiplies the learning rate, in percent of
            all epochs.
        lr_factor: What it multiplies by.
        momentum: Momentum of SGD.
        nesterov: Whether the momentum is Nesterov's.
        weight_decay: On all parameters, as in the papers.
        warmup_epochs: Epochs in which the learning rate rises from near 0 to that of the
            schedule, step by step.
        clip_norm: Largest norm of the gradient of all parameters together; None is no limit.
        ema_decay: Test an exponential moving average of the weights that keeps this share of
            itself at each step; None tests the weights themselves.
        evaluate_every_epochs: How often to test before the last ten epochs, which always are.
        evaluation_batch_size: Images in a step of testing.
        precision: ``"32"``, ``"bf16"`` (mixed), ``"64"``, or ``"auto"``: what is fastest on the
            device.
        channels_last: Memory format of images and kernels, or ``"auto"``.
        sync_batch_norm: Whether batch norm sees the joint batch of several processes, on GPUs.
        compile: Whether ``torch.compile`` makes network and loss faster, after a minute or more.
        deterministic: Whether every operator must give the same result each time, slower, on an
            accelerator too. On a CPU runs are the same bit for bit in any case.

    Raises:
        UserError: If a number is out of range.
    """

    data: str
    network: str
    block_drop_rate: float | None = None
    method: Method = field(default_factory=Method)
    loss: Loss = field(default_factory=Loss)
    augment: Augment = field(default_factory=Augment)
    subset: Subset = field(default_factory=Subset)
    epochs: int
    batch_size: int = 128
    lr: float = 0.1
    schedule: Literal["step", "cosine"] = "step"
    milestones_percent: tuple[float, ...] = (50.0, 75.0)
    lr_factor: float = 0.1
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 1e-4
    warmup_epochs: float = 0.0
    clip_norm: float | None = None
    ema_decay: float | None = None
    evaluate_every_epochs: int = 1
    evaluation_batch_size: int = 1000
    precision: Literal["auto", "32", "bf16", "64"] = "auto"
    channels_last: bool | Literal["auto"] = "auto"
    sync_batch_norm: bool = False
    compile: bool = False
    deterministic: bool = False

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "evaluate_every_epochs", "evaluation_batch_size"):
            self._expect(name, getattr(self, name) >= 1, ">= 1")
        for name in ("lr", "lr_factor"):
            self._expect(name, 0 < getattr(self, name) < float("inf"), "> 0")
        self._expect("momentum", 0 <= self.momentum < 1, "from 0 to below 1")
        self._expect("nesterov", not self.nesterov or self.momentum > 0, "with momentum > 0")
        self._expect("weight_decay", 0 <= self.weight_decay < float("inf"), ">= 0")
        rate = self.block_drop_rate
        self._expect("block_drop_rate", rate is None or 0 <= rate < 1, "from 0 to below 1, or none")
        mixes = self.augment.mixup > 0 or self.augment.cutmix > 0
        self._expect("batch_size", not mixes or self.batch_size > 1, "> 1 to mix images")
        shorter = 0 <= self.warmup_epochs < self.epochs
        self._expect("warmup_epochs", shorter, f"from 0 to below epochs={self.epochs}")
        positive = self.clip_norm is None or 0 < self.clip_norm < float("inf")
        self._expect("clip_norm", positive, "> 0 or none")
        fading = self.ema_decay is None or 0 <= self.ema_decay < 1
        self._expect("ema_decay", fading, "from 0 to below 1, or none")
        rising = sorted(set(self.milestones_percent)) == list(self.milestones_percent)
        inside = all(0 < percent < 100 for percent in self.milestones_percent)
        self._expect("milestones_percent", rising and inside, "rising between 0 and 100")
        self._check_views()

    def augments(self) -> tuple[Augment, ...]:
        """Return how each view of an image is augmented."""
        kinds = self.method.view_augments
        if not kinds:
            return (self.augment,) * self.method.num_views
        return tuple(self._augment_of(kind) for kind in kinds)

    def _augment_of(self, kind: str) -> Augment:
        """Keep what a view has, by the letters of :data:`VIEW_PARTS`."""
        nothing = Augment(padding=0)
        absent: dict[str, Any] = {
            name: getattr(nothing, name)
            for letter, name in VIEW_PARTS.items()
            if letter not in kind[1:]
        }
        if "padding" in absent:
            absent["padding_mode"] = nothing.padding_mode
        if "policy" in absent:
            absent |= {"randaugment_ops": None, "randaugment_magnitude": None}
        return replace(self.augment, **absent)

    def _check_views(self) -> None:
        for kind in self.method.view_augments:
            for letter in kind[1:]:
                name = VIEW_PARTS.get(letter)
                if name is not None and not getattr(self.augment, name):
                    raise UserError(
                        f"recipe: `view_augments` has {kind!r}, but there is no `{name}` to have"
                    )

    def _expect(self, name: str, holds: bool, wanted: str) -> None:
        expect(name, getattr(self, name), holds, wanted)

    def is_evaluated(self, epoch: int) -> bool:
        """Whether the run is tested after ``epoch``, counted from 1."""
        return epoch % self.evaluate_every_epochs == 0 or epoch > self.epochs - 10

    def as_plain_data(self) -> dict[str, Any]:
        """Return dicts, lists, numbers and strings only, as JSON would give them back."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return plain


def default_options() -> dict[str, Any]:
    """Return the value of each field that has a default, as plain data.

    A new field must have one: what was done before the field came.
    """
    defaults: dict[str, Any] = {}
    for option in fields(Recipe):
        if option.default is not MISSING:
            defaults[option.name] = option.default
        elif option.default_factory is not MISSING:
            defaults[option.name] = asdict(option.default_factory())
    plain: dict[str, Any] = json.loads(json.dumps(defaults))
    return plain
