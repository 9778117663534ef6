"""``semaug compare``: two recipes on the same seeds."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from semaug.cli.options import (
    CheckpointSeconds,
    Cluster,
    ClusterOptions,
    DataRoot,
    Device,
    Jobs,
    Overrides,
    Quick,
    Runs,
    Threads,
    Workers,
    changes_for,
    make_run,
    train_runs,
)
from semaug.cli.report import print_comparison, say
from semaug.recipes.overrides import split_overrides
from semaug.training.errors import UserError
from semaug.training.run import Run
from semaug.training.torchrun import num_processes

__all__ = ["compare"]


def compare(
    first: Annotated[str, typer.Argument(metavar="A", help="Recipe of the baseline")],
    second: Annotated[str, typer.Argument(metavar="B", help="Recipe to compare with it")],
    overrides: Overrides = None,
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each recipe")] = 3,
    jobs: Jobs = 1,
    cluster: Cluster = None,
    cluster_option: ClusterOptions = None,
    first_seed: Annotated[int, typer.Option(min=0, help="Seeds count up from here")] = 0,
    quick: Quick = False,
    data_root: DataRoot = None,
    runs: Runs = Path("runs"),
    device: Device = "auto",
    threads: Threads = None,
    workers: Workers = None,
    checkpoint_seconds: CheckpointSeconds = 300.0,
) -> None:
    """Train two recipes on the same seeds and compare them pair by pair.

    Both arms of a pair begin with the same weights and see the same images in the same
    order, augmented alike; where a method has several views, that goes for the first. Stop
    at any moment: the same command goes on, and reuses runs that are finished. Start it in
    several processes and they share the runs.

    Changed fields apply to both arms; options of a loss or a method, such as
    strength, to the arms that have them.

    [bold]Examples[/bold]

    semaug compare digits_resnet8 digits_resnet8_isda --seeds 3

    semaug compare cifar10_5k_resnet20 cifar10_5k_resnet20_isda --seeds 5
    """
    console = Console()
    if num_processes() > 1:
        raise UserError(
            "compare: expected one process, got several from torchrun; start the command several "
            "times side by side, and they share the runs"
        )
    if first == second:
        raise UserError(f"compare: expected two recipes, got {first!r} twice")
    if any(text.startswith("seed=") for text in overrides or []):
        raise UserError("compare: expected no `seed`; choose with --seeds and --first-seed")
    changes = split_overrides(overrides or [])
    own = {name: changes_for(name, changes) for name in (first, second)}
    for field in changes:
        if not any(field in chosen for chosen in own.values()):
            own[first][field] = changes[field]  # no arm has it: making the run says so
    pairs = [
        [make_run(name, own[name], seed, quick, runs) for name in (first, second)]
        for seed in range(first_seed, first_seed + seeds)
    ]

    from semaug.training.compare import Arm, compare_runs, train_missing
    from semaug.training.loop import train as train_run
    from semaug.training.outcome import summaries_of

    options: dict[str, Any] = {
        "data_root": data_root,
        "device": device,
        "threads": threads,
        "workers": workers,
        "checkpoint_seconds": checkpoint_seconds,
    }

    def train_one(run: Run) -> dict[str, Any]:
        return train_run(run, resume=True, console=console, **options)

    all_runs = [run for pair in pairs for run in pair]
    if jobs > 1 or cluster or cluster_option:
        summaries = summaries_of(
            train_runs(all_runs, options, jobs, console, cluster, cluster_option)
        )
    else:
        summaries = train_missing(all_runs, train_one, lambda line: say(console, line))
    baseline, other = (Arm(all_runs[side::2], summaries[side::2]) for side in (0, 1))
    print_comparison(console, compare_runs(baseline, other, runs))
