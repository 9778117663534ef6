"""Tests of semaug.losses.distribution_net."""

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from semaug import DistributionNetLoss, distribution_net_loss
from semaug.errors import UserError
from semaug.losses import DistributionNet
from semaug.registry import Sizes
from tests.references.robust import distribution_net_by_loops

LABELS = torch.tensor([0, 3, 1, 4, 3, 3])


@pytest.fixture
def batch(normal):
    """Logits, labels, features and weight of a classifier; N=6, C=5, A=3."""
    features, weight = normal(6, 3), normal(5, 3)
    return features @ weight.T, LABELS, features, weight


def test_matches_the_equation(batch, normal):
    logits, labels, _, weight = batch
    std, noise = normal(6, 3).exp(), normal(6, 3)
    options = {"threshold": 1.1, "sampled_weight": 0.3, "entropy_weight": 0.2}
    expected = distribution_net_by_loops(logits, labels, weight, std, noise, **options)
    assert_close(distribution_net_loss(logits, labels, weight, std, noise, **options), expected)
    half = {"threshold": 0.9, "sampled_weight": 0.0, "entropy_weight": 1.0}
    value = distribution_net_loss(logits, labels, weight, std, noise, **half)
    missing = (torch.tensor(0.9).double().log() - std.log().mean(1)).clamp(min=0)
    assert 0 < (missing > 0).sum() < 6  # a hinge for each sample, not for their mean
    assert_close(value, F.cross_entropy(logits, labels) + missing.mean())
    std.requires_grad_()
    weight.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda w, s: distribution_net_loss(logits, labels, w, s, noise, **options), (weight, std)
    )


def test_samples_that_do_not_count_and_soft_targets(batch, normal):
    logits, labels, _, weight = batch
    std, noise = normal(6, 3).exp(), normal(6, 3)
    options = {"threshold": 2.0, "entropy_weight": 0.5, "label_smoothing": 0.1}
    tensors = (logits, labels, weight, std, noise)
    soft = (logits, F.one_hot(labels, 5).double(), weight, std, noise)
    whole = distribution_net_loss(*tensors, **options)
    assert_close(distribution_net_loss(*soft, **options), whole)
    kept = labels != 3
    ignored = distribution_net_loss(*tensors, **options, ignore_index=3)
    part = [logits[kept], labels[kept], weight, std[kept], noise[kept]]
    assert_close(ignored, distribution_net_loss(*part, **options))


def test_the_module_draws_around_features_of_its_own_standard_deviations(batch):
    logits, labels, features, weight = batch
    loss = DistributionNetLoss(3, threshold=0.4, sampled_weight=0.3, entropy_weight=0.2).double()
    positions = torch.tensor([8, 3, 100, 7, 2, 9])
    value = loss(*batch, positions=positions)
    std = F.softplus(features @ loss.head.weight.T + loss.head.bias)
    assert_close(loss.std(features), std)
    spread = features.var(dim=0, correction=0).mean().sqrt()
    assert_close(loss.enough(), 0.4 * spread, rtol=1e-4, atol=0.0)
    noise = loss.steps.normal(positions, std)
    options = {"threshold": 0.4 * spread, "sampled_weight": 0.3, "entropy_weight": 0.2}
    expected = distribution_net_loss(logits, labels, weight, std, noise, **options)
    assert_close(value, expected, rtol=1e-5, atol=1e-7)
    order = torch.randperm(6)
    shuffled = [logits[order], labels[order], features[order], weight]
    with loss.frozen():
        assert_close(loss(*shuffled, positions=positions[order]), value)
    assert loss(*batch, positions=positions) != value  # the step counts


def test_evaluation_takes_the_features_alone(batch):
    logits, labels, *_ = batch
    loss = DistributionNetLoss(3, label_smoothing=0.1).double().eval()
    expected = F.cross_entropy(logits, labels, label_smoothing=0.1)
    assert_close(loss(*batch), expected)
    soft = F.one_hot(labels, 5).double()
    assert_close(loss(logits, soft, *batch[2:]), expected)
    assert loss.step == 0
    assert loss.spread.count == 0


@pytest.mark.parametrize("scale", [0.1, 10.0])
def test_standard_deviations_rise_to_their_share_of_the_features_and_vanish_without(normal, scale):
    features, labels = normal(64, 4).float() * scale, torch.arange(64) % 4
    weight = 2 * torch.eye(4) / scale
    ends = {}
    for entropy_weight in (0.0, 0.1):
        torch.manual_seed(0)
        loss = DistributionNetLoss(4, sampled_weight=1.0, entropy_weight=entropy_weight)
        loss.head.weight.data.zero_()
        loss.head.bias.data.fill_((torch.tensor(0.3 * scale).exp() - 1).log())
        optimizer = torch.optim.Adam(loss.parameter_groups(), lr=0.02 * max(1, scale))
        for _ in range(150):
            optimizer.zero_grad()
            loss(features @ weight.T, labels, features, weight).backward()
            optimizer.step()
        with torch.no_grad():
            ends[entropy_weight] = float(loss.std(features).log().mean().exp()) / scale
    assert ends[0.0] < 0.15
    assert 0.2 < ends[0.1] < 0.6


def test_mistakes_are_named(batch, normal):
    logits, labels, features, weight = batch
    with pytest.raises(ValueError, match="DistributionNetLoss: expected `threshold` > 0, got 0"):
        DistributionNetLoss(3, threshold=0)
    for name in ("sampled_weight", "entropy_weight", "threshold"):
        with pytest.raises(ValueError, match=f"expected `{name}` >= 0, got -1"):
            DistributionNetLoss(3, **{name: -1})
    with pytest.raises(ValueError, match="expected `num_features` >= 1, got 0"):
        DistributionNetLoss(0)
    with pytest.raises(ValueError, match="`label_smoothing` <= 1, got 2"):
        DistributionNetLoss(3, label_smoothing=2)
    loss = DistributionNetLoss(3).double()
    with pytest.raises(ValueError, match=r"`head` of shape \(A=4, A=4\), got \(3, 3\)"):
        loss(logits, labels, normal(6, 4), normal(5, 4))
    with pytest.raises(ValueError, match=r"`positions` of shape \(6,\), got \(5,\)"):
        loss(*batch, positions=torch.arange(5))
    with pytest.raises(ValueError, match="no `ignore_index` for soft targets, got 1"):
        DistributionNetLoss(3, ignore_index=1)(logits, logits.softmax(1), features, weight)
    std = features.exp()
    with pytest.raises(ValueError, match=r"`noise` of shape \(N=6, A=3\), got \(6, 2\)"):
        distribution_net_loss(logits, labels, weight, std, std[:, :2], threshold=1.0)
    with pytest.raises(ValueError, match=r"`logits` of shape \(N, C\), got \(1, 5, 2, 2\)"):
        loss(normal(1, 5, 2, 2), labels, features, weight)


def test_a_recipe_has_the_settings_of_the_released_code():
    loss = DistributionNet().build(Sizes(num_classes=4, num_features=3))
    found = loss.threshold, loss.sampled_weight, loss.entropy_weight, loss.label_smoothing
    assert found == (0.5, 0.1, 0.001, 0.1)
    assert "threshold=0.5, sampled_weight=0.1, entropy_weight=0.001" in repr(loss)
    with pytest.raises(UserError, match="recipe: expected `threshold` > 0, got 0"):
        DistributionNet(threshold=0.0)
    with pytest.raises(UserError, match="recipe: expected `sampled_weight` >= 0, got -1"):
        DistributionNet(sampled_weight=-1.0)
    with pytest.raises(UserError, match="recipe: expected `label_smoothing` from 0 to 1, got 2"):
        DistributionNet(label_smoothing=2.0)
