"""The state of a run while it trains, and how it is saved and restored."""

import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, Literal, Self, TypeVar

import torch
from torch import Tensor, nn

from semaug.data import DataSet, Selection
from semaug.engine.clock import Clock
from semaug.engine.display import Display, show_progress
from semaug.engine.epoch_values import EpochValues
from semaug.engine.finite import non_finite_weight
from semaug.engine.fsdp import gathered, has_pieces, pieces_of
from semaug.engine.images import names_of_tests
from semaug.engine.interrupt import Interrupt, InterruptedRunError, watch_interrupts
from semaug.engine.memory import peak_memory
from semaug.engine.seeding import derive_seed, make_generator
from semaug.engine.start import Start
from semaug.errors import UserError, as_user_error
from semaug.keepers import Keeper, Pictures
from semaug.metrics import Metric
from semaug.recipe.plan import NUM_AVERAGED, Plan
from semaug.runs.checkpoint import (
    load_checkpoint,
    random_state,
    restore_random_state,
    save_checkpoint,
)
from semaug.runs.divergence import DivergedError, how_to_try_again
from semaug.runs.folder import check_same_recipe, write_summary
from semaug.runs.kept import Kept, write_kept
from semaug.runs.read import Measure, row_name, summarize, what_helps
from semaug.runs.record import Record, finite_or_none
from semaug.runs.work import count_work

T = TypeVar("T")

# Of a test: values by name of the predictor, then by name of the metric.
Results = Mapping[str, Mapping[str, float]]


class Session:
    """One run from its start, or from its checkpoint, to its summary.

    It is a context manager: on entering it, the run begins in its folder, or goes on. Then

        for epoch in session.epochs():
            for step in session.steps():
                ...
                session.count_step({"loss": loss})
                session.pause()
            session.finish_epoch(results)
        return session.summary()

    Args:
        start: What the loop was started with.
        plan: Numbers of steps.
        objects: What a checkpoint holds, by name: each has ``state_dict`` and ``load_state_dict``.
        measures: What is measured in tests, as name, unit and which way is better, ``"lower"`` or
            ``"higher"``; the first is the main one.
        predictors: Names of what is tested; ``""`` is the main one.
        training: Metrics of the training images by the name of their column, counted by the loop.
        buffers: Networks whose running statistics all processes share.
    """

    def __init__(
        self,
        start: Start,
        plan: Plan,
        objects: Mapping[str, Any],
        measures: Sequence[tuple[str, str, Literal["lower", "higher"]]],
        *,
        predictors: Sequence[str] = ("",),
        training: Mapping[str, Metric] | None = None,
        buffers: Sequence[nn.Module] = (),
    ) -> None:
        self.run, self.device, self.processes = start.run, start.device, start.processes
        if self.processes.fsdp and not any(map(has_pieces, objects.values())):
            kind = type(start.recipe).__name__
            raise UserError(
                f"train: expected a loop that shares its networks out, got fsdp for a {kind}; "
                "train it without fsdp"
            )
        self.plan = plan
        self.objects = dict(objects)
        self.measures = [Measure(*measure, start.recipe.report) for measure in measures]
        self.predictors = list(predictors)
        self.training = nn.ModuleDict(training or {}).to(self.device)
        self._values = EpochValues(
            plan, self.processes, self.device, self.training, self.measures[0].name
        )
        self._clock = Clock(self.processes)
        self.epoch = 0  # whole epochs done, their test included
        self.step = 0  # steps done in the epoch after them
        self.ended = False  # whether all that comes after its steps was done, but for the test
        self.peak_memory: float | None = None  # in MiB; of the start that took most
        self.rows: list[dict[str, Any]] = []  # of metrics.jsonl
        self.by_class: list[dict[str, float]] = []  # of the last tests
        self._start = start
        self._buffers = list(buffers)
        self._stack = ExitStack()

    # From start to end.

    def __enter__(self) -> Self:
        run, start = self.run, self._start
        start.report(run.state())
        self._starts: list[dict[str, Any]] = []
        if self.processes.is_first:
            self._starts = start.record(self.measures)
        torch.manual_seed(derive_seed(run.seed, "training"))  # for dropout: alike for every loss
        if run.checkpoint.exists():
            self._restore()
        self._next_checkpoint = time.monotonic() + start.options.checkpoint_seconds
        with ExitStack() as stack:
            self._record: Record | None = None
            if self.processes.is_first:
                self._record = stack.enter_context(Record(run, self.rows, start.loggers))
            self._interrupt: Interrupt = stack.enter_context(watch_interrupts())
            self._display: Display = stack.enter_context(show_progress(start.console, self))
            self._stack = stack.pop_all()
        self._clock.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def epochs(self) -> Iterator[int]:
        """Yield the epochs that are left, from 0 on; the first may have begun already."""
        for epoch in range(self.epoch, self.plan.epochs):
            self._clock.lap()
            yield epoch

    def steps(self) -> Iterator[int]:
        """Yield what is left of the steps of this epoch, counted from 0; see :meth:`count_step`."""
        while self.step < self.plan.steps_in(self.epoch):
            self.begin_step()
            yield self.step
        self.finish_steps()

    @property
    def total_step(self) -> int:
        """Steps done since the beginning of the run."""
        return self.epoch * self.plan.steps_per_epoch + self.step

    def reading(self, batches: Iterator[T]) -> Iterator[T]:
        """Return the batches of an epoch; the log tells how long each process waits for them."""
        return self._clock.reading(batches)

    def begin_step(self) -> None:
        """Seed what is drawn in a step, where a checkpoint has no room for all generators."""
        if self.processes.size > 1:
            purpose = f"training, process {self.processes.rank}"
            torch.manual_seed(derive_seed(self.run.seed, purpose, self.total_step))

    def generator(self, purpose: str, epoch: int = 0) -> torch.Generator:
        """Return a CPU generator that depends on seed, purpose and epoch alone."""
        return make_generator(self.run.seed, purpose, epoch)

    def count_step(self, values: Mapping[str, Tensor], share: float = 1.0) -> None:
        """Note a step on the device: ``"loss"`` must be finite, all are written down as means.

        Args:
            values: Scalars, means over the images of this process.
            share: Which part of the joint batch those are.
        """
        self._values.add(self.step, values, share)
        self.step += 1

    def pause(self) -> None:
        """Show the step, save if it is time, and stop if that is wanted.

        Raises:
            DivergedError: If a loss is not finite.
            InterruptedRunError: After Ctrl-C or SIGTERM, with everything saved.
        """
        if self._display.wants_step():
            self.check_losses()
            self._display.show_step(self)
        due = time.monotonic() >= self._next_checkpoint
        stopped, due = self.processes.any(bool(self._interrupt), due)
        if stopped or due:
            self._clock.lap(of_steps=True)
        if stopped:
            raise self._stop()
        if due:
            self.save()

    def stops(self) -> bool:
        """Whether the run is to stop, in any process. All must call this."""
        return self.processes.any(bool(self._interrupt))[0]

    def begin_test(self) -> None:
        """Show that the run is tested, and give all processes the same running statistics."""
        self._display.show_test()
        self.processes.average_buffers(self._buffers)
        self._clock.begin_test()

    def stop_in_test(self) -> None:
        """Stop between two batches of a test if that is wanted; the epoch is tested anew.

        Raises:
            InterruptedRunError: After Ctrl-C or SIGTERM, with everything saved.
        """
        if self.processes.size > 1 and self.device.type == "cuda":
            torch.cuda.synchronize(self.device)  # results are read next, which waits as well
        self._clock.end_test()
        if self.stops():
            self._clock.lap()
            raise self._stop()

    def keep(
        self,
        keeper: Keeper,
        pictures: Pictures = lambda places: None,
        *,
        names: tuple[Sequence[str], Sequence[str]] | None = None,
    ) -> None:
        """Write what the last test keeps of single images; before its epoch is finished.

        All processes must call it.

        Args:
            keeper: Has seen the images of this process.
            pictures: Reads some of all test images again.
            names: Of all test images and of the classes; None are those of ``start.load_data()``.

        Raises:
            OSError: If the disk does not take it, or a file cannot be read.
            RuntimeError: If there are no names, and the loop did not load the images by its start.
        """
        if names is None:
            if self._start.images is None:
                raise RuntimeError("keep: expected images of `start.load_data()`, or their names")
            data, selection = self._start.images
            names = names_of_tests(data, selection), data.test.classes
        keeper.merge(self.processes.sum_tensor)
        if self.processes.is_first:
            images, classes = names
            kept = Kept(keeper.kind, tuple(images), tuple(classes), keeper.arrays(pictures))
            write_kept(self.run.folder / "tested.npz", kept)

    def finish_steps(self) -> None:
        """Check the steps of an epoch, and take the time.

        Raises:
            DivergedError: If a loss or a weight is not a finite number.
        """
        self.check_finite()
        self._clock.lap(of_steps=True)
        self.ended = True

    def finish_epoch(
        self,
        results: Results | None = None,
        by_class: Mapping[str, float] | None = None,
        **others: Any,
    ) -> None:
        """Write down an epoch, save, and go on to the next one.

        Args:
            results: Of the test; None if this epoch is not tested.
            by_class: Main metric of the main predictor by class, where it is known.
            **others: What else to write down, by name.

        Raises:
            DivergedError: If a loss or a weight is not a finite number.
        """
        self._clock.lap()
        if by_class is not None:
            self.by_class = [*self.by_class, dict(by_class)][-NUM_AVERAGED:]
        self._update_peak_memory()
        row: dict[str, Any] = {"epoch": self.epoch + 1, "step": self.total_step}
        row |= {f"train_{name}": value for name, value in self.means(joint=True).items()}
        for predictor in self.predictors:
            for measure in self.measures:
                value = (results or {}).get(predictor, {}).get(measure.name)
                row[row_name(measure.name, predictor)] = finite_or_none(value)
        row |= {name: finite_or_none(value) for name, value in others.items()}
        seen = self.plan.images_seen(self.step)
        row |= {
            "images_per_second": round(seen / self._clock.epoch_seconds, 1) if seen else 0.0,
            "peak_memory_mib": self.peak_memory,
            "seconds": round(self._clock.seconds, 2),
        }
        row |= self._clock.by_process()
        self.rows.append(row)
        self._values.reset()
        self._clock.start_epoch()
        self.epoch, self.step, self.ended = self.epoch + 1, 0, False
        if self._record is not None:
            self._record.add(row)
        self.save()
        self._display.show_epoch(row)

    def summary(self) -> dict[str, Any]:
        """Write the summary and return it.

        Raises:
            InterruptedRunError: If the run was told to stop; it is finished all the same.
        """
        by_class = self.mean_by_class()
        if self._record is not None:
            self._record.add_classes(by_class, self.epoch)
        images = self._start.images
        results = {
            **summarize(self.rows, self.measures, self.predictors),
            "by_class": by_class,
            "epochs": self.plan.epochs,
            **vars(count_work(self.run.recipe, self.plan)),
            "test_on": "test" if images is None else _tested_on(*images),
            "seconds": round(self._clock.seconds, 1),
            "peak_memory_mib": self.peak_memory,
        }
        summary = write_summary(self.run, results, self._starts)
        if self.stops():  # too late for this run, but not for those after it
            raise InterruptedRunError(
                f"{self.run.label} seed {self.run.seed}: stopped after its last epoch, finished",
                self._interrupt.signal_number or signal.SIGTERM,
            )
        return summary

    # What is known of the epoch so far.

    def images_per_second(self) -> float:
        """Return the speed of the steps of this epoch so far."""
        return self.plan.images_seen(self.step) / max(self._clock.seconds_of_steps(), 1e-9)

    def means(self, *, joint: bool = False) -> dict[str, float | None]:
        """Return the mean of each value that was counted over the images of this epoch so far.

        Args:
            joint: Whether of all processes, which must all call this; else what this one saw
                stands for all.
        """
        return self._values.means(self.step, joint=joint)

    def mean_by_class(self) -> dict[str, float]:
        """Return the main metric of each class, mean of the last ten tests."""
        names = self.by_class[0] if self.by_class else {}
        return {
            name: sum(test[name] for test in self.by_class) / len(self.by_class)
            for name in names
            if all(name in test for test in self.by_class)
        }

    def _update_peak_memory(self) -> None:
        if (now := peak_memory(self.device)) is not None:
            self.peak_memory = max(round(now, 1), self.peak_memory or 0.0)

    def check_losses(self) -> None:
        """Read the losses of the epoch so far, which makes an accelerator wait.

        Raises:
            DivergedError: If one is not a finite number.
        """
        losses = self._values.losses(self.step)
        bad = (~losses.isfinite()).nonzero()
        if len(bad) > 0:
            step = int(bad[0])
            raise self._not_finite(f"a finite loss, got {losses[step].item()} in", step + 1)

    def check_finite(self) -> None:
        """Check losses, and weights too, which the last step may have spoiled after its loss.

        Raises:
            DivergedError: If a loss or a weight is not a finite number.
        """
        self.check_losses()
        name = non_finite_weight(self.objects.values(), self.processes)
        if name is not None:
            raise self._not_finite(f"finite weights, got others in {name!r} after", self.step)

    def _not_finite(self, what: str, step: int) -> DivergedError:
        where = f"step {step} of {self.plan.steps_in(self.epoch)} of epoch {self.epoch + 1}"
        kept = f"kept in {self.run.checkpoint}" if self.run.checkpoint.exists() else "none yet"
        return DivergedError(
            f"train: expected {what} {where}; {what_helps(self.run.plain()['recipe'])}; "
            f"last good checkpoint: {kept}; {how_to_try_again(self.run)}",
            self.epoch + 1,
            step,
        )

    # The checkpoint.

    def save(self) -> None:
        """Write the checkpoint.

        Raises:
            DivergedError: If a loss or a weight is not finite; the former checkpoint stays.
            OSError: If the disk does not take it; the former checkpoint stays.
        """
        self.check_finite()
        self.processes.average_buffers(self._buffers)
        self._update_peak_memory()
        values = self._values.state_dict()
        self._next_checkpoint = time.monotonic() + self._start.options.checkpoint_seconds
        keep = self.processes.is_first
        objects = {k: gathered(x.state_dict(), keep=keep) for k, x in self.objects.items()}
        if not keep:
            return
        if self.step == 0 and self.plan.is_kept(self.epoch, self._start.options.keep_checkpoints):
            modules = {k: objects[k] for k, x in self.objects.items() if isinstance(x, nn.Module)}
            path = self.run.kept_checkpoint(self.epoch)
            path.parent.mkdir(exist_ok=True)
            save_checkpoint(path, {**self.run.plain(), "objects": modules, "epoch": self.epoch})
        state = {
            **self.run.plain(),
            "objects": objects,
            "random": random_state(self.device),
            **values,
            **self._clock.state_dict(),
            **{name: getattr(self, name) for name in _KEPT},
        }
        save_checkpoint(self.run.checkpoint, state)

    def _restore(self) -> None:
        """Take up the checkpoint.

        Raises:
            UserError: If it is damaged, or belongs to another recipe, seed or version.
        """
        state = load_checkpoint(self.run.checkpoint)
        check_same_recipe(self.run, state)
        context = f"{self.run.checkpoint}: holds the state of another version: "
        with as_user_error(context, KeyError, RuntimeError, ValueError):
            for name, part in self.objects.items():
                part.load_state_dict(pieces_of(state["objects"][name], part))
            self._values.load_state_dict(state)
            self._clock.load_state_dict(state)
            for name in _KEPT:
                setattr(self, name, state[name])
        restore_random_state(state["random"], self.device)

    def _stop(self) -> InterruptedRunError:
        """Save, and return the exception that says where the run stopped."""
        self.save()
        return InterruptedRunError(
            f"{self.run.label} seed {self.run.seed}: stopped in epoch {self.epoch + 1} of "
            f"{self.plan.epochs} after step {self.step} of {self.plan.steps_in(self.epoch)}, saved",
            self._interrupt.signal_number or signal.SIGTERM,
        )


_KEPT = ("epoch", "step", "ended", "peak_memory", "rows", "by_class")


def _tested_on(data: DataSet, selection: Selection) -> str:
    """Say what a run was tested on; a set may have no images for it."""
    return selection.test_on if len(data.test) else "none"
