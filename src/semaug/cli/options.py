"""Arguments and options that several commands share, and the run that they describe."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from semaug._torch.names import unknown_name
from semaug.engine.torchrun import num_processes
from semaug.errors import UserError
from semaug.recipe.method_options import options_of_method
from semaug.recipe.options import options_of_loss
from semaug.recipe.overrides import (
    OPTIONS,
    describe_overrides,
    override,
    split_overrides,
)
from semaug.recipes import find_recipe, make_quick
from semaug.runs.run import Run

if TYPE_CHECKING:
    from semaug.queue.outcome import Outcome

__all__ = [
    "CheckpointSeconds",
    "Cluster",
    "ClusterOptions",
    "DataRoot",
    "Device",
    "Jobs",
    "Overrides",
    "Quick",
    "RecipeName",
    "Runs",
    "Threads",
    "Workers",
    "changes_for",
    "check_changes",
    "check_images",
    "make_run",
    "one_process",
    "split_seed",
    "train_runs",
]

RecipeName = Annotated[
    str, typer.Argument(metavar="RECIPE", help="See: semaug list recipes", show_default=False)
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[FIELD=VALUE]...",
        help="Change fields of the recipe, such as epochs=20 lr=50%; see: semaug list fields",
        show_default=False,
    ),
]
Quick = Annotated[
    bool, typer.Option("--quick", help="Shrink to two epochs on few images: does it run at all?")
]
DataRoot = Annotated[
    Path | None,
    typer.Option(help="Folder of the data sets. Else SEMAUG_DATA, else data", show_default=False),
]
Runs = Annotated[Path, typer.Option(help="Folder that keeps all runs")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda")]
Threads = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="CPU threads, part of what makes runs equal bit for bit. Else what torch chooses",
        show_default=False,
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        min=0,
        help="Processes that decode images in files; changes no result. Else cores - 1",
        show_default=False,
    ),
]
Jobs = Annotated[
    int,
    typer.Option(min=1, help="Runs side by side on the device; then a failed one stops no other"),
]
Cluster = Annotated[
    str | None,
    typer.Option(
        help="Train as jobs of slurm, --jobs of them at once; local tries the same on this machine",
        show_default=False,
    ),
]
ClusterOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--cluster-option",
        metavar="KEY=VALUE",
        help="What a job asks for, such as partition=gpu, gpus_per_node=1 or timeout_min=600; "
        "may be repeated",
        show_default=False,
    ),
]
CheckpointSeconds = Annotated[
    float, typer.Option(min=0, help="Save at least this often, besides after each epoch")
]


def make_run(name: str, changes: dict[str, str], seed: int, quick: bool, runs: Path) -> Run:
    """Look up a recipe and apply what was changed about it."""
    recipe = find_recipe(name)
    if quick:
        recipe = make_quick(recipe)
    changed = override(recipe, changes)
    run = Run(name, changed, seed, describe_overrides(changed, changes, recipe), quick, runs)
    # Early versions named the folder by all changes, even to what the recipe has by itself.
    early = replace(run, overrides=describe_overrides(changed, changes))
    return early if early.has_begun and not run.has_begun else run


def split_seed(texts: list[str], option: int | None) -> tuple[dict[str, str], int]:
    """Take ``seed=N`` out of the overrides; it is no field, for a recipe has no seed."""
    given = [text.partition("=")[2] for text in texts if text.partition("=")[0] == "seed"]
    rest = split_overrides(text for text in texts if text.partition("=")[0] != "seed")
    if len(given) + (option is not None) > 1:
        raise UserError("semaug: expected one seed, got several")
    if not given:
        return rest, option or 0
    if not given[0].isdecimal():
        raise UserError(f"semaug: expected `seed` to be a whole number >= 0, got {given[0]!r}")
    return rest, int(given[0])


def changes_for(name: str, changes: dict[str, str]) -> dict[str, str]:
    """Leave out options that the loss or the method of this recipe does not have."""
    recipe = find_recipe(name)
    own = {
        "loss": options_of_loss(changes.get("loss", recipe.loss.name)),
        "method": options_of_method(changes.get("method", recipe.method.name)),
    }
    return {
        field: value
        for field, value in changes.items()
        if all(field in own[group] or field not in options for group, options in OPTIONS.items())
    }


def check_changes(changes: Iterable[str], chosen: Iterable[Iterable[str]]) -> None:
    """Check that each changed field is changed for some recipe.

    Args:
        changes: Names of fields.
        chosen: What of them :func:`changes_for` chose for each recipe.

    Raises:
        UserError: If none of the recipes has the field.
    """
    taken = {field for fields in chosen for field in fields}
    for field in changes:
        if field not in taken:
            raise UserError(f"recipe: `{field}` has no effect on any of these recipes")


def check_images(runs: Iterable[Run], data_root: Path | None, workers: int | None) -> None:
    """Find out before hours of training whether there are images for what comes last, too.

    Raises:
        FileNotFoundError: If a data set is missing.
        UserError: If it has too few images.
    """
    import torch

    from semaug.engine.build import build_data

    for run in runs:
        if not run.has_begun:
            cpu = torch.device("cpu")
            build_data(run.recipe, data_root, cpu, quick=run.quick, workers=workers)


def one_process(command: str, instead: str = "") -> None:
    """Check that torchrun has not started several processes.

    Raises:
        UserError: If it has.
    """
    if num_processes() > 1:
        remedy = f"; {instead}" if instead else ""
        raise UserError(f"{command}: expected one process, got several from torchrun{remedy}")


def train_runs(
    runs: Sequence[Run],
    train_options: Mapping[str, Any],
    jobs: int,
    console: Console,
    cluster: str | None = None,
    cluster_options: Sequence[str] | None = None,
) -> list["Outcome"]:
    """Train the runs that are not finished, on this device or as jobs of a cluster."""
    if cluster is None:
        if cluster_options:
            raise UserError("cluster: expected --cluster with --cluster-option")
        from semaug.queue.workers import run_jobs

        return run_jobs(runs, train_options, jobs, console)

    from semaug.queue.cluster import run_on_cluster
    from semaug.queue.cluster_options import CLUSTERS, parse_cluster_options

    if cluster not in CLUSTERS:
        raise UserError(unknown_name("cluster", "name", cluster, CLUSTERS))
    options = parse_cluster_options(cluster_options or [])
    return run_on_cluster(
        runs, train_options, jobs, console, cluster=cluster, cluster_options=options
    )
