"""The protocol of the papers: choose on held-out training images, then train on all and test.

No run sees the test images before the choice is made. What was chosen is trained anew on all
training images, the held-out ones among them, and only that is tested.
"""

import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from semaug.errors import UserError
from semaug.queue.outcome import Outcome, summaries_of
from semaug.runs.files import write_json
from semaug.runs.run import Run
from semaug.runs.statistics import mean_and_spread

if TYPE_CHECKING:
    import optuna

__all__ = ["MEASURE", "Candidate", "Row", "SearchResult", "search"]

MEASURE = "error_mean_last_10"


@dataclass(frozen=True)
class Candidate:
    """Values to choose, and the runs that tell how good they are.

    Args:
        values: Of each field that is searched.
        choosing: Runs that are tested on held-out images, one for each seed.
        final: Runs that train on all images and are tested on the test images, likewise.
    """

    values: Mapping[str, str]
    choosing: Sequence[Run]
    final: Sequence[Run]


@dataclass(frozen=True)
class Row:
    """What a candidate came to.

    Args:
        candidate: The candidate.
        errors: On held-out images in percent, one for each seed; none if a run diverged.
    """

    candidate: Candidate
    errors: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean over seeds; infinite if a run diverged."""
        return mean_and_spread(self.errors)[0] if self.errors else float("inf")


@dataclass(frozen=True)
class SearchResult:
    """What a search came to.

    Args:
        rows: One for each candidate, in their order.
        chosen: The one with the lowest mean; the first of equals.
        final_errors: Of what was chosen, on the test images in percent, one for each seed.
        folder: Holds ``search.json`` and the study, ``study.log``.
    """

    rows: Sequence[Row]
    chosen: Row
    final_errors: tuple[float, ...]
    folder: Path


def search(
    candidates: Sequence[Candidate],
    train_all: Callable[[Sequence[Run]], Sequence[Outcome]],
    folder: Path,
) -> SearchResult:
    """Train all candidates, choose one, and test that one.

    Stop it at any moment: the same call goes on, for runs lie in folders of their own.

    Args:
        candidates: What to choose from.
        train_all: Trains runs, or goes on with them, and returns what became of each, such as
            :func:`semaug.queue.workers.run_jobs`.
        folder: Where to write the results of the search.

    Raises:
        UserError: If a run failed, other than by numbers that stop being finite; or if all
            candidates failed by those.
        ValueError: If a choosing run is tested on test images, or a final one on held-out ones.
    """
    _check_images(candidates)
    outcomes = list(train_all([run for candidate in candidates for run in candidate.choosing]))
    summaries_of([outcome for outcome in outcomes if not outcome.diverged])
    rows = []
    for candidate in candidates:
        own, outcomes = outcomes[: len(candidate.choosing)], outcomes[len(candidate.choosing) :]
        errors = [outcome.summary[MEASURE] for outcome in own if outcome.summary is not None]
        rows.append(Row(candidate, tuple(errors) if len(errors) == len(own) else ()))
    if not any(row.errors for row in rows):
        raise UserError("search: the numbers of all values stopped being finite; a lower lr helps")
    folder.mkdir(parents=True, exist_ok=True)
    _record_study(rows, folder / "study.log")
    chosen = min(rows, key=lambda row: row.mean)  # the first of equals
    write_json(folder / "search.json", _as_plain_data(rows, chosen, []))

    summaries = summaries_of(train_all(chosen.candidate.final))
    write_json(folder / "search.json", _as_plain_data(rows, chosen, summaries))
    final_errors = tuple(summary[MEASURE] for summary in summaries)
    return SearchResult(rows, chosen, final_errors, folder)


def _check_images(candidates: Sequence[Candidate]) -> None:
    for candidate in candidates:
        for run in candidate.choosing:
            if run.recipe.subset.hold_out is None:
                raise ValueError(f"search: expected `choosing` with `hold_out`, got {run.label}")
        for run in candidate.final:
            if run.recipe.subset.hold_out is not None:
                raise ValueError(f"search: expected `final` without `hold_out`, got {run.label}")


# The study of Optuna, for its dashboard and its analyses.


def _record_study(rows: Sequence[Row], path: Path) -> None:
    """Let Optuna visit the whole grid; each visit looks up what the runs came to.

    The study holds nothing of its own. It is made beside its place and moved there, so that a
    kill tears no file and two searches at once do not disturb each other.
    """
    wanted = {_key(row.candidate.values): [*row.errors] for row in rows}
    if path.exists() and _errors_in(path) == wanted:
        return
    partial = path.with_name(f"{path.name}.{os.getpid()}-{secrets.token_hex(4)}.partial")
    try:
        _write_study(rows, partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _write_study(rows: Sequence[Row], path: Path) -> None:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    grid: dict[str, list[str]] = {}
    for row in rows:
        for field, value in row.candidate.values.items():
            if value not in grid.setdefault(field, []):
                grid[field].append(value)
    by_values = {tuple(row.candidate.values[field] for field in grid): row for row in rows}

    def look_up(trial: "optuna.Trial") -> float:
        values = tuple(trial.suggest_categorical(field, grid[field]) for field in grid)
        row = by_values[values]
        trial.set_user_attr("errors", list(row.errors))
        if not row.errors:
            raise FloatingPointError
        return row.mean

    sampler = optuna.samplers.GridSampler(grid, seed=0)
    study = optuna.create_study(storage=_storage(path), study_name="search", sampler=sampler)
    study.optimize(look_up, catch=(FloatingPointError,))


def _key(values: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(values.items()))


def _errors_in(path: Path) -> dict[tuple[tuple[str, str], ...], list[float]] | None:
    """Return the errors of all values in a study, None if it is torn."""
    import optuna

    try:
        trials = optuna.load_study(storage=_storage(path), study_name="search").trials
        if not all(trial.state.is_finished() for trial in trials):
            return None
        return {_key(trial.params): trial.user_attrs["errors"] for trial in trials}
    except (LookupError, ValueError):
        return None


def _storage(path: Path) -> "optuna.storages.JournalStorage":
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    return JournalStorage(JournalFileBackend(str(path)))


def _as_plain_data(
    rows: Sequence[Row], chosen: Row, final: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    def plain(row: Row) -> dict[str, Any]:
        runs = row.candidate.choosing
        mean, spread = mean_and_spread(row.errors) if row.errors else (None, None)
        return {
            "values": dict(row.candidate.values),
            "held_out_error": {"mean": mean, "std": spread, "values": list(row.errors)},
            "diverged": not row.errors,
            "folders": [str(run.folder) for run in runs],
        }

    result: dict[str, Any] = {
        "unit": "error in percent",
        "measure": MEASURE,
        "hold_out": rows[0].candidate.choosing[0].recipe.subset.hold_out,
        "seeds": [run.seed for run in rows[0].candidate.choosing],
        "candidates": [plain(row) for row in rows],
        "chosen": dict(chosen.candidate.values),
        "final": None,
    }
    if final:
        values = [summary[MEASURE] for summary in final]
        mean, spread = mean_and_spread(values)
        result["final"] = {
            "label": chosen.candidate.final[0].label,
            "test_error": {"mean": mean, "std": spread, "values": values},
            "folders": [str(run.folder) for run in chosen.candidate.final],
            "devices": sorted({summary["device"] for summary in final}),
            "commits": sorted({summary["commit"] for summary in final}),
        }
    return result
