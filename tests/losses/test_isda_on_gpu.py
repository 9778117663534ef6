"""ISDA on an accelerator: the same numbers as on a CPU, and no waiting for the host."""

import copy

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from semaug import ISDALoss

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def problem(num_classes, kind):
    torch.manual_seed(0)
    isda = ISDALoss(num_classes, 16, strength=0.5, ramp_steps=10, covariance=kind)
    head = nn.Linear(16, num_classes)
    batches = [(torch.randn(24, 16), torch.randint(num_classes, (24,))) for _ in range(6)]
    return isda, head, batches


@pytest.mark.parametrize("kind", ["full", "diagonal"])
@pytest.mark.parametrize("num_classes", [10, 40])
def test_agrees_with_the_cpu_and_never_waits(num_classes, kind):
    isda, head, batches = problem(num_classes, kind)
    gpu_isda, gpu_head = copy.deepcopy(isda).cuda(), copy.deepcopy(head).cuda()
    gpu_batches = [(features.cuda(), labels.cuda()) for features, labels in batches]
    gpu_losses = []
    torch.cuda.set_sync_debug_mode("error")
    try:
        for features, labels in gpu_batches:
            loss = gpu_isda(gpu_head(features), labels, features, gpu_head.weight)
            loss.backward()
            gpu_losses.append(loss.detach())
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for (features, labels), gpu_loss in zip(batches, gpu_losses, strict=True):
        loss = isda(head(features), labels, features, head.weight)
        loss.backward()
        assert_close(gpu_loss.cpu(), loss.detach(), rtol=1e-4, atol=1e-5)
    assert_close(gpu_head.weight.grad.cpu(), head.weight.grad, rtol=1e-3, atol=1e-5)
    assert_close(dict(gpu_isda.cpu().state_dict()), dict(isda.state_dict()), rtol=1e-4, atol=1e-5)


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
