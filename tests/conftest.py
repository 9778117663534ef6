"""Fixtures shared by all tests."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from rich.console import Console
from torch import Tensor

import semaug.covariance.rows
from tests.pairs import pytest_addoption, pytest_collection_modifyitems  # noqa: F401

# Tests compute little, and two threads on a busy machine wait for each other.
torch.set_num_threads(1)


@pytest.fixture
def normal() -> Callable[..., Tensor]:
    """Draw float64 normal numbers of a shape, the same in every run."""
    generator = torch.Generator().manual_seed(0)
    return lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)


@pytest.fixture(params=["values decide shapes", "static shapes"])
def either_path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run a test on the CPU's own path, and on the path of accelerators and compilers."""
    if request.param == "static shapes":
        monkeypatch.setattr(semaug.covariance.rows, "ALWAYS_STATIC", True)
    return request.param


@pytest.fixture
def make_run(tmp_path):
    """Return a function that describes a run: 100 training images, 4 steps an epoch."""
    from semaug.recipe.overrides import override, split_overrides
    from semaug.recipes import Subset, find_recipe
    from semaug.runs.run import Run

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
