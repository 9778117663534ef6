"""``semaug compare``: two recipes on the same seeds."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from semaug.cli.options import (
    Overrides,
    Quick,
    Runs,
    changes_for,
    check_files,
    one_process,
    with_options,
)
from semaug.cli.printing import print_comparison
from semaug.cli.queue import Queue
from semaug.engine.options import TrainOptions
from semaug.errors import UserError
from semaug.queue.outcome import summaries_of
from semaug.recipe.overrides import split_overrides
from semaug.recipes import make_run, split_name
from semaug.report.compare import Arm, check_same_test, compare_runs


@with_options(leave_out=["trust_code"])
def compare_command(
    first: Annotated[
        str,
        typer.Argument(metavar="A[,FIELD=VALUE]...", help="Recipe of the baseline, with changes"),
    ],
    second: Annotated[
        str,
        typer.Argument(metavar="B[,FIELD=VALUE]...", help="Recipe to compare with the baseline"),
    ],
    overrides: Overrides = None,
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each recipe")] = 3,
    first_seed: Annotated[int, typer.Option(min=0, help="First of the seeds")] = 0,
    quick: Quick = False,
    runs: Runs = Path("runs"),
    *,
    queue: Queue,
    options: TrainOptions,
) -> None:
    """Train two recipes on the same seeds and compare them pair by pair.

    Both runs of a pair begin with the same weights and see the same images in the same order with
    the same augmentation (with several views, that of the first view). The same command continues
    after a stop and reuses finished runs. Several processes of the command share the runs.

    Changes of fields apply to both recipes, options of a loss or a method, such as strength, to the
    recipes that have them. Changes after a comma apply to that recipe alone. Both recipes must be
    tested on the same images.

    [bold]Examples[/bold]

    semaug compare digits_resnet8 digits_resnet8_isda --seeds 3

    semaug compare cifar10_5k_resnet20 cifar10_5k_resnet20_isda --seeds 5

    semaug compare digits_resnet8 digits_resnet8,loss=isda,strength=1 epochs=20
    """
    console = Console()
    one_process("compare", "start the command several times side by side, and they share the runs")
    if first == second:
        raise UserError(f"compare: expected two recipes, got {first!r} twice")
    changes = split_overrides(overrides or [])
    arms = [first, second]
    if "seed" in changes or any("seed" in split_name(arm)[1] for arm in arms):
        raise UserError("compare: expected no `seed`; choose with --seeds and --first-seed")
    chosen = changes_for(arms, changes)
    pairs = [
        [make_run(*arm, seed, quick, runs) for arm in zip(arms, chosen, strict=True)]
        for seed in range(first_seed, first_seed + seeds)
    ]
    if pairs[0][0].folder == pairs[0][1].folder:
        raise UserError(f"compare: expected two recipes, got {pairs[0][0].label!r} twice")

    check_same_test(pairs[0][0].recipe, pairs[0][1].recipe)
    check_files(pairs[0], options.data_root)

    all_runs = [run for pair in pairs for run in pair]
    summaries = summaries_of(queue.train(all_runs, options, console))
    baseline, other = (Arm(all_runs[side::2], summaries[side::2]) for side in (0, 1))
    print_comparison(console, compare_runs(baseline, other, runs))
