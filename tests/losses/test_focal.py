"""Tests of semaug.losses.focal."""

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from semaug import FocalLoss, focal_loss
from semaug.errors import UserError
from semaug.losses import Focal
from semaug.registry import Sizes
from tests.references.robust import focal_by_loops

LABELS = torch.tensor([0, 3, 1, -100, 2, 3])
ALPHA = torch.tensor([0.5, 1.0, 2.0, 0.25], dtype=torch.float64)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("alpha", [0.5, ALPHA], ids=["one alpha", "one for each class"])
@pytest.mark.parametrize("kind", ["labels", "soft", "dense", "dense soft"])
def test_matches_the_equation(normal, kind, alpha, reduction):
    pixels = (2, 3) if "dense" in kind else ()
    logits = normal(6, 4, *pixels)
    labels = LABELS if not pixels else LABELS.repeat(6, 1).T.reshape(6, 2, 3)
    if "soft" in kind:
        labels = normal(6, 4, *pixels).softmax(dim=1)
    options = {"gamma": 1.5, "alpha": alpha, "reduction": reduction}
    expected = focal_by_loops(logits, labels, **options)
    assert_close(focal_loss(logits, labels, **options), expected)
    assert_close(FocalLoss(**options)(logits, labels), expected)


def test_is_cross_entropy_without_focus_and_a_share_of_it_with_alpha(normal):
    logits = normal(6, 4)
    assert_close(focal_loss(logits, LABELS, gamma=0.0), F.cross_entropy(logits, LABELS))
    half = focal_loss(logits, LABELS, gamma=1.0, alpha=0.5)
    assert_close(half, focal_loss(logits, LABELS, gamma=1.0) / 2)


def test_gradient_is_that_of_the_closed_form(normal):
    """With gamma = 1 it is ``alpha ((1 - p) - p log p) (p_j - [j = y])``."""
    logits, labels = normal(6, 4).requires_grad_(), LABELS.clamp(min=0)
    loss = focal_loss(logits, labels, gamma=1.0, alpha=0.5, reduction="sum")
    (gradient,) = torch.autograd.grad(loss, logits)
    probs = logits.detach().softmax(dim=1)
    own = probs.gather(1, labels[:, None])
    factor = 0.5 * ((1 - own) - own * own.log())
    assert_close(gradient, factor * (probs - F.one_hot(labels, 4)))
    assert torch.autograd.gradcheck(lambda z: focal_loss(z, labels, gamma=2.5), logits)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
def test_certain_samples_have_accurate_losses_and_finite_gradients(gamma):
    logits = torch.tensor([[100.0, 0.0], [9.0, 0.0]], requires_grad=True)
    losses = focal_loss(logits, torch.tensor([0, 0]), gamma=gamma, reduction="none")
    wrong = torch.exp(torch.tensor(-9.0, dtype=torch.float64))
    expected = (wrong / (1 + wrong)) ** gamma * torch.log1p(wrong)
    assert_close(losses[1].double(), expected, rtol=2e-3, atol=0.0)
    (gradient,) = torch.autograd.grad(losses.sum(), logits)
    assert gradient.isfinite().all()


def test_mistakes_are_named(normal):
    logits = normal(6, 4)
    with pytest.raises(ValueError, match="focal_loss: expected `gamma` >= 0, got -1"):
        focal_loss(logits, LABELS, gamma=-1)
    with pytest.raises(ValueError, match="FocalLoss: expected `alpha` >= 0, got -1"):
        FocalLoss(alpha=-1)
    with pytest.raises(
        ValueError, match=r"FocalLoss: expected `alpha` of shape \(C,\), got \(1, 2"
    ):
        FocalLoss(alpha=torch.ones(1, 2))
    with pytest.raises(ValueError, match=r"`alpha` of shape \(C=4,\), got \(3,\)"):
        FocalLoss(alpha=torch.ones(3).double())(logits, LABELS)
    with pytest.raises(ValueError, match="`reduction` to be one of 'none', 'mean', 'sum'"):
        FocalLoss(reduction="median")
    with pytest.raises(ValueError, match="no `ignore_index` for soft targets, got 255"):
        focal_loss(logits, logits.softmax(dim=1), ignore_index=255)
    with pytest.raises(TypeError, match=r"`labels` of dtype torch.int64, got torch.int32"):
        focal_loss(logits, LABELS.int())
    with pytest.raises(ValueError, match=r"`labels` of shape \(N=1, h=2, w=2\), got \(1, 4, 4\)"):
        focal_loss(normal(1, 3, 2, 2), torch.zeros(1, 4, 4, dtype=torch.int64))


def test_a_recipe_has_the_settings_of_appendix_c():
    loss = Focal().build(Sizes(num_classes=4))
    assert (loss.gamma, loss.alpha) == (1.0, 0.5)
    assert repr(loss) == "FocalLoss(gamma=1, alpha=0.5)"
    with pytest.raises(UserError, match="recipe: expected `gamma` >= 0, got -1"):
        Focal(gamma=-1.0)
