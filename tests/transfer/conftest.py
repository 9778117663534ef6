"""Runs that are trained once for all tests of this folder."""

import shutil
from dataclasses import replace

import pytest
from rich.console import Console

from semaug.recipes import Subset, find_recipe
from semaug.training.loop import train
from semaug.training.run import Run


@pytest.fixture(scope="session")
def _trained(tmp_path_factory):
    """Train two recipes with two seeds each, and return the folder that holds them."""
    root = tmp_path_factory.mktemp("trained") / "runs"
    for name in ("digits_resnet8", "digits_resnet8_isda"):
        subset = Subset(train_per_class=10, test_images=60)
        recipe = replace(find_recipe(name), epochs=3, subset=subset, batch_size=32)
        recipe = replace(recipe, evaluation_batch_size=25)
        for seed in (0, 1):
            train(Run(name, recipe, seed, root=root), device="cpu", console=Console(quiet=True))
    return root


@pytest.fixture
def runs(_trained, tmp_path, monkeypatch):
    """Return a copy of these runs, with an empty data root beside it."""
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("SEMAUG_DATA", str(tmp_path / "data"))
    return shutil.copytree(_trained, tmp_path / "runs")


@pytest.fixture
def run(runs):
    """Return the folder of one of them."""
    return runs / "digits_resnet8" / "seed0"
