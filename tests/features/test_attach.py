"""Tests of what the criterion made by semaug.features.attach does."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from semaug.features import attach, with_features
from semaug.losses import (
    CenterLoss,
    DistributionNetLoss,
    ISDALoss,
    LargeMarginLoss,
    SemanticConsistencyLoss,
)
from tests.features.networks import (
    NUM_CLASSES,
    NUM_FEATURES,
    Hidden,
    small_batch,
    small_network,
)

IMAGES, LABELS = small_batch()


def isda_loss():
    return ISDALoss(NUM_CLASSES, NUM_FEATURES, strength=5.0)


@pytest.fixture
def attached():
    """A network and its criterion."""
    model = small_network()
    return model, attach(model, isda_loss())


def test_gradients_equal_those_of_the_explicit_form(attached):
    model, criterion = attached
    net, isda = with_features(small_network()), isda_loss()
    for _ in range(2):
        criterion(model(IMAGES), LABELS).backward()
        logits, features = net(IMAGES)
        isda(logits, LABELS, features, net.weight).backward()
    assert_close([p.grad for p in model.parameters()], [p.grad for p in net.parameters()])
    assert_close(criterion.isda.state_dict(), isda.state_dict())


def test_features_carry_gradients():
    net = with_features(small_network())
    net(IMAGES)[1].sum().backward()
    assert net.model[0].weight.grad is not None
    assert net.classifier.weight.grad is None


def test_state_keys_of_the_model_stay_and_the_criterion_holds_the_loss_alone(attached):
    model, criterion = attached
    assert list(model.state_dict()) == list(small_network().state_dict())
    assert list(criterion.state_dict()) == [f"isda.{key}" for key in isda_loss().state_dict()]
    assert list(criterion.parameters()) == []


def test_with_features_prefixes_state_keys():
    net = with_features(small_network())
    assert list(net.state_dict()) == [f"model.{key}" for key in small_network().state_dict()]


def test_keyword_arguments_reach_the_model():
    class Scaled(Hidden):
        def forward(self, images, *, scale):
            return super().forward(images * scale)

    net = with_features(Scaled(), classifier="head").eval()
    images = IMAGES[:, :, :2, :2]
    assert_close(net(images, scale=2.0), net(images * 2, scale=1.0))


@pytest.mark.parametrize("evaluated", ["model", "criterion", "isda"])
def test_nothing_is_updated_if_one_of_them_evaluates(attached, evaluated):
    model, criterion = attached
    {"model": model, "criterion": criterion, "isda": criterion.isda}[evaluated].eval()
    before = {key: value.clone() for key, value in criterion.state_dict().items()}
    criterion(model(IMAGES), LABELS)
    assert_close(criterion.state_dict(), before, rtol=0, atol=0)
    assert criterion.isda.training == (evaluated == "model")


def test_training_mode_is_that_of_the_forward(attached):
    model, criterion = attached
    logits = model(IMAGES)
    model.eval()
    criterion(logits, LABELS)
    assert criterion.isda.step == 1


def test_the_loss_keeps_its_mode_when_it_raises(attached):
    model, criterion = attached
    with pytest.raises(ValueError, match="`labels`"):
        criterion(model.eval()(IMAGES), LABELS[:2])
    assert criterion.isda.training


def test_statistics_are_updated_without_gradients(attached):
    model, criterion = attached
    with torch.no_grad():
        criterion(model(IMAGES), LABELS)
    assert criterion.isda.estimator.count.sum() == len(IMAGES)


def test_a_call_without_forward_is_refused(attached):
    model, criterion = attached
    message = "attach: expected a forward of the model before each call of the criterion"
    with pytest.raises(RuntimeError, match=message):
        criterion(torch.zeros(6, NUM_CLASSES), LABELS)
    logits = model(IMAGES)
    criterion(logits, LABELS)
    with pytest.raises(RuntimeError, match=message):
        criterion(logits, LABELS)


def test_logits_of_another_number_of_images_are_refused(attached):
    model, criterion = attached
    with pytest.raises(ValueError, match=r"attach: expected `logits` .* of 6 images, got 4; call"):
        criterion(model(IMAGES)[:4], LABELS[:4])


def test_logits_of_an_earlier_forward_are_refused(attached):
    model, criterion = attached
    criterion(model(IMAGES), LABELS)
    earlier = model(IMAGES)
    model(IMAGES + 1)
    with pytest.raises(RuntimeError, match="attach: expected `logits` of the latest forward, got"):
        criterion(earlier, LABELS)


def test_forwards_whose_logits_are_not_used_do_no_harm(attached):
    model, criterion = attached
    model(IMAGES + 1)
    with torch.no_grad():
        model(IMAGES + 2)
    criterion(model(IMAGES), LABELS)
    assert criterion.isda.step == 1


def test_two_criteria_on_one_model_are_independent(attached):
    model, first = attached
    second = attach(model, isda_loss())
    logits = model(IMAGES)
    assert_close(first(logits, LABELS), second(logits, LABELS))


def test_detach_takes_the_hook_off(attached):
    model, criterion = attached
    logits = model(IMAGES)
    criterion.detach()
    assert not model[5]._forward_hooks
    with pytest.raises(RuntimeError, match="attach: expected a forward of the model before"):
        criterion(logits, LABELS)


def test_a_replaced_classifier_is_noticed(attached):
    model, criterion = attached
    net = with_features(model)
    model[5] = nn.Linear(NUM_FEATURES, NUM_CLASSES)
    with pytest.raises(RuntimeError, match="again after the classifier was replaced"):
        criterion(model(IMAGES), LABELS)
    with pytest.raises(RuntimeError, match=r"with_features: expected the model to call .* '5'"):
        net(IMAGES)


def test_a_loss_of_other_sizes_is_refused():
    sizes = r"\(num_classes, num_features\) = \(4, 8\) of the classifier '5', got \(10, 8\)"
    with pytest.raises(ValueError, match=r"attach: expected `isda` with " + sizes):
        attach(small_network(), ISDALoss(10, NUM_FEATURES, strength=1.0))


def test_a_loss_of_logits_and_labels_alone_is_refused():
    with pytest.raises(TypeError, match=r"expected `isda` to be called with .* CrossEntropyLoss"):
        attach(small_network(), nn.CrossEntropyLoss())


def test_any_loss_of_features_and_weight_may_be_attached():
    for loss in (
        CenterLoss(NUM_CLASSES, NUM_FEATURES, strength=0.1),
        DistributionNetLoss(NUM_FEATURES),
        LargeMarginLoss(),
        Plain(),
    ):
        model = small_network()
        criterion = attach(model, loss)
        images, labels = small_batch()
        criterion(model(images), labels).backward()
        assert getattr(loss, "step", 1) == 1
        model.eval()
        criterion(model(images), labels)
        assert getattr(loss, "step", 1) == 1


class Plain(nn.Module):
    """Without state, which tells no device."""

    def forward(self, logits, labels, features, weight):
        return nn.functional.cross_entropy(features @ weight.T, labels)


def test_a_convolution_gets_the_gradient_of_the_loss():
    model = nn.Sequential(
        nn.AdaptiveAvgPool2d(1), nn.Conv2d(3, NUM_CLASSES, 1, bias=False), nn.Flatten()
    )
    linear = nn.Sequential(
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, NUM_CLASSES, bias=False)
    )
    linear[2].weight.data.copy_(model[1].weight.data.flatten(1))
    for network in (model, linear):
        criterion = attach(network, ISDALoss(NUM_CLASSES, 3, strength=5.0), example_images=IMAGES)
        criterion(network(IMAGES), LABELS).backward()
    assert_close(model[1].weight.grad.flatten(1), linear[2].weight.grad)


def test_the_output_of_a_transformers_model_is_taken_for_its_logits():
    model = small_network()
    criterion = attach(model, ISDALoss(NUM_CLASSES, NUM_FEATURES, strength=0.5))
    images, labels = small_batch()
    output = SimpleNamespace(logits=model(images))
    assert criterion(output, labels).ndim == 0
    with pytest.raises(TypeError, match="attach: expected the model to return logits, an object"):
        criterion((output.logits,), labels)


def test_a_loss_without_features_is_refused():
    isda = ISDALoss(NUM_CLASSES, NUM_FEATURES, strength=0.5)
    consistency = SemanticConsistencyLoss(isda.estimator, strength=0.5)
    message = "expected `isda` to be called with .* such as ISDALoss, got SemanticConsistencyLoss"
    with pytest.raises(TypeError, match=message):
        attach(small_network(), consistency)
