"""Tests of semaug.losses.lq."""

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from semaug import LqLoss, lq_loss
from semaug.errors import UserError
from semaug.losses import Lq
from semaug.registry import Sizes
from tests.references.robust import lq_by_loops

LABELS = torch.tensor([0, 3, 1, -100, 2, 3])


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("truncation", [0.0, 0.3])
@pytest.mark.parametrize("kind", ["labels", "soft", "dense", "dense soft"])
def test_matches_the_equation(normal, kind, truncation, reduction):
    pixels = (2, 3) if "dense" in kind else ()
    logits = normal(6, 4, *pixels)
    labels = LABELS if not pixels else LABELS.repeat(6, 1).T.reshape(6, 2, 3)
    if "soft" in kind:
        labels = normal(6, 4, *pixels).softmax(dim=1)
    options = {"q": 0.4, "truncation": truncation, "reduction": reduction}
    expected = lq_by_loops(logits, labels, **options)
    assert_close(lq_loss(logits, labels, **options), expected)
    assert_close(LqLoss(**options)(logits, labels), expected)


def test_lies_between_cross_entropy_and_absolute_error(normal):
    logits = normal(6, 4)
    assert_close(lq_loss(logits, LABELS, q=0.0), F.cross_entropy(logits, LABELS))
    assert_close(lq_loss(logits, LABELS, q=1e-9), F.cross_entropy(logits, LABELS))
    kept = LABELS >= 0
    probs, labels = logits.softmax(dim=1)[kept], LABELS[kept]
    error = (probs - F.one_hot(labels, 4)).abs().sum(dim=1).mean()
    assert_close(lq_loss(logits, LABELS, q=1.0), error / 2)


def test_gradient_is_that_of_cross_entropy_times_a_power(normal):
    logits, labels = normal(6, 4).requires_grad_(), LABELS.clamp(min=0)
    losses = [f(logits, labels, reduction="sum") for f in (F.cross_entropy, lq_loss)]
    plain, gradient = (torch.autograd.grad(loss, logits)[0] for loss in losses)
    own = logits.detach().softmax(dim=1).gather(1, labels[:, None])
    assert_close(gradient, own**0.7 * plain)
    assert torch.autograd.gradcheck(lambda z: lq_loss(z, labels), logits)


def test_truncated_samples_have_no_gradient():
    logits = torch.tensor([[0.0, 0.0], [0.0, 3.0], [3.0, 0.0]], requires_grad=True)
    loss = lq_loss(logits, torch.zeros(3, dtype=torch.int64), truncation=0.5, reduction="sum")
    (gradient,) = torch.autograd.grad(loss, logits)
    assert (gradient != 0).any(dim=1).tolist() == [False, False, True]


def test_truncation_begins_after_some_training_calls(normal):
    logits, labels = normal(6, 4), LABELS
    loss = LqLoss(truncation=0.5, truncate_after=2)
    whole, truncated = lq_loss(logits, labels), lq_loss(logits, labels, truncation=0.5)
    assert whole != truncated
    assert [loss(logits, labels).item() for _ in range(2)] == [whole] * 2
    with loss.frozen():
        assert loss(logits, labels) == whole
    assert_close(loss(logits, labels), truncated)
    assert loss.step == 3
    loss.eval()
    assert_close(loss(logits, labels), truncated)
    loss.reset()
    assert loss(logits, labels) == whole


def test_mistakes_are_named(normal):
    logits = normal(6, 4)
    with pytest.raises(ValueError, match="lq_loss: expected `q` <= 1, got 2"):
        lq_loss(logits, LABELS, q=2)
    with pytest.raises(ValueError, match="LqLoss: expected `truncation` < 1, got 1"):
        LqLoss(truncation=1)
    with pytest.raises(ValueError, match="LqLoss: expected `truncate_after` >= 0, got -1"):
        LqLoss(truncate_after=-1)
    with pytest.raises(ValueError, match="lq_loss: expected `q` >= 0, got -1"):
        lq_loss(logits, LABELS, q=-1)
    with pytest.raises(ValueError, match="no `ignore_index` for soft targets, got 255"):
        lq_loss(logits, logits.softmax(dim=1), ignore_index=255)
    with pytest.raises(ValueError, match="`reduction` to be one of 'none', 'mean', 'sum'"):
        LqLoss(reduction="median")


def test_a_recipe_truncates_after_a_share_of_its_steps():
    loss = Lq(truncation=0.5).build(Sizes(num_classes=4, num_steps=1000))
    assert (loss.q, loss.truncation, loss.truncate_after) == (0.4, 0.5, 330)
    assert repr(loss).startswith("LqLoss(\n  q=0.4, truncation=0.5, truncate_after=330")
    for name, value in {"q": 1.5, "truncation": 1.0, "truncate_percent": 101.0}.items():
        with pytest.raises(UserError, match=f"recipe: expected `{name}` from 0 to"):
            Lq(**{name: value})
