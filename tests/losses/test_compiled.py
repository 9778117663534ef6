"""Every loss compiles to one graph that serves every mix of labels."""

import copy

import pytest
import torch
from torch import nn
from torch._dynamo.testing import CompileCounterWithBackend
from torch.testing import assert_close

import semaug.covariance.rows
from semaug import (
    ClassCovariance,
    ExplicitAugmentationLoss,
    ISDALoss,
    MultiLabelISDALoss,
    SemanticConsistencyLoss,
)
from semaug.covariance import full
from tests.losses.conftest import OPTIONS

# N=24, A=16; C=10, or 40, more than samples.

SIZES = [(10, name) for name in OPTIONS] + [(40, name) for name in ("full", "diagonal")]


def ids(step, num_classes):
    """Labels (N,) of more classes from step to step, and some to ignore."""
    labels = torch.randint(1 + step % num_classes, (24,))
    labels[: step % 5] = 255
    return labels


def targets(step, num_classes):
    """Mixtures (N, C) of two classes each."""
    one, other = (nn.functional.one_hot(ids(step, num_classes) % 10, num_classes) for _ in "12")
    return one * 0.3 + other * 0.7


def pixels(step, num_classes):
    return ids(step, num_classes).repeat(5, 1).flatten()[: 2 * 8 * 6].view(2, 8, 6)


def several(step, num_classes):
    return (torch.rand(24, num_classes) < step / 20).float()


WEIGHTS = torch.linspace(0.5, 2, 10)
CASES = {
    **{
        f"{kind}, {num_classes}": (
            ids,
            lambda n=num_classes, options=OPTIONS[kind]: ISDALoss(
                n, 16, strength=0.5, ignore_index=255, covariance=ClassCovariance(n, 16, **options)
            ),
        )
        for num_classes, kind in SIZES
    },
    "ramp and all options": (
        ids,
        lambda: ISDALoss(
            10, 16, strength=0.5, ramp_steps=10, class_weights=WEIGHTS, label_smoothing=0.1,
            ignore_index=255,
        ),
    ),
    "soft": (targets, lambda: ISDALoss(10, 16, strength=0.5, label_smoothing=0.1)),
    "dense": (pixels, lambda: ISDALoss(10, 16, strength=0.5, ignore_index=255)),
    "faithful": (
        pixels,
        lambda: ISDALoss(
            10, 16, strength=0.5, ignore_index=255, dense="faithful", covariance="diagonal"
        ),
    ),
    "multi-label": (several, lambda: MultiLabelISDALoss(10, 16, strength=0.5)),
    "explicit": (
        ids,
        lambda: ExplicitAugmentationLoss(
            10, 16, strength=0.5, num_samples=2, ignore_index=255, covariance="diagonal"
        ),
    ),
    "explicit, full": (
        ids, lambda: ExplicitAugmentationLoss(10, 16, strength=0.5, num_samples=2, ignore_index=255)
    ),
    "consistency, every": (ids, lambda: Consistent("every")),
    "consistency, pseudo-label": (ids, lambda: Consistent("pseudo_label")),
}  # fmt: skip


class Consistent(nn.Module):
    """Supervised and unsupervised ISDA with the same statistics."""

    def __init__(self, reference):
        super().__init__()
        self.isda = ISDALoss(10, 16, strength=0.5, ignore_index=255)
        self.estimator = self.isda.estimator
        self.consistency = SemanticConsistencyLoss(
            self.estimator, strength=0.5, ramp_steps=10, reference=reference
        )

    def forward(self, logits, labels, features, weight):
        supervised = self.isda(logits, labels, features, weight)
        return supervised + self.consistency(logits.flip(0), weight)


def step_of(head, loss):
    def step(features, labels):
        logits = head(features.movedim(1, -1)).movedim(-1, 1)
        return loss(logits, labels, features, head.weight)

    return step


# Estimators of all kinds are compiled in tests/covariance/test_compiled.py.
SHORT = ("learned, 10", "diagonal, 40", "ramp and all options", "soft", "faithful", "multi-label",
         "explicit, full", "consistency, pseudo-label")  # fmt: skip


@pytest.mark.parametrize(
    "name", [pytest.param(x, marks=[pytest.mark.full] * (x not in SHORT)) for x in CASES]
)
def test_compiles_to_one_graph_that_serves_every_mix_of_labels(name, monkeypatch):
    check(name, monkeypatch, "aot_eager", num_steps=20)


@pytest.mark.full
@pytest.mark.slow
def test_the_compiler_of_torch_gives_the_same(monkeypatch):
    check("consistency, every", monkeypatch, "inductor", num_steps=3)


def check(name, monkeypatch, backend, num_steps):
    tolerance = {"rtol": 1e-3, "atol": 1e-5}
    if name == "explicit, full":  # compiled, other square roots turn the same draws
        monkeypatch.setattr(full, "root", full.symmetric_root)
        tolerance = {"rtol": 1e-2, "atol": 1e-3}  # roots of rounding errors
    if name.startswith("low_rank"):  # static shapes have a bound on samples of one class
        monkeypatch.setattr(semaug.covariance.rows, "ALWAYS_STATIC", True)
    torch._dynamo.reset()
    torch.manual_seed(0)
    make_labels, make_loss = CASES[name]
    loss = make_loss()
    num_classes = loss.estimator.num_classes
    head = nn.Linear(16, num_classes)
    other_head, other_loss = copy.deepcopy(head), copy.deepcopy(loss)
    counter = CompileCounterWithBackend(backend)
    compiled = torch.compile(step_of(head, loss), backend=counter, fullgraph=True)
    eager = step_of(other_head, other_loss)
    leaves, other_leaves = (
        [h.weight, *x.parameters()] for h, x in ((head, loss), (other_head, other_loss))
    )
    for step in range(num_steps):
        labels = make_labels(step, num_classes)
        features = torch.randn(*((2, 16, 4, 3) if labels.ndim == 3 else (24, 16)))
        torch.manual_seed(step)
        actual = compiled(features, labels)
        torch.manual_seed(step)
        expected = eager(features, labels)
        assert_close(actual, expected, **tolerance)
        gradients = torch.autograd.grad(actual, leaves)
        assert_close(gradients, torch.autograd.grad(expected, other_leaves), **tolerance)
    assert counter.frame_count == 1
    assert_close(loss.estimator.dense(), other_loss.estimator.dense(), rtol=1e-3, atol=1e-5)
    assert torch.equal(loss.estimator.count, other_loss.estimator.count)
