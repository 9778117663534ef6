"""What training costs, told by its recipe: so that two sides of a comparison can be held equal."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from semaug.recipe.plan import Plan, passes_per_image, streams_of


@dataclass(frozen=True)
class Work:
    """Of a whole run.

    Args:
        optimizer_steps: Changes of the weights.
        images_seen: Images of all epochs, each counted once an epoch however many views it has.
        forward_passes: Pictures that pass through a network in training, each with its backward.
    """

    optimizer_steps: int
    images_seen: int
    forward_passes: int

    def __str__(self) -> str:
        return (
            f"{self.optimizer_steps:,} optimizer steps, {self.images_seen:,} images seen, "
            f"{self.forward_passes:,} forward passes"
        )


def count_work(recipe: Any, plan: Plan) -> Work:
    """Count what a run takes; tests are not counted.

    Args:
        recipe: What is trained.
        plan: Of its steps.

    >>> from semaug.recipe.plan import StreamPlan, make_plan
    >>> from semaug.recipes import find_recipe
    >>> single = find_recipe("cifar100_resnet32_single")
    >>> count_work(single, make_plan(single, {"labeled": StreamPlan(50_000, 128)}))
    Work(optimizer_steps=62560, images_seen=8000000, forward_passes=8000000)
    >>> ait = find_recipe("cifar100_resnet32_ait")
    >>> count_work(ait, make_plan(ait, {"labeled": StreamPlan(50_000, 64)}))
    Work(optimizer_steps=125120, images_seen=8000000, forward_passes=16000000)
    """
    seen = {
        name: plan.epochs * stream.num_images
        if name == plan.counted and not plan.cycles
        else plan.total_steps * stream.batch_size
        for name, stream in plan.streams.items()
    }
    streams = streams_of(recipe)
    passes = sum(seen[name] * passes_per_image(recipe, streams[name]) for name in seen)
    return Work(plan.total_steps, sum(seen.values()), passes)


def work_of(summary: Mapping[str, Any]) -> Work | None:
    """Return what a finished run took; None if it does not tell."""
    names = [field.name for field in fields(Work)]
    told = all(name in summary for name in names)
    return Work(**{name: summary[name] for name in names}) if told else None
