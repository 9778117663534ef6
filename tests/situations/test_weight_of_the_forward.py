"""The weight that made the logits, where it is no plain parameter of the module.

Meta-learning calls a model with other parameters; spectral normalization changes its buffers
whenever the weight is computed in training mode.
"""

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations
from torch.testing import assert_close

from semaug.features import attach, with_features
from semaug.losses import ISDALoss
from tests.features.networks import NUM_CLASSES, NUM_FEATURES, small_batch, small_network

IMAGES, LABELS = small_batch()
NORMS = {
    "spectral_norm": parametrizations.spectral_norm,
    "weight_norm": parametrizations.weight_norm,
    "orthogonal": parametrizations.orthogonal,
}


def isda_loss():
    isda = ISDALoss(NUM_CLASSES, NUM_FEATURES, strength=5.0)
    isda.estimator.update(torch.randn(40, NUM_FEATURES), torch.arange(40) % NUM_CLASSES)
    return isda.eval()


def moved(model):
    return {name: (p.detach() + 0.1).requires_grad_() for name, p in model.named_parameters()}


def test_a_functional_call_gets_the_gradient_and_the_module_none():
    model, isda = small_network(), isda_loss()
    parameters = moved(model)
    criterion = attach(model, isda)
    criterion(torch.func.functional_call(model, parameters, (IMAGES,)), LABELS).backward()
    assert model[5].weight.grad is None

    explicit = copy.deepcopy(model)
    explicit.load_state_dict(parameters)
    features = explicit[:5](IMAGES)
    isda(explicit[5](features), LABELS, features, explicit[5].weight).backward()
    assert_close([p.grad for p in parameters.values()], [p.grad for p in explicit.parameters()])


def test_with_features_gives_the_weight_of_a_functional_call():
    net = with_features(small_network())
    parameters = moved(net)
    torch.func.functional_call(net, parameters, (IMAGES,))
    assert net.weight.data_ptr() == parameters["model.5.weight"].data_ptr()
    net(IMAGES)
    assert net.weight.data_ptr() == net.classifier.weight.data_ptr()


@pytest.mark.parametrize("norm", NORMS.values(), ids=NORMS.keys())
@pytest.mark.parametrize("reach", ["attach", "with_features"])
def test_the_loss_leaves_no_trace_in_a_normalized_classifier(norm, reach):
    model = small_network()
    model[5] = norm(model[5])
    twin = copy.deepcopy(model)
    isda = ISDALoss(NUM_CLASSES, NUM_FEATURES, strength=0.0)
    if reach == "attach":
        criterion = attach(model, isda, example_images=IMAGES)
    else:
        net = with_features(model, example_images=IMAGES)
    for _ in range(3):
        if reach == "attach":
            loss = criterion(model(IMAGES), LABELS)
        else:
            logits, features = net(IMAGES)
            loss = isda(logits, LABELS, features, net.weight)
        loss.backward()
        nn.functional.cross_entropy(twin(IMAGES), LABELS).backward()
    assert_close(model.state_dict(), twin.state_dict(), rtol=0, atol=0)
    assert_close([p.grad for p in model.parameters()], [p.grad for p in twin.parameters()])


@pytest.mark.parametrize("norm", NORMS.values(), ids=NORMS.keys())
def test_the_penalty_reaches_what_a_normalized_weight_is_made_of(norm):
    model, isda = small_network(), isda_loss()
    model[5] = norm(model[5])
    criterion = attach(model, isda)
    logits = model(IMAGES)
    loss = criterion(logits, LABELS)
    features = model[:5](IMAGES)
    model[5].eval()  # no further power iteration
    weight = model[5].weight
    assert_close(loss, isda(logits, LABELS, features, weight))
    loss.backward()
    assert all(p.grad is not None for p in model[5].parameters())


def test_the_older_spectral_norm_is_no_other():
    model, twin = (small_network() for _ in range(2))
    for network in (model, twin):
        torch.manual_seed(1)
        nn.utils.spectral_norm(network[5])
    criterion = attach(model, ISDALoss(NUM_CLASSES, NUM_FEATURES, strength=0.0))
    for _ in range(2):
        criterion(model(IMAGES), LABELS)
        twin(IMAGES)
    assert_close(model.state_dict(), twin.state_dict(), rtol=0, atol=0)


def test_a_teacher_has_a_weight_tap_of_its_own():
    model = small_network()
    model[5] = parametrizations.weight_norm(model[5])
    net = with_features(model)
    net(IMAGES)
    teacher = copy.deepcopy(net)
    with torch.no_grad():
        for parameter in teacher.parameters():
            parameter.mul_(2)
    net(IMAGES)
    logits, features = teacher(IMAGES)
    assert_close(features @ teacher.weight.T + teacher.classifier.bias, logits)


def test_a_compiled_model_with_a_normalized_classifier_trains_in_both_modes():
    torch.compiler.reset()
    model = small_network()
    model[5] = parametrizations.weight_norm(model[5])
    criterion = attach(model, ISDALoss(NUM_CLASSES, NUM_FEATURES, strength=5.0))
    forward = torch.compile(model, backend="eager", fullgraph=True)
    for training in (False, True, True, False):
        model.train(training)
        criterion(forward(IMAGES), LABELS)
    assert criterion.isda.step == 2


def test_a_computed_weight_is_computed_anew_after_a_step():
    model = small_network()
    model[5] = parametrizations.weight_norm(model[5])
    net = with_features(model)
    optimizer = torch.optim.SGD(net.parameters(), lr=1.0)
    for _ in range(2):
        net(IMAGES)[0].square().mean().backward()
        optimizer.step()
        assert torch.equal(net.weight, model[5].weight)
        net.weight.sum().backward()


def test_replicas_of_data_parallel_are_refused():
    with pytest.raises(ValueError, match="not to be wrapped by DataParallel"):
        with_features(small_network())._replicate_for_data_parallel()
