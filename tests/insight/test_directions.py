"""Tests of semaug.insight.directions and semaug.insight.features."""

import json
from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from semaug import ClassCovariance
from semaug.errors import UserError
from semaug.insight import find_directions, images_named, statistics_of
from semaug.insight.directions import principal_directions
from semaug.insight.features import compute_outputs, covariance_of, loss_of, name_of_image
from tests.engine import toys
from tests.insight.conftest import trained_on


def features_of(trained, images, places=None):
    return compute_outputs(trained, images, places).features.double()


def places_of(trained, name):
    train = trained.data.train
    return (train.labels == train.classes.index(name)).nonzero().squeeze(1)


def test_strongest_directions_come_first_and_do_not_depend_on_the_solver(normal):
    root = normal(5, 5)
    covariance = root @ root.T
    found = principal_directions(covariance, 3)
    values = torch.linalg.eigvalsh(covariance).flip(0)[:3]
    assert_close(covariance @ found.T, found.T * values)
    assert_close(found @ found.T, torch.eye(3).double())
    assert (found.gather(1, found.abs().argmax(1, keepdim=True)) > 0).all()


@pytest.mark.parametrize("kind", ["full", "diagonal", "shared", "identity", "low_rank"])
def test_a_covariance_is_that_of_its_class_whatever_the_kind(normal, kind):
    estimator = ClassCovariance(3, 4, kind, **({"rank": 2} if kind == "low_rank" else {})).double()
    estimator.update(normal(30, 4), torch.arange(30) % 3)
    assert_close(covariance_of(estimator, 2), estimator.dense()[2])


def test_the_images_at_the_ends_are_those_furthest_along(without):
    """Of a run without statistics the covariance is that of the features of the class."""
    found = find_directions(without, "3", strongest=2, num_images=3, sampled=1, random=1)
    train, places = without.data.train, places_of(without, "3")
    features = features_of(without, train, places)
    centred = features - features.mean(0)
    covariance = features.T.cov(correction=0)
    assert found.origin == "estimated from the features of the class"
    assert (found.num_images, found.num_features) == (10, 64)
    names = ["direction 1", "direction 2", "drawn from N(0, Σ), 1", "random, 1"]
    assert [one.name for one in found.directions] == names
    for one, vector in zip(found.directions, principal_directions(covariance, 2), strict=False):
        order = (centred @ vector).argsort()
        assert torch.equal(one.places, torch.stack([places[order[:3]], places[order[-3:]]]))
        along = (centred @ vector)[order]
        assert_close(one.projections, torch.stack([along[:3], along[-3:]]))
        assert one.share == pytest.approx(float(vector @ covariance @ vector / covariance.trace()))
        assert one.deviation == pytest.approx(float((centred @ vector).std(correction=0)))
        assert torch.equal(one.pictures, train.images[one.places.flatten()].view_as(one.pictures))
    first, second, drawn, random = (one.share for one in found.directions)
    assert first > second > random > 0
    assert drawn > random  # the paper's point about directions at random
    plain = json.loads(json.dumps(found.plain(lambda place: name_of_image(without, place))))
    lowest = plain["directions"][0]["lowest"][0]
    assert lowest["image"] == f"train {lowest['place']}"
    assert plain["within"] is None


def test_a_run_with_statistics_has_directions_of_its_own(with_isda):
    options = {"strongest": 1, "sampled": 0, "random": 0}
    kept = find_directions(with_isda, "3", **options)
    covariance = loss_of(with_isda).estimator.covariance[3].double()
    values = torch.linalg.eigvalsh(covariance)
    assert kept.origin == "of the loss of the run"
    assert kept.directions[0].share == pytest.approx(float(values[-1] / values.sum()))
    now = find_directions(with_isda, "3", estimate=True, **options)
    assert now.origin == "estimated from the features of the class"
    assert now.trace != kept.trace


def test_a_direction_leads_from_one_set_of_images_to_another(without, photographs):
    first, second = images_named(without, "0-2,5"), images_named(without, str(photographs))
    assert len(second) == 3
    assert images_named(without, str(photographs / "*.png")).paths[1].name == "1.png"
    chosen = features_of(without, second).mean(0) - features_of(without, first).mean(0)
    seen = features_of(without, without.data.train, torch.tensor([0, 1, 2, 5]))
    assert_close(features_of(without, first), seen)
    options = {"strongest": 3, "sampled": 0, "random": 0, "num_images": 1}
    found = find_directions(without, "3", between=(first, second), **options)
    places = places_of(without, "3")
    features = features_of(without, without.data.train, places)
    assert found.directions[-1].name == "from one set to the other"
    at = ((features - features.mean(0)) @ chosen).sort()
    assert found.directions[-1].places.flatten().tolist() == places[at.indices[[0, -1]]].tolist()
    strongest = principal_directions(features.T.cov(correction=0), 3)
    share = (strongest @ chosen).square().sum() / chosen.square().sum()
    assert found.within == pytest.approx(float(share))


def test_what_is_drawn_follows_the_seed(without):
    def shares(seed):
        found = find_directions(without, "3", strongest=1, seed=seed).directions
        return [one.share for one in found[1:]]

    assert shares(1) == shares(1) != shares(2)


def test_statistics_are_those_of_the_loss_or_of_features(with_isda, without):
    found = statistics_of(with_isda)
    assert found.estimator is with_isda.method.criterion.estimator
    assert (found.strength, found.origin) == (1.0, "of the loss of the run")
    for trained, strength, options in ((without, 0.5, {}), (with_isda, 1.0, {"estimate": True})):
        found = statistics_of(trained, num_images=50, **options)
        assert found.strength == strength
        assert found.origin == "estimated from the features of 50 training images"
        assert found.estimator.count.tolist() == [5] * 10
    whole = statistics_of(without, strength=0.0)
    assert whole.strength == 0
    features = features_of(without, without.data.train, places_of(without, "3"))
    assert_close(whole.estimator.covariance[3].double(), features.T.cov(correction=0))


def test_each_of_several_networks_has_its_statistics(tmp_path):
    changes = ["method=multi_ait", "peers=resnet8_cifar", "epochs=1"]
    trained = trained_on(tmp_path, "digits_resnet8_isda", *changes)
    losses = trained.method.criterion.classification
    assert [loss_of(trained, name) for name in trained.predictors] == [*losses]
    first, second = (
        find_directions(trained, "3", strongest=1, predictor=name) for name in trained.predictors
    )
    assert first.trace != second.trace
    with pytest.raises(UserError, match="expected `predictor` to be one of '', 'network 2'"):
        find_directions(trained, "3", predictor="network 3")


def test_mistakes_are_named(without, tmp_path, photographs):
    with pytest.raises(UserError, match=r"directions: unknown class '33'; did you mean '3'\?"):
        find_directions(without, "33")
    for text, message in [
        ("7-200", "expected places of training images from 0 to 99, got 7-200"),
        ("9-2", "expected places of training images from 0 to 99, got 9-2"),
        (str(tmp_path), "expected a photograph, a folder or pattern of photographs, or places"),
    ]:
        with pytest.raises(UserError, match=message):
            images_named(without, text)
    same = images_named(without, "4"), images_named(without, "4,4")
    with pytest.raises(UserError, match="two sets of images that differ in their mean"):
        find_directions(without, "3", between=same)
    (photographs / "damaged.png").write_bytes(b"none")
    try:
        with pytest.raises(UserError, match=r"damaged\.png"):
            compute_outputs(without, images_named(without, str(photographs / "damaged.png")))
    finally:
        (photographs / "damaged.png").unlink()
    with pytest.raises(UserError, match="expected images to look at, got none"):
        compute_outputs(without, without.data.train, torch.tensor([], dtype=torch.int64))
    train = without.data.train
    few = train.subset(torch.cat([places_of(without, "3")[:1], places_of(without, "4")]))
    equal = replace(few, images=few.images[:1].expand_as(few.images))
    for images, name, message in [
        (few, "3", "expected two training images of '3', got 1"),
        (equal, "4", "expected features of '4' that vary, got equal ones"),
    ]:
        streams = replace(without.data, train=images)
        with pytest.raises(UserError, match=message):
            find_directions(Shown(without, streams), name)


class Shown:
    """A trained run that shows other images."""

    def __init__(self, trained, data):
        self._trained, self.data = trained, data

    def __getattr__(self, name):
        return getattr(self._trained, name)


def test_networks_that_label_pixels_have_no_features_of_images(tmp_path):
    class Dense(Shown):
        def predict_with_features(self, images, predictor):
            return torch.zeros(len(images), 2, 4, 4), None

    trained = trained_on(tmp_path, "digits_resnet8", "epochs=1")
    with pytest.raises(UserError, match=r"for whole images .*, got labels for pi"):
        compute_outputs(Dense(trained, trained.data), trained.data.train)
    masks = Shown(trained, toys.Squares().load(None, 0))
    masks.classes = masks.data.classes
    with pytest.raises(UserError, match="expected a label for each image, got masks"):
        find_directions(masks, "square")
