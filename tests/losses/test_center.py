"""Tests of semaug.losses.center."""

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from semaug import CenterLoss, center_loss
from semaug.errors import UserError
from semaug.losses import Center
from semaug.registry import Sizes
from tests.references.robust import center_by_loops, moved_centers

LABELS = torch.tensor([0, 3, 1, -100, 3, 3])


@pytest.fixture
def batch(normal):
    """Logits, labels, features and weight of a classifier; N=6, C=5, A=3."""
    return normal(6, 5), LABELS, normal(6, 3), normal(5, 3)


def make(update, centers, **options):
    loss = CenterLoss(*centers.shape, strength=0.2, update=update, **options).double()
    loss.centers.data.copy_(centers)
    return loss


def step(loss, batch):
    """Compute the loss, and take a step of SGD whose own options are those of networks."""
    groups = loss.parameter_groups()
    loss.zero_grad()
    options = {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}
    optimizer = torch.optim.SGD(groups, lr=0.01, **options) if groups else None
    value = loss(*batch)
    if optimizer:
        value.backward()
        optimizer.step()
    return value


@pytest.mark.parametrize("update", ["paper", "gradient"])
def test_matches_the_equations(batch, normal, update):
    logits, labels, features, _ = batch
    centers = normal(5, 3)
    loss = make(update, centers)
    expected = center_by_loops(logits, labels, features, centers, strength=0.2)
    assert_close(center_loss(logits, labels, features, centers, strength=0.2), expected)
    assert_close(step(loss, batch), expected)
    kept = labels >= 0
    moved = moved_centers(labels[kept], features[kept], centers, center_lr=0.5, update=update)
    assert_close(loss.centers.detach(), moved)
    assert (loss.centers != centers).any(dim=1).tolist() == [True, True, False, True, False]
    step(loss, batch)
    again = moved_centers(labels[kept], features[kept], moved, center_lr=0.5, update=update)
    assert_close(loss.centers.detach(), again)


@pytest.mark.parametrize("update", ["paper", "gradient"])
def test_features_are_pulled_to_centers_of_before(batch, normal, update):
    logits, labels, features, weight = batch
    centers = normal(5, 3)
    loss = make(update, centers)
    features.requires_grad_()
    value = loss(logits, labels, features, weight)
    (gradient,) = torch.autograd.grad(value, features)
    apart = features.detach() - centers[labels.clamp(min=0)]
    assert_close(gradient, torch.where((labels >= 0)[:, None], 0.2 * apart / 5, 0.0))


@pytest.mark.parametrize(("num_classes", "factor"), [(100, 22.0), (10, 4.6)])
def test_the_rules_differ_by_a_factor_that_grows_with_the_number_of_classes(num_classes, factor):
    """How far a step of a batch of 128 moves the centers of the classes that it has."""
    generator = torch.Generator().manual_seed(0)
    moves = {"paper": 0.0, "gradient": 0.0}
    for labels in torch.randint(num_classes, (20, 128), generator=generator):
        for update in moves:
            loss = CenterLoss(num_classes, 1, strength=0.0, update=update)
            weight = torch.zeros(num_classes, 1)
            step(loss, (torch.zeros(128, num_classes), labels, torch.ones(128, 1), weight))
            moves[update] += float(loss.centers.detach()[labels.unique()].mean()) / 20
    assert moves["paper"] / moves["gradient"] == pytest.approx(factor, rel=0.03)
    pulls = {100: (0.30, 0.014), 10: (0.46, 0.10)}[num_classes]
    assert tuple(moves.values()) == pytest.approx(pulls, rel=0.03)


def test_a_sample_that_is_not_finite_moves_no_center(batch):
    _logits, _labels, features, _weight = batch
    features[1] = torch.nan
    for update in ("paper", "gradient"):
        loss = make(update, torch.zeros(5, 3))
        step(loss, batch)
        assert loss.centers.isfinite().all()
        assert (loss.centers != 0).any()


def test_only_training_calls_that_count_move_centers(batch):
    logits, labels, features, _weight = batch
    for update in ("paper", "gradient"):
        loss = make(update, torch.zeros(5, 3))
        with loss.frozen():
            loss(*batch)
        value = loss.eval()(*batch)
        assert_close(
            value, F.cross_entropy(logits, labels) + 0.1 * features[labels >= 0].square().sum() / 5
        )
        assert not loss.centers.any()
        step(loss.train(), batch)
        assert loss.centers.any()
        assert loss.step == 1
        loss.reset()
        assert not loss.centers.any()
        assert loss.step == 0


def test_centers_of_the_paper_are_state_and_those_of_the_gradient_parameters():
    paper, gradient = (CenterLoss(5, 3, strength=0.1, update=u) for u in ("paper", "gradient"))
    assert "centers" in paper.state_dict()
    assert not [*paper.parameters()]
    assert paper.parameter_groups() == []
    (group,) = gradient.parameter_groups()
    assert group["params"] == [gradient.centers]
    assert (group["lr"], group["momentum"], group["weight_decay"]) == (0.5, 0, 0)


def test_mistakes_are_named(batch, normal):
    logits, labels, features, weight = batch
    with pytest.raises(ValueError, match="CenterLoss: expected `strength` >= 0, got -1"):
        CenterLoss(5, 3, strength=-1)
    with pytest.raises(ValueError, match="center_loss: expected `strength` >= 0, got -1"):
        center_loss(logits, labels, features, weight, strength=-1)
    with pytest.raises(ValueError, match="CenterLoss: expected `center_lr` <= 1, got 2"):
        CenterLoss(5, 3, strength=0.1, center_lr=2)
    with pytest.raises(ValueError, match="CenterLoss: expected `center_lr` >= 0, got -1"):
        CenterLoss(5, 3, strength=0.1, center_lr=-1)
    with pytest.raises(ValueError, match="`update` to be one of 'paper', 'gradient'; got 'mean'"):
        CenterLoss(5, 3, strength=0.1, update="mean")
    with pytest.raises(ValueError, match="CenterLoss: expected `num_features` >= 1, got 0"):
        CenterLoss(5, 0, strength=0.1)
    with pytest.raises(ValueError, match=r"`label_smoothing` <= 1, got 2"):
        CenterLoss(5, 3, strength=0.1, label_smoothing=2)
    with pytest.raises(ValueError, match=r"`centers` of shape \(C=5, A=3\), got \(4, 3\)"):
        CenterLoss(4, 3, strength=0.1)(*batch)
    with pytest.raises(ValueError, match=r"`labels` of shape \(N=6,\), got \(6, 5\)"):
        CenterLoss(5, 3, strength=0.1)(logits, logits.softmax(1), features, weight)


def test_a_recipe_has_the_rate_of_appendix_c():
    loss = Center().build(Sizes(num_classes=4, num_features=3))
    assert (loss.center_lr, loss.update) == (0.5, "gradient")
    assert "4, 3, strength=0.01, center_lr=0.5, update=gradient" in repr(loss)
    assert Center(center_lr=2.0).center_lr == 2
    with pytest.raises(UserError, match="`center_lr` above 0 and at most 1, got 2"):
        Center(center_lr=2.0, update="paper")
    with pytest.raises(UserError, match="recipe: expected `center_strength` >= 0, got -1"):
        Center(center_strength=-1.0)
