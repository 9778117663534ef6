"""Tests of semaug.methods.temporal_ensembling."""

import pytest
import torch
from torch.testing import assert_close

from semaug.methods import Batch, Samples, TemporalEnsembling
from tests.methods.hosts import NUM_UNLABELED, make_batch, make_host, train

MOMENTUM = 0.6


def epochs_of(num_epochs, *, drop_last=False):
    """Yield the positions of each batch, epoch by epoch; the last has 4 images or is left out."""
    generator = torch.Generator().manual_seed(1)
    for _ in range(num_epochs):
        order = torch.randperm(NUM_UNLABELED, generator=generator)
        yield [part for part in order.split(8) if len(part) == 8 or not drop_last]


def step(host, positions, number):
    """Take a step on images that lie at some positions, and return prediction and term."""
    images = torch.randn(NUM_UNLABELED, 3, 6, 6, generator=torch.Generator().manual_seed(2))
    labeled = make_batch(TemporalEnsembling).labeled
    unlabeled = Samples(images[positions], positions=positions)
    batch = Batch({"labeled": labeled, "unlabeled": unlabeled}, number)
    output = host.loss(batch)
    output.loss.backward()
    with torch.no_grad():
        for parameter in host.parameters():
            parameter -= 0.1 * parameter.grad
            parameter.grad = None
    host.after_step(batch, output)
    return output.outputs["unlabeled"].softmax(1), output.terms["consistency"].value.detach()


@pytest.mark.parametrize("drop_last", [False, True])
def test_it_is_the_algorithm_of_the_paper(drop_last):
    """By epochs, with a bias correction by image, which is the paper's where all are shown."""
    host = make_host(TemporalEnsembling, host_weight=5.0)
    ensemble, targets = torch.zeros(NUM_UNLABELED, 3), torch.zeros(NUM_UNLABELED, 3)
    shown = torch.zeros(NUM_UNLABELED, dtype=torch.int64)
    number = 0
    for epoch, batches in enumerate(epochs_of(4, drop_last=drop_last)):
        seen = {}
        for positions in batches:
            probs, value = step(host, positions, number)
            number += 1
            known = shown[positions] > 0
            expected = 5 * ((probs - targets[positions])[known] ** 2).sum() / (3 * len(positions))
            assert_close(value, expected)
            if epoch == 0:
                assert value == 0
            seen |= dict(zip(positions.tolist(), probs, strict=True))
        for place, probs in seen.items():
            ensemble[place] = MOMENTUM * ensemble[place] + (1 - MOMENTUM) * probs
            shown[place] += 1
            targets[place] = ensemble[place] / (1 - MOMENTUM ** shown[place])
        if not drop_last:
            assert_close(targets, ensemble / (1 - MOMENTUM ** (epoch + 1)))
    assert torch.equal(host.visits, shown)
    assert_close(host.ensemble, ensemble)
    assert_close(targets[shown > 0].sum(1), torch.ones(int((shown > 0).sum())))


def test_the_memory_is_saved():
    whole = train(make_host(TemporalEnsembling), 6)
    host = make_host(TemporalEnsembling)
    train(host, 3)
    other = make_host(TemporalEnsembling)
    other.load_state_dict(host.state_dict())
    resumed = train(other, 3, first=3)
    for name, value in whole[-1].items():
        assert torch.equal(resumed[-1][name], value)


def test_what_it_keeps_is_the_prediction_of_training():
    host = make_host(TemporalEnsembling, drop_rate=0.5)
    probs, _ = step(host, torch.arange(8), 0)
    assert_close(host.ensemble[:8], 0.4 * probs)
    assert (host.ensemble[8:] == 0).all()
