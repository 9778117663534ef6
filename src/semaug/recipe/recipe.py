"""What a run is, but for its seed: frozen data made of specs."""

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from semaug.errors import UserError, check_option
from semaug.registry import (
    augmentations,
    choice,
    data_sets,
    evaluations,
    kinds,
    losses,
    methods,
    metrics,
    networks,
    optimizers,
    resolve_choices,
    schedules,
    subsets,
)

# What goes where a recipe without a length of this kind is given one.
_OTHER_LENGTH: dict[str, dict[str, Any]] = {
    "steps": {"epochs": None, "evaluate_every_epochs": 1},
    "epochs": {"steps": None, "evaluate_every_steps": None},
}


@dataclass(frozen=True, kw_only=True)
class BaseRecipe:
    """What recipes of all kinds share: data, length, and what is reported.

    Args:
        data: Data set, see ``semaug list data``.
        subset: Which images are trained and tested on.
        epochs: Passes over the training images.
        steps: Optimizer steps, instead of epochs.
        batch_size: Images in a step; the last step of an epoch may have fewer.
        evaluate_every_epochs: How often to test before the last ten epochs, which always are.
        evaluate_every_steps: Steps between two tests of a run of ``steps``; None is 20 tests in
            all.
        report: Which number is reported: the mean of the last ten tests (``mean_last_10``), the
            ``last`` or the ``best`` one.
        evaluation_batch_size: Images in a step of testing.
        precision: ``"32"``, ``"bf16"`` (mixed), ``"fp16"`` (mixed, with scaled gradients, on GPUs
            alone), ``"64"``, or ``"auto"``: what is fastest on the device.
        channels_last: Memory format of images and kernels, or ``"auto"``.
        deterministic: Whether every operator must give the same result each time, slower, on an
            accelerator too. On a CPU runs are the same bit for bit in any case.

    Raises:
        UserError: If a number is out of range.
    """

    loop: ClassVar[Any]  # what trains it: a function of a Start, or "module:name" of one

    data: Any = choice(data_sets)
    subset: Any = choice(subsets, "standard")
    epochs: int | None = None
    steps: int | None = None
    batch_size: int = 128
    evaluate_every_epochs: int = 1
    evaluate_every_steps: int | None = None
    report: Literal["mean_last_10", "last", "best"] = "mean_last_10"
    evaluation_batch_size: int = 250
    precision: Literal["auto", "32", "bf16", "fp16", "64"] = "auto"
    channels_last: bool | Literal["auto"] = "auto"
    deterministic: bool = False

    def __post_init__(self) -> None:
        resolve_choices(self)
        for name in (
            "epochs",
            "steps",
            "evaluate_every_steps",
            "batch_size",
            "evaluate_every_epochs",
            "evaluation_batch_size",
        ):
            value = getattr(self, name)
            check_option(name, value, value is None or value >= 1, ">= 1")
        if (self.epochs is None) == (self.steps is None):
            raise UserError(
                "recipe: expected either `epochs` or `steps`, got "
                f"epochs={self.epochs} and steps={self.steps}"
            )
        if self.evaluate_every_steps is not None and self.steps is None:
            raise UserError("recipe: `evaluate_every_steps` has no effect without `steps`")
        if self.evaluate_every_epochs > 1 and self.epochs is None:
            raise UserError("recipe: `evaluate_every_epochs` has no effect without `epochs`")

    def check_there(self, runs: Path, trained_too: Collection[str]) -> None:
        """Find out in a moment whether what a run begins with is there; here there is nothing.

        Args:
            runs: Folder of all runs.
            trained_too: Labels of recipes that are trained by the same command.

        Raises:
            FileNotFoundError: If a file or a folder is missing.
        """

    def changed(self, **options: Any) -> Any:
        """Return the recipe with options replaced; ``steps`` take the place of ``epochs``.

        And the other way round.
        """
        for length, others in _OTHER_LENGTH.items():
            if options.get(length) is not None and getattr(self, length) is None:
                options = {**others, **options}
        return replace(self, **options)

    def lasting(self, **length: int) -> Any:
        """Return the recipe with another length: ``epochs=`` or ``steps=``."""
        changes: dict[str, Any] = {"epochs": None, "steps": None, "evaluate_every_steps": None}
        changes |= {"evaluate_every_epochs": 1} if "steps" in length else {}
        return replace(self, **{**changes, **length})


@kinds.register("train")
@dataclass(frozen=True, kw_only=True)
class Recipe(BaseRecipe):
    """Everything that decides what a run learns, but for its seed.

    Args:
        network: Network, see ``semaug list networks``; any name that timm knows.
        method: What one step does, see ``semaug list methods``.
        loss: Loss, see ``semaug list losses``.
        augment: How training images are changed.
        optimizer: Optimizer: sgd, adamw, or any name that timm knows.
        schedule: How the learning rate moves, at every step: step, cosine, poly or constant.
        clip_norm: Largest norm of the gradient of all parameters together; None is no limit.
        ema_decay: Test an exponential moving average of the weights that keeps this share of
            itself at each step; None tests the weights themselves.
        evaluation: How images are tested: whole or in a sliding_window.
        metrics: What is tested, the main metric first; none is what the method measures.
        sync_batch_norm: Whether batch norm sees the joint batch of several processes, on GPUs.
        compile: Whether ``torch.compile`` makes network and loss faster, after a minute or more.

    Raises:
        UserError: If a number is out of range, or specs do not fit together.
    """

    loop: ClassVar[Any] = "semaug.engine.loop:fit"

    network: Any = choice(networks)
    method: Any = choice(methods, "supervised")
    loss: Any = choice(losses, "cross_entropy")
    augment: Any = choice(augmentations, "standard")
    optimizer: Any = choice(optimizers, "sgd")
    schedule: Any = choice(schedules, "step")
    clip_norm: float | None = None
    ema_decay: float | None = None
    evaluation: Any = choice(evaluations, "whole")
    metrics: tuple[Any, ...] = field(default=(), metadata={"registry": metrics})
    sync_batch_norm: bool = False
    compile: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        positive = self.clip_norm is None or 0 < self.clip_norm < float("inf")
        check_option("clip_norm", self.clip_norm, positive, "> 0 or none")
        fading = self.ema_decay is None or 0 <= self.ema_decay < 1
        check_option("ema_decay", self.ema_decay, fading, "from 0 to below 1, or none")
        if getattr(self.augment, "mixes", False):
            check_option("batch_size", self.batch_size, self.batch_size > 1, "> 1 to mix images")
            if not getattr(self.loss, "soft_targets", True):
                raise UserError(
                    f"recipe: loss={losses.name_of(self.loss)} takes labels only, so no `mixup` "
                    "and no `cutmix`"
                )
        for spec in (self.schedule, self.method):  # what only the whole recipe shows
            if hasattr(spec, "check"):
                spec.check(self)
