"""Tests of semaug.methods.vat."""

from copy import deepcopy

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from semaug.methods import VAT
from semaug.methods.vat import unit
from tests.methods.hosts import make_batch, make_host


def divergence(network, images, r):
    """Return the mean KL divergence in float64, with p of the clean images constant."""
    with torch.no_grad():
        p = network(images).softmax(1)
    q = network(images + r).log_softmax(1)
    return (p * (p.log() - q)).sum() / len(images)


@pytest.fixture
def seen():
    batch = make_batch(VAT).unlabeled
    return batch.images, batch.positions


def test_the_perturbation_follows_the_gradient_of_finite_differences(seen):
    images, positions = seen[0][:2].double(), seen[1][:2]
    host = make_host(VAT, norm=False, epsilon=2.0, xi=0.1).double()
    r = host.perturbation(images, positions)
    zeros = torch.zeros_like(images)
    begin = make_host(VAT, norm=False, epsilon=0.1, power_iterations=0).double()
    d = begin.perturbation(images, positions)  # of norm xi
    gradient = zeros.clone()
    for place in range(images.numel()):
        change = zeros.clone()
        change.view(-1)[place] = 1e-5
        up, down = (divergence(host.network, images, d + s * change) for s in (1, -1))
        gradient.view(-1)[place] = (up - down).detach() / 2e-5
    assert_close(r, 2 * unit(gradient), rtol=1e-5, atol=1e-6)
    assert_close(r.flatten(1).norm(dim=1), torch.full((2,), 2.0, dtype=torch.float64))


def test_the_search_in_float32_finds_that_of_float64(seen):
    images, positions = seen
    found = make_host(VAT).perturbation(images, positions)
    expected = make_host(VAT).double().perturbation(images.double(), positions).float()
    assert F.cosine_similarity(found.flatten(1), expected.flatten(1)).min() > 0.99


def test_autocast_does_not_change_the_search(seen):
    host = make_host(VAT)
    expected = host.perturbation(*seen)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(host.perturbation(*seen), expected)


def test_it_is_worse_than_a_random_one_and_better_with_more_iterations(seen):
    images, positions = seen
    host = make_host(VAT, norm=False, epsilon=1.0)
    values = []
    for iterations in (0, 1, 10):
        host.power_iterations = iterations
        values.append(divergence(host.network, images, host.perturbation(images, positions)))
    assert 3 * values[0] < values[1] < values[2]


def test_only_the_loss_leaves_gradients_and_statistics():
    host, batch = make_host(VAT), make_batch(VAT)
    for parameter in host.parameters():
        parameter.grad = torch.ones_like(parameter)
    other = deepcopy(host)
    output = host.loss(batch)
    assert all((parameter.grad == 1).all() for parameter in host.parameters())
    images = torch.cat([batch.labeled.images, batch.unlabeled.images])
    other.network(images)
    for own, expected in zip(host.buffers(), other.buffers(), strict=True):
        assert torch.equal(own, expected)
    output.loss.backward()
    with pytest.raises(RuntimeError, match="to have 3 channels"):
        host.perturbation(torch.zeros(2, 5, 3, 6), torch.arange(2))
    assert host.network[1].momentum == 0.1


def test_all_passes_share_their_dropout():
    """So that without a perturbation nothing diverges."""
    values = {}
    for shared in (True, False):
        host = make_host(VAT, drop_rate=0.5, epsilon=1e-6, shared_dropout=shared)
        values[shared] = host.loss(make_batch(VAT)).terms["adversarial"].value
    assert abs(values[True]) < 1e-6
    assert values[False] > 1e-3


def test_steps_have_draws_of_their_own():
    host = make_host(VAT, drop_rate=0.5)
    first, second = (host.loss(make_batch(VAT)).outputs["unlabeled"] for _ in range(2))
    assert not torch.equal(first, second)


def test_the_term_is_the_divergence_from_the_constant_clean_prediction(seen):
    host = make_host(VAT, norm=False, host_weight=3.0).double()
    batch = make_batch(VAT, dtype=torch.float64)
    term = host.loss(batch).terms["adversarial"].value
    r = host.perturbation(batch.unlabeled.images, batch.unlabeled.positions)
    expected = 3 * divergence(host.network, batch.unlabeled.images, r)
    assert_close(term, expected)
    parameters = list(host.parameters())
    for own, other in zip(
        torch.autograd.grad(term, parameters),
        torch.autograd.grad(expected, parameters),
        strict=True,
    ):
        assert_close(own, other)


def test_entropy_is_a_term_of_its_own():
    batch = make_batch(VAT)
    output = make_host(VAT, entropy_weight=2.0).loss(batch)
    probs = output.outputs["unlabeled"].softmax(1)
    entropy = output.terms["entropy"].value
    assert_close(entropy.detach(), -2 * (probs * probs.log()).sum(1).mean())
    assert entropy.requires_grad
    assert "entropy" not in make_host(VAT).loss(batch).terms


def test_where_nothing_changes_the_prediction_there_is_no_perturbation(seen):
    host = make_host(VAT)
    for parameter in host.network[-1].parameters():
        parameter.data.zero_()
    assert (host.perturbation(*seen) == 0).all()
