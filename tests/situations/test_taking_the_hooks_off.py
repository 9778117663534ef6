"""Exporting a model that was trained with attach or with_features."""

import io

import pytest
import torch
from torch.nn.utils.parametrizations import weight_norm

from semaug.features import WithFeatures, attach, with_features
from semaug.losses import ISDALoss
from tests.features.networks import NUM_CLASSES, NUM_FEATURES, small_batch, small_network

IMAGES, LABELS = small_batch()


@pytest.fixture(params=["attach", "with_features"])
def reached(request):
    """A model and what has the method ``detach``."""
    model = small_network()
    if request.param == "with_features":
        return model, with_features(model)
    return model, attach(model, ISDALoss(NUM_CLASSES, NUM_FEATURES, strength=0.5))


@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning")
def test_scripting_says_to_detach_and_works_afterwards(reached):
    model, holder = reached
    with pytest.raises(
        RuntimeError, match=r"expected a model without hooks of semaug; call detach"
    ):
        torch.jit.script(model)
    holder.detach()
    torch.testing.assert_close(torch.jit.script(model)(IMAGES), model(IMAGES))


def test_a_pickled_model_needs_semaug_no_more(reached):
    model, holder = reached
    for expected in (True, False):
        file = io.BytesIO()
        torch.save(model, file)
        assert (b"semaug" in file.getvalue()) == expected
        holder.detach()


def test_tracing_and_exporting_need_no_detach(reached):
    model, _ = reached
    exported = torch.export.export(model.eval(), (IMAGES,)).module()
    torch.testing.assert_close(exported(IMAGES), model(IMAGES))


def test_a_detached_wrapper_says_so(reached):
    model, holder = reached
    holder.detach()
    arguments = (IMAGES,) if isinstance(holder, WithFeatures) else (model(IMAGES), LABELS)
    with pytest.raises(RuntimeError, match="again after the classifier was replaced"):
        holder(*arguments)


def test_the_hook_of_a_parametrization_goes_as_well():
    model = small_network()
    model[5] = weight_norm(model[5])
    with_features(model).detach()
    assert not any(module._forward_hooks for module in model.modules())
