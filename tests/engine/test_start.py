"""Tests of semaug.engine.start."""

import io
from dataclasses import dataclass, replace

import pytest
import torch
from rich.console import Console

from semaug.data import Subset
from semaug.engine.options import TrainOptions
from semaug.engine.processes import Processes
from semaug.engine.start import Start, load_data
from semaug.errors import UserError
from semaug.recipe.recipe import BaseRecipe
from semaug.registry import data_sets
from semaug.runs.run import Run

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


def test_a_loop_is_started_with_run_recipe_and_images(tmp_path):
    recipe = BaseRecipe(data="digits", subset=Subset(train_per_class=3), epochs=1)
    run = Run("own", recipe, seed=7, root=tmp_path)
    options = TrainOptions(device="cpu")
    start = Start(run, CPU, Processes(CPU, "32"), options, Console(quiet=True), lambda state: None)
    assert (start.recipe, start.seed, start.images) == (recipe, 7, None)
    assert start.fabric is start.processes.fabric
    data = start.load_data()
    assert len(data.train) == 30
    assert start.images is not None
    assert start.images[0] is data


def test_what_a_person_should_know_is_said_once_a_console(photographs, make_run):
    root = photographs("ant", "bee", train=3, test=2)
    (root / "train/ant/1.heic").touch()
    run = make_run("folder_resnet18", "train_per_class=2", "test_images=none")
    console, options = Console(file=io.StringIO(), width=20), TrainOptions(data_root=root)
    for _ in range(2):
        processes = Processes(CPU, "32")
        Start(run, CPU, processes, options, console, lambda state: None).load_data()
    lines = console.file.getvalue().splitlines()
    assert lines[0] == "training images in train/, test images in val/"
    assert lines[1].startswith(f"passed over in {str(root / 'train')!r}: .heic (1)")
    assert lines[2:] == ["4 images to train on, of 2 classes: ant (2), bee (2)"]
