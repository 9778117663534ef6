"""An optimizer, or a finder of learning rates, looks at a batch several times or only to try."""

import copy

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from semaug import (
    AugmentationInvariantLoss,
    ClassCovariance,
    ExplicitAugmentationLoss,
    ISDALoss,
    MultiLabelISDALoss,
    MutualLoss,
    SemanticConsistencyLoss,
    attach,
)

# N=6, C=3, A=8.

LABELS = torch.tensor([0, 1, 2, 0, 1, 2])
OPTIONS = {"strength": 0.5, "ramp_steps": 4}


def isda(**options):
    return ISDALoss(3, 8, **OPTIONS, **options)


LOSSES = {
    **{kind: lambda kind=kind: isda(covariance=kind) for kind in ("full", "diagonal", "learned")},
    "epochs": lambda: isda(covariance=ClassCovariance(3, 8, memory="epoch")),
    "explicit": lambda: ExplicitAugmentationLoss(3, 8, num_samples=2, **OPTIONS),
    "multi_label": lambda: MultiLabelISDALoss(3, 8, **OPTIONS),
    "invariance": lambda: AugmentationInvariantLoss(classification=isda()),
    "mutual": lambda: MutualLoss(classification=[isda(), isda(covariance="shared")]),
    "consistency": lambda: SemanticConsistencyLoss(ClassCovariance(3, 8), **OPTIONS),
}


def call(loss, seed=0):
    torch.manual_seed(seed)
    features, weight, labels = torch.randn(6, 8), torch.randn(3, 8), LABELS
    logits = features @ weight.T
    if isinstance(loss, SemanticConsistencyLoss):
        return loss(logits, weight)
    if isinstance(loss, MultiLabelISDALoss):
        labels = nn.functional.one_hot(LABELS, 3).float()
    if isinstance(loss, AugmentationInvariantLoss):
        logits, features = torch.stack([logits] * 2), torch.stack([features] * 2)
    if isinstance(loss, MutualLoss):
        logits, features, weight = torch.stack([logits] * 2), [features] * 2, [weight] * 2
    return loss(logits, labels, features, weight)


every_loss = pytest.mark.parametrize("loss", [make() for make in LOSSES.values()], ids=LOSSES)


@every_loss
def test_within_frozen_nothing_counts_and_the_loss_is_that_of_training(loss):
    loss.reset()
    call(loss)
    before, expected = copy.deepcopy(loss.state_dict()), copy.deepcopy(loss)
    with loss.frozen():
        first, second = call(loss, 1), call(loss, 1)
    assert first == second
    assert loss.training
    assert_close(dict(loss.state_dict()), dict(before), rtol=0, atol=0)
    assert_close(call(loss, 1), call(expected, 1), rtol=0, atol=0)  # and then it goes on


def test_the_value_is_that_of_the_statistics_and_the_strength_of_now():
    loss = isda(covariance="learned")
    call(loss)
    with loss.frozen():
        frozen = call(loss, 1)
    uncertainty = loss.estimator.uncertainty(LABELS)
    assert uncertainty != 0 or frozen == call(loss.eval(), 1)
    assert_close(frozen, call(loss.eval(), 1) + uncertainty, rtol=0, atol=0)


def test_frozen_ends_with_an_error_and_may_be_nested():
    loss = isda()
    with loss.frozen():
        with pytest.raises(KeyError), loss.frozen():
            raise KeyError
        call(loss)
        assert loss.step == 0
    call(loss)
    assert loss.step == 1


def test_training_and_evaluation_mode_change_within_frozen_as_ever():
    loss = isda()
    with loss.frozen():
        loss.eval()
        loss.train()
        call(loss)
        loss.eval()
    assert not loss.training
    assert loss.step == 0


@every_loss
def test_reset_is_the_state_of_construction(loss, request):
    name = request.node.callspec.id
    call(loss)
    loss.reset()
    fresh = LOSSES[name]()
    assert_close(dict(loss.state_dict()), dict(fresh.state_dict()), rtol=0, atol=0)
    assert_close(call(loss), call(fresh), rtol=0, atol=0)


def test_reset_keeps_a_strength_that_was_set():
    loss = isda()
    loss.strength = 2.0
    loss.reset()
    assert loss.strength == 2.0


def test_reset_of_consistency_leaves_the_statistics_to_their_owner():
    owner = isda()
    call(owner)
    loss = SemanticConsistencyLoss(owner.estimator, **OPTIONS)
    call(loss)
    loss.reset()
    assert loss.step == 0
    assert owner.estimator.count.sum() == 6


def test_what_was_left_out_is_warned_of_again_after_a_reset():
    loss = isda()
    arguments = torch.ones(1, 3), torch.tensor([0]), torch.full((1, 8), torch.nan), torch.ones(3, 8)
    for _ in range(2):
        with pytest.warns(UserWarning, match="left out 1 sample"):
            loss(*arguments)
        loss.reset()


@pytest.fixture
def problem():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.Linear(8, 3))
    return model, attach(model, isda()), torch.randn(6, 3, 2, 2)


def test_one_step_of_lbfgs_counts_once(problem):
    model, criterion, images = problem
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=5)
    losses = []

    def closure():
        optimizer.zero_grad()
        loss = criterion(model(images), LABELS)
        loss.backward()
        losses.append(loss.detach())
        return loss

    with torch.no_grad():
        criterion(model(images), LABELS)  # the look that counts
    with criterion.isda.frozen():
        optimizer.step(closure)
    assert len(losses) > 1
    assert losses[-1] < losses[0]
    assert criterion.isda.step == 1
    assert criterion.isda.estimator.count.tolist() == [2, 2, 2]


def test_the_second_pass_of_sam_does_not_count(problem):
    model, criterion, images = problem
    weight = model[2].weight
    criterion(model(images), LABELS).backward()
    with torch.no_grad():
        weight.add_(0.05 * weight.grad / weight.grad.norm())
    with criterion.isda.frozen():
        loss = criterion(model(images), LABELS)
    assert loss.requires_grad
    assert criterion.isda.step == 1
    assert criterion.isda.estimator.count.tolist() == [2, 2, 2]
