"""Invariance and mutual learning on an accelerator: the CPU's numbers, without waiting."""

import pytest
import torch
from torch.testing import assert_close

from semaug import AugmentationInvariantLoss, MutualLoss

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

# V=3, N=24, C=10.

CRITERIA = {
    "kl": AugmentationInvariantLoss(),
    "targets constant": AugmentationInvariantLoss(target_gradient=False, convention="released"),
    "both": AugmentationInvariantLoss(metric="both"),
    "squared": AugmentationInvariantLoss(metric="squared_euclidean"),
    "mixture": AugmentationInvariantLoss(reference="mixture"),
    "first": AugmentationInvariantLoss(reference="first", temperature=0.5, threshold=0.3),
    "mutual": MutualLoss(weight=3.0),
}


def problem():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 24, 10, generator=generator) * 2
    logits[1, 0] = logits[0, 0]  # views that agree have no distance
    return logits, torch.randint(10, (24,), generator=generator)


def loss_and_gradient(criterion, logits, labels):
    logits = logits.detach().requires_grad_()
    loss = criterion(logits, labels)
    return loss.detach(), torch.autograd.grad(loss, logits)[0]


@pytest.mark.parametrize("name", CRITERIA)
def test_agrees_with_the_cpu_and_never_waits(name):
    logits, labels = problem()
    expected = loss_and_gradient(CRITERIA[name], logits, labels)
    logits, labels = logits.cuda(), labels.cuda()
    torch.cuda.set_sync_debug_mode("error")
    try:
        actual = loss_and_gradient(CRITERIA[name], logits, labels)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert_close([x.cpu() for x in actual], list(expected), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", CRITERIA)
def test_half_precision_under_autocast(name):
    logits, labels = (x.cuda() for x in problem())
    expected = loss_and_gradient(CRITERIA[name], logits.bfloat16().float(), labels)
    with torch.autocast("cuda", torch.bfloat16):
        loss, gradient = loss_and_gradient(CRITERIA[name], logits.bfloat16(), labels)
    assert_close([loss, gradient], [expected[0], expected[1].bfloat16()], rtol=1e-2, atol=1e-4)


@pytest.mark.parametrize("name", CRITERIA)
def test_works_inside_a_cuda_graph(name):
    logits, labels = (x.cuda() for x in problem())
    static = torch.zeros_like(logits)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            loss_and_gradient(CRITERIA[name], static, labels)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        actual = loss_and_gradient(CRITERIA[name], static, labels)
    static.copy_(logits)
    graph.replay()
    expected = loss_and_gradient(CRITERIA[name], logits, labels)
    assert_close(list(actual), list(expected), rtol=1e-5, atol=1e-6)
