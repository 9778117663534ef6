"""Tests of semaug.losses.disturb_label."""

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from semaug import DisturbLabelLoss, disturb_labels
from semaug.errors import UserError
from semaug.losses import DisturbLabel
from semaug.losses.disturb_label import _disturbed
from semaug.registry import Sizes
from tests.references.robust import disturbed_label_probs


def shares(label, num_classes, rate, include_true):
    """Shares of classes over a grid of all that can be drawn, which is no matter of chance."""
    grid = (torch.arange(240) * 2 + 1) * 2**32 // 480
    bits = torch.cartesian_prod(grid, grid)
    labels = torch.full((len(bits),), label)
    drawn = _disturbed(labels, bits, num_classes, rate, include_true, -100)
    return drawn.bincount(minlength=num_classes).double() / len(drawn)


@pytest.mark.parametrize("include_true", [True, False])
@pytest.mark.parametrize(("label", "num_classes"), [(0, 4), (3, 4), (2, 5)])
def test_labels_are_drawn_with_their_probabilities(label, num_classes, include_true):
    found = shares(label, num_classes, 0.25, include_true)
    assert_close(found, disturbed_label_probs(label, num_classes, 0.25, include_true))


def test_the_expected_loss_is_label_smoothing(normal):
    logits, labels = normal(4, 5), torch.tensor([0, 3, 4, 2])
    losses = torch.stack(
        [F.cross_entropy(logits, torch.full((4,), k), reduction="none") for k in range(5)]
    )
    expected = sum(
        shares(int(label), 5, 0.25, True) @ losses[:, n] for n, label in enumerate(labels)
    )
    assert_close(expected / 4, F.cross_entropy(logits, labels, label_smoothing=0.25))


def test_a_share_of_the_labels_changes_in_each_call():
    labels = torch.arange(10).repeat(2000)
    generator = torch.Generator().manual_seed(0)
    once, again = (disturb_labels(labels, 10, rate=0.1, generator=generator) for _ in "12")
    for drawn in (once, again):
        assert abs((drawn != labels).double().mean() - 0.09) < 0.01  # a tenth of them are true
    assert not torch.equal(once, again)
    assert torch.equal(disturb_labels(labels, 10, rate=0.0), labels)


def drawn_by(loss, labels, positions=None, num_classes=10):
    """Labels that a loss took, from losses that tell them apart."""
    logits = torch.arange(num_classes).double().expand(len(labels), -1) / 4
    losses = loss(logits, labels, positions=positions)
    return (logits[0].logsumexp(0) - losses).mul(4).round().long()


def test_draws_follow_step_and_position_alone():
    torch.manual_seed(0)
    loss = DisturbLabelLoss(rate=0.5, reduction="none")
    labels, positions = torch.arange(40) % 10, torch.randperm(1000)[:40]
    state = {name: value.clone() for name, value in loss.state_dict().items()}
    first, second = (drawn_by(loss, labels, positions) for _ in "12")
    assert (first != labels).any()
    assert not torch.equal(first, second)
    other = DisturbLabelLoss(rate=0.5, reduction="none")
    other.load_state_dict(state)
    order = torch.randperm(40)
    parts = [drawn_by(other, labels[order], positions[order])]
    assert torch.equal(parts[0], first[order])
    with other.frozen():
        assert torch.equal(drawn_by(other, labels, positions), first)
    assert torch.equal(drawn_by(other, labels[:7], positions[:7]), second[:7])


def test_evaluation_and_ignored_labels_stay_as_they_are(normal):
    logits, labels = normal(6, 10), torch.tensor([0, 1, -100, 3, -100, 5])
    loss = DisturbLabelLoss(rate=1.0, include_true=False)
    assert loss(logits, labels) != F.cross_entropy(logits, labels)
    assert loss.eval()(logits, labels) == F.cross_entropy(logits, labels)
    ignoring = DisturbLabelLoss(rate=1.0, reduction="none")
    assert (ignoring(logits, labels) == 0).tolist() == (labels < 0).tolist()


def test_seeds_differ_between_losses_and_after_a_reset():
    loss, other = (DisturbLabelLoss(rate=0.5) for _ in "12")
    assert loss.steps.seed != other.steps.seed
    before = loss.steps.seed.clone()
    loss.reset()
    assert loss.steps.seed != before
    with torch.device("meta"):
        empty = DisturbLabelLoss(rate=0.5)
    empty.to_empty(device="cpu")
    assert empty.step == 0
    assert 0 <= empty.steps.seed < 2**31


def test_mistakes_are_named(normal):
    logits, labels = normal(4, 10), torch.arange(4)
    loss = DisturbLabelLoss(rate=0.1)
    with pytest.raises(ValueError, match="disturb_labels: expected `rate` <= 1, got 10"):
        disturb_labels(labels, 10, rate=10)
    with pytest.raises(ValueError, match="DisturbLabelLoss: expected `rate` >= 0, got -1"):
        DisturbLabelLoss(rate=-1)
    with pytest.raises(TypeError, match="`include_true` to be a bool, got 1"):
        DisturbLabelLoss(rate=0.1, include_true=1)
    with pytest.raises(ValueError, match=r"disturb_labels: expected `labels` of shape \(N,\)"):
        disturb_labels(labels.view(2, 2), 10, rate=0.1)
    with pytest.raises(ValueError, match=r"expected `logits` of shape \(N, C\), got \(1, 10, 2, 2"):
        loss(normal(1, 10, 2, 2), torch.zeros(1, 2, 2, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"`labels` of shape \(N=4,\), got \(4, 10\)"):
        loss(logits, logits.softmax(1))
    with pytest.raises(ValueError, match=r"`positions` of shape \(4,\), got \(3,\)"):
        loss(logits, labels, positions=torch.arange(3))
    with pytest.raises(TypeError, match=r"`positions` of dtype torch.int64, got torch.float32"):
        loss(logits, labels, positions=torch.arange(4).float())
    with pytest.raises(ValueError, match="`reduction` to be one of"):
        DisturbLabelLoss(rate=0.1, reduction="median")
    with pytest.raises(UserError, match="recipe: expected `rate` from 0 to 1, got 10"):
        DisturbLabel(rate=10.0)


def test_a_recipe_has_the_settings_of_appendix_c():
    loss = DisturbLabel().build(Sizes(num_classes=4))
    assert repr(loss).startswith("DisturbLabelLoss(\n  rate=0.05, include_true=True")
