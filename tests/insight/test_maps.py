"""Tests of semaug.insight.maps and semaug.insight.separation."""

import json
from dataclasses import replace

import pytest
import torch
from sklearn.metrics import silhouette_score
from sklearn.neighbors import NearestNeighbors

from semaug.errors import UserError
from semaug.insight import map_features, measure_separation, separation
from semaug.insight.features import compute_outputs
from tests.insight.test_directions import Shown


@pytest.mark.parametrize("at_once", [1000, 7])
def test_separation_is_that_of_scikit_learn(normal, monkeypatch, at_once):
    monkeypatch.setattr(separation, "_AT_ONCE", at_once)
    labels = torch.tensor([0, 2, 5, 2, 0] * 6 + [7])  # a class of one image, and classes of none
    features = normal(31, 4) + labels.unsqueeze(1)
    found = measure_separation(features, labels, 5)
    assert found.silhouette == pytest.approx(silhouette_score(features, labels))
    neighbors = NearestNeighbors(n_neighbors=5).fit(features).kneighbors(return_distance=False)
    purity = (labels[torch.from_numpy(neighbors)] == labels.unsqueeze(1)).double().mean()
    assert found.neighbor_purity == pytest.approx(float(purity))
    within = between = 0.0
    for label in labels.unique():
        own = features[labels == label]
        within += float((own - own.mean(0)).square().sum())
        between += len(own) * float((own.mean(0) - features.mean(0)).square().sum())
    assert found.scatter_ratio == pytest.approx(within / between)
    moved = measure_separation(3 * features - 7, labels, 5)
    assert vars(moved) == pytest.approx(vars(found))


def test_wrong_arguments_are_named(normal):
    features, labels = normal(4, 2), torch.tensor([0, 1, 0, 1])
    for error, message, arguments in [
        (ValueError, r"`labels` of shape \(N=4,\)", (features, labels[:3])),
        (TypeError, "`labels` of dtype torch.int64", (features, labels.int())),
        (ValueError, "`labels` of two classes, got 1", (features, labels * 0)),
        (ValueError, "`num_neighbors` >= 1", (features, labels, 0)),
    ]:
        with pytest.raises(error, match="measure_separation: expected " + message):
            measure_separation(*arguments)


def test_networks_are_laid_out_alike(with_isda, without, monkeypatch):
    networks = {"a": (without, ""), "b": (with_isda, "")}
    options = {"num_images": 30, "num_draws": 2, "num_augmented": 4}
    maps = map_features(networks, **options)
    assert [one.label for one in maps] == ["a", "b"]
    assert torch.equal(maps[0].places, maps[1].places)
    for one, (trained, _) in zip(maps, networks.values(), strict=True):
        test = trained.data.test
        assert torch.equal(one.labels, test.labels[one.places])
        assert one.labels.bincount().tolist() == [3] * 10
        assert (one.points.shape, one.augmented.shape) == ((30, 2), (2, 4, 2))
        assert len(one.labels[one.sources].unique()) == 4
        seen = compute_outputs(trained, test, one.places)
        assert one.separation == measure_separation(seen.features, seen.labels)
    assert [one.strength for one in maps] == [0.5, 1.0]
    assert json.loads(json.dumps(maps[0].plain()))["statistics"].startswith("estimated from")
    again = map_features(networks, **options)
    assert torch.equal(again[1].points, maps[1].points)
    assert torch.equal(again[1].augmented, maps[1].augmented)


def test_augmented_features_are_drawn_around_theirs(with_isda, monkeypatch):
    """With the covariances of the run, times the strength."""
    from semaug.insight import maps

    laid_out = []
    monkeypatch.setattr(maps, "embed", lambda x, *_: laid_out.append(x) or torch.zeros(len(x), 2))
    options = {"num_images": 20, "num_draws": 400, "num_augmented": 1, "strength": 4.0}
    (found,) = map_features({"a": (with_isda, "")}, **options)
    clean, drawn = laid_out[0].double().split([20, 400])
    moved = drawn - clean[found.sources]
    label = int(found.labels[found.sources])
    trace = 4 * with_isda.method.criterion.estimator.covariance[label].trace()
    assert float(moved.square().sum(1).mean()) == pytest.approx(float(trace), rel=0.3)
    (plain,) = map_features({"a": (with_isda, "")}, num_images=20, num_draws=0)
    assert (plain.strength, plain.origin, plain.augmented.numel()) == (None, "", 0)


def test_other_images_are_refused(with_isda, without):
    other = Shown(without, without.data)
    other.sums = {"test_labels": "another"}
    message = "features: expected runs with the same test images, got a and b"
    with pytest.raises(UserError, match=message):
        map_features({"a": (with_isda, ""), "b": (other, "")})
    test = without.data.test
    none = Shown(without, replace(without.data, test=test.subset(torch.arange(0))))
    with pytest.raises(UserError, match="expected test images with a label each"):
        map_features({"a": (none, "")})
