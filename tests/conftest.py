"""Fixtures shared by all tests."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import semaug._classes

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
        monkeypatch.setattr(semaug._classes, "ALWAYS_STATIC", True)
    return request.param
