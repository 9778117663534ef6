"""The protocol of the papers: choose on held-out training images, then train on all and test.

No run sees the test images before the choice is made. What was chosen is trained anew on all
training images, the held-out ones among them, and only that is tested.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from semaug.errors import UserError
from semaug.queue.outcome import Outcome, summaries_of
from semaug.runs.files import write_json
from semaug.runs.read import Measure, measure_of, value_of, what_helps
from semaug.runs.run import Run
from semaug.runs.statistics import mean_and_spread

__all__ = ["Candidate", "Row", "SearchResult", "search"]


@dataclass(frozen=True)
class Candidate:
    """Values to choose, and the runs that tell how good they are.

    Args:
        values: The value of each field that is searched.
        choosing: Runs that are tested on held-out images, one for each seed.
        final: Runs that train on all images and are tested on the test images, one for each seed.
    """

    values: Mapping[str, str]
    choosing: Sequence[Run]
    final: Sequence[Run]


@dataclass(frozen=True)
class Row:
    """The result of a candidate.

    Args:
        candidate: The candidate.
        results: On held-out images, one for each seed; none if a run diverged.
    """

    candidate: Candidate
    results: tuple[float, ...]


@dataclass(frozen=True)
class SearchResult:
    """The result of a search.

    Args:
        measure: What the results are.
        rows: One for each candidate, in their order.
        chosen: The one with the best mean over seeds; the first of equals.
        final: Results of the chosen candidate on the test images, one for each seed.
        folder: Holds ``search.json``.
    """

    measure: Measure
    rows: Sequence[Row]
    chosen: Row
    final: tuple[float, ...]
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
        train_all: Trains runs, or goes on with them, and returns the outcome of each, such as
            :func:`semaug.queue.queue.train_runs`.
        folder: Where to write the results of the search.

    Raises:
        UserError: If a run failed, other than by divergence; or if every candidate diverged.
        ValueError: If a choosing run is tested on test images, or a final one on held-out ones.
    """
    choosing = [run for candidate in candidates for run in candidate.choosing]
    final = [run for candidate in candidates for run in candidate.final]
    if any(run.recipe.subset.hold_out is None for run in choosing) or any(
        run.recipe.subset.hold_out is not None for run in final
    ):
        raise ValueError("search: expected `hold_out` in all of `choosing`, and none of `final`")
    outcomes = train_all(choosing)
    finished = summaries_of([outcome for outcome in outcomes if not outcome.diverged])
    rows, ended = [], iter(outcomes)
    for candidate in candidates:
        own = [outcome.summary for outcome in islice(ended, len(candidate.choosing))]
        summaries = [summary for summary in own if summary is not None]  # None: diverged
        rows.append(Row(candidate, _results(summaries) if len(summaries) == len(own) else ()))
    with_results = [row for row in rows if row.results]
    if not with_results:
        advice = what_helps(candidates[0].final[0].plain()["recipe"])
        raise UserError(f"search: every candidate diverged; {advice}")
    measures = [*dict.fromkeys(map(measure_of, finished))]
    if len(measures) > 1:
        names = " and ".join(f"{one.in_unit()} ({one.report})" for one in measures)
        raise UserError(f"search: expected runs with the same main metric, got {names}")
    measure = measures[0]
    chosen = min(  # the first of equals
        with_results, key=lambda row: measure.sort_key(mean_and_spread(row.results)[0])
    )
    written: dict[str, Any] = {
        "metric": asdict(measure),
        "hold_out": candidates[0].choosing[0].recipe.subset.hold_out,
        "seeds": [run.seed for run in candidates[0].choosing],
        "candidates": [_plain_row(row) for row in rows],
        "chosen": dict(chosen.candidate.values),
        "final": None,
    }
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "search.json", written)

    summaries = summaries_of(train_all(chosen.candidate.final))
    results = _results(summaries)
    written["final"] = {
        "label": chosen.candidate.final[0].label,
        "test": _plain_results(results),
        "folders": [str(run.folder) for run in chosen.candidate.final],
        "devices": sorted({summary["device"] for summary in summaries}),
        "commits": sorted({summary["commit"] for summary in summaries}),
    }
    write_json(folder / "search.json", written)
    return SearchResult(measure, rows, chosen, results, folder)


def _results(summaries: Sequence[dict[str, Any]]) -> tuple[float, ...]:
    values = [value for summary in summaries if (value := value_of(summary)) is not None]
    if len(values) < len(summaries):
        raise UserError("search: expected the main metric of each run, got a run without it")
    return tuple(values)


def _plain_row(row: Row) -> dict[str, Any]:
    return {
        "values": dict(row.candidate.values),
        "held_out": _plain_results(row.results),
        "diverged": not row.results,
        "folders": [str(run.folder) for run in row.candidate.choosing],
    }


def _plain_results(results: Sequence[float]) -> dict[str, Any]:
    mean, spread = mean_and_spread(results) if results else (None, None)
    return {"mean": mean, "std": spread, "values": list(results)}
