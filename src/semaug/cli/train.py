"""``semaug train``: one recipe with one seed."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from semaug.cli.options import (
    CheckpointSeconds,
    DataRoot,
    Device,
    Overrides,
    Quick,
    RecipeName,
    Runs,
    Threads,
    Workers,
    make_run,
    split_seed,
)
from semaug.cli.printing import print_summary, say
from semaug.engine.torchrun import is_first_process

__all__ = ["train"]


def train(
    recipe: RecipeName,
    overrides: Overrides = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Same as seed=N; else 0", show_default=False)
    ] = None,
    quick: Quick = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where the run stopped")] = False,
    data_root: DataRoot = None,
    runs: Runs = Path("runs"),
    device: Device = "auto",
    threads: Threads = None,
    workers: Workers = None,
    checkpoint_seconds: CheckpointSeconds = 300.0,
) -> None:
    """Train one recipe with one seed.

    A run may be stopped at any moment, even killed. With --resume it goes on, and
    on a CPU ends bit for bit where it would have ended.

    [bold]Examples[/bold]

    semaug train digits_resnet8_isda

    semaug train cifar100_resnet32_isda seed=1 strength=0.25 --data-root data
    """
    changes, chosen_seed = split_seed(overrides or [], seed)
    run = make_run(recipe, changes, chosen_seed, quick, runs)
    console = Console(quiet=not is_first_process())
    from semaug.engine.loop import train as train_run

    summary = train_run(
        run,
        data_root=data_root,
        device=device,
        threads=threads,
        workers=workers,
        resume=resume,
        checkpoint_seconds=checkpoint_seconds,
        console=console,
        report=lambda state: say(console, f"{run.label} seed {run.seed} {state}, in {run.folder}"),
    )
    print_summary(console, run, summary)
