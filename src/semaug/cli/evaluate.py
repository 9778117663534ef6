"""``semaug evaluate``: test trained networks again."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from semaug.cli.options import OF_TRAINING, with_options
from semaug.engine.device import choose_device, count_threads, cpu_threads, operators
from semaug.engine.options import TrainOptions
from semaug.engine.processes import Processes
from semaug.engine.session import Results
from semaug.engine.start import Start
from semaug.engine.trained import load_trained
from semaug.errors import UserError
from semaug.recipe import Recipe
from semaug.recipe.overrides import split_overrides
from semaug.runs.finished import load_finished_run, load_state, tested_with
from semaug.runs.read import (
    find_finished,
    is_untested,
    label_of,
    measured,
    measures_of,
    value_of,
)
from semaug.runs.run import Run
from semaug.runs.words import say


def _folder_or_change(text: str) -> Path | str:
    """Tell ``name=value`` from a folder, whose name may hold both."""
    name, equals, _ = text.partition("=")
    folder = Path(text)
    return text if equals and "/" not in name and not folder.exists() else folder


@with_options(leave_out=OF_TRAINING)
def evaluate_command(
    folders: Annotated[
        list[Path],  # and changes as text
        typer.Argument(
            parser=_folder_or_change,
            metavar="RUN",
            help="Folders of finished runs, or folders that contain finished runs, and other "
            "options of their test as NAME=VALUE: of evaluation, metrics, or test images",
            show_default=False,
        ),
    ],
    *,
    options: TrainOptions,
) -> None:
    """Test the networks of finished runs again, and compare with the recorded results.

    They are tested on the test images of their run, or on its held-out images if there are any,
    with the number of CPU threads of the run unless --threads says another. On the same device the
    results equal those of the last epoch exactly. The exit status is 1 if a result is another, and
    2 if a run cannot be tested. With other options of the test, results are told, not compared.

    [bold]Examples[/bold]

    semaug evaluate runs

    semaug evaluate runs/cifar10_resnet32_isda/seed0 --data-root data

    semaug evaluate runs/camvid_pspnet_lite0/seed0 scales=0.75,1,1.25 drive=Seq05VD
    """
    console = Console()
    changes = split_overrides(str(one) for one in folders if not isinstance(one, Path))
    runs = [run for one in folders if isinstance(one, Path) for run in find_finished(one)]
    others = failed = 0
    for run in runs:
        try:
            others += _evaluate(run, changes, options, console)
        except (OSError, UserError) as error:
            if len(runs) == 1:
                raise
            say(console, str(error), style="red")
            failed += 1
    if others:
        say(
            console,
            "a result may be another on another device, and on a CPU with another number of "
            "threads: numbers are rounded otherwise",
        )
    if failed:
        raise UserError(f"evaluate: {failed} of {len(runs)} runs cannot be tested; see above")
    if others:
        raise typer.Exit(1)


def _evaluate(
    folder: Path, changes: Mapping[str, str], options: TrainOptions, console: Console
) -> int:
    """Test a run again, and return how many of its results are others than those recorded."""
    run, summary = load_finished_run(folder, trust_code=options.trust_code)
    if is_untested(summary):
        say(console, f"{folder}: was trained without test images, and is not tested", "yellow")
        return 0
    threads = options.threads or summary.get("threads")  # earlier versions did not record them
    with cpu_threads(count_threads(run.recipe, threads)):
        results = _test(run, changes, summary, options, console)
    if results is None:
        kind = type(run.recipe).__name__
        line = f"{folder}: a run of {run.name} cannot be tested again: {kind} has no `evaluate`"
        say(console, line, style="yellow")
        return 0
    others = 0
    if changes:
        for line in _describe(results, changes, summary):
            say(console, f"{folder}: {line}")
        return 0
    for line, is_same in _compare(results, summary):
        say(console, f"{folder}: {line}", style="" if is_same else "yellow")
        others += not is_same
    return others


def _test(
    run: Run,
    changes: Mapping[str, str],
    summary: Mapping[str, Any],
    options: TrainOptions,
    console: Console,
) -> Results | None:
    """Test a run again; None if recipes of its kind do not say how."""
    if isinstance(run.recipe, Recipe):
        return load_trained(run.folder, options, changes).test()
    if not hasattr(run.recipe, "evaluate"):
        return None
    place = choose_device(options.device)
    with operators(place, deterministic=run.recipe.deterministic):
        processes = Processes(place, run.recipe.precision)
        tested = tested_with(run, changes)
        same = tested.recipe.data == run.recipe.data
        start = Start(
            *(tested, place, processes, options, console, lambda state: None), tests_again=same
        )
        found: Results = tested.recipe.evaluate(
            start, load_state(run.checkpoint, summary["epochs"])
        )
    return found


def _describe(
    results: Results, changes: Mapping[str, str], summary: Mapping[str, Any]
) -> Iterator[str]:
    """Say what a test with other options found, and what the run recorded."""
    texts = {measure.name: measure.text for measure in measures_of(summary)}
    options = " ".join(f"{name}={value}" for name, value in changes.items())
    for predictor, values in results.items():
        for metric, value in values.items():
            text = texts.get(metric, "{:.3f}".format)
            recorded = value_of(summary, predictor, metric, "last")
            ending = "" if recorded is None else f"; the run recorded {text(recorded)}"
            yield f"{label_of(metric, predictor)} {text(value)} with {options}{ending}"


def _compare(results: Results, summary: Mapping[str, Any]) -> Iterator[tuple[str, bool]]:
    """Say of each predictor what its results are, and whether they are those of the run."""
    texts = {measure.name: measure.text for measure in measures_of(summary)}
    images = measured(summary).partition(" ")[0]
    for predictor, values in results.items():
        for metric, value in values.items():
            text = texts.get(metric, "{:.2f}".format)  # earlier versions kept no other units
            recorded = value_of(summary, predictor, metric, "last")
            is_same = recorded is not None and f"{value:.9f}" == f"{recorded:.9f}"
            told = "nothing" if recorded is None else text(recorded)
            ending = "as recorded" if is_same else f"recorded were {told} on {summary['device']}"
            yield f"{label_of(f'{images} {metric}', predictor)} {text(value)}, {ending}", is_same
