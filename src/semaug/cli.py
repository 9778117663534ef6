"""The command line: parse, look up the recipe, apply overrides, run.

Torch is imported when something is trained, so that help and mistakes answer at once.
"""

import shlex
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

from semaug._names import unknown_name
from semaug.recipes import RECIPES, describe_recipe, find_recipe, make_quick
from semaug.recipes.overrides import LOSS_OPTIONS, describe_overrides, override, split_overrides
from semaug.training.errors import UserError
from semaug.training.interrupt import InterruptedRunError
from semaug.training.recipe import LOSSES
from semaug.training.run import Run

try:
    import typer
    from rich.console import Console

    from semaug._report import print_comparison, print_names, print_summary, say
except ModuleNotFoundError as error:
    raise SystemExit(f'semaug: {error}; install it with: pip install "semaug[train]"') from None

__all__ = ["app", "main"]

app = typer.Typer(
    name="semaug",
    help="Train image classifiers with losses that augment features, and compare them fairly.",
    epilog="Begin with: semaug compare digits_resnet8 digits_resnet8_isda --seeds 3",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

# Distributions of the extra `train`, as they are imported.
_EXTRA = {
    "lightning_fabric",
    "matplotlib",
    "scipy",
    "sklearn",
    "tensorboard",
    "timm",
    "torchvision",
}

RecipeName = Annotated[
    str, typer.Argument(metavar="RECIPE", help="See: semaug list recipes", show_default=False)
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[FIELD=VALUE]...",
        help="Change fields of the recipe, such as epochs=20 lr=0.05 strength=0.25",
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
CheckpointSeconds = Annotated[
    float, typer.Option(min=0, help="Save at least this often, besides after each epoch")
]


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"semaug {version('semaug')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version", callback=_print_version, is_eager=True),
    ] = False,
) -> None:
    pass


@app.command()
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
    checkpoint_seconds: CheckpointSeconds = 300.0,
) -> None:
    """Train one recipe with one seed.

    A run may be stopped at any moment, even killed. With --resume it goes on, and
    on a CPU ends bit for bit where it would have ended.

    [bold]Examples[/bold]

    semaug train digits_resnet8_isda

    semaug train cifar100_resnet32_isda seed=1 strength=0.25 --data-root data
    """
    changes, chosen_seed = _split_seed(overrides or [], seed)
    run = _make_run(recipe, changes, chosen_seed, quick, runs)
    console = Console()
    say(console, f"{run.label} seed {run.seed} {run.state()}, in {run.folder}")

    from semaug.training.loop import train as train_run

    summary = train_run(
        run,
        data_root=data_root,
        device=device,
        threads=threads,
        resume=resume,
        checkpoint_seconds=checkpoint_seconds,
        console=console,
    )
    print_summary(console, run, summary)


@app.command()
def compare(
    first: Annotated[str, typer.Argument(metavar="A", help="Recipe of the baseline")],
    second: Annotated[str, typer.Argument(metavar="B", help="Recipe to compare with it")],
    overrides: Overrides = None,
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each recipe")] = 3,
    first_seed: Annotated[int, typer.Option(min=0, help="Seeds count up from here")] = 0,
    quick: Quick = False,
    data_root: DataRoot = None,
    runs: Runs = Path("runs"),
    device: Device = "auto",
    threads: Threads = None,
    checkpoint_seconds: CheckpointSeconds = 300.0,
) -> None:
    """Train two recipes on the same seeds and compare them pair by pair.

    Both arms of a pair begin with the same weights and see the same batches,
    augmented alike. Stop at any moment: the same command goes on, and reuses runs
    that are finished. Start it in several processes and they share the runs.

    Changed fields apply to both arms; options of a loss, such as strength, to the
    arms whose loss has them.

    [bold]Examples[/bold]

    semaug compare digits_resnet8 digits_resnet8_isda --seeds 3

    semaug compare cifar10_5k_resnet20 cifar10_5k_resnet20_isda --seeds 5
    """
    console = Console()
    if first == second:
        raise UserError(f"compare: expected two recipes, got {first!r} twice")
    if any(text.startswith("seed=") for text in overrides or []):
        raise UserError("compare: expected no `seed`; choose with --seeds and --first-seed")
    changes = split_overrides(overrides or [])
    own = {name: _changes_for(name, changes) for name in (first, second)}
    for field in changes:
        if not any(field in chosen for chosen in own.values()):
            own[first][field] = changes[field]  # no arm has it: making the run says so
    pairs = [
        [_make_run(name, own[name], seed, quick, runs) for name in (first, second)]
        for seed in range(first_seed, first_seed + seeds)
    ]

    from semaug.training.compare import Arm, compare_runs, train_missing
    from semaug.training.loop import train as train_run

    def train_one(run: Run) -> dict[str, Any]:
        return train_run(
            run,
            data_root=data_root,
            device=device,
            threads=threads,
            resume=True,
            checkpoint_seconds=checkpoint_seconds,
            console=console,
        )

    all_runs = [run for pair in pairs for run in pair]
    summaries = train_missing(all_runs, train_one, lambda line: say(console, line))
    baseline, other = (Arm(all_runs[side::2], summaries[side::2]) for side in (0, 1))
    print_comparison(console, compare_runs(baseline, other, runs))


@app.command("list")
def list_names(
    what: Annotated[
        str,
        typer.Argument(help="What to list", metavar="[recipes|networks|data|losses]"),
    ] = "all",
) -> None:
    """List the names that other commands take."""
    kinds = ("recipes", "networks", "data", "losses", "all")
    if what not in kinds:
        raise UserError(unknown_name("list", "kind", what, kinds))
    console = Console()
    if what in ("recipes", "all"):
        descriptions = {name: describe_recipe(name) for name in RECIPES}
        print_names(console, "Recipes, for semaug train", descriptions)
    if what in ("losses", "all"):
        print_names(console, "Losses, for loss=", LOSSES)
    if what in ("networks", "all"):
        from semaug.networks import NETWORKS

        print_names(console, "Networks, for network=, besides all of timm's", NETWORKS)
    if what in ("data", "all"):
        from semaug.data import DATA_SETS

        descriptions = {name: source.description for name, source in DATA_SETS.items()}
        print_names(console, "Data sets, for data=", descriptions)


def main() -> None:
    """Run the command line; mistakes of its user, and stops, end in one line."""
    errors = Console(stderr=True)
    try:
        app()
    except InterruptedRunError as stop:
        arguments = [*sys.argv[1:]]
        if arguments[0] == "train" and "--resume" not in arguments:
            arguments.append("--resume")
        say(errors, str(stop), style="yellow")
        say(errors, f"go on with: {shlex.join(['semaug', *arguments])}")
        sys.exit(128 + stop.signal_number)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _EXTRA:
            raise
        message = f'{error}; install what training needs with: pip install "semaug[train]"'
    except (FloatingPointError, OSError, UserError) as error:  # all others are our mistakes
        message = str(error)
    else:
        return
    say(errors, message, style="red")
    sys.exit(2)


def _make_run(name: str, changes: dict[str, str], seed: int, quick: bool, runs: Path) -> Run:
    recipe = find_recipe(name)
    if quick:
        recipe = make_quick(recipe)
    recipe = override(recipe, changes)
    return Run(name, recipe, seed, describe_overrides(recipe, changes), quick, runs)


def _split_seed(texts: list[str], option: int | None) -> tuple[dict[str, str], int]:
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


def _changes_for(name: str, changes: dict[str, str]) -> dict[str, str]:
    """Leave out options that the loss of this recipe does not have."""
    loss = find_recipe(name).loss
    return {
        field: value
        for field, value in changes.items()
        if "loss" in changes or field not in LOSS_OPTIONS or getattr(loss, field) is not None
    }
