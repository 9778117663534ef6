"""A recipe of a generator: data, method, and a length in steps of the generator."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import torch

from semaug.errors import UserError, check_option
from semaug.recipe.recipe import BaseRecipe
from semaug.registry import Sizes, choice, generators, kinds

__all__ = ["GenerationRecipe"]


@kinds.register("generate")
@dataclass(frozen=True, kw_only=True)
class GenerationRecipe(BaseRecipe):
    """Everything that decides what a generator learns, but for its seed.

    Its length is counted in ``steps`` of the generator, and images are drawn with replacement: an
    epoch of the images of one class may be shorter than what a critic takes before one step.

    Args:
        generator: Method, see ``semaug list generators``.
        batch_size: Images in a step of the generator or of the critic; of each class, where each
            has a network of its own.
        ema_decay: Test and keep an exponential moving average of the generator's weights that keeps
            this share of itself at each step; None tests the weights themselves.

    Raises:
        UserError: If a number is out of range, or the length is given in epochs.
    """

    loop: ClassVar[Any] = "semaug.generation.loop:fit"

    generator: Any = choice(generators)
    batch_size: int = 64
    ema_decay: float | None = None
    report: Literal["mean_last_10", "last", "best"] = "last"
    precision: Literal["auto", "32", "bf16", "fp16", "64"] = "32"
    channels_last: bool | Literal["auto"] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps is None:
            raise UserError("recipe: expected `steps` of a generator, not `epochs`")
        holds = self.precision in ("32", "64")
        check_option("precision", self.precision, holds, "32 or 64 for a generator")
        fading = self.ema_decay is None or 0 <= self.ema_decay < 1
        check_option("ema_decay", self.ema_decay, fading, "from 0 to below 1, or none")

    def quick(self) -> Any:
        """Return a smoke test: eight steps on ten images of each class."""
        small = replace(self, batch_size=min(self.batch_size, 8), generator=self.generator.quick())
        if hasattr(self.subset, "train_per_class"):
            per_class = min(self.subset.train_per_class or 10, 10)
            subset = replace(self.subset, train_per_class=per_class, test_images=100)
            small = replace(small, subset=subset)
        return small.lasting(steps=min(self.steps or 8, 8), evaluate_every_steps=4)

    def step_cost(self) -> int:
        """Estimate the multiply-adds of a critic's step, as four times those of what it judges."""
        from torch.utils.flop_counter import FlopCounterMode  # which is slow to import

        side, classes = getattr(self.data, "side", None), getattr(self.data, "num_classes", None)
        if side is None or classes is None:
            return 0
        spec = self.generator
        with torch.device("meta"):
            gan = spec.build(Sizes(num_classes=classes, image=(3, side, side))).train()
            count = self.batch_size * (classes if spec.per_class else 1)
            z = torch.zeros(count, spec.z_size + spec.num_codes)
            with FlopCounterMode(display=False) as counter:
                images = gan.generator(z, torch.zeros(count, dtype=torch.int64))
        assert images.shape[2:] == (side, side)
        return 4 * counter.get_total_flops() // 2

    def evaluate(self, start: Any, state: dict[str, Any]) -> Any:
        """Test the generator of a finished run again."""
        from semaug.generation.loop import evaluate  # which needs the engine

        return evaluate(start, state)

    def load(self, folder: Any, options: Any) -> Any:
        """Load the generator of a finished run."""
        from semaug.generation.generator import load_run  # which needs the engine

        return load_run(folder, options)
