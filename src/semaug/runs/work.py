"""The work of a training, from its recipe, to compare sides of equal work."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from semaug.recipe.plan import Plan, passes_per_image, streams_of


@dataclass(frozen=True)
class Work:
    """The work of a whole run.

    Args:
        optimizer_steps: Changes of the weights.
        images_seen: Images of all epochs, each counted once an epoch however many views it has.
        forward_passes: Pictures that pass through a network in training, each with its backward.
    """

    optimizer_steps: int
    images_seen: int
    forward_passes: int


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


def describe_work(works: Sequence[Work | None]) -> str:
    """Say what runs of a recipe take, from least to most; "" if one does not tell.

    >>> describe_work([Work(8, 32, 32), Work(9, 34, 34)])
    '8 to 9 optimizer steps, 32 to 34 images seen, 32 to 34 forward passes'
    """
    known = [work for work in works if work is not None]
    if len(known) < len(works):
        return ""
    texts = []
    for field in fields(Work):
        values = [getattr(work, field.name) for work in known]
        span = " to ".join(f"{value:,}" for value in sorted({min(values), max(values)}))
        texts.append(f"{span} {field.name.replace('_', ' ')}")
    return ", ".join(texts)


def work_of(summary: Mapping[str, Any]) -> Work | None:
    """Return what a finished run took; None if it does not tell."""
    names = [field.name for field in fields(Work)]
    told = all(name in summary for name in names)
    return Work(**{name: summary[name] for name in names}) if told else None
