"""Finished runs, from their folders: what was trained, other options of its test, its weights."""

from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from semaug.errors import UserError, as_user_error
from semaug.outside import load_recorded
from semaug.recipe.overrides import override
from semaug.recipe.plain import outside_names, recipe_from_plain_data
from semaug.runs.checkpoint import load_checkpoint
from semaug.runs.read import load_summary
from semaug.runs.run import Run

_OF_TESTS = ("evaluation", "evaluation_batch_size", "metrics")


def load_finished_run(
    folder: str | Path, *, trust_code: bool = False
) -> tuple[Run, dict[str, Any]]:
    """Return a finished run and its summary.

    Args:
        folder: Of the run.
        trust_code: Whether copies of code from outside, in the folder, may be executed.

    Raises:
        UserError: If the folder holds no finished run, something in it is damaged or was written
            by another version, or code of it was changed since.
    """
    folder = Path(folder)
    summary = load_summary(folder)
    plain, code = summary["recipe"], summary["code"]
    load_recorded(folder, code, [*outside_names(plain)], trusted=trust_code)
    context = f"{folder / 'summary.json'}: expected the summary of a run: "
    with as_user_error(context, AttributeError, LookupError, TypeError, ValueError):
        recipe = recipe_from_plain_data(plain)
    seed, overrides, quick = summary["seed"], summary["overrides"], summary["quick"]
    return _Finished(summary["name"], recipe, seed, overrides, quick, folder), summary


class _Finished(Run):
    """A run in a given folder, whatever its name."""

    @property
    def folder(self) -> Path:
        """Where everything about the run is kept."""
        return self.root


def tested_with(run: Run, changes: Mapping[str, str]) -> Run:
    """Return a run with other options of its test, for testing what it trained otherwise.

    Args:
        run: A finished one.
        changes: ``name: value`` as on the command line: of ``evaluation``,
            ``evaluation_batch_size``, ``metrics``, and what the data set lists in
            :attr:`semaug.data.DataSource.test_options`.

    Raises:
        UserError: If a name is unknown or one of training, or a value does not fit.
    """
    recipe = override(run.recipe, changes, str(run.folder / "recipe.json"))
    others = {*_changed_fields(run.recipe, recipe)} - {*_OF_TESTS}
    if "data" in others and type(recipe.data) is type(run.recipe.data):
        own = {*_changed_fields(run.recipe.data, recipe.data)} - {*recipe.data.test_options}
        others = others - {"data"} | {f"data.{name}" for name in own}
    if others:
        allowed = [*_OF_TESTS, *(f"data.{name}" for name in recipe.data.test_options)]
        raise UserError(
            f"evaluate: expected changes of how a run is tested ({', '.join(allowed)}), got one of "
            f"{', '.join(sorted(others))}, which decides how it was trained"
        )
    return replace(run, recipe=recipe)


def _changed_fields(before: Any, now: Any) -> Iterator[str]:
    return (f.name for f in fields(before) if getattr(before, f.name) != getattr(now, f.name))


def load_state(path: Path, epoch: int) -> dict[str, Any]:
    """Return the states of the objects that a run saved after an epoch, by name.

    Raises:
        UserError: If the checkpoint is missing, damaged, or of another epoch.
    """
    if not path.exists():
        raise UserError(f"{path}: expected the weights of the run, got no such file")
    state = load_checkpoint(path)
    if state["epoch"] != epoch:
        raise UserError(
            f"{path}: expected the weights after epoch {epoch}, got those after epoch "
            f"{state['epoch']}"
        )
    objects: dict[str, Any] = state["objects"]
    return objects
