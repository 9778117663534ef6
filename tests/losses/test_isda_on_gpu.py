"""Losses on an accelerator: the same numbers as on a CPU, and no waiting for the host."""

import copy
from contextlib import contextmanager

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from semaug import (
    ClassCovariance,
    ExplicitAugmentationLoss,
    ISDALoss,
    MultiLabelISDALoss,
    SemanticConsistencyLoss,
)
from tests.losses.conftest import OPTIONS

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

# N=24, A=16.


@contextmanager
def waiting_is_an_error(but=False):
    """Raise where the host waits for the device."""
    torch.cuda.set_sync_debug_mode("default" if but else "error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def problem(num_classes, kind, **options):
    torch.manual_seed(0)
    estimator = ClassCovariance(num_classes, 16, **OPTIONS[kind])
    isda = ISDALoss(num_classes, 16, strength=0.5, ramp_steps=10, covariance=estimator, **options)
    batches = [(torch.randn(24, 16), torch.randint(num_classes, (24,))) for _ in range(6)]
    return isda, nn.Linear(16, num_classes), batches


def step_of(head, loss):
    def step(features, labels):
        logits = head(features.movedim(1, -1)).movedim(-1, 1)
        return loss(logits, labels, features, head.weight)

    return step


def statistics_of(estimator):
    """What does not depend on the signs of eigenvectors, on the CPU."""
    return [x.detach().cpu() for x in (estimator.dense(), estimator.mean, estimator.count)]


def check(loss, head, batches, may_wait=False):
    """Train some steps on both; compare losses, gradients and statistics."""
    gpu_loss, gpu_head = copy.deepcopy(loss).cuda(), copy.deepcopy(head).cuda()
    gpu_batches = [(features.cuda(), labels.cuda()) for features, labels in batches]
    gpu_step, step = step_of(gpu_head, gpu_loss), step_of(head, loss)
    gpu_losses = []
    with waiting_is_an_error(but=may_wait):
        for batch in gpu_batches:
            value = gpu_step(*batch)
            value.backward()
            gpu_losses.append(value.detach())
    for batch, gpu_value in zip(batches, gpu_losses, strict=True):
        value = step(*batch)
        value.backward()
        assert_close(gpu_value.cpu(), value.detach(), rtol=1e-4, atol=1e-5)
    assert_close(gpu_head.weight.grad.cpu(), head.weight.grad, rtol=1e-3, atol=1e-5)
    actual, expected = statistics_of(gpu_loss.estimator), statistics_of(loss.estimator)
    assert_close(actual, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", OPTIONS)
@pytest.mark.parametrize("num_classes", [10, 40])
def test_agrees_with_the_cpu_and_never_waits(num_classes, kind):
    # Eigenvalues make wait.
    check(*problem(num_classes, kind), may_wait=kind.startswith("low_rank"))


def soft(loss, head, batches):
    eye = torch.eye(10)
    return loss, head, [(x, 0.4 * eye[y] + 0.6 * eye[y.flip(0)]) for x, y in batches]


def dense(loss, head, batches):
    return loss, head, [(torch.randn(2, 16, 4, 3), y.repeat(4).view(2, 8, 6)) for _, y in batches]


def several_labels(_, head, batches):
    loss = MultiLabelISDALoss(10, 16, strength=0.5, pos_weight=torch.linspace(0.5, 2, 10))
    return loss, head, [(x, (torch.rand(24, 10) < 0.3).float()) for x, _ in batches]


class Consistent(nn.Module):
    def __init__(self, isda, reference):
        super().__init__()
        self.isda, self.estimator = isda, isda.estimator
        self.consistency = SemanticConsistencyLoss(
            isda.estimator, strength=0.5, ramp_steps=10, reference=reference
        )

    def forward(self, logits, labels, features, weight):
        supervised = self.isda(logits, labels, features, weight)
        return supervised + self.consistency(logits.flip(0), weight)


ALL = {
    "class_weights": torch.linspace(0.5, 2, 10),
    "ignore_index": 3,
    "label_smoothing": 0.1,
}
CASES = {
    "all options": lambda kind: problem(10, kind, **ALL),
    "soft": lambda kind: soft(*problem(10, kind, label_smoothing=0.1)),
    "dense": lambda kind: dense(*problem(10, kind, ignore_index=3)),
    "faithful": lambda kind: dense(*problem(10, kind, dense="faithful", label_smoothing=0.1)),
    "several labels": lambda kind: several_labels(*problem(10, kind)),
    **{
        f"consistency, {reference}": lambda kind, reference=reference: (
            Consistent((isda := problem(10, kind))[0], reference),
            *isda[1:],
        )
        for reference in ("every", "pseudo_label")
    },
}


@pytest.mark.parametrize("kind", ["full", "diagonal", "learned"])
@pytest.mark.parametrize("name", CASES)
def test_every_loss_agrees_with_the_cpu_and_never_waits(name, kind):
    check(*CASES[name](kind))


@pytest.mark.parametrize("kind", ["diagonal", "identity", "learned"])
def test_draws_without_waiting(kind):
    _, head, batches = problem(10, kind)
    loss = ExplicitAugmentationLoss(10, 16, strength=0.5, num_samples=500, covariance=kind)
    gpu_step = step_of(copy.deepcopy(head).cuda(), copy.deepcopy(loss).cuda())
    gpu_batches = [(features.cuda(), labels.cuda()) for features, labels in batches]
    with waiting_is_an_error():
        values = [gpu_step(*batch).detach() for batch in gpu_batches]
    for batch, value in zip(batches, values, strict=True):
        expected = step_of(head, loss)(*batch).detach()
        assert_close(value.cpu(), expected, rtol=0.1, atol=0)  # other draws


@pytest.mark.parametrize("name", ["plain", *CASES])
@pytest.mark.parametrize("kind", ["full", "diagonal"])
def test_lives_in_a_cuda_graph(name, kind):
    loss, head, batches = problem(10, kind) if name == "plain" else CASES[name](kind)
    loss, head = loss.cuda(), head.cuda()
    batches = [(features.cuda(), labels.cuda()) for features, labels in batches]
    static_batch = [x.clone() for x in batches[0]]
    step = step_of(head, loss)

    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):  # to set up libraries, as torch asks for
        for batch in batches[:3]:
            torch.autograd.grad(step(*batch), head.weight)
    torch.cuda.current_stream().wait_stream(stream)

    graph, eager = torch.cuda.CUDAGraph(), copy.deepcopy(loss)
    with torch.cuda.graph(graph):
        value = step(*static_batch)
        (gradient,) = torch.autograd.grad(value, head.weight)
    eager_step = step_of(head, eager)
    for batch in batches:
        for static, tensor in zip(static_batch, batch, strict=True):
            static.copy_(tensor)
        graph.replay()
        expected = eager_step(*batch)
        assert_close(value, expected, rtol=1e-4, atol=1e-5)
        (expected_gradient,) = torch.autograd.grad(expected, head.weight)
        assert_close(gradient, expected_gradient, rtol=1e-3, atol=1e-5)
    assert_close(statistics_of(loss.estimator), statistics_of(eager.estimator))


@pytest.mark.parametrize("kind", ["full", "diagonal"])
def test_leaves_out_non_finite_rows_without_looking(kind):
    isda, _, _ = problem(10, kind)
    isda.cuda()
    features = torch.randn(24, 16, device="cuda")
    features[3, 2] = torch.nan
    isda.estimator.update(features, torch.zeros(24, dtype=torch.int64, device="cuda"))
    assert isda.estimator.mean.isfinite().all()
    with pytest.warns(UserWarning, match=r"left out 1 sample\(s\)"):
        isda.estimator.warn_of_skipped()
