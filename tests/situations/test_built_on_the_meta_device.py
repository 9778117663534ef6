"""A model with the loss inside is built without memory, given some, and filled or not."""

import copy

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from semaug import ExplicitAugmentationLoss, ISDALoss, MultiLabelISDALoss, SemanticConsistencyLoss

# N=6, C=3, A=8.

LABELS = torch.tensor([0, 1, 2, 0, 1, 2])


def weights():
    """With values also within `torch.device("meta")`."""
    return torch.tensor([1.0, 2.0, 3.0], device="cpu")


def isda(**options):
    options = {"strength": 0.3, "ramp_steps": 10, "class_weights": weights(), **options}
    return ISDALoss(3, 8, **options)


LOSSES = {
    "isda": isda,
    "diagonal": lambda: isda(covariance="diagonal"),
    "learned": lambda: isda(covariance="learned"),
    "multi_label": lambda: MultiLabelISDALoss(
        3, 8, strength=0.3, ramp_steps=10, class_weights=weights(), pos_weight=weights()
    ),
    "explicit": lambda: ExplicitAugmentationLoss(
        3, 8, strength=0.3, num_samples=2, ramp_steps=10, class_weights=weights()
    ),
}


def call(loss, seed=0):
    torch.manual_seed(seed)
    features, weight = torch.randn(6, 8), torch.randn(3, 8)
    multi = isinstance(loss, MultiLabelISDALoss)
    labels = nn.functional.one_hot(LABELS, 3).float() if multi else LABELS
    return loss(features @ weight.T, labels, features, weight)


def built_on_meta(make):
    with torch.device("meta"):
        loss = make()
    assert all(x.is_meta for x in (*loss.buffers(), *loss.parameters()))
    return loss


@pytest.fixture(autouse=True)
def dirty_memory():
    """Hand out memory that is full of huge numbers, as a used one is."""
    torch.use_deterministic_algorithms(True)  # which fills what is empty: with NaN, or the largest
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("name", LOSSES)
def test_after_to_empty_it_is_as_constructed(name):
    loss, expected = built_on_meta(LOSSES[name]).to_empty(device="cpu"), LOSSES[name]()
    assert_close(dict(loss.state_dict()), dict(expected.state_dict()), rtol=0, atol=0)
    assert_close(call(loss), call(expected), rtol=0, atol=0)


@pytest.mark.parametrize("name", LOSSES)
def test_after_to_empty_and_a_checkpoint_it_goes_on(name):
    expected = LOSSES[name]()
    call(expected)
    loss = built_on_meta(LOSSES[name]).to_empty(device="cpu")
    loss.load_state_dict(expected.state_dict())
    assigned = built_on_meta(LOSSES[name])
    assigned.load_state_dict(copy.deepcopy(expected.state_dict()), assign=True)
    values = [call(one, 1) for one in (expected, loss, assigned)]
    assert values[1:] == values[:1] * 2


def test_memory_that_was_in_use_is_reset_by_the_convention_of_torch():
    """As FSDP and Lightning do it: each module that has state resets its own."""
    loss, expected = isda(), isda()
    call(loss)
    loss.to_empty(device="cpu")
    for module in loss.modules():
        own = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
        assert bool(own) == hasattr(module, "reset_parameters")
        if own:
            module.reset_parameters()
    assert_close(call(loss), call(expected), rtol=0, atol=0)


def test_epochs_of_memory_begin_again():
    from semaug import ClassCovariance

    def make():
        return isda(covariance=ClassCovariance(3, 8, memory="epoch"))

    loss, expected = built_on_meta(make).to_empty(device="cpu"), make()
    for one in (loss, expected):
        call(one)
        one.estimator.start_epoch()
    assert_close(call(loss, 1), call(expected, 1), rtol=0, atol=0)


def test_consistency_has_its_strength():
    def make():
        return SemanticConsistencyLoss(isda().estimator, strength=0.3, ramp_steps=10)

    loss = built_on_meta(make).to_empty(device="cpu")
    assert (loss.step, loss.current_strength()) == (0, 0)
    loss.ramp.step.fill_(10)
    assert_close(loss.current_strength(), torch.tensor(0.3), rtol=0, atol=0)


def test_weights_without_values_are_named():
    with torch.device("meta"):
        loss = ISDALoss(3, 8, strength=0.3, class_weights=torch.tensor([1.0, 2.0, 3.0]))
    loss.to_empty(device="cpu")
    with pytest.raises(
        RuntimeError, match=r"ISDALoss: expected `class_weights` with values, .* device='cpu'"
    ):
        call(loss)


@pytest.mark.parametrize("name", ["count", "mean", "step"])
def test_memory_that_nobody_wrote_to_is_named(name):
    """As from_pretrained leaves what a checkpoint lacks: buffers are replaced one by one."""
    loss = built_on_meta(isda)
    for module in loss.modules():
        for key, buffer in list(module.named_buffers(recurse=False)):
            value = torch.empty_like if key == name else torch.zeros_like
            setattr(module, key, value(buffer, device="cpu"))
    owner = "ISDALoss" if name == "step" else "ClassCovariance"
    with pytest.raises(
        RuntimeError, match=rf"{owner}: expected state that was loaded or reset, .*reset_parameters"
    ):
        call(loss)
    loss.reset()
    assert_close(call(loss), call(isda()), rtol=0, atol=0)


@pytest.mark.parametrize("name", ["diagonal", "learned"])
def test_statistics_that_were_loaded_one_by_one_are_used(name):
    expected, loss = LOSSES[name](), built_on_meta(LOSSES[name])
    call(expected)
    for key, value in expected.state_dict(keep_vars=True).items():
        path, _, name = key.rpartition(".")
        setattr(loss.get_submodule(path), name, copy.deepcopy(value))
    assert_close(call(loss, 1), call(expected, 1), rtol=0, atol=0)


def test_no_cast_changes_what_was_given():
    loss = isda().half().float()
    loss.class_weights = torch.tensor([0.1, 0.2, 0.3])
    expected = isda(class_weights=torch.tensor([0.1, 0.2, 0.3]))
    assert_close(call(loss.half().float()), call(expected), rtol=0, atol=0)


def test_given_tensors_follow_the_logits_to_their_device_and_back():
    loss = isda()
    features, weight = torch.randn(6, 8, device="meta"), torch.randn(3, 8, device="meta")
    loss.to("meta").eval()(features @ weight.T, LABELS.to("meta"), features, weight)
    assert loss.class_weights.tolist() == [1, 2, 3]
    assert_close(call(loss.to_empty(device="cpu").train()), call(isda()), rtol=0, atol=0)


def test_a_model_of_transformers_keeps_its_criterion(tmp_path):
    transformers = pytest.importorskip("transformers")

    class Config(transformers.PretrainedConfig):
        model_type = "toy"

    class Model(transformers.PreTrainedModel):
        config_class = Config

        def __init__(self, config):
            super().__init__(config)
            self.fc, self.isda = nn.Linear(8, 3), isda(covariance="learned")
            self.post_init()

        def _init_weights(self, module):
            super()._init_weights(module)
            if module in (self.isda.ramp, self.isda.estimator):
                module.reset_parameters()

    model, expected = Model(Config()), isda(covariance="learned")
    for one in (model.isda, expected):
        call(one)
        with torch.no_grad():
            one.estimator.factor.mul_(0.5)
    model.save_pretrained(tmp_path)
    loaded = Model.from_pretrained(tmp_path).train().isda
    assert_close(call(loaded, 1), call(expected, 1), rtol=0, atol=0)
    backbone = {k: v for k, v in model.state_dict().items() if not k.startswith("isda")}
    model.save_pretrained(tmp_path, state_dict=backbone)
    loaded = Model.from_pretrained(tmp_path).train().isda
    assert_close(call(loaded), call(isda(covariance="learned")), rtol=0, atol=0)
