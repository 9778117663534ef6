"""Runs that diverge: a loss or a weight is not a finite number."""

from semaug.errors import as_user_error
from semaug.runs.files import read_json
from semaug.runs.folder import check_same_recipe
from semaug.runs.read import what_helps
from semaug.runs.run import Run


class DivergedError(FloatingPointError):
    """A loss or a weight is not a finite number.

    Args:
        message: What, and what helps.
        epoch: Where, counted from 1.
        step: Of the epoch, counted from 1.
    """

    def __init__(self, message: str, epoch: int, step: int) -> None:
        super().__init__(message)
        self.epoch = epoch
        self.step = step


def check_not_diverged(run: Run) -> None:
    """Refuse to train what diverged before: on most devices it would do so again.

    Raises:
        DivergedError: If it did.
        UserError: If the file that says so is damaged, or about another recipe.
    """
    if not run.diverged.exists():
        return
    remedy = "delete it, and the run is tried again"
    found = read_json(run.diverged, remedy)
    context = f"{run.diverged}: expected where a run diverged; {remedy}: "
    with as_user_error(context, KeyError, TypeError):
        check_same_recipe(run, found)
        epoch, step = int(found["epoch"]), int(found["step"])
    raise DivergedError(
        f"train: this run diverged before, in step {step} of epoch {epoch}; {how_to_go_on(run)}",
        epoch,
        step,
    )


def how_to_go_on(run: Run) -> str:
    """Say what to do after a run diverged."""
    advice = what_helps(run.plain()["recipe"])
    return f"{advice}; to train this one again nevertheless, delete {run.diverged}"
