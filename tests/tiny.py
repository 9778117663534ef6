"""Runs that take a second: 100 training images of 8 x 8 pixels, three epochs of four steps."""

import json
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from semaug.engine.options import TrainOptions
from semaug.engine.train import train
from semaug.recipe.overrides import override, split_overrides
from semaug.recipes import find_recipe
from semaug.runs.run import Run

SMALL = {
    "epochs": "3",
    "warmup_epochs": "0",
    "batch_size": "32",
    "train_per_class": "10",
    "test_images": "60",
}


def tiny_recipe(name="digits_resnet8_isda", *changes):
    """Return a recipe of digits, made small, with changes such as "epochs=1"."""
    return override(find_recipe(name), SMALL | split_overrides(changes))


def tiny_run(root, *arguments, seed=0):
    """Describe a run of a tiny recipe in a folder of runs."""
    name = arguments[0] if arguments else "digits_resnet8_isda"
    return Run(name, tiny_recipe(*arguments), seed, root=Path(root))


def train_quietly(run, *, resume=False, report=None, console=None, **options):
    """Train on a CPU and show nothing; other options are those of training."""
    chosen = replace(TrainOptions(device="cpu"), **options)
    console = console or Console(quiet=True)
    return train(run, chosen, resume=resume, report=report, console=console)


def rows_of(run):
    """Return the rows of ``metrics.jsonl`` of a run."""
    return [json.loads(line) for line in run.metrics.read_text().splitlines()]
