"""Tests of semaug.features under torch.compile without graph breaks."""

import shutil

import pytest
import torch
import torch._dynamo.testing
from torch import nn
from torch.testing import assert_close
from torch.utils.checkpoint import checkpoint

from semaug.features import attach, with_features
from semaug.losses import ISDALoss
from tests.features.networks import (
    NUM_CLASSES,
    NUM_FEATURES,
    Hidden,
    small_batch,
    small_network,
)

IMAGES, LABELS = small_batch()


@pytest.fixture(autouse=True)
def _forget_compiled_code():
    torch.compiler.reset()


def isda_loss():
    return ISDALoss(NUM_CLASSES, NUM_FEATURES, strength=5.0)


def compiled(function, backend="aot_eager"):
    return torch.compile(function, backend=backend, fullgraph=True)


def step_with_features(wrap_model, wrap_step):
    net, isda = with_features(small_network()), isda_loss()
    forward = wrap_model(net)

    def loss(images, labels):
        logits, features = forward(images)
        return isda(logits, labels, features, net.weight)

    return wrap_step(loss), net, isda


def step_attached(wrap_model, wrap_step):
    model, isda = small_network(), isda_loss()
    criterion = attach(model, isda)
    forward = wrap_model(model)
    return wrap_step(lambda images, labels: criterion(forward(images), labels)), model, isda


def step_attached_to_compiled(wrap_model, wrap_step):
    model, isda = small_network(), isda_loss()
    forward = wrap_model(model)
    criterion = attach(forward, isda, example_images=IMAGES)
    return wrap_step(lambda images, labels: criterion(forward(images), labels)), model, isda


def run(make, wrap_model, wrap_step):
    """Gradients and statistics after batches of several sizes."""
    step, model, isda = make(wrap_model, wrap_step)
    for size in (6, 4, 6):
        step(IMAGES[:size], LABELS[:size]).backward()
    return [p.grad for p in model.parameters()], isda.state_dict()


def as_is(function):
    return function


@pytest.mark.parametrize(
    ("make", "wrap_model", "wrap_step"),
    [
        (step_with_features, compiled, as_is),
        pytest.param(step_with_features, as_is, compiled, marks=pytest.mark.full),
        pytest.param(step_attached, compiled, as_is, marks=pytest.mark.full),
        (step_attached, as_is, compiled),
        (step_attached_to_compiled, compiled, as_is),
    ],
)
def test_compiled_steps_equal_eager_ones(make, wrap_model, wrap_step):
    assert_close(run(make, wrap_model, wrap_step), run(make, as_is, as_is))


@pytest.mark.full
@pytest.mark.skipif(shutil.which("g++") is None, reason="inductor needs a C++ compiler")
def test_inductor_gives_the_gradients_of_eager():
    step, model, _ = step_attached(as_is, lambda f: compiled(f, "inductor"))
    step(IMAGES, LABELS).backward()
    eager_step, eager, _ = step_attached(as_is, as_is)
    eager_step(IMAGES, LABELS).backward()
    assert_close([p.grad for p in model.parameters()], [p.grad for p in eager.parameters()])


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_a_compiled_forward_tells_the_mode(mode):
    model = small_network()
    criterion = attach(model, isda_loss())
    forward = compiled(model, "eager")
    for _ in range(2):
        getattr(model, mode)()
        criterion(forward(IMAGES), LABELS)
    assert criterion.isda.step == (2 if mode == "train" else 0)


def test_the_search_is_not_the_first_compiled_call():
    images = torch.randn(5, 3, 2, 2)
    model = Hidden()
    model.compile(backend="eager", fullgraph=True)
    net = with_features(model, example_images=images)
    assert net(images)[1].shape == (5, NUM_FEATURES)


def test_evaluating_in_between_costs_no_recompilation_of_training():
    counter = torch._dynamo.testing.CompileCounter()
    net = with_features(small_network())
    forward = compiled(net, counter)
    forward(IMAGES)
    net(IMAGES)  # eager, with its check of the classifier
    net.model(IMAGES)
    forward(IMAGES)
    assert counter.frame_count == 1


def test_a_model_compiled_and_called_before_is_noticed():
    model = small_network()
    forward = compiled(model, "eager")
    forward(IMAGES)
    criterion = attach(forward, isda_loss())
    with pytest.raises(RuntimeError, match="attach before the first call of a compiled model"):
        criterion(forward(IMAGES), LABELS)
    with pytest.raises(RuntimeError, match="wrap the model before its first compiled call"):
        with_features(forward)(IMAGES)


def test_a_classifier_under_a_checkpoint_compiles_with_the_setting_that_torch_names():
    class Whole(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = small_network()

        def forward(self, images):
            return checkpoint(self.model, images, use_reentrant=False)

    net, plain = with_features(Whole(), example_images=IMAGES), with_features(small_network())
    setting = {"skip_fwd_side_effects_in_bwd_under_checkpoint": True}
    if not hasattr(torch._dynamo.config, next(iter(setting))):
        pytest.skip("torch 2.9 has no such setting")
    with torch._dynamo.config.patch(setting):
        outputs = compiled(net)(IMAGES)
    assert_close(outputs, plain(IMAGES))
    (outputs[0].sum() + outputs[1].sum()).backward()
    sum(output.sum() for output in plain(IMAGES)).backward()
    assert_close([p.grad for p in net.parameters()], [p.grad for p in plain.parameters()])
