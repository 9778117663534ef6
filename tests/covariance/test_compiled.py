"""Tests of semaug.covariance under torch.compile, autocast and deterministic algorithms."""

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend
from torch.testing import assert_close

import semaug.covariance.rows
from semaug import ClassCovariance

SETUPS = {
    "full": {"kind": "full"},
    "diagonal": {"kind": "diagonal"},
    "shared": {"kind": "shared"},
    "identity": {"kind": "identity"},
    "low_rank": {"kind": "low_rank", "rank": 8},
    "learned": {"kind": "learned"},
    "full, shrunk": {"kind": "full", "shrinkage": 5},
    "diagonal, fading and shrunk": {"kind": "diagonal", "memory": 0.9, "shrinkage": 5},
    "low_rank, fading and shrunk": {"kind": "low_rank", "rank": 8, "memory": 0.9, "shrinkage": 5},
    "shared, fading": {"kind": "shared", "memory": 0.9},
    "full, by epochs": {"kind": "full", "memory": "epoch"},
}


# Each option is in another of the setups, too.
LONG = [("diagonal", 30), ("shared", 30), ("low_rank", 30), ("full, shrunk", 30), ("full", 30)]
LONG += [("identity", 30), ("low_rank", 6), ("shared", 6)]
SHORT = [(setup, 30) for setup in SETUPS if (setup, 30) not in LONG] + [("full", 6)]


@pytest.mark.parametrize(
    ("setup", "num_classes"),
    [*SHORT, *(pytest.param(*case, marks=pytest.mark.full) for case in LONG)],
)
def test_compiles_to_one_graph_that_serves_every_mix_of_labels(setup, num_classes, monkeypatch):
    options = SETUPS[setup]
    if options["kind"] == "low_rank":  # equal only on average to what a CPU does otherwise
        monkeypatch.setattr(semaug.covariance.rows, "ALWAYS_STATIC", True)
    torch._dynamo.reset()
    generator = torch.Generator().manual_seed(0)
    compiled, eager = (ClassCovariance(num_classes, 8, **options).double() for _ in range(2))
    counter = CompileCounterWithBackend("aot_eager")

    def step(estimator, features, labels, weight):
        estimator.update(features, labels)
        q, gram = estimator.quadratic_form(weight), estimator.gram(weight)
        return q.logsumexp(dim=1).sum() + gram.tanh().sum()

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    compiled_step = torch.compile(step, backend=counter, fullgraph=True)
    for number in range(20):
        features, weight = normal(24, 8), normal(num_classes, 8).requires_grad_()
        labels = torch.randint(1 + number % num_classes, (24,), generator=generator)
        labels[::7] = -100
        loss = compiled_step(compiled, features, labels, weight)
        expected = step(eager, features, labels, weight)
        assert_close(loss, expected)
        assert_close(*(torch.autograd.grad(value, weight) for value in (loss, expected)))
        assert_close(compiled.dense(), eager.dense())
    assert counter.frame_count == 1
