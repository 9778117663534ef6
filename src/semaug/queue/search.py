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
from semaug.recipe.plan import NUM_AVERAGED
from semaug.runs.files import write_json
from semaug.runs.read import measure_of, value_of, what_helps
from semaug.runs.run import Run
from semaug.runs.statistics import mean_and_spread


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


def search(
    candidates: Sequence[Candidate],
    train_all: Callable[[Sequence[Run]], Sequence[Outcome]],
    folder: Path,
) -> dict[str, Any]:
    """Train all candidates, choose one, and test that one.

    Stop it at any moment: the same call goes on, for runs lie in folders of their own.

    Args:
        candidates: What to choose from.
        train_all: Trains runs, or goes on with them, and returns the outcome of each, such as
            :func:`semaug.queue.queue.train_runs`.
        folder: Where to write the results of the search.

    Returns:
        What ``search.json`` holds: the results on held-out images of each of ``candidates``, in
        their order; the values that were ``chosen``, of those with the best mean over seeds the
        first; and the results of these on the test images, under ``final``.

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
    measures = [*dict.fromkeys(map(measure_of, finished))]
    if len(measures) > 1:
        names = " and ".join(f"{one.in_unit()} ({one.report})" for one in measures)
        raise UserError(f"search: expected runs with the same main metric, got {names}")
    rows: list[dict[str, Any]] = []
    ended = iter(outcomes)
    for candidate in candidates:
        own = [*islice(ended, len(candidate.choosing))]
        diverged = any(outcome.diverged for outcome in own)
        rows.append(
            {
                "values": dict(candidate.values),
                "held_out": _results([] if diverged else own),
                "diverged": diverged,
                "folders": [str(run.folder) for run in candidate.choosing],
            }
        )
    known = [place for place, row in enumerate(rows) if not row["diverged"]]
    if not known:
        advice = what_helps(choosing[0].plain()["recipe"])
        raise UserError(f"search: every candidate diverged; {advice}")
    best = min(known, key=lambda place: measures[0].sort_key(rows[place]["held_out"]["mean"]))
    written: dict[str, Any] = {
        "metric": asdict(measures[0]),
        "num_tests": finished[0].get("epochs", NUM_AVERAGED),
        "hold_out": choosing[0].recipe.subset.hold_out,
        "seeds": [run.seed for run in candidates[0].choosing],
        "candidates": rows,
        "chosen": rows[best]["values"],
        "final": None,
    }
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "search.json", written)

    chosen = candidates[best].final
    outcomes = train_all(chosen)
    summaries = summaries_of(outcomes)
    written["final"] = {
        "label": chosen[0].label,
        "test": _results(outcomes),
        "folders": [str(run.folder) for run in chosen],
        "devices": sorted({summary["device"] for summary in summaries}),
        "commits": sorted({summary["commit"] for summary in summaries}),
    }
    write_json(folder / "search.json", written)
    return written


def _results(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Return mean, standard deviation and values of finished runs; there may be none."""
    told = (value_of(outcome.summary or {}) for outcome in outcomes)
    values = [value for value in told if value is not None]
    if len(values) < len(outcomes):
        raise UserError("search: expected the main metric of each run, got a run without it")
    mean, spread = mean_and_spread(values) if values else (None, None)
    return {"mean": mean, "std": spread, "values": values}
