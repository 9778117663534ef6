"""Fixtures shared by all tests."""

import os
import sys
from collections.abc import Callable

# Compilation stays in the process of the test: torch keeps helpers for it, whose end, from a
# signal or for want of memory, fails every later compilation. Read once, by torch's import.
os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"

import pytest
import torch
from rich.console import Console
from torch import Tensor

import semaug.covariance.rows
from semaug import outside
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
    """Return a function that describes a tiny run, such as of ("digits_resnet8", "epochs=1")."""
    from tests.tiny import tiny_run

    def make(*arguments, seed=0, root="runs"):
        return tiny_run(tmp_path / root, *arguments, seed=seed)

    return make


@pytest.fixture
def quiet():
    """Return what every training in the tests is given: a CPU and silence."""
    from semaug.engine.options import TrainOptions

    return {"options": TrainOptions(device="cpu"), "console": Console(quiet=True)}


@pytest.fixture
def train_tiny(make_run):
    """Return a function that trains such a run and returns it."""
    from tests.tiny import train_quietly

    def run_to_end(*arguments, resume=False, **options):
        run = make_run(*arguments, **options)
        train_quietly(run, resume=resume)
        return run

    return run_to_end


@pytest.fixture
def forget(monkeypatch):
    """Forget what this process executed of a user's files, as a new one has not done so."""
    monkeypatch.setattr(outside, "_loaded", {})
    monkeypatch.setattr(outside._finder, "sources", {})
    modules, path = set(sys.modules), list(sys.path)

    def all_of_it():
        outside._loaded.clear()
        outside._finder.sources.clear()
        for name in sys.modules.keys() - modules:
            if not outside._is_installed(getattr(sys.modules[name], "__file__", None)):
                del sys.modules[name]
        sys.path[:] = path

    yield all_of_it
    all_of_it()
