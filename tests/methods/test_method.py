"""Tests of semaug.methods.method."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from semaug import DisturbLabelLoss, ISDALoss, with_features
from semaug.methods import Batch, Method, StepOutput, Supervised, Term, apply_loss
from semaug.metrics import Error, TopKError
from semaug.registry import Sizes

IMAGES, LABELS = torch.randn(6, 3, 2, 2), torch.tensor([0, 1, 2, 0, 1, 2])


class Plain(Method):
    """No more than a method has to be."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def loss(self, batch):
        value = nn.functional.cross_entropy(self.network(batch.labeled.images), LABELS)
        return StepOutput({"loss": Term(value)})

    def predictors(self):
        return {"": self.network}


class Centers(nn.Module):
    """Parameters with options of their own."""

    def __init__(self, **options):
        super().__init__()
        self.centers = nn.Parameter(torch.zeros(3, 5))
        self.options = options

    def parameter_groups(self):
        return [{"params": iter([self.centers]), **self.options}]


@pytest.fixture
def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.ReLU(), nn.Linear(5, 3))


def test_a_method_says_how_it_learns_and_predicts():
    for missing in ("loss", "predictors"):
        kind = type("Half", (Plain,), {missing: getattr(Method, missing)})
        with pytest.raises(TypeError, match=f"abstract method '?{missing}"):
            kind(nn.Identity())


def test_all_else_has_a_default(network):
    method = Plain(network)
    batch = Batch.of(IMAGES, LABELS)
    assert list(method.networks()) == [network]
    assert method.diagnostics(pytest.fail) == {}
    output = method.loss(batch)
    before = {name: value.clone() for name, value in method.state_dict().items()}
    method.start_epoch(0)
    method.after_step(batch, output)
    method.end_epoch()
    assert_close(method.state_dict(), before, rtol=0, atol=0)
    assert_close(method.predict_each(IMAGES), {"": network(IMAGES)})


def test_five_guesses_are_measured_where_there_are_many_classes(network):
    names = [
        [(type(metric), metric.name) for metric in Plain(network).metrics(Sizes(num_classes=count))]
        for count in (99, 100)
    ]
    assert names == [[(Error, "error")], [(Error, "error"), (TopKError, "top5_error")]]


def test_modules_inside_may_have_groups_of_their_own(network):
    method = Plain(network)
    (group,) = method.parameter_groups()
    assert group == {"params": list(network.parameters())}
    method.criterion = nn.ModuleList([Centers(lr=0.5), Centers(weight_decay=0.0)])
    rest, first, second = method.parameter_groups()
    centers = [loss.centers for loss in method.criterion]
    assert rest == {"params": list(network.parameters())}
    assert first == {"params": [centers[0]], "lr": 0.5}
    assert second == {"params": [centers[1]], "weight_decay": 0.0}


def test_a_method_may_have_nothing_but_groups_of_their_own():
    (group,) = Plain(Centers(lr=0.5)).parameter_groups()
    assert group["lr"] == 0.5


def test_losses_are_called_with_what_they_take(network):
    value, logits = apply_loss(nn.CrossEntropyLoss(), network, IMAGES, LABELS)
    assert_close(logits, network(IMAGES))
    assert_close(value, nn.CrossEntropyLoss()(logits, LABELS))
    isda = ISDALoss(3, 5, strength=0.5)
    wrapped = with_features(network)
    raised, same = apply_loss(isda, wrapped, IMAGES, LABELS)
    assert_close(same, logits)
    expected = ISDALoss(3, 5, strength=0.5)(logits, LABELS, wrapped(IMAGES)[1], network[3].weight)
    assert_close(raised, expected)


def test_a_loss_that_draws_by_image_is_told_positions(network):
    loss, positions = DisturbLabelLoss(rate=0.9), torch.arange(len(LABELS)) + 40
    told, _ = apply_loss(loss, network, IMAGES, LABELS, positions)
    with loss.frozen():
        assert_close(loss(network(IMAGES), LABELS, positions=positions), told)
        assert loss(network(IMAGES), LABELS) != told


def test_statistics_inside_hear_of_epochs_once(network):
    """Estimators inside of others are theirs to tell."""
    isda = ISDALoss(3, 5, strength=0.5)
    method = Supervised(network, isda)
    called = []
    isda.estimator.start_epoch = lambda: called.append("start")
    isda.estimator.warn_of_skipped = lambda: called.append("end")
    isda.estimator.inner = ISDALoss(3, 5, strength=0.5).estimator
    isda.estimator.inner.start_epoch = isda.estimator.inner.warn_of_skipped = pytest.fail
    method.start_epoch(4)
    method.end_epoch()
    assert called == ["start", "end"]
