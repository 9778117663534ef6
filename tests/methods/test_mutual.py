"""Tests of semaug.methods.mutual."""

from copy import deepcopy

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from semaug import CenterLoss, DisturbLabelLoss, ISDALoss, MutualLoss
from semaug.losses import mutual_loss
from semaug.methods import Batch, Mutual
from semaug.methods.batch import Samples

LABELS = torch.tensor([0, 1, 2, 0, 1, 2])


@pytest.fixture
def networks():
    """Two of different kinds."""
    torch.manual_seed(0)
    deep = nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.ReLU(), nn.Linear(5, 3))
    return [deep, nn.Sequential(nn.Flatten(), nn.Linear(12, 3))]


@pytest.fixture
def views():
    torch.manual_seed(1)
    return torch.randn(2, 6, 3, 2, 2)


def expected_loss(logits, weight):
    cross_entropy = sum(nn.CrossEntropyLoss()(own, LABELS) for own in logits)
    return cross_entropy + weight * mutual_loss(logits)


def test_networks_see_a_view_each_or_all_the_same(networks, views):
    method = Mutual(networks, MutualLoss(weight=3.0))
    own = torch.stack([network(view) for network, view in zip(networks, views, strict=True)])
    output = method.loss(Batch.of(views, LABELS))
    assert_close(output.loss, expected_loss(own, 3.0))
    assert_close(output.outputs, own[0])
    shared = torch.stack([network(views[0]) for network in networks])
    assert_close(method.loss(Batch.of(views[0], LABELS)).loss, expected_loss(shared, 3.0))
    with pytest.raises(ValueError, match="expected a view for each of 2 networks, got 3"):
        method.loss(Batch.of(views[:1].expand(3, -1, -1, -1, -1), LABELS))


def test_predicts_by_the_first_network_or_by_each(networks, views):
    isda = [ISDALoss(3, size, strength=0.5) for size in (5, 12)]
    for criterion in (MutualLoss(), MutualLoss(classification=isda)):
        method = Mutual(networks, criterion, views[0]).eval()
        first, second = (network(views[0]) for network in networks)
        assert_close(method.predict_each(views[0]), {"": first, "network 2": second})
        assert_close(method.predictors()["network 2"](views[0]), second)


@pytest.mark.parametrize("target_gradient", [False, True])
def test_one_optimizer_for_all_takes_the_step_of_one_for_each(networks, views, target_gradient):
    weights = []
    for together in (True, False):
        method = Mutual(deepcopy(networks), MutualLoss(target_gradient=target_gradient))
        groups = [method] if together else method.network
        options = {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 1e-2}
        optimizers = [torch.optim.SGD(group.parameters(), **options) for group in groups]
        for _ in range(3):
            method.zero_grad()
            method.loss(Batch.of(views, LABELS)).loss.backward()
            for optimizer in optimizers:
                optimizer.step()
        weights.append([parameter.detach() for parameter in method.parameters()])
    assert_close(weights[0], weights[1], rtol=0, atol=0)


def test_each_network_has_statistics_of_its_own(networks, views):
    isda = [ISDALoss(3, 5, strength=0.5), ISDALoss(3, 12, strength=0.5)]
    method = Mutual(networks, MutualLoss(classification=isda), views[0])
    method.loss(Batch.of(views, LABELS)).loss.backward()
    assert [loss.estimator.num_features for loss in method.criterion.classification] == [5, 12]
    assert [loss.estimator.count.sum().item() for loss in isda] == [6, 6]
    found = method.eval().diagnostics(lambda: Batch.of(views, LABELS))
    assert {"mutual", "strength", "strength_2", "bound_gap", "bound_gap_2"} <= found.keys()


def test_log_tells_how_much_networks_differ(networks, views):
    method = Mutual(networks, MutualLoss()).eval()
    logits = torch.stack([network(view) for network, view in zip(networks, views, strict=True)])
    found = method.diagnostics(lambda: Batch.of(views, LABELS))
    assert found.keys() == {"mutual"}
    assert_close(found["mutual"], mutual_loss(logits))


def test_one_network_has_nobody_to_learn_from(networks):
    with pytest.raises(ValueError, match="expected two `networks` or more, got 1"):
        Mutual(networks[:1], MutualLoss())


def test_centers_keep_their_group_beside_weight_decays_of_peers(networks):
    losses = [CenterLoss(3, size, strength=0.1, update="gradient") for size in (5, 12)]
    method = Mutual(
        networks,
        MutualLoss(classification=losses),
        torch.zeros(2, 3, 2, 2),
        peer_weight_decay=[0.3],
    )
    first, second, *centers = method.parameter_groups()
    assert ("weight_decay" in first, second["weight_decay"]) == (False, 0.3)
    assert [group["params"][0] is loss.centers for group, loss in zip(centers, losses, strict=True)]
    assert [(group["lr"], group["weight_decay"]) for group in centers] == [(0.5, 0.0)] * 2


def test_positions_reach_losses_that_draw_by_image(networks, views):
    losses = [DisturbLabelLoss(rate=0.9), nn.CrossEntropyLoss()]
    method = Mutual(networks, MutualLoss(weight=0.0, classification=losses))
    positions = torch.tensor([5, 40, 2, 77, 31, 8])
    order = torch.tensor([3, 1, 0, 5, 4, 2])
    loss = method.loss(Batch({"labeled": Samples(views[0], LABELS, None, positions)})).loss
    moved = Samples(views[0][order], LABELS[order], None, positions[order])
    with method.criterion.frozen():  # the same step
        assert_close(method.loss(Batch({"labeled": moved})).loss, loss)
        elsewhere = moved._replace(positions=None)
        assert method.loss(Batch({"labeled": elsewhere})).loss != loss
