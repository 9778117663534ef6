"""Tests of semaug.methods.segmentation."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from semaug import ISDALoss
from semaug.engine.build import Builder
from semaug.errors import UserError
from semaug.features import with_features
from semaug.losses import ISDA, CrossEntropy, hard_pixels
from semaug.losses._arguments import CrossEntropyOptions
from semaug.losses._pixels import pixel_losses
from semaug.methods import Batch, Segmentation
from semaug.methods.segmentation import HardPixels, SegmentationMethod
from semaug.networks.segmentation import PixelHead, SegmentationNetwork
from semaug.recipe import Recipe
from semaug.recipe.plan import make_plan, stream_plan, streams_of
from semaug.registry import Sizes, losses
from tests.engine.toys import Pixelwise, Squares
from tests.references.segmentation import head_by_loops

# Images of 9 x 13 pixels, maps of 3 x 4, C=3, A=4.

SMALL = {"network": "pspnet_test_resnet", "loss": "cross_entropy"}


class Maps(nn.Module):
    """A backbone of two convolutions."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 5, 3, 4, 1), nn.Conv2d(5, 6, 3, 1, 1)

    def forward_intermediates(self, images, indices, intermediates_only):
        middle = self.one(images).tanh()
        return middle, self.two(middle).tanh()


def make_network():
    torch.manual_seed(0)
    heads = [
        PixelHead(nn.Sequential(nn.Conv2d(n, 4, 1), nn.Tanh()), num_features=4, num_classes=3)
        for n in (6, 5)
    ]
    return SegmentationNetwork(Maps(), *heads)


def make_batch(dtype=torch.float64):
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(2, 3, 9, 13, generator=generator, dtype=dtype)
    labels = torch.randint(3, (2, 9, 13), generator=generator)
    labels[0, :4] = -100
    return Batch.of(images, labels)


def without_dropout(network):
    for head in network.get_heads():
        head.dropout.p = 0.0
    return network


def isda(strength=0.7, **options):
    return [ISDALoss(3, 4, strength=strength, **options) for _ in range(2)]


def gradients(method, loss):
    return torch.autograd.grad(loss, list(method.network.parameters()), allow_unused=True)


@pytest.mark.parametrize("covariance", ["full", "diagonal"])
@pytest.mark.parametrize("dense", ["exact", "features", "faithful"])
def test_a_step_is_that_of_the_equations(dense, covariance):
    network = without_dropout(make_network()).double()
    weights = [0.5, 2.0, 1.0]
    options = {"dense": dense, "covariance": covariance}
    method = Segmentation(network, isda(**options), class_weights=weights).double()
    batch = make_batch()
    output = method.loss(batch)
    assert list(output.terms) == ["main", "auxiliary"]
    expected = torch.zeros((), dtype=torch.float64)
    for scale, seen, head in zip(
        (1.0, 0.4), network.forward_heads(batch.labeled.images), network.get_heads(), strict=True
    ):
        expected = expected + scale * head_by_loops(
            seen.features,
            head.weight,
            head.classifier.bias,
            batch.labeled.labels,
            strength=0.7,
            dense=dense,
            diagonal=covariance == "diagonal",
            class_weights=torch.tensor(weights).double(),
        )
    assert_close(output.loss, expected)
    assert_close(gradients(method, output.loss), gradients(method, expected))
    assert_close(output.outputs, network(batch.labeled.images))


@pytest.mark.parametrize("dense", ["exact", "faithful"])
def test_strength_zero_is_cross_entropy_bit_for_bit(dense):
    results = []
    for criteria in (
        isda(0.0, dense=dense, cells_per_class=2),
        [nn.CrossEntropyLoss(), nn.CrossEntropyLoss()],
    ):
        torch.manual_seed(3)
        method = Segmentation(make_network(), criteria)
        torch.manual_seed(4)  # of dropout
        loss = method.loss(make_batch(torch.float32)).loss
        results.append([loss, *gradients(method, loss)])
    assert_close(results[0], results[1], rtol=0, atol=0)


def test_each_head_has_statistics_of_its_own_after_or_before_dropout():
    batch = make_batch(torch.float32)
    for before in (False, True):
        method = Segmentation(make_network(), isda(), before_dropout=before)
        torch.manual_seed(5)
        method.loss(batch)
        again = make_network()
        torch.manual_seed(5)
        seen = again.forward_heads(batch.labeled.images)
        assert not torch.equal(seen[0].features, seen[0].undropped)
        for criterion, output in zip(method.criteria, seen, strict=True):
            other = ISDALoss(3, 4, strength=0.7, align_corners=True)
            features = output.undropped if before else output.features
            other(output.logits, batch.labeled.labels, features, torch.zeros(3, 4))
            own, wanted = (x.estimator.state_dict() for x in (criterion, other))
            assert_close(dict(own), dict(wanted))
    keys = method.state_dict().keys()
    assert {"criteria.0.estimator.covariance", "criteria.1.estimator.covariance"} <= keys


@pytest.mark.parametrize("criteria", [isda, lambda: [nn.CrossEntropyLoss() for _ in range(2)]])
def test_images_without_a_label_cost_nothing_and_teach_nothing(criteria):
    method = Segmentation(make_network(), criteria(), hard=HardPixels(0.6, 64))
    batch = make_batch(torch.float32)
    empty = Batch.of(batch.labeled.images, torch.full_like(batch.labeled.labels, -100))
    output = method.loss(empty)
    assert output.loss == 0
    assert all(term.size == 0 for term in output.terms.values())
    for gradient in gradients(method, output.loss):
        assert gradient is None or gradient.count_nonzero() == 0
    metric = method.metrics(Sizes(num_classes=3))[0]
    metric.update(torch.zeros(2, 3, 9, 13), empty.labeled.labels)
    assert metric.confusion.sum() == 0


def test_the_main_head_learns_from_hard_pixels():
    network = without_dropout(make_network()).double()
    method = Segmentation(network, isda(), hard=HardPixels(0.35, 64)).double()
    batch = make_batch()
    labels = batch.labeled.labels
    terms = method.loss(batch).terms
    seen = network.forward_heads(batch.labeled.images)
    reference = ISDALoss(3, 4, strength=0.7, reduction="none", align_corners=True).double()
    found = reference(seen[0].logits, labels, seen[0].features, network.head.weight)
    kept = hard_pixels(found, labels, threshold=0.35, kept=64)
    assert 0 < kept.sum() < (labels >= 0).sum()
    assert_close(terms["main"].value, found[kept].mean())
    assert terms["main"].size == kept.sum()
    assert terms["auxiliary"].size == (labels >= 0).sum()


def test_pieces_of_a_batch_add_up_to_their_mean_over_pixels():
    network = without_dropout(make_network()).double()
    method = Segmentation(network, [nn.CrossEntropyLoss() for _ in range(2)])
    batch = make_batch()
    whole = method.loss(batch).terms["main"]
    pieces = [method.loss(Batch.of(x[:1], y[:1])) for x, y in _halves(batch)]
    parts = [piece.terms["main"] for piece in pieces]
    assert parts[0].size != parts[1].size
    assert_close(sum(x.value * x.size for x in parts) / whole.size, whole.value)


def _halves(batch):
    images, labels = batch.labeled.images, batch.labeled.labels
    return [(images[k:], labels[k:]) for k in (0, 1)]


class OneHead(nn.Module):
    """A network of others, with logits at the resolution of the images."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.maps, self.last = nn.Conv2d(3, 4, 3, 4, 1), nn.Conv2d(4, 3, 1)

    def forward(self, images):
        return self.last(self.maps(images).tanh())


def test_other_networks_have_one_head():
    batch = make_batch(torch.float32)
    network = OneHead()
    wrapped = with_features(network, example_images=batch.labeled.images)
    loss = Segmentation(wrapped, isda()[:1]).loss(batch)
    assert list(loss.terms) == ["loss"]
    isda_loss = ISDALoss(3, 4, strength=0.7)
    logits, features = wrapped(batch.labeled.images)
    assert_close(loss.loss, isda_loss(logits, batch.labeled.labels, features, wrapped.weight))
    plain = Segmentation(network, [nn.CrossEntropyLoss()])
    options = CrossEntropyOptions()
    found = pixel_losses(logits, batch.labeled.labels, options).sum()
    assert_close(plain.loss(batch).loss, found / (batch.labeled.labels >= 0).sum())
    assert_close(plain.predictors()[""](batch.labeled.images), logits)
    assert not plain.align_corners
    with pytest.raises(ValueError, match="expected a loss for each of 1 heads, got 2"):
        Segmentation(network, isda())


class MeanOfPixels(nn.Module):
    """A loss of others, with a mean of its own."""

    def forward(self, logits, labels):
        return (logits.mean(dim=1).mean() - 1).square()


def test_losses_of_others_take_part_as_means():
    batch = make_batch(torch.float32)
    method = Segmentation(OneHead(), [MeanOfPixels()])
    (term,) = method.loss(batch).terms.values()
    assert term.size == (batch.labeled.labels >= 0).sum()
    with pytest.raises(ValueError, match=r"loss of each pixel.*for `hard` and `class_wei"):
        Segmentation(OneHead(), [MeanOfPixels()], class_weights=[1.0, 1.0, 2.0])
    smoothed = nn.CrossEntropyLoss(label_smoothing=0.1)
    with pytest.raises(ValueError, match="no label smoothing for `hard`"):
        Segmentation(OneHead(), [smoothed], hard=HardPixels(0.6, 64))


def test_the_log_tells_of_the_strength_and_looks_at_no_image():
    method = Segmentation(make_network(), isda())
    method.loss(make_batch(torch.float32))
    told = method.diagnostics(lambda: pytest.fail("no images are wanted"))
    assert told["strength"] == pytest.approx(0.7)
    assert told["fewest_samples"] >= 1
    plain = Segmentation(OneHead(), [nn.CrossEntropyLoss()])
    assert plain.diagnostics(lambda: pytest.fail("no images are wanted")) == {}


# Of a recipe.


def builder_of(*, size=65, begins=True, data=None, **options):
    specs = {**SMALL, "data": Squares(), "method": SegmentationMethod(), **options}
    recipe = Recipe(epochs=1, batch_size=4, **specs)
    streams = {name: stream_plan(recipe, one, 12) for name, one in streams_of(recipe).items()}
    loaded = (data or Squares()).load(None, 0)
    images = torch.zeros(2, 3, size, size)
    return Builder(recipe, loaded, make_plan(recipe, streams), images, 0, begins=begins)


def test_a_recipe_builds_a_loss_for_each_head():
    method = builder_of(loss=ISDA(strength=0.5, dense="faithful", cells_per_class=7)).method()
    assert [type(one) for one in method.criteria] == [ISDALoss, ISDALoss]
    assert [one.estimator.num_features for one in method.criteria] == [24, 24]
    main = method.criteria[0]
    assert (main.dense, main.cells_per_class, main.align_corners) == ("faithful", 7, True)
    assert method.auxiliary_weight == 0.4
    alone = builder_of(network="pspnet_test_resnet", loss=CrossEntropy()).method()
    assert type(alone.criteria[0]) is nn.CrossEntropyLoss
    others = builder_of(network=Pixelwise(), loss=ISDA(strength=0.5), size=8).method()
    assert len(others.criteria) == 1


def test_what_does_not_fit_a_recipe_is_named():
    explicit = losses.make("explicit", strength=0.5, num_samples=2)
    for options, message in [
        ({"loss": explicit}, "recipe: loss=explicit does not take pixels: "),
        (
            {"method": SegmentationMethod(class_weights=(1.0,))},
            "`class_weights` for each of 2 classes, got",
        ),
    ]:
        with pytest.raises(UserError, match=message):
            builder_of(**options).method()
    for options, message in [
        ({"auxiliary_weight": 0.0}, "`auxiliary_weight` > 0; a network without auxiliary head is"),
        ({"class_weights": (-1.0,)}, "`class_weights` >= 0, got"),
        ({"ohem_threshold": 2.0}, "`ohem_threshold` from 0 to 1, or none, got 2"),
        ({"ohem_kept": -1}, "`ohem_kept` >= 0, got -1"),
    ]:
        with pytest.raises(UserError, match=message):
            SegmentationMethod(**options)


def test_images_with_one_label_each_are_refused():
    builder = builder_of()
    masks = builder.data.train
    one = replace(masks, labels=torch.zeros(len(masks), dtype=torch.int64))
    builder.data = replace(builder.data, train=one, test=one)
    with pytest.raises(UserError, match="expects a label for each pixel, got one for each image"):
        builder.method()


@pytest.mark.parametrize(("processes", "synchronized"), [(4, False), (4, True), (1, False)])
def test_one_image_in_a_process_is_refused_unless_batch_norms_join(
    monkeypatch, processes, synchronized
):
    monkeypatch.setattr("semaug.engine.build.world_size", lambda: processes)
    builder = builder_of(sync_batch_norm=synchronized)
    if processes == 1 or synchronized:
        builder.method()
        return
    message = (
        r"batch_size=4 a step has one of 12 training images in each of 4 processes, too few for "
        r"network=pspnet_test_resnet; choose another batch_size, or use sync_batch_norm=true: "
        r"Expected more than 1 value per channel"
    )
    with pytest.raises(UserError, match=message):
        builder.method()
