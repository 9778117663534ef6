"""The state of a run while it trains, and how it is saved and taken up again."""

import math
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from semaug.data import DataSet
from semaug.engine.divergence import DivergedError, how_to_try_again
from semaug.engine.evaluate import MIN_CLASSES_FOR_TOP5, Wrong
from semaug.engine.interrupt import InterruptedRunError
from semaug.engine.memory import peak_memory
from semaug.engine.processes import Processes
from semaug.engine.run_files import check_same_recipe
from semaug.errors import as_user_error
from semaug.methods import Batch, StepOutput
from semaug.runs.checkpoint import (
    load_checkpoint,
    random_state,
    restore_random_state,
    save_checkpoint,
)
from semaug.runs.record import NUM_AVERAGED
from semaug.runs.run import Run

__all__ = ["Session"]


@dataclass
class Session:
    """All that a checkpoint holds.

    Args:
        run: What is trained; its recipe has no ``"auto"`` left.
        device: Where.
        processes: Those that train together.
        method: On the device.
        optimizer: Of the method's parameters.
        average: Of the weights, if it is what is tested.
        data: Training and test images.
    """

    run: Run
    device: torch.device
    processes: Processes
    method: nn.Module
    optimizer: torch.optim.Optimizer
    average: nn.Module | None
    data: DataSet
    epoch: int = 0  # whole epochs done, their test included
    step: int = 0  # steps done in the epoch after them
    losses: Tensor = field(init=False)  # (steps_per_epoch,) float32 of this epoch, on the device
    wrong: Tensor = field(init=False)  # (steps_per_epoch,) int64: images classified wrongly
    epoch_seconds: float = 0.0  # spent on the steps of this epoch
    seconds: float = 0.0  # spent in all, tests included
    peak_memory: float | None = None  # in MiB; of the start that took most
    rows: list[dict[str, Any]] = field(default_factory=list)  # of metrics.jsonl
    # Test images classified wrongly, by class: of the tests whose errors are averaged.
    wrong_by_class: list[list[int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.num_images = len(self.data.train)
        self.steps_per_epoch = math.ceil(self.num_images / self.run.recipe.batch_size)
        self.losses = torch.zeros(self.steps_per_epoch, device=self.device)
        self.wrong = torch.zeros(self.steps_per_epoch, dtype=torch.int64, device=self.device)
        self._mark = time.monotonic()

    @property
    def total_step(self) -> int:
        """Steps done since the beginning of the run."""
        return self.epoch * self.steps_per_epoch + self.step

    def share(self, batch: Batch) -> float:
        """Return which part of the joint batch of this step a batch is."""
        batch_size = self.run.recipe.batch_size
        return len(batch.labels) / min(batch_size, self.num_images - self.step * batch_size)

    def count_step(self, output: StepOutput, batch: Batch, share: float) -> None:
        """Note what a step came to, on the device; a mixed image counts as its larger part."""
        wanted = batch.labels if batch.targets is None else batch.targets.argmax(dim=1)
        self.losses[self.step] = output.loss.detach() * share
        self.wrong[self.step] = (output.logits.argmax(dim=1) != wanted).sum()
        self.step += 1

    def lap(self, *, of_steps: bool = False) -> None:
        """Add the seconds since the last call to the run, and to its epoch if of steps."""
        now = time.monotonic()
        lap, self._mark = now - self._mark, now
        self.seconds += lap
        self.epoch_seconds += lap if of_steps else 0

    def images_per_second(self) -> float:
        """Return the speed of the steps of this epoch, :meth:`lap` called or not."""
        batch_size = self.run.recipe.batch_size
        num_seen = min(self.step * batch_size, self.num_images)
        return num_seen / (self.epoch_seconds + time.monotonic() - self._mark)

    def means(self, *, joint: bool = False) -> tuple[float, float]:
        """Return the mean loss and the error in percent of the images seen in this epoch.

        Args:
            joint: Whether of all processes, which must all call this; else what this one saw
                stands for all.
        """
        losses, wrong = self.losses[: self.step], self.wrong[: self.step].sum()
        if joint:
            losses, wrong = map(self.processes.sum_tensor, (losses, wrong))
        else:
            losses, wrong = losses * self.processes.size, wrong * self.processes.size
        batch_size = self.run.recipe.batch_size
        num_seen = min(self.step * batch_size, self.num_images)
        sizes = torch.full((self.step,), batch_size, dtype=torch.float64)
        sizes[-1] = num_seen - (self.step - 1) * batch_size
        return float(losses.double().cpu() @ sizes) / num_seen, 100 * int(wrong) / num_seen

    def finish_epoch(
        self, wrong: Wrong | None, rate: float, diagnostics: Mapping[str, Tensor]
    ) -> dict[str, float | None]:
        """Go on to the next epoch, and return the row of this one, errors in percent.

        Args:
            wrong: Test images that are classified wrongly; None if this epoch is not tested.
            rate: Learning rate of the last step.
            diagnostics: What else to write down, by name.
        """
        loss, error = self.means(joint=True)
        if wrong is not None:
            first = wrong.by_class[0].tolist()
            self.wrong_by_class = [*self.wrong_by_class, first][-NUM_AVERAGED:]
        self._look_at_memory()
        row: dict[str, float | None] = {
            "epoch": self.epoch + 1,
            "step": self.total_step,
            "train_loss": loss,
            "train_error": error,
            **self._test_errors(wrong),
            "lr": rate,
            **{name: _finite(value) for name, value in diagnostics.items()},
            "images_per_second": round(self.num_images / self.epoch_seconds, 1),
            "peak_memory_mib": self.peak_memory,
            "seconds": round(self.seconds, 2),
        }
        self.rows.append(row)
        self.epoch += 1
        self.step = 0
        self.epoch_seconds = 0.0
        return row

    def _test_errors(self, wrong: Wrong | None) -> dict[str, float | None]:
        """Return errors in percent, of networks after the first with their number behind."""
        num_networks = self.run.recipe.method.num_networks
        counts = {"test_error": None if wrong is None else wrong.by_class.sum(dim=1)}
        if self.data.num_classes >= MIN_CLASSES_FOR_TOP5:
            counts["test_top5_error"] = None if wrong is None else wrong.top5
        return {
            name if k == 0 else f"{name}_{k + 1}": (
                None if count is None else 100 * int(count[k]) / len(self.data.test)
            )
            for k in range(num_networks)
            for name, count in counts.items()
        }

    def error_per_class(self) -> dict[str, float]:
        """Return the test error of each class in percent, mean of the last ten tests.

        Classes without test images are left out. Nothing is known of a run that goes on from
        a checkpoint of an early version, until enough tests have been made.
        """
        num_tests = sum(row["test_error"] is not None for row in self.rows)
        if len(self.wrong_by_class) < min(num_tests, NUM_AVERAGED):
            return {}
        test = self.data.test
        sizes = torch.bincount(test.labels, minlength=self.data.num_classes).tolist()
        wrong = torch.tensor(self.wrong_by_class, dtype=torch.float64).mean(dim=0).tolist()
        return {
            name: 100 * missed / size
            for name, missed, size in zip(test.classes, wrong, sizes, strict=True)
            if size > 0
        }

    def _look_at_memory(self) -> None:
        now = peak_memory(self.device)
        if now is not None:
            self.peak_memory = max(round(now, 1), self.peak_memory or 0.0)

    def check_losses(self) -> None:
        """Read the losses of the epoch so far, which makes an accelerator wait.

        Raises:
            DivergedError: If one is not a finite number.
        """
        bad = (~self.losses[: self.step].isfinite()).nonzero()
        if len(bad) > 0:
            step = int(bad[0])
            raise self._not_finite(f"a finite loss, got {self.losses[step].item()} in", step + 1)

    def check_finite(self) -> None:
        """Check losses, and weights too, which the last step may have spoiled after its loss.

        Raises:
            DivergedError: If a loss or a weight is not a finite number.
        """
        self.check_losses()
        names, parameters = zip(*self.method.named_parameters(), strict=True)
        finite = torch.stack([parameter.isfinite().all() for parameter in parameters]).tolist()
        if not all(finite):
            name = names[finite.index(False)]
            raise self._not_finite(f"finite weights, got others in {name!r} after", self.step)

    def _not_finite(self, what: str, step: int) -> DivergedError:
        where = f"step {step} of {self.steps_per_epoch} of epoch {self.epoch + 1}"
        kept = f"kept in {self.run.checkpoint}" if self.run.checkpoint.exists() else "none yet"
        return DivergedError(
            f"train: expected {what} {where}; a lower lr may help; last good checkpoint: {kept}; "
            f"{how_to_try_again(self.run)}",
            self.epoch + 1,
            step,
        )

    def save(self) -> None:
        """Write the checkpoint.

        Raises:
            DivergedError: If a loss or a weight is not finite; the former checkpoint stays.
            OSError: If the disk does not take it; the former checkpoint stays.
        """
        self.check_finite()
        self.average_buffers()
        self._look_at_memory()
        losses, wrong = map(self.processes.sum_tensor, (self.losses, self.wrong))
        if not self.processes.is_first:
            return
        state = {
            "recipe": self.run.recipe.as_plain_data(),
            "seed": self.run.seed,
            "method": self.method.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "random": random_state(self.device),
            "epoch": self.epoch,
            "step": self.step,
            "losses": losses,
            "wrong": wrong,
            "epoch_seconds": self.epoch_seconds,
            "seconds": self.seconds,
            "peak_memory": self.peak_memory,
            "rows": self.rows,
            "wrong_by_class": self.wrong_by_class,
        }
        save_checkpoint(self.run.checkpoint, state)

    def average_buffers(self) -> None:
        """Give all processes the same statistics of batch norms."""
        networks = [self.method.get_submodule("network")]
        if self.average is not None:
            networks.append(self.average)
        self.processes.average_buffers(networks)

    def restore(self) -> None:
        """Take up the checkpoint.

        Raises:
            UserError: If it is damaged, or belongs to another recipe, seed or version.
        """
        state = load_checkpoint(self.run.checkpoint)
        check_same_recipe(self.run, {**state["recipe"], "seed": state["seed"]})
        context = f"{self.run.checkpoint}: holds the state of another version: "
        with as_user_error(context, KeyError, RuntimeError, ValueError):
            self.method.load_state_dict(state["method"])
            self.optimizer.load_state_dict(state["optimizer"])
            if self.average is not None:
                self.average.load_state_dict(state["average"])
        restore_random_state(state["random"], self.device)
        if self.processes.is_first:  # what all of them saw together
            self.losses.copy_(state["losses"])
            self.wrong.copy_(state["wrong"])
        for name in ("epoch", "step", "epoch_seconds", "seconds", "rows"):
            setattr(self, name, state[name])
        self.peak_memory = state.get("peak_memory")  # early versions kept neither
        self.wrong_by_class = state.get("wrong_by_class", [])

    def stop_at_end(self, signal_number: int) -> InterruptedRunError:
        """Return the exception that says that the run is finished, and nothing is to follow it.

        Args:
            signal_number: As for :meth:`stop`.
        """
        return InterruptedRunError(
            f"{self.run.label} seed {self.run.seed}: stopped after its last epoch, finished",
            signal_number or signal.SIGTERM,
        )

    def stop(self, signal_number: int) -> InterruptedRunError:
        """Save, and return the exception that says where the run stopped.

        Args:
            signal_number: What stopped it; 0 if another process was told to stop.
        """
        self.save()
        return InterruptedRunError(
            f"{self.run.label} seed {self.run.seed}: stopped in epoch {self.epoch + 1} of "
            f"{self.run.recipe.epochs} after step {self.step} of {self.steps_per_epoch}, saved",
            signal_number or signal.SIGTERM,
        )


def _finite(value: Tensor) -> float | None:
    """Read a number for the log, which has no room for others than finite ones."""
    number = float(value)
    return number if math.isfinite(number) else None
