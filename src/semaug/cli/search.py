"""``semaug search``: choose values of fields on held-out images, then train on all and test."""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from semaug.cli.options import (
    FirstSeed,
    Quick,
    RecipeName,
    Runs,
    check_files,
    expect_test,
    one_process,
    with_options,
)
from semaug.cli.printing import make_table
from semaug.cli.queue import Queue
from semaug.engine.options import TrainOptions
from semaug.errors import UserError
from semaug.queue.outcome import Outcome
from semaug.queue.search import Candidate, search
from semaug.recipe.overrides import describe_overrides, split_overrides, takes_list
from semaug.recipes import find_recipe, make_run, split_name
from semaug.runs.read import Measure, report_names
from semaug.runs.run import Run, label, name_of_seeds
from semaug.runs.statistics import with_spread
from semaug.runs.words import counted, say

# Values of these would be tested on different images, and their results cannot be compared.
_DECIDE_IMAGES = ("data", "subset_seed", "test_images", "train_per_class")


@with_options(leave_out=["trust_code", "fsdp"])
def search_command(
    recipe: RecipeName,
    overrides: Annotated[
        list[str],
        typer.Argument(
            metavar="FIELD=VALUE,VALUE...",
            help="Values to choose from, such as strength=0.25,0.5, or a single value for all runs",
            show_default=False,
        ),
    ],
    hold_out: Annotated[
        int,
        typer.Option(
            "--hold-out",
            min=1,
            help="Number of held-out training images, 5000 in the papers",
            show_default=False,
        ),
    ],
    seeds: Annotated[
        int, typer.Option(min=1, help="Number of runs of each value, and of the chosen one")
    ] = 1,
    first_seed: FirstSeed = 0,
    quick: Quick = False,
    runs: Runs = Path("runs"),
    *,
    queue: Queue,
    options: TrainOptions,
) -> None:
    """Choose values on held-out training images, then train on all images and test once.

    All combinations of the values are trained without the held-out images. The combination with
    the best main metric on the held-out images is chosen: the reported number, mean over seeds.
    Only this combination is trained on all training images and tested on the test images. The same
    command continues after a stop and reuses finished runs.

    [bold]Examples[/bold]

    semaug search digits_resnet8_isda strength=0.1,0.25,0.5,0.75,1 --hold-out 300 --seeds 3

    semaug search cifar10_resnet32_isda strength=0.25,0.5,1 --hold-out 5000 --jobs 3
    """
    console = Console()
    base = find_recipe(recipe)
    one_process("search", "--jobs trains several runs side by side")
    fixed, grid = _split_grid(base, split_name(recipe)[0], overrides)
    points = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    all_seeds = range(first_seed, first_seed + seeds)

    choosing = {"hold_out": str(hold_out)}
    limits = [field for field in fixed if _short(field) == "test_images"]
    if limits or (getattr(base.subset, "test_images", None) is not None and not quick):
        choosing[(limits or ["test_images"])[0]] = "none"  # all that are held out

    def runs_of(changes: dict[str, str]) -> list[Run]:
        return [make_run(recipe, changes, seed, quick, runs) for seed in all_seeds]

    candidates = []
    for point in points:
        final = runs_of(fixed | point)
        values = describe_overrides(final[0].recipe, point).values()  # written in one way
        written = dict(zip(point, values, strict=True))
        candidates.append(Candidate(written, runs_of(fixed | point | choosing), final))
    _check_different(candidates)
    expect_test("search", candidates[0].final)
    check_files([*candidates[0].choosing, *candidates[0].final], options, console)
    what = describe_overrides(candidates[0].final[0].recipe, fixed | points[0])
    for field, name in zip([*fixed, *grid], [*what], strict=True):  # name: however it is given
        if field in grid:
            what[name] = ",".join(dict.fromkeys(one.values[field] for one in candidates))
    what["hold_out"] = str(hold_out)
    folder = runs / "search" / label(recipe, what, quick) / name_of_seeds(all_seeds)

    def train_all(some: Sequence[Run]) -> list[Outcome]:
        return queue.train(some, options, console)

    _print_result(console, search(candidates, train_all, folder), folder)


def _split_grid(
    base: Any, name: str, texts: Sequence[str]
) -> tuple[dict[str, str], dict[str, tuple[str, ...]]]:
    """Part fields with one value, for all runs, from those with several to choose from."""
    if any(text.partition("=")[0] == "seed" for text in texts):
        raise UserError("search: expected no `seed`; choose with --seeds and --first-seed")
    changes = split_overrides(texts)
    if "hold_out" in map(_short, changes):
        raise UserError("search: expected no `hold_out`; choose with --hold-out")
    grid = {
        field: tuple(text.split(","))
        for field, text in changes.items()
        if "," in text and not takes_list(base, changes, field, name)
    }
    if not grid:
        raise UserError(
            "search: expected a field with several values, such as strength=0.25,0.5, got "
            + " ".join(texts)
        )
    for field, values in grid.items():
        if _short(field) in _DECIDE_IMAGES or field.startswith("data."):
            raise UserError(
                f"search: expected one value of `{field}`, got {','.join(values)}; results on "
                "different images cannot be compared"
            )
        if "" in values:
            raise UserError(
                f"search: expected values of `{field}` with commas between, "
                f"got {','.join(values)!r}"
            )
    return {field: text for field, text in changes.items() if field not in grid}, grid


def _short(field: str) -> str:
    """Return the name of a field without that of its group."""
    return field.rpartition(".")[2]


def _check_different(candidates: Sequence[Candidate]) -> None:
    given = [candidate.values for candidate in candidates]
    if twice := [values for values in given if given.count(values) > 1]:
        raise UserError(f"search: expected each value once, got {_words(twice[0])} twice")


def _print_result(console: Console, found: Mapping[str, Any], folder: Path) -> None:
    measure, num_seeds = Measure(**found["metric"]), len(found["seeds"])
    seeds = counted(num_seeds, "seed")
    what = report_names(found["num_tests"])[measure.report]
    title = f"Held-out {measure.in_unit()} ({measure.better} is better), {seeds} each"
    say(console, title, style="italic")
    table = make_table(None, [*found["chosen"]], what)
    for row in found["candidates"]:
        cell = "diverged" if row["diverged"] else with_spread(row["held_out"]["values"])
        style = "bold" if row["values"] == found["chosen"] else ""
        table.add_row(*map(Text, row["values"].values()), cell, style=style)
    console.print(table)
    if num_seeds > 1:
        say(console, "± is the standard deviation over seeds")
    say(console, f"chosen: {_words(found['chosen'])}", style="bold")
    results = with_spread(found["final"]["test"]["values"])
    tested = f"test {measure.name} {results} {measure.unit}".rstrip()
    say(console, f"trained with it on all images: {tested} ({what}), {seeds}", style="bold")
    say(console, f"wrote {folder / 'search.json'}")


def _words(values: Mapping[str, str]) -> str:
    return " ".join(f"{field}={value}" for field, value in values.items())
