"""What tests of all losses share: estimators of every kind that have seen something."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import semaug.covariance.rows
from semaug import ClassCovariance
from semaug.losses import consistency

KINDS = ["full", "diagonal", "shared", "identity", "low_rank", "learned"]
OPTIONS = {
    **{kind: {"kind": kind} for kind in KINDS},
    **{f"{kind}, shrunk": {"kind": kind, "shrinkage": 2.0} for kind in ("full", "diagonal")},
    "low_rank, shrunk": {"kind": "low_rank", "shrinkage": 2.0, "rank": 2},
}
OPTIONS["low_rank"]["rank"] = 2


def estimator_of(name: str, num_classes: int = 4, num_features: int = 3) -> ClassCovariance:
    """An estimator in float64 that has seen 20 samples; of class 3 only one."""
    estimator = ClassCovariance(num_classes, num_features, **OPTIONS[name]).double()
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(20, num_features, generator=generator, dtype=torch.float64)
    labels = torch.arange(20) % max(num_classes - 1, 1)
    labels[-1] = num_classes - 1
    estimator.update(features * 0.7, labels)
    with torch.no_grad():
        for factor in estimator.parameters():
            factor.add_(torch.randn(factor.shape, generator=generator) / 4).mul_(0.9)
    return estimator


@pytest.fixture(params=list(OPTIONS))
def estimator(request: pytest.FixtureRequest) -> ClassCovariance:
    """One of every kind, C=4 classes and A=3 features."""
    return estimator_of(request.param)


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take everything in as many parts as there can be."""
    monkeypatch.setattr(semaug.covariance.rows, "CHUNK_ELEMENTS", 40)
    monkeypatch.setattr(semaug.covariance.rows, "CHUNK_ELEMENTS_STATIC", 40)
    monkeypatch.setattr(consistency, "PART_ELEMENTS", 40)


@pytest.fixture
def gradients() -> Callable[..., list[Tensor]]:
    """Gradients of a loss, zeros where it does not depend on a leaf."""

    def of(loss: Tensor, *leaves: Tensor) -> list[Tensor]:
        upstream = torch.linspace(0.5, 2, loss.numel(), dtype=loss.dtype).view_as(loss)
        return list(
            torch.autograd.grad(loss, leaves, upstream, allow_unused=True, materialize_grads=True)
        )

    return of
