"""``semaug compare``: two recipes on the same seeds."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from semaug.cli.options import (
    FirstSeed,
    Overrides,
    Quick,
    Runs,
    changes_for,
    check_files,
    expect_test,
    one_process,
    with_options,
)
from semaug.cli.printing import print_comparison, print_refit
from semaug.cli.queue import Queue
from semaug.engine.options import TrainOptions
from semaug.errors import UserError
from semaug.queue.outcome import summaries_of
from semaug.recipe.overrides import split_overrides
from semaug.recipes import make_run, split_name
from semaug.report.compare import (
    better_of,
    check_same_test,
    compare_runs,
    pairs_for,
    record_refit,
)
from semaug.runs.words import say


@with_options(leave_out=["trust_code", "fsdp"])
def compare_command(
    first: Annotated[
        str,
        typer.Argument(
            metavar="A[,FIELD=VALUE]...", help="Recipe of the baseline, with changes of its own"
        ),
    ],
    second: Annotated[
        str,
        typer.Argument(
            metavar="B[,FIELD=VALUE]...", help="Recipe to compare with it, with changes of its own"
        ),
    ],
    overrides: Overrides = None,
    seeds: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Number of runs of each recipe. Default: 3, or one for each fold",
            show_default=False,
        ),
    ] = None,
    first_seed: FirstSeed = 0,
    folds: Annotated[
        int | None,
        typer.Option(min=2, help="Cross-validate: each run tests on another part of the images"),
    ] = None,
    detect: Annotated[
        float | None,
        typer.Option(help="Say how many pairs it takes to see a difference of this size"),
    ] = None,
    no_refit: Annotated[
        bool,
        typer.Option(
            "--no-refit", help="After folds, do not train the better recipe on all images"
        ),
    ] = False,
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

    Few images, and no test part? --folds 5 parts the training images into five, each class in equal
    shares, trains five runs of each recipe, and tests every image once. Then the recipe with the
    better mean is trained on all images, without a test: that run is for semaug predict and export.

    [bold]Examples[/bold]

    semaug compare digits_resnet8 digits_resnet8_isda --seeds 3

    semaug compare cifar10_5k_resnet20 cifar10_5k_resnet20_isda --seeds 5

    semaug compare digits_resnet8 digits_resnet8,loss=isda,strength=1 epochs=20

    semaug compare folder_resnet18 folder_resnet18_isda --folds 5 --data-root photos
    """
    console = Console()
    one_process("compare", "start the command several times side by side, and they share the runs")
    if first == second:
        raise UserError(f"compare: expected two recipes, got {first!r} twice")
    if detect is not None and not 0 < detect < float("inf"):
        raise UserError(f"compare: expected --detect > 0, got {detect}")
    changes = split_overrides(overrides or [])
    if folds is not None:
        changes = {**changes, "subset.folds": str(folds)}
    arms = [first, second]
    if "seed" in changes or any("seed" in split_name(arm)[1] for arm in arms):
        raise UserError("compare: expected no `seed`; choose with --seeds and --first-seed")
    chosen = changes_for(arms, changes)
    pairs = [
        [make_run(*arm, seed, quick, runs) for arm in zip(arms, chosen, strict=True)]
        for seed in range(first_seed, first_seed + (seeds or folds or 3))
    ]
    if pairs[0][0].folder == pairs[0][1].folder:
        raise UserError(f"compare: expected two recipes, got {pairs[0][0].label!r} twice")

    in_folds = getattr(pairs[0][0].recipe.subset, "folds", None) is not None
    if no_refit and not in_folds:
        raise UserError("compare: expected --folds N with --no-refit, for nothing is trained anew")
    expect_test("compare", pairs[0])
    check_same_test(pairs[0][0].recipe, pairs[0][1].recipe)
    all_runs = [run for pair in pairs for run in pair]
    check_files(all_runs, options, console)

    summaries_of(queue.train(all_runs, options, console))  # or the command fails
    comparison = compare_runs(all_runs[::2], all_runs[1::2], runs)
    print_comparison(console, comparison)
    if detect is not None:
        say(console, pairs_for(comparison, detect))
    if no_refit or not in_folds:
        return

    best = better_of(comparison)
    place = comparison.group.recipes.index(best)
    say(console, f"training {best.label}, whose mean is best, on all images, without a test")
    on_all = {**chosen[place], "subset.folds": "none", "subset.test_images": "0"}
    refit = make_run(arms[place], on_all, first_seed, quick, runs)
    summaries_of(queue.train([refit], options, console))
    print_refit(console, refit, record_refit(comparison, best, refit))
