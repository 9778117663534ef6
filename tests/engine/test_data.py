"""Tests of semaug.engine.data."""

from dataclasses import dataclass, replace

import pytest
import torch

from semaug.engine.data import load_data
from semaug.engine.options import TrainOptions
from semaug.errors import UserError
from semaug.registry import data_sets

CPU = torch.device("cpu")


@pytest.fixture
def load(tmp_path, make_run):
    """Return a function that loads the images of a tiny run of digits."""

    def load(*changes, quick=False, **options):
        run = make_run("digits_resnet8", *changes)
        run = replace(run, quick=quick, recipe=replace(run.recipe, **options))
        return load_data(run, TrainOptions(data_root=tmp_path), CPU)[0]

    return load


@dataclass(frozen=True, kw_only=True)
class Untested:
    """Digits without a test part."""

    def load(self, root, workers):
        data = data_sets.make("digits").load(root, workers)
        return replace(data, test=data.test.subset(torch.arange(0)))


def test_a_set_without_test_images_is_named(load):
    message = "data=digits has no images to test on; .* back with hold_out=N, .* with test_images=0"
    with pytest.raises(UserError, match=message):
        load("test_images=none", data=Untested())
    assert len(load("test_images=none", "hold_out=20", data=Untested()).test) == 20


def test_quick_holds_out_half_of_the_classes_where_each_has_one_image(load):
    data = load("train_per_class=1", "hold_out=300", "test_images=none", quick=True)
    assert (len(data.train), len(data.test)) == (5, 5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["test_images=1000"], "expected `test_images` <= 797, got 1000"),
        (["train_per_class=900"], "expected `train_per_class` <= "),
    ],
)
def test_images_that_there_are_not_are_named(load, changes, message):
    with pytest.raises(UserError, match=message):
        load(*changes)


def test_a_part_of_the_test_images_is_evenly_spread(photographs, make_run):
    run = make_run("folder_resnet18", "train_per_class=none", "test_images=3")
    options = TrainOptions(data_root=photographs("ant", "bee", "cow", test=2))
    data, _ = load_data(run, options, CPU)
    assert data.test.labels.tolist() == [0, 1, 2]
