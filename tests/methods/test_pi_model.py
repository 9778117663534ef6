"""Tests of semaug.methods.pi_model."""

import pytest
import torch
from torch.testing import assert_close

from semaug.methods import PiModel
from tests.methods.hosts import make_batch, make_host


def gradient_of_logits(one_sided):
    host = make_host(PiModel, one_sided=one_sided, host_weight=7.0).double()
    batch = make_batch(PiModel, dtype=torch.float64)
    logits = []
    host.network.register_forward_hook(lambda module, images, output: logits.append(output))
    value = host.loss(batch).terms["consistency"].value
    (gradient,) = torch.autograd.grad(value, logits[0])
    return logits[0].detach(), value.detach(), gradient


@pytest.mark.parametrize("one_sided", [False, True])
def test_the_gradient_flows_through_both_views_unless_told_otherwise(one_sided):
    logits, value, gradient = gradient_of_logits(one_sided)
    wanted = logits.clone().requires_grad_()
    first, second = wanted[6:14].softmax(1), wanted[14:].softmax(1)
    second = second.detach() if one_sided else second
    expected = 7 * sum((first[n, c] - second[n, c]) ** 2 for n in range(8) for c in range(3)) / 24
    assert_close(value, expected.detach())
    assert_close(gradient, torch.autograd.grad(expected, wanted)[0])
    assert (gradient[:6] == 0).all()
    assert (gradient[14:] == 0).all() == one_sided
