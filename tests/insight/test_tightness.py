"""Tests of semaug.insight.tightness."""

import json
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from semaug import isda_loss
from semaug.errors import UserError
from semaug.insight import measure_tightness
from semaug.insight.features import compute_batch
from semaug.insight.tightness import Values
from semaug.transfer.plots import choose_samples
from tests.engine import toys
from tests.insight.test_directions import Shown
from tests.references.isda import expected_cross_entropy

SMALL = {"num_images": 40, "num_samples": 100}


def test_losses_are_in_order_at_each_moment(with_isda):
    before = {k: x.clone() for k, x in with_isda.method.state_dict().items()}
    found = measure_tightness(with_isda, **SMALL)
    assert [one.epoch for one in found.moments] == [2, 3]
    assert [one.strength for one in found.moments] == pytest.approx([2 / 3, 1.0])
    for one in found.moments:
        for values in (one.values, *one.by_class.values()):
            assert values.holds
            assert values.cross_entropy < values.expected < values.bound < values.control
            assert 0 < values.standard_error < values.expected
        own = one.by_class.values()
        assert sum(values.images for values in own) == one.values.images == 40
        for name in ("cross_entropy", "expected", "bound", "control"):
            mean = sum(getattr(values, name) * values.images for values in own) / 40
            assert mean == pytest.approx(getattr(one.values, name))
    plain = json.loads(json.dumps(found.plain()))
    assert (plain["mode"], plain["draws"]) == ("train", 100)
    last = plain["moments"][-1]
    assert (
        last["gap"]
        == last["bound"] - last["expected"]
        == pytest.approx(last["relative_gap"] * last["expected"])
    )
    assert last["by_class"].keys() == {*"0123456789"}
    for name, value in with_isda.method.state_dict().items():
        assert torch.equal(value, before[name])
    assert not with_isda.method.training
    assert measure_tightness(with_isda, **SMALL) == found


def test_values_are_those_of_the_loss_by_explicit_sampling(with_isda):
    """In evaluation mode, where the images of a batch do not matter to each other."""
    options = {"num_images": 20, "mode": "eval"}
    values = measure_tightness(with_isda, num_samples=4000, **options).moments[-1].values
    stream, train = with_isda.streams.streams["labeled"], with_isda.data.train
    places = choose_samples(train.labels, 0, 20)
    samples = stream.at_once(with_isda.run.seed, [(0, places)])
    logits, features = compute_batch(with_isda, samples.images, "")
    weight = with_isda.classifier_weight()
    bias = logits.double()[0] - features.double()[0] @ weight.double().T
    covariance = with_isda.method.criterion.estimator.covariance.double()
    mean, error = expected_cross_entropy(
        features.double(), samples.labels, weight.double(), bias,
        covariance + 1e-6 * torch.eye(64), strength=1.0, num_samples=4000,
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    assert abs(values.expected - mean) < 4 * (error + values.standard_error)
    clean = float(F.cross_entropy(logits, samples.labels))
    assert values.cross_entropy == pytest.approx(clean, rel=1e-5)
    for strength, value in ((1.0, values.bound), (1.5, values.control)):
        bound = isda_loss(logits, samples.labels, weight, covariance.float(), strength=strength)
        assert value == pytest.approx(float(bound), rel=1e-5)


def test_the_mode_is_that_of_the_network(with_isda):
    train, evaluated = (
        measure_tightness(with_isda, mode=mode, **SMALL).moments[-1].values
        for mode in ("train", "eval")
    )
    assert train.cross_entropy != evaluated.cross_entropy


def test_a_run_without_statistics_is_measured_by_its_features(without):
    found = measure_tightness(without, **SMALL)
    (moment,) = found.moments
    assert (moment.epoch, moment.strength) == (1, 0.5)
    assert found.origin == "estimated from the features of 100 training images"
    assert moment.values.holds
    (clean,) = measure_tightness(without, strength=0.0, **SMALL).moments
    own = clean.values
    assert own.cross_entropy == pytest.approx(own.expected) == pytest.approx(own.bound)
    assert own.holds
    assert own.standard_error < 1e-12


def test_what_is_out_of_order_is_told():
    good = Values(1, 1.0, 1.2, 0.1, 1.5, 2.0)
    assert good.holds
    assert replace(good, bound=0.95).holds  # within three errors
    assert not replace(good, bound=0.85).holds
    assert not replace(good, cross_entropy=1.6).holds
    assert replace(good, expected=0.0).relative_gap is None
    assert_close(good.plain()["control_gap"], 0.8)


def test_mistakes_are_named(without):
    with pytest.raises(ValueError, match="expected `mode` train or eval, got 'test'"):
        measure_tightness(without, mode="test")
    masks = Shown(without, toys.Squares().load(None, 0))
    with pytest.raises(UserError, match="expected a label for each training image"):
        measure_tightness(masks)
