"""Covariances of many classes of long features do not fit, and a smaller batch is of no use."""

import pytest
import torch
from torch import nn

from semaug import ClassCovariance, ISDALoss
from semaug.covariance import KINDS
from semaug.covariance.full import FullKind
from semaug.engine import memory
from semaug.engine.train import train
from semaug.errors import UserError
from semaug.methods import Supervised

FULL = (
    "full covariances of 300 classes x 2048 features take 5.0 GB; low_rank takes 81.1 MB; "
    "diagonal takes 2.5 MB; sharded=True divides them among processes"
)


@pytest.fixture
def too_little(monkeypatch):
    """Let the allocation of full matrices fail as it does on a CPU."""

    def fail(self, num_rows, num_features):
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(FullKind, "buffers", fail)


@pytest.mark.usefixtures("too_little")
def test_an_estimator_that_cannot_be_made_says_what_takes_the_memory(monkeypatch):
    description = {}

    def describe(self):
        description["of"] = self.num_classes, self.num_features
        return FULL

    monkeypatch.setattr(ClassCovariance, "describe_memory", describe)
    with pytest.raises(torch.OutOfMemoryError, match=f"ClassCovariance: {FULL}"):
        ISDALoss(300, 2048, strength=0.5)
    assert description["of"] == (300, 2048)


def test_other_errors_of_an_allocation_stay_what_they_are(monkeypatch):
    def fail(self, num_rows, num_features):
        raise RuntimeError("something else")

    monkeypatch.setattr(FullKind, "buffers", fail)
    with pytest.raises(RuntimeError, match=r"^something else$"):
        ClassCovariance(3, 2)


def test_an_estimator_that_cannot_be_moved_says_so_too():
    def fail(tensor):
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError, match="full covariances of 3 classes x 2 features"):
        nn.Sequential(ClassCovariance(3, 2))._apply(fail)


@pytest.mark.parametrize("kind", KINDS)
def test_the_number_of_bytes_is_that_of_the_tensors(kind):
    estimator = ClassCovariance(7, 40, kind)
    names = set(estimator._state_names) - {"mean"}
    assert estimator.num_bytes == sum(4 * getattr(estimator, name).numel() for name in names)


def test_only_kinds_that_take_less_are_proposed():
    assert ClassCovariance(2000, 1000, "low_rank", rank=2).describe_memory() == (
        "low_rank covariances of 2000 classes x 1000 features take 24.0 MB; diagonal takes 8.0 MB"
    )
    assert ClassCovariance(20, 1000, "diagonal").describe_memory() == (
        "diagonal covariances of 20 classes x 1000 features take 0.1 MB"
    )
    assert "take 0.2 MB in each process" in ClassCovariance(4, 100, sharded=True).describe_memory()
    with torch.device("meta"):
        assert ClassCovariance(300, 2048).describe_memory() == FULL


def test_a_run_that_runs_out_of_memory_names_large_statistics(make_run, quiet, monkeypatch):
    def fail(*arguments):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(Supervised, "loss", fail)
    found = []
    for seed, total in enumerate((30_000, 1e12)):
        monkeypatch.setattr(memory, "total_memory", lambda device, total=total: total)
        with pytest.raises(UserError) as error:
            train(make_run("digits_resnet8", "loss=isda", "strength=0.5", seed=seed), **quiet)
        found.append(str(error.value).partition("too little memory")[2])
    assert found[0].startswith(": full covariances of 10 classes x 64 features take 0.2 MB; ")
    assert found[0].endswith("; choose another `covariance`, or a smaller batch")
    assert found[1].startswith(" for batch_size=")


def test_a_process_may_have_less_memory_than_the_machine(monkeypatch):
    resource = pytest.importorskip("resource")
    cpu = torch.device("cpu")
    total = memory.total_memory(cpu)
    assert 2**26 < total < float("inf")
    monkeypatch.setattr(resource, "getrlimit", lambda which: (2**20, 2**21))
    assert memory.total_memory(cpu) == 2**20
    unlimited = resource.RLIM_INFINITY
    monkeypatch.setattr(resource, "getrlimit", lambda which: (unlimited, unlimited))
    assert memory.total_memory(cpu) >= total
