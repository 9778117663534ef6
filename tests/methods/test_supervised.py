"""Tests of semaug.methods.supervised."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from semaug import ISDALoss, with_features
from semaug.methods import Batch, Supervised


@pytest.fixture
def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.ReLU(), nn.Linear(5, 3))


@pytest.fixture
def batch():
    return Batch.of(torch.randn(6, 3, 2, 2), torch.tensor([0, 1, 2, 0, 1, 2]))


def test_cross_entropy_sees_logits_and_labels(network, batch):
    output = Supervised(network, nn.CrossEntropyLoss()).loss(batch)
    assert_close(output.outputs, network(batch.labeled.images))
    assert_close(output.loss, nn.CrossEntropyLoss()(output.outputs, batch.labeled.labels))


def test_mixed_images_are_learned_from_their_targets(network, batch):
    targets = torch.rand(6, 3).softmax(dim=1)
    mixed = Batch.of(*batch.labeled[:2], targets)
    output = Supervised(network, nn.CrossEntropyLoss()).loss(mixed)
    assert_close(output.loss, nn.CrossEntropyLoss()(output.outputs, targets))


def test_isda_sees_the_features_and_the_weight_of_the_classifier(network, batch):
    method = Supervised(network, ISDALoss(3, 5, strength=0.5), batch.labeled.images)
    output = method.loss(batch)
    features = network[:3](batch.labeled.images)
    expected = ISDALoss(3, 5, strength=0.5)(
        output.outputs, batch.labeled.labels, features, network[3].weight
    )
    assert_close(output.loss, expected)


@pytest.mark.parametrize("loss", [nn.CrossEntropyLoss(), ISDALoss(3, 5, strength=0.5)])
def test_predicts_the_logits_of_the_network(network, batch, loss):
    method = Supervised(network, loss, batch.labeled.images).eval()
    expected = network(batch.labeled.images)
    assert_close(method.predict(batch.labeled.images), expected)
    assert_close(method.predict_each(batch.labeled.images), {"": expected})


def test_prediction_leaves_the_statistics_alone(network, batch):
    method = Supervised(network, ISDALoss(3, 5, strength=0.5), batch.labeled.images)
    method.predict(batch.labeled.images)
    assert method.criterion.estimator.count.sum() == 0


def test_one_state_dict_holds_network_and_statistics(network, batch):
    method = Supervised(network, ISDALoss(3, 5, strength=0.5), batch.labeled.images)
    method.loss(batch)
    names = method.state_dict().keys()
    assert {"criterion.estimator.covariance", "criterion.ramp.step"} <= names
    assert "network.model.3.weight" in names


def test_tells_the_strength_of_isda_and_nothing_of_cross_entropy(network, batch):
    method = Supervised(network, ISDALoss(3, 5, strength=0.5, ramp_steps=10), batch.labeled.images)
    method.loss(batch)
    told = method.eval().diagnostics(lambda: batch)
    assert_close(told["strength"], torch.tensor(0.05))
    assert {"mean_penalty", "bound_gap", "order_changed", "effective_rank"} < told.keys()
    assert all(value.ndim == 0 and value.isfinite() for value in told.values())
    never = pytest.fail  # cross-entropy needs no images for this
    assert Supervised(network, nn.CrossEntropyLoss()).diagnostics(never) == {}


def test_a_wrapped_network_is_not_wrapped_again(network, batch):
    wrapped = with_features(network)
    assert Supervised(wrapped, ISDALoss(3, 5, strength=0.5)).network is wrapped


def test_tells_of_samples_that_the_statistics_left_out(network):
    method = Supervised(network, ISDALoss(3, 5, strength=0.5))
    method.end_epoch()  # nothing to tell
    method.criterion.estimator.num_skipped.fill_(2)
    with pytest.warns(match=r"left out 2 sample"):
        method.end_epoch()
    Supervised(network, nn.CrossEntropyLoss()).end_epoch()  # no statistics
