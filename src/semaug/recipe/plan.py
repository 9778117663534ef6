"""Numbers of steps, worked out once: epochs and percent become steps here and nowhere else."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from semaug.methods.batch import Stream

NUM_AVERAGED = 10  # number of last tests in the reported mean
_TESTS = 20  # of a run that counts steps and does not say how often it is tested


class StreamPlan(NamedTuple):
    """Images of a stream, and how many of them make a joint batch of all processes."""

    num_images: int
    batch_size: int
    epoch_batch_size: int | None = None  # by which epochs are counted; None is `batch_size`


@dataclass(frozen=True)
class Plan:
    """How long a run is. An epoch of a run that counts steps is the time between two tests.

    Args:
        epochs: How many; a row is written after each.
        steps_per_epoch: Optimizer steps in each, but for the last, which may have fewer.
        total_steps: Of the whole run.
        streams: By name; the first is the one that epochs count.
        evaluate_every: Epochs between two tests, before the last ten.
        cycles: Whether the first stream cycles too, with batches that are always full.
    """

    epochs: int
    steps_per_epoch: int
    total_steps: int
    streams: Mapping[str, StreamPlan]
    evaluate_every: int = 1
    cycles: bool = False

    @property
    def counted(self) -> str:
        """Name of the stream that epochs count."""
        return next(iter(self.streams))

    def steps_in(self, epoch: int) -> int:
        """Return the steps of an epoch, counted from 0."""
        return min(self.steps_per_epoch, self.total_steps - epoch * self.steps_per_epoch)

    def is_kept(self, epoch: int, number: int) -> bool:
        """Whether the state after ``epoch`` is among so many that are kept, evenly spread.

        The last epoch always is; if there are no more epochs than that, all are.

        >>> plan = Plan(10, 1, 10, {})
        >>> [epoch for epoch in range(1, 11) if plan.is_kept(epoch, 4)]
        [3, 5, 8, 10]
        """
        return epoch > 0 and epoch * number // self.epochs > (epoch - 1) * number // self.epochs

    def joint_size(self, stream: str, step: int) -> int:
        """Return how many images the joint batch of a stream has at a step of an epoch."""
        num_images, batch_size, _ = self.streams[stream]
        if stream != self.counted or self.cycles:
            return batch_size
        return min(batch_size, num_images - step * batch_size)

    def images_seen(self, steps: int) -> int:
        """Return how many images of the counted stream an epoch has shown after so many steps."""
        num_images, batch_size, _ = self.streams[self.counted]
        return steps * batch_size if self.cycles else min(steps * batch_size, num_images)

    def is_evaluated(self, epoch: int) -> bool:
        """Whether the run is tested after ``epoch``, counted from 1."""
        return epoch % self.evaluate_every == 0 or epoch > self.epochs - NUM_AVERAGED


def make_plan(recipe: Any, streams: Mapping[str, StreamPlan]) -> Plan:
    """Work out the steps of a run.

    Args:
        recipe: Says its length in epochs or in steps.
        streams: By name; the first is the one that epochs count.

    >>> from semaug.recipes import find_recipe
    >>> plan = make_plan(find_recipe("digits_resnet8"), {"labeled": StreamPlan(1000, 64)})
    >>> plan.epochs, plan.steps_per_epoch, plan.total_steps, plan.joint_size("labeled", 15)
    (30, 16, 480, 40)
    """
    if recipe.steps is not None:
        wanted = recipe.evaluate_every_steps or math.ceil(recipe.steps / _TESTS)
        every = min(wanted, recipe.steps)
        return Plan(math.ceil(recipe.steps / every), every, recipe.steps, streams, cycles=True)
    first = next(iter(streams.values()))
    steps = math.ceil(first.num_images / (first.epoch_batch_size or first.batch_size))
    every, cycles = recipe.evaluate_every_epochs, first.epoch_batch_size is not None
    return Plan(recipe.epochs, steps, recipe.epochs * steps, streams, every, cycles)


def stream_plan(recipe: Any, stream: Stream, num_images: int) -> StreamPlan:
    """Return the plan of a stream of so many images."""
    size = stream.batch_size or recipe.batch_size
    return StreamPlan(num_images, size, stream.epoch_batch_size)


def passes_per_image(recipe: Any, stream: Stream) -> int:
    """Return how often an image of a stream passes through a network that learns from it."""
    passes = stream.passes or len(stream.views)
    return max(passes, getattr(getattr(recipe, "method", None), "num_networks", 1))


def streams_of(recipe: Any) -> dict[str, Stream]:
    """Return what the method of a recipe wants of the training images, by name of the stream."""
    streams: Any = getattr(getattr(recipe, "method", None), "streams", None)
    return {"labeled": Stream()} if streams is None else streams(recipe)
