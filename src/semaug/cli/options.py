"""Arguments and options that several commands share, and the run that they describe."""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console

from semaug.data.registry import data_root as find_root
from semaug.engine.display import show_reading
from semaug.engine.images import check_images_now
from semaug.engine.options import TrainOptions
from semaug.engine.torchrun import num_processes
from semaug.errors import UserError, about, as_user_error
from semaug.recipe.overrides import applicable, override, split_overrides
from semaug.recipes import find_recipe, split_name
from semaug.runs.run import Run
from semaug.runs.words import say_once

RecipeName = Annotated[
    str,
    typer.Argument(
        metavar="RECIPE",
        help="Name of a recipe (see: semaug list recipes), or path of the recipe.json of a run",
        show_default=False,
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="FIELD=VALUE",
        help="Changes of fields, such as epochs=20 lr=50%; see: semaug list recipe RECIPE",
        show_default=False,
    ),
]
Quick = Annotated[bool, typer.Option("--quick", help="Smoke test: two epochs on a few images")]
DataRoot = Annotated[
    Path | None,
    typer.Option(
        help="Folder of the data sets. Default: that of the variable SEMAUG_DATA, else data",
        show_default=False,
    ),
]
FinishedRun = Annotated[
    Path, typer.Argument(metavar="RUN", help="Folder of a finished run", show_default=False)
]
Estimate = Annotated[
    bool,
    typer.Option(
        "--estimate",
        help="Estimate covariances from features of the networks, not from those that the loss "
        "gathered in training. Runs without such statistics always do",
    ),
]
PictureFolder = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FOLDER",
        help="Folder for pictures; default: pictures in the folder of the run, from where semaug "
        "report shows them",
        show_default=False,
    ),
]
PredictorName = Annotated[
    str,
    typer.Option(
        "--predictor",
        metavar="NAME",
        help="Which network of a run with several, such as 'network 2'; default: the main one",
        show_default=False,
    ),
]
Runs = Annotated[Path, typer.Option(help="Folder that keeps all runs")]
Seed = Annotated[
    int | None,
    typer.Option(
        min=0,
        help="Seed of the run, as seed=N. Default: 0, or that of a recipe.json",
        show_default=False,
    ),
]
FirstSeed = Annotated[int, typer.Option(min=0, help="First of the seeds, which count up")]

# Of training alone, which commands that load what was trained leave out.
OF_TRAINING = ("checkpoint_seconds", "keep_checkpoints", "logger", "fsdp")

# Options that commands take in groups, by the names of their fields.
_DECLARED: dict[str, Any] = {
    "data_root": DataRoot,
    "device": Annotated[
        str, typer.Option(help="Device: auto, cpu, cuda, or one GPU such as cuda:1")
    ],
    "threads": Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Number of CPU threads; equal runs need equal numbers. Default: 1 for small work, "
            "else torch's own",
            show_default=False,
        ),
    ],
    "workers": Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Number of processes that decode images in files; changes no result. Default: "
            "one less than there are cores",
            show_default=False,
        ),
    ],
    "checkpoint_seconds": Annotated[
        float,
        typer.Option(
            min=0, help="Seconds after which a run is saved at the latest, besides after each epoch"
        ),
    ],
    "keep_checkpoints": Annotated[
        int,
        typer.Option(
            min=0,
            help="Number of moments of training, evenly spread, whose networks are kept for semaug "
            "tightness; each takes the disk space of the weights and statistics",
        ),
    ],
    "logger": Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Log to csv, wandb, mlflow, or package.module:Class or my_file.py:name, beside "
            "TensorBoard; may be repeated, changes no result",
            show_default=False,
        ),
    ],
    "fsdp": Annotated[
        bool,
        typer.Option(
            "--fsdp",
            help="Under torchrun, split parameters, gradients and optimizer state among the "
            "processes (FSDP2), for networks that one GPU has no room to train",
        ),
    ],
    "trust_code": Annotated[
        bool,
        typer.Option(
            "--trust-code",
            help="Execute the code that a run folder keeps, where the file that it was copied from "
            "is gone or changed. Read that code first",
        ),
    ],
    "jobs": Annotated[
        int, typer.Option(min=1, help="Number of runs that are trained side by side")
    ],
    "cluster": Annotated[
        str | None,
        typer.Option(
            help="Cluster that trains the runs as jobs, --jobs of them at once: slurm, or local to "
            "try it on this machine",
            show_default=False,
        ),
    ],
    "cluster_option": Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE",
            help="What a job asks for, as submitit calls it, such as slurm_partition=gpu, "
            "gpus_per_node=1 or timeout_min=600; may be repeated",
            show_default=False,
        ),
    ],
}


def with_options(*, leave_out: Sequence[str] = ()) -> Callable[[Callable[..., None]], Any]:
    """Let a command take the fields of a dataclass as options.

    Each keyword argument of the command whose type is a dataclass, such as
    ``options: TrainOptions``, becomes one option a field, and is put together of them.

    Args:
        leave_out: Fields that keep their defaults, and are no options.
    """

    def decorate(command: Callable[..., None]) -> Any:
        signature = inspect.signature(command)
        own, shared = [], []
        groups: dict[str, tuple[Any, list[str]]] = {}
        for parameter in signature.parameters.values():
            if not is_dataclass(parameter.annotation):
                own.append(parameter)
                continue
            taken = [
                field
                for field in fields(parameter.annotation)
                if field.name in _DECLARED and field.name not in leave_out
            ]
            groups[parameter.name] = parameter.annotation, [field.name for field in taken]
            shared += [
                parameter.replace(
                    name=field.name, default=field.default, annotation=_DECLARED[field.name]
                )
                for field in taken
            ]

        @wraps(command)
        def call(**arguments: Any) -> None:
            for name, (group, names) in groups.items():
                arguments[name] = group(**{field: arguments.pop(field) for field in names})
            command(**arguments)

        described: Any = call  # typer reads these two
        described.__signature__ = signature.replace(parameters=[*own, *shared])
        described.__annotations__ = {one.name: one.annotation for one in (*own, *shared)}
        return described

    return decorate


def split_seed(texts: list[str], option: int | None) -> tuple[dict[str, str], int | None]:
    """Take ``seed=N`` out of the overrides; it is no field, for a recipe has no seed.

    Returns:
        Changes of fields, and the seed; None if none is given.
    """
    given = [text.partition("=")[2] for text in texts if text.partition("=")[0] == "seed"]
    rest = split_overrides(text for text in texts if text.partition("=")[0] != "seed")
    if len(given) + (option is not None) > 1:
        raise UserError("semaug: expected one seed, got several")
    if not given:
        return rest, option
    if not given[0].isdecimal():
        raise UserError(f"semaug: expected `seed` to be a whole number >= 0, got {given[0]!r}")
    return rest, int(given[0])


def changes_for(recipes: Sequence[str], changes: Mapping[str, str]) -> list[dict[str, str]]:
    """Return the changes that each recipe takes: options of a loss are for recipes that have it.

    Args:
        recipes: Their names; changes behind a name come before those for all.
        changes: For all recipes.

    Raises:
        UserError: If none of the recipes takes a change, or a name is ambiguous.
    """
    found = [find_recipe(name) for name in recipes]
    parts = [split_name(name) for name in recipes]
    known = []
    for recipe, (name, _) in zip(found, parts, strict=True):
        with about(f"recipe {name}"):
            known.append(applicable(recipe, changes))
    if lost := [name for name in changes if not any(name in one for one in known)]:
        wrong = known[0] | {name: changes[name] for name in lost}
        override(found[0], wrong, parts[0][0])  # says what is wrong
    own = [changes for _, changes in parts]
    chosen = [applicable(*one) for one in zip(found, [changes] * len(own), own, strict=True)]
    for name in changes:
        if not any(name in one for one in chosen):
            raise UserError(
                f"semaug: `{name}` has no effect; each recipe that has it has a value of its own"
            )
    return chosen


def check_files(runs: Sequence[Run], options: TrainOptions, console: Console) -> None:
    """Find out before anything is trained whether images and weights of the runs are there.

    A folder of the user's own is looked through for each run, and what is passed over in it or is
    near duplicates is said.

    Raises:
        FileNotFoundError: If a file is missing; the message says how to get it.
        UserError: If a folder of images is not as it should be, has too few images for a run, or
            other images than a run began with; or a network has no part that is to be frozen.
    """
    new = [run for run in runs if not run.has_begun]
    for run in new:
        run.recipe.check_there(run.root, {one.label for one in runs})
    recipes = dict.fromkeys(run.recipe for run in new)
    specs = dict.fromkeys(
        getattr(recipe, part.name) for recipe in recipes for part in fields(recipe)
    )
    with as_user_error("", ValueError):
        for spec in specs:
            check = getattr(spec, "check_there", None)
            if check is not None:
                check(find_root(options.data_root))
    for run in runs:
        with show_reading(console) as progress:
            check_images_now(run, options, lambda line: say_once(console, line), progress)


def expect_test(command: str, runs: Iterable[Run]) -> None:
    """Check that runs will be tested.

    Raises:
        UserError: If one will not.
    """
    if any(getattr(run.recipe.subset, "test_images", None) == 0 for run in runs):
        raise UserError(f"{command}: expected runs with a test, got test_images=0")


def use_threads(options: TrainOptions) -> None:
    """Let torch compute with as many CPU threads as were asked for."""
    if options.threads is not None:
        torch.set_num_threads(options.threads)


def one_process(command: str, instead: str = "") -> None:
    """Check that torchrun has not started several processes.

    Raises:
        UserError: If it has.
    """
    if num_processes() > 1:
        remedy = f"; {instead}" if instead else ""
        raise UserError(f"{command}: expected one process, got several from torchrun{remedy}")
