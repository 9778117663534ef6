"""Tests of semaug.losses.large_margin."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from semaug import LargeMarginLoss, large_margin_loss
from semaug.errors import UserError
from semaug.losses import LargeMargin
from semaug.losses.large_margin import _psi
from semaug.registry import Sizes
from tests.references.robust import large_margin_by_loops, psi_of_angle

LABELS = torch.tensor([0, 3, 1, -100, 2, 3])


@pytest.fixture
def batch(normal):
    """Logits of a classifier without bias; N=6, C=4, A=3."""
    features, weight = normal(6, 3), normal(4, 3)
    return features @ weight.T, LABELS, features, weight


ANGLES = torch.linspace(0.01, math.pi - 0.01, 301, dtype=torch.float64)


@pytest.mark.parametrize("margin", [1, 2, 3, 4, 7])
def test_psi_falls_steadily_from_1_to_1_minus_2_m(margin):
    psi = _psi(ANGLES.cos(), margin)
    assert_close(psi, torch.stack([psi_of_angle(theta, margin) for theta in ANGLES]))
    assert (psi.diff() < 0).all()
    ends = _psi(torch.tensor([1.0, -1.0, 1.0 + 1e-7]), margin)
    assert_close(ends, torch.tensor([1.0, 1.0 - 2 * margin, 1.0]))


def test_psi_has_the_closed_forms_of_the_released_code():
    c, sign = ANGLES.cos(), ANGLES.cos().sign()
    assert_close(_psi(c, 2), 2 * sign * c**2 - 1)
    s3 = sign * (2 * c**2 - 1).sign()
    assert_close(_psi(c, 4), s3 * (8 * c**4 - 8 * c**2 + 1) + 2 * sign + s3 - 3)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("annealing", [0.0, 0.7])
@pytest.mark.parametrize("margin", [2, 3, 4])
def test_matches_the_equation(batch, margin, annealing, reduction):
    options = {"margin": margin, "annealing": annealing, "reduction": reduction}
    expected = large_margin_by_loops(*batch, **options)
    assert_close(large_margin_loss(*batch, **options), expected)
    rate = 1e9 if annealing == 0 else 0.0
    loss = LargeMarginLoss(margin=margin, base=annealing, rate=rate, reduction=reduction)
    assert_close(loss(*batch), expected, rtol=1e-6, atol=1e-7)


def test_is_cross_entropy_without_a_margin(batch):
    logits, labels, *_ = batch
    expected = F.cross_entropy(logits, labels)
    assert_close(large_margin_loss(*batch, margin=1), expected)
    assert_close(large_margin_loss(*batch, annealing=1e6), expected, rtol=1e-5, atol=1e-5)
    assert large_margin_loss(*batch) > expected
    assert_close(LargeMarginLoss().eval()(*batch), expected)


@pytest.mark.parametrize("margin", [2, 3, 4])
def test_gradients_are_right(batch, margin):
    _, labels, features, weight = batch
    cosines = F.cosine_similarity(features, weight[labels.clamp(min=0)])
    boundaries = torch.arange(1, margin) * math.pi / margin
    assert (cosines.acos()[:, None] - boundaries).abs().min() > 1e-3

    def loss(features, weight):
        return large_margin_loss(features @ weight.T, labels, features, weight, margin=margin)

    assert torch.autograd.gradcheck(loss, (features.requires_grad_(), weight.requires_grad_()))


def test_features_of_zeros_have_finite_gradients():
    features, weight = torch.zeros(2, 3).requires_grad_(), torch.ones(4, 3)
    loss = large_margin_loss(features @ weight.T, torch.tensor([0, 1]), features, weight)
    (gradient,) = torch.autograd.grad(loss, features)
    assert_close(loss, torch.tensor(4.0).log())
    assert gradient.isfinite().all()


def test_annealing_falls_with_the_training_calls(batch):
    """Values of the released code's schedule, of 20, 10,000 and 20,000 calls."""
    loss = LargeMarginLoss(base=1000.0, rate=2e-5, power=45.0, minimum=1e-4)
    for calls, expected in {1000: 410.2, 5000: 13.72, 10_000: 0.2734, 10**7: 1e-4}.items():
        loss.steps.step.fill_(calls)
        assert_close(loss.annealing(), torch.tensor(expected), rtol=1e-3, atol=0.0)
    loss.reset()
    loss(*batch)
    assert_close(loss.annealing(), torch.tensor(1000 * (1 + 2e-5) ** -45))
    with loss.frozen():
        loss(*batch)
    loss.eval()(*batch)
    assert loss.step == 1
    restored = LargeMarginLoss()
    restored.load_state_dict(loss.state_dict())
    assert restored.step == 1


def test_mistakes_are_named(batch, normal):
    with pytest.raises(ValueError, match="large_margin_loss: expected `margin` >= 1, got 0"):
        large_margin_loss(*batch, margin=0)
    with pytest.raises(TypeError, match=r"`margin` to be an int, got 1\.5"):
        LargeMarginLoss(margin=1.5)
    with pytest.raises(ValueError, match="large_margin_loss: expected `annealing` >= 0, got -1"):
        large_margin_loss(*batch, annealing=-1)
    for name in ("base", "rate", "power", "minimum"):
        with pytest.raises(ValueError, match=f"LargeMarginLoss: expected `{name}` >= 0, got -1"):
            LargeMarginLoss(**{name: -1})
    with pytest.raises(ValueError, match="`reduction` to be one of"):
        LargeMarginLoss(reduction="median")
    logits, labels, features, weight = batch
    with pytest.raises(ValueError, match=r"`features` of shape \(N=6, A=3\), got \(6, 5\)"):
        large_margin_loss(logits, labels, normal(6, 5), weight)
    with pytest.raises(ValueError, match=r"`labels` of shape \(N=6,\), got \(6, 4\)"):
        large_margin_loss(logits, logits.softmax(1), features, weight)


def test_a_recipe_reaches_half_of_the_margin_after_a_share_of_its_steps():
    loss = LargeMargin(anneal_percent=25.0).build(Sizes(num_classes=4, num_steps=4000))
    loss.steps.step.fill_(1000)
    assert_close(loss.annealing(), torch.tensor(1.0), rtol=1e-3, atol=0.0)
    assert "margin=4, base=1000" in repr(loss)
    for name, value in {"margin": 0, "anneal_percent": 0.0, "anneal_minimum": -1.0}.items():
        with pytest.raises(UserError, match=f"recipe: expected `{name}` "):
            LargeMargin(**{name: value})


def test_training_turns_features_towards_their_weight_more_than_cross_entropy_does(normal):
    features, labels = normal(60, 2).float(), torch.arange(60) % 3
    angles = {}
    for margin in (1, 4):
        torch.manual_seed(0)
        body, head = nn.Linear(2, 2), nn.Linear(2, 3, bias=False)
        optimizer = torch.optim.SGD([*body.parameters(), *head.parameters()], lr=0.5)
        shifted = features + 2 * F.one_hot(labels, 3)[:, :2]
        for _ in range(40):
            a = body(shifted)
            optimizer.zero_grad()
            large_margin_loss(
                head(a), labels, a, head.weight, margin=margin, annealing=2.0
            ).backward()
            optimizer.step()
        angles[margin] = F.cosine_similarity(body(shifted), head.weight[labels]).acos().mean()
    assert angles[4] < angles[1] - 0.02
