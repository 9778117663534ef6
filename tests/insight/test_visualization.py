"""Tests of semaug.insight.visualization and of its picture."""

import json
from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from semaug.errors import UserError
from semaug.generation.generator import Generator
from semaug.insight import DecoderTraining, Search, images_named, statistics_of, visualize
from semaug.insight import visualization as module
from semaug.insight.draw import draw_visualization
from tests.engine import toys
from tests.insight.test_directions import Shown, features_of

FAST = Search(iterations=3, restarts=2, starts=2)
IMAGE = (3, 8, 8)
WEIGHT = torch.randn(4, 192, generator=torch.Generator().manual_seed(0)) / 2


def make(z, labels):
    return torch.tanh(z @ WEIGHT + labels[:, None] / 10).unflatten(1, IMAGE)


GENERATOR = Generator(make, 4, 10, IMAGE, name="waves")


class Recording:
    """An inverter that keeps what it is asked for, and makes the training images it was given."""

    name = "recording"

    def __init__(self, images):
        self.images, self.asked = images / 127.5 - 1, []

    def reconstruct(self, images, features, labels):
        self.features, self.labels = features, labels
        return torch.zeros(len(images), 1)

    def augment(self, codes, targets, labels):
        self.asked = targets.unflatten(0, (len(self.features), -1))
        return torch.arange(len(codes)).unsqueeze(1)

    def make(self, codes, labels):
        return self.images[codes[:, 0].long()]

    def random(self, labels, generator):
        return None


def test_what_is_asked_for_is_drawn_from_the_class_and_controlled(with_isda):
    """With numbers about the images that an inverter makes, whatever they are."""
    train, test = with_isda.data.train, with_isda.data.test
    inverter = Recording(train.images)
    options = {"classes": ["3", "7"], "num_draws": 400, "num_nearest": 2, "strength": 0.25}
    many = Recording(train.images[:1].expand(2000, -1, -1, -1))
    visualize(with_isda, many, **options)
    noise, random = (many.asked - many.features.unsqueeze(1)).double().split(400, dim=1)
    assert_close(noise.norm(dim=2), random.norm(dim=2), rtol=1e-4, atol=1e-5)
    covariance = 0.25 * statistics_of(with_isda).estimator.covariance[[3, 7]].double()
    trace = noise.square().sum(2).mean(1)
    assert_close(trace, covariance.diagonal(dim1=1, dim2=2).sum(1), rtol=0.2, atol=0)
    strongest = torch.linalg.eigh(covariance)[1][:, :, -1:]
    along, beside = ((one @ strongest).square().mean((1, 2)) for one in (noise, random))
    assert (along > 3 * beside).all()

    options |= {"num_draws": 2, "num_images": 2}
    found = visualize(with_isda, inverter, **options)
    own = [int((test.labels == k).nonzero()[place]) for k in (3, 7) for place in (0, 1)]
    assert found.names == tuple(f"test {place}" for place in own)
    assert found.labels == ("3", "3", "7", "7")
    assert torch.equal(found.shown["original"].pictures[:, 0], test.images[own])
    assert_close(inverter.features.double(), features_of(with_isda, test, torch.tensor(own)))
    seen = features_of(with_isda, train, torch.arange(16)).unflatten(0, (4, 4))
    asked = inverter.asked.double()
    residuals = (seen - asked).norm(dim=2) / asked.norm(dim=2)
    begin, features = seen[0, 0], inverter.features.double().unsqueeze(1)
    way = asked - features
    followed = ((seen - begin) * way).sum(2) / way.square().sum(2)
    probs = with_isda.logits(with_isda.prepare(train.images[:16])).softmax(1).unflatten(0, (4, 4))
    for name, part in (("augmented", slice(2)), ("random direction", slice(2, 4))):
        one = found.shown[name]
        assert torch.equal(one.pictures, train.images[:16].unflatten(0, (4, 4))[:, part])
        assert_close(one.residuals.double(), residuals[:, part], rtol=1e-3, atol=1e-4)
        assert_close(one.followed.double(), followed[:, part], rtol=1e-3, atol=1e-4)
        for row, label in enumerate(inverter.labels.tolist()):
            right = probs[row, part, label].double()
            assert_close(one.probs[row], right, rtol=1e-3, atol=1e-5)
    for near in found.nearest.values():
        assert near.places[:, 0].tolist() == [0, 4, 8, 12]
        assert_close(near.distances[:, 0], torch.zeros(4).double(), rtol=0, atol=1e-2)
        assert torch.equal(near.labels, train.labels[near.places])
        assert torch.equal(near.pictures, train.images[near.places])
    for row, label in enumerate((3, 3, 7, 7)):
        for picture in found.shown["random image"].pictures[row]:
            same = (train.images == picture).flatten(1).all(1)
            assert (train.labels[same] == label).all()
            assert same.any()
    assert (found.compared, found.tested, found.strength) == (100, {}, 0.25)


def test_a_generator_is_searched_and_drawn(without):
    found = visualize(without, GENERATOR, search=FAST, num_draws=1, num_nearest=200)
    assert found.labels == ("0", "1", "2", "3", "4")
    assert (found.inverter, found.strength) == ("generator", 0.5)
    assert found.origin.startswith("estimated from the features of 100")
    assert found.nearest["pixels"].places.shape == (5, 100)
    plain = json.loads(json.dumps(found.plain(str, without.classes)))
    assert plain["shown"]["augmented"].keys() == {"probs", "residuals", "followed"}
    assert plain["shown"]["reconstruction"].keys() == {"probs", "residuals"}
    assert plain["shown"]["random image"].keys() == {"probs"}
    assert len(plain["nearest"]["features"][0]) == 100
    again = visualize(without, GENERATOR, search=FAST, num_draws=1, num_nearest=1)
    for name, one in again.shown.items():
        assert torch.equal(one.pictures, found.shown[name].pictures)
    other = visualize(without, GENERATOR, search=FAST, num_draws=1, num_nearest=1, seed=1)
    assert not torch.equal(
        other.shown["random image"].pictures, again.shown["random image"].pictures
    )
    figure = draw_visualization(again, "a title of many words " * 12)
    figure.draw_without_rendering()
    lowest = figure._suptitle.get_window_extent().y0
    assert all(text.get_window_extent().y1 < lowest for text in figure.axes[0].texts)
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts.count("augmented") == texts.count("nearest training images by pixels") == 5
    assert f"{100 * float(again.shown['original'].probs[0, 0]):.0f} %" in texts


def test_a_decoder_tells_how_well_it_is_seen(without, monkeypatch):
    train = DecoderTraining(steps=2, batch_size=8, width=4)
    monkeypatch.setattr(module, "_MOST_BYTES", 50 * 192)
    found = visualize(without, decoder=train, classes=["3"], num_draws=1)
    assert (found.inverter, found.compared) == ("decoder", 50)
    assert found.tested.keys() == {"images", "error", "within"}
    assert found.tested["images"] == 60
    assert found.tested["error"] > found.tested["within"] > 0  # after two steps


def test_images_of_anybody_are_augmented_as_a_class(without, photographs):
    options = {"search": FAST, "num_draws": 1}
    inverter = Recording(without.data.train.images)
    images = images_named(without, str(photographs))
    found = visualize(without, inverter, images=images, classes=["4"], **options)
    assert found.names == ("0.png", "1.png", "2.png")
    assert found.labels == ("4",) * 3
    images = images_named(without, "5,6")
    found = visualize(without, inverter, images=images, classes=["4"], **options)
    assert found.names == ("image 0", "image 1")
    assert inverter.labels.tolist() == [4, 4]
    with pytest.raises(UserError, match="expected one class, whose covariance augments the images"):
        visualize(without, inverter, images=images)


def test_mistakes_are_named(without, with_isda):
    for generator, message in [
        (replace(GENERATOR, image=(3, 16, 16)), "images of 3x8x8, as .* has them, got one of 3x16"),
        (replace(GENERATOR, num_classes=9), "the 10 classes of .* got one of 9 others: waves"),
        (replace(GENERATOR, classes=(*"1234567890",)), "in their order"),
    ]:
        with pytest.raises(UserError, match=message):
            visualize(without, generator)
    inverter = Recording(without.data.train.images)
    with pytest.raises(UserError, match="visualize: unknown class '33'; did you mean '3'"):
        visualize(without, inverter, classes=["33"])
    with pytest.raises(ValueError, match="visualize: expected `num_images` >= 1, got 0"):
        visualize(without, inverter, num_images=0)
    with pytest.raises(TypeError, match="visualize: expected `num_nearest`"):
        visualize(without, inverter, num_nearest=1.5)
    with pytest.raises(UserError, match=r"expected a strength above 0 .* of '3' .* strength 0 and"):
        visualize(with_isda, inverter, classes=["3"], strength=0.0)
    statistics = with_isda.method.criterion.estimator.covariance
    before = statistics[3].clone()
    try:
        statistics[3] = 0
        with pytest.raises(UserError, match=r"a covariance of '3' that is not 0, .* the loss of"):
            visualize(with_isda, inverter, classes=["3"])
    finally:
        statistics[3] = before
    test = without.data.test
    for labels, message, classes in [
        (test.labels == 4, "expected test images of '3', got none", ["3"]),
        (test.labels < 0, "expected a run with test images, got one without", ()),
    ]:
        few = test.subset(labels.nonzero().squeeze(1))
        with pytest.raises(UserError, match=message):
            visualize(Shown(without, replace(without.data, test=few)), inverter, classes=classes)
    masks = Shown(without, toys.Squares().load(None, 0))
    with pytest.raises(UserError, match="expected a label for each image, got masks"):
        visualize(masks, inverter)


def test_images_that_are_no_bytes_are_refused(without):
    class Numbers(Shown):
        def pixels(self, images, places=None):
            for batch in self._trained.pixels(images, places):
                yield batch._replace(pixels=batch.pixels.float())

    with pytest.raises(UserError, match=r"images of bytes, got torch\.float32 numbers"):
        visualize(Numbers(without, without.data), Recording(without.data.train.images))
