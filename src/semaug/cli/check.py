"""``semaug check``: does a recipe fit together, and does it survive a kill?"""

from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from semaug.cli.options import OF_TRAINING, Overrides, RecipeName, split_seed, with_options
from semaug.engine.check import check_run
from semaug.engine.options import TrainOptions
from semaug.recipes import make_run
from semaug.runs.words import say


@with_options(leave_out=(*OF_TRAINING, "trust_code"))
def check_command(
    recipe: RecipeName,
    overrides: Overrides = None,
    *,
    options: TrainOptions,
) -> None:
    """Train four steps of a recipe, kill, resume, and compare every tensor.

    For recipes, losses, methods, networks and data sets of your own. The recipe is shrunk as by
    --quick. One run is never stopped; another run is killed in the middle of an epoch and resumed
    in a new process. Both must end with the same tensors, bit for bit. Errors name options that do
    not fit, and state that a checkpoint lacks. Nothing is written into your folders. It runs on
    the CPU unless --device names another one.

    [bold]Examples[/bold]

    semaug check my_recipe.py:recipe

    semaug check digits_resnet8 loss=my_losses.py:Center
    """
    changes, seed = split_seed(overrides or [], None)
    run = make_run(recipe, changes, seed, True, Path("runs"))
    console = Console()
    say(console, f"checking {run.label}: four steps, then the same with a kill after the third")
    state = check_run(run, options)
    for line in _summarize(state):
        say(console, f"  {line}")
    say(console, f"{run.label}: resumed bit for bit where it would have ended", style="green")


def _summarize(state: dict[str, Any]) -> list[str]:
    """Say what a checkpoint holds, and what was measured."""
    lines = []
    for name, part in state["objects"].items():
        sizes = [value.numel() for value in part.values() if isinstance(value, torch.Tensor)]
        groups = part.get("param_groups")
        if groups is not None:
            numbers = " and ".join(str(len(group["params"])) for group in groups)
            lines.append(f"{name}: {numbers} parameters{' in groups' * (len(groups) > 1)}")
        else:
            lines.append(f"{name}: {sum(sizes):,} numbers in {len(sizes)} tensors")
    measured = [name for name in state["rows"][-1] if name.startswith(("train_", "test_"))]
    lines.append(f"measured: {', '.join(measured)}")
    return lines
