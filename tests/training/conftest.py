"""Runs small enough to train in a blink."""

from dataclasses import replace

import pytest
from rich.console import Console

from semaug.recipes import Subset, find_recipe
from semaug.recipes.overrides import override, split_overrides
from semaug.training.loop import train
from semaug.training.run import Run


@pytest.fixture
def make_run(tmp_path):
    """Return a function that describes a run: 100 training images, 4 steps an epoch."""

    def make(name="digits_resnet8_isda", *changes, seed=0, root="runs"):
        subset = Subset(train_per_class=10, test_images=60)
        tiny = replace(find_recipe(name), epochs=3, subset=subset, batch_size=32)
        recipe = override(tiny, split_overrides(changes))
        return Run(name, recipe, seed, root=tmp_path / root)

    return make


@pytest.fixture
def quiet():
    """Return what every training in the tests is given: a CPU and silence."""
    return {"device": "cpu", "console": Console(quiet=True)}


@pytest.fixture
def train_tiny(make_run, quiet):
    """Return a function that trains such a run and returns it."""

    def run_to_end(*arguments, resume=False, **options):
        run = make_run(*arguments, **options)
        train(run, resume=resume, **quiet)
        return run

    return run_to_end
