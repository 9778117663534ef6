"""Tests of how with_features and attach find the classifier."""

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn
from torch.nn.utils.parametrizations import weight_norm
from torch.testing import assert_close

from semaug.features import attach, with_features
from semaug.features.tap import FeatureTap
from semaug.losses import ISDALoss
from tests.features.networks import (
    NUM_CLASSES,
    NUM_FEATURES,
    Hidden,
    small_batch,
    small_network,
)

IMAGES = torch.randn(5, 3, 2, 2, generator=torch.Generator().manual_seed(0))


class Declaring(Hidden):
    """Has timm's accessor; ``declared`` is the name of what it gives."""

    declared = "head"

    def get_classifier(self):
        return self.get_submodule(self.declared)


class Config:
    image_size, num_channels = (2, 2), 3


def is_quiet(model):
    hooks = [hook for module in model.modules() for hook in module._forward_hooks.values()]
    return all(isinstance(hook, FeatureTap) and hook.trained is None for hook in hooks)


def test_a_given_module_and_a_given_name_are_taken():
    for classifier in ("head", "model.head"):
        model = Hidden()
        if classifier == "model.head":
            classifier = model.head
        assert with_features(model, classifier).classifier is model.head


def test_an_unknown_name_lists_what_there_is():
    listed = r"one of 'middle' \(8, 12\), 'head' \(4, 8\); got 'fc'"
    with pytest.raises(ValueError, match=r"with_features: expected `classifier` to be " + listed):
        with_features(Hidden(), "fc")


def test_a_module_from_elsewhere_is_refused():
    with pytest.raises(ValueError, match=r"attach: expected `classifier` to be .*; got Linear"):
        attach(Hidden(), ISDALoss(NUM_CLASSES, NUM_FEATURES, strength=1.0), nn.Linear(8, 4))


def test_what_the_model_declares_needs_no_forward():
    model = Declaring()
    model.middle = nn.Identity()  # a forward would fail
    assert with_features(model).classifier is model.head


def test_the_end_of_nested_sequentials_needs_no_forward():
    model = nn.Sequential(nn.Flatten(), nn.Sequential(nn.ReLU(), nn.Linear(5, 3)))
    assert with_features(model).classifier is model[1][1]


def test_a_sequential_that_ends_otherwise_is_searched():
    model = nn.Sequential(nn.Conv2d(3, 4, 2), nn.ReLU(), nn.Conv2d(4, 3, 1), nn.Flatten())
    assert with_features(model, example_images=IMAGES).classifier is model[2]


@pytest.mark.parametrize(
    "after",
    [nn.Softmax(-1), nn.ReLU(), nn.ReLU(inplace=True), nn.BatchNorm1d(NUM_CLASSES)],
    ids=["softmax", "relu", "relu in place", "normalization"],
)
def test_logits_made_otherwise_are_refused(after):
    with pytest.raises(ValueError, match=r"name .*by `classifier`"):
        with_features(Hidden(after=after), example_images=IMAGES)


def test_a_copy_of_the_logits_in_another_precision_is_recognized():
    class Converted(Hidden):
        def forward(self, images):
            return super().forward(images).double()

    model = Converted()
    assert with_features(model, example_images=IMAGES).classifier is model.head


def test_layers_of_the_right_number_of_classes_are_suggested():
    with pytest.raises(ValueError, match=r"name the classifier by `classifier`, one of 'head' \(4"):
        with_features(Hidden(after=nn.Softmax(-1)), example_images=IMAGES)


def test_a_declared_layer_that_is_not_called_is_refused():
    model = Declaring()
    model.spare, model.declared = nn.Linear(2, 2), "spare"
    with pytest.raises(ValueError, match=r"to call the classifier 'spare', it did not; name"):
        with_features(model, example_images=IMAGES)


def test_a_model_without_linear_layers_is_refused():
    with pytest.raises(ValueError, match="expected a `model` with a Linear or 1x1 convolution"):
        with_features(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten()))


def test_a_failing_guess_names_the_argument():
    with pytest.raises(ValueError, match=r"expected `example_images`.* \(2, 3, 224, 224\) failed"):
        with_features(Hidden())


def test_a_failing_example_of_the_user_shows_its_own_error():
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        with_features(Declaring(), example_images=torch.zeros(2, 3))


def test_the_size_in_a_configuration_is_used():
    for attribute, value in (("config", Config), ("default_cfg", {"input_size": (3, 2, 2)})):
        model = Hidden()
        setattr(model, attribute, value)
        assert with_features(model).classifier is model.head


def test_a_wrong_size_in_a_configuration_leaves_the_check_to_the_first_forward():
    model = Declaring(after=nn.BatchNorm1d(NUM_CLASSES))
    model.default_cfg = {"input_size": (3, 224, 224)}
    net = with_features(model)
    with pytest.raises(ValueError, match="with_features: expected logits features @ weight"):
        net(IMAGES)


def test_a_declared_layer_is_checked_by_the_first_call_of_the_criterion():
    model = Declaring(after=nn.BatchNorm1d(NUM_CLASSES))
    criterion = attach(model, ISDALoss(NUM_CLASSES, NUM_FEATURES, strength=1.0))
    with pytest.raises(ValueError, match="attach: expected logits features @ weight"):
        criterion(model(IMAGES), torch.zeros(5, dtype=torch.int64))


def test_the_search_leaves_no_trace():
    model = Hidden(after=nn.Sequential(nn.Dropout(0.5)))
    model.norm.eval()  # a frozen layer stays frozen, the others stay in training
    before = {name: value.clone() for name, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    random_state = torch.get_rng_state()
    model.drop.forward = lambda features: features + 0 * torch.rand(1)  # draws even in evaluation
    with_features(model, example_images=IMAGES)
    assert_close(model.state_dict(), before, rtol=0, atol=0)
    assert [module.training for module in model.modules()] == modes
    assert torch.equal(torch.get_rng_state(), random_state)
    assert is_quiet(model)


def test_a_failed_search_leaves_no_trace():
    model = Hidden()
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        with_features(model, example_images=torch.zeros(2, 3))
    assert model.training
    assert model.head.training
    assert is_quiet(model)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_examples_follow_the_dtype_of_the_model(dtype):
    net = with_features(Hidden().to(dtype), example_images=IMAGES)
    assert net(IMAGES.to(dtype))[1].dtype == dtype


def test_bytes_stay_bytes():
    class OfBytes(Hidden):
        def forward(self, images):
            assert images.dtype == torch.uint8
            return super().forward(images / 255)

    assert with_features(OfBytes(), example_images=IMAGES.to(torch.uint8)).num_features == 8


def test_a_parametrized_classifier_gives_its_effective_weight():
    model = Hidden(head=weight_norm(nn.Linear(NUM_FEATURES, NUM_CLASSES)))
    net = with_features(model, example_images=IMAGES)
    logits, features = net(IMAGES)
    assert_close(features @ net.weight.T + net.classifier.bias, logits)
    net.weight.square().sum().backward()
    assert model.head.parametrizations.weight.original0.grad is not None


def test_a_classifier_without_bias_is_found():
    model = Hidden(head=nn.Linear(NUM_FEATURES, NUM_CLASSES, bias=False))
    assert with_features(model, example_images=IMAGES).classifier is model.head


def test_the_last_of_several_calls_counts():
    model = Hidden(head=nn.Linear(NUM_FEATURES, NUM_FEATURES))
    model.after = model.head
    logits, features = with_features(model, example_images=IMAGES)(IMAGES)
    assert_close(model.head(features), logits)


def test_a_classifier_called_by_keyword_is_found():
    class Keyword(Hidden):
        def forward(self, images):
            return self.head(input=self.middle(images.flatten(1)))

    logits, features = with_features(Keyword(), example_images=IMAGES)(IMAGES)
    assert (logits.shape, features.shape) == ((5, NUM_CLASSES), (5, NUM_FEATURES))


def test_dense_predictions_keep_their_pixels():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 1))
    images = small_batch()[0]
    net = with_features(model, example_images=images)
    logits, features = net(images)
    assert_close(logits, torch.einsum("nahw,ca->nchw", features, net.weight) + dense_bias(model))
    labels = torch.randint(2, (len(images), 16, 16))
    criterion = attach(model, ISDALoss(2, 4, strength=0.5), example_images=images)
    isda = ISDALoss(2, 4, strength=0.5)
    expected = isda(logits, labels, features, net.weight)
    assert_close(criterion(model(images), labels), expected)
    assert_close(dict(criterion.isda.state_dict()), dict(isda.state_dict()))


class Interpolated(nn.Module):
    """What torchvision's networks for segmentation do: a dict of logits of the size of images."""

    def __init__(self, kernel_size=1, auxiliary=False, **options):
        super().__init__()
        torch.manual_seed(0)
        self.backbone = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 4, 1))
        self.classifier = nn.Sequential(
            nn.ReLU(), nn.Conv2d(4, 2, kernel_size, padding=kernel_size // 2)
        )
        self.aux_classifier = nn.Conv2d(4, 2, 1) if auxiliary else None
        self.options = {"mode": "bilinear", **options}

    def forward(self, images):
        maps = self.backbone(images)
        found = {"out": self.classifier(maps)}
        if self.aux_classifier is not None:
            found["aux"] = self.aux_classifier(maps)
        size = images.shape[2:]
        return {name: F.interpolate(x, size, **self.options) for name, x in found.items()}


@pytest.mark.parametrize("align_corners", [False, True])
def test_interpolated_logits_are_recognized(align_corners):
    images = small_batch()[0]
    net = with_features(Interpolated(align_corners=align_corners), example_images=images)
    logits, features = net(images)
    options = {"size": images.shape[2:], "mode": "bilinear", "align_corners": align_corners}
    up = F.interpolate(features, **options)
    bias = net.classifier.bias.view(-1, 1, 1)
    assert_close(logits, torch.einsum("nahw,ca->nchw", up, net.weight) + bias)
    with torch.no_grad():  # where no graph tells
        assert_close(net(images)[0], logits)
    labels = torch.randint(2, (len(images), *images.shape[2:]))
    attached = attach(net.model, ISDALoss(2, 4, strength=0.5), example_images=images)
    expected = ISDALoss(2, 4, strength=0.5)(logits, labels, features, net.weight)
    assert_close(attached(net.model(images), labels), expected)
    with torch.no_grad(), pytest.raises(RuntimeError, match="logits` of the latest forward"):
        attached.eval()(net.model.eval()(images)["out"].flip(3), labels)


def test_each_head_of_torchvision_may_have_a_criterion():
    images = small_batch()[0]
    model = Interpolated(auxiliary=True)
    with pytest.raises(ValueError, match=r"got dict with `out` and `aux`, which.*output\['out'\]"):
        with_features(model, example_images=images)
    names = {"out": "classifier.1", "aux": "aux_classifier"}
    criteria = {
        key: attach(model, ISDALoss(2, 4, strength=0.5), name) for key, name in names.items()
    }
    labels = torch.randint(2, (len(images), *images.shape[2:]))
    found = model(images)
    losses = {key: criterion(found[key], labels) for key, criterion in criteria.items()}
    weights = model.classifier[1].weight, model.aux_classifier.weight
    grads = torch.autograd.grad(sum(losses.values()), weights)
    assert all(one.count_nonzero() > 0 for one in grads)
    found = model(images)
    with pytest.raises(RuntimeError, match="expected `logits` of the latest forward, got others"):
        criteria["aux"](found["out"], labels)


def test_other_interpolation_is_no_classifier():
    images = small_batch()[0]
    with pytest.raises(ValueError, match="found no layer whose output is the output of the model"):
        with_features(Interpolated(mode="nearest"), example_images=images)


def test_a_classifier_that_reads_neighbors_is_refused():
    message = r"a 1x1 convolution as classifier, got 'classifier.1' of kernel size \(3, 3\), which"
    with pytest.raises(ValueError, match=message):
        with_features(Interpolated(kernel_size=3), example_images=small_batch()[0])


def test_deeplab_of_torchvision_shows_its_features():
    model = torchvision.models.segmentation.deeplabv3_mobilenet_v3_large(
        weights=None, weights_backbone=None, num_classes=3
    )
    images = torch.randn(2, 3, 33, 49)
    net = with_features(model, example_images=images)
    logits, features = net(images)
    assert (logits.shape, features.shape) == ((2, 3, 33, 49), (2, 256, 3, 4))
    loss = ISDALoss(3, 256, strength=0.5, covariance="diagonal")
    value = loss(logits, torch.randint(3, (2, 33, 49)), features, net.weight)
    assert value.isfinite()


def dense_bias(model):
    return model[-1].bias.view(-1, 1, 1)


def test_dense_predictions_that_are_pooled_are_refused():
    pooled = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 1), nn.AdaptiveAvgPool2d(1))
    model = nn.Sequential(pooled, nn.Flatten())
    with pytest.raises(ValueError, match=r"one feature vector .* got an input of shape \(2, 4, 6"):
        with_features(model, "0.1", example_images=small_batch()[0])


def test_a_vector_for_each_token_is_refused_in_the_forward():
    net = with_features(nn.Sequential(nn.Linear(5, 3)))
    with pytest.raises(ValueError, match=r"one feature vector .* got an input of shape \(2, 7, 5"):
        net(torch.randn(2, 7, 5))


def test_other_types_are_refused():
    with pytest.raises(TypeError, match="with_features: expected `model` to be an "):
        with_features(lambda images: images)
    with pytest.raises(TypeError, match="expected `example_images` to be a tensor, got list"):
        with_features(small_network(), example_images=[IMAGES])
    with pytest.raises(ValueError, match="expected `model` not to be wrapped by DataParallel"):
        with_features(nn.DataParallel(small_network()))


def test_a_model_that_returns_several_logits_is_refused():
    class Pair(Hidden):
        def forward(self, images):
            return super().forward(images), None

    with pytest.raises(
        TypeError, match="return logits, an object with `logits` or a dict with 'out', got tuple"
    ):
        with_features(Pair(), example_images=IMAGES)
