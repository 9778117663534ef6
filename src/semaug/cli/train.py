"""``semaug train``: one recipe with one seed."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from semaug.cli.options import (
    Overrides,
    Quick,
    RecipeName,
    Runs,
    Seed,
    split_seed,
    with_options,
)
from semaug.cli.printing import print_summary
from semaug.engine.options import TrainOptions
from semaug.engine.torchrun import is_first_process
from semaug.engine.train import train
from semaug.recipes import make_run
from semaug.runs.words import say


@with_options()
def train_command(
    recipe: RecipeName,
    overrides: Overrides = None,
    seed: Seed = None,
    quick: Quick = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue a run that was stopped")
    ] = False,
    runs: Runs = Path("runs"),
    *,
    options: TrainOptions,
) -> None:
    """Train one recipe with one seed.

    A run may be stopped at any moment, even killed. With --resume it continues, and on a CPU ends
    bit for bit where the uninterrupted run ends.

    [bold]Examples[/bold]

    semaug train digits_resnet8_isda

    semaug train cifar100_resnet32_isda seed=1 strength=0.25 --data-root data

    semaug train runs/digits_resnet8_isda/seed0/recipe.json seed=1
    """
    changes, chosen_seed = split_seed(overrides or [], seed)
    run = make_run(recipe, changes, chosen_seed, quick, runs, trust_code=options.trust_code)
    console = Console(quiet=not is_first_process())
    summary = train(
        run,
        options,
        resume=resume,
        console=console,
        report=lambda state: say(console, f"{run.label} seed {run.seed} {state}, in {run.folder}"),
    )
    print_summary(console, run, summary)
