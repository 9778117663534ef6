"""Tests of semaug.generation.loop and the recipe that it trains."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

import semaug
from semaug.engine import check
from semaug.engine.check import check_run
from semaug.engine.options import TrainOptions
from semaug.engine.processes import Processes
from semaug.errors import UserError
from semaug.generation.recipe import GenerationRecipe
from semaug.recipes import find_recipe, make_run
from semaug.report import collect, render
from semaug.runs.checkpoint import load_checkpoint
from semaug.runs.finished import load_finished_run, load_state
from semaug.runs.pictures import pictures_of
from tests.engine import toys
from tests.tiny import rows_of, train_quietly

CPU = TrainOptions(device="cpu", threads=1)
TINY = {"width": "6", "critic_width": "4", "z_size": "5"}


def describe(name, root, **changes):
    return make_run(f"digits_{name}", {**TINY, **changes}, 0, True, Path(root))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of ACGAN with averaged weights."""
    run = describe("acgan", tmp_path_factory.mktemp("runs"), ema_decay="0.5")
    train_quietly(run)
    return run


def test_a_run_has_rows_pictures_and_a_summary(finished):
    summary = finished.summary()
    assert summary["metric"] == {
        "name": "frechet_pixels", "unit": "", "better": "lower", "report": "last",
    }  # fmt: skip
    rows = rows_of(finished)
    assert [row["step"] for row in rows] == [4, 8]
    assert {"train_loss", "train_critic_loss", "train_class_accuracy"} <= rows[0].keys()
    assert rows[1]["test_frechet_pixels"] == summary["results"][""]["frechet_pixels"]["last"] > 0
    pictures = pictures_of(finished.folder)
    assert [*pictures] == [4, 8]
    with Image.open(pictures[8]) as picture:
        assert picture.size == (342, 342)  # ten of each class, four times as large
    objects = load_checkpoint(finished.checkpoint)["objects"]
    names = {"gan", "optimizer of the generator", "optimizer of the critic", "average"}
    assert objects.keys() == names


def test_the_report_shows_what_was_made(finished):
    report = collect([finished.folder])
    page = render(report)
    assert report.notes == ()
    assert "Images that were made during training" in page
    assert page.count('class="samples" src="data:image/png;base64,') == 2
    assert "After 8 steps" in page


def test_it_is_tested_again_with_the_same_result(finished):
    from semaug.cli.evaluate import _test

    run, summary = load_finished_run(finished.folder)
    from rich.console import Console

    found = _test(run, {}, summary, CPU, Console(quiet=True))
    assert found[""]["frechet_pixels"] == summary["results"][""]["frechet_pixels"]["last"]


def test_the_averaged_weights_are_loaded(finished):
    generator = semaug.load(finished, device="cpu")
    state = load_state(finished.checkpoint, finished.summary()["epochs"])
    own = generator.function.layers[0].weight
    assert torch.equal(own, state["average"]["averaged.layers.0.weight"])
    assert not torch.equal(own, state["gan"]["generator.layers.0.weight"])


@pytest.mark.parametrize("name", ["infogan", pytest.param("wgan_gp", marks=pytest.mark.slow)])
def test_a_run_that_is_killed_goes_on_bit_for_bit(name, tmp_path, monkeypatch):
    """With random mixtures of images, and with dropout and averaged weights."""
    monkeypatch.setattr(check, "_processes", check.multiprocessing.get_context("fork"))
    options = {"ema_decay": "0.5"} if name == "infogan" else {"batch_size": "2"}
    state = check_run(describe(name, tmp_path, **options), CPU)
    assert (state["epoch"], state["step"]) == (2, 0)


def test_steps_of_a_run_do_not_depend_on_how_often_it_is_tested(tmp_path):
    often, seldom = (
        describe("cgan", tmp_path / every, evaluate_every_steps=every, test_images="0")
        for every in ("2", "8")
    )
    for run in (often, seldom):
        train_quietly(run)
    states = [load_checkpoint(run.checkpoint)["objects"]["gan"] for run in (often, seldom)]
    assert all(torch.equal(states[0][name], value) for name, value in states[1].items())
    assert often.summary()["results"] == {}


def test_a_recipe_is_checked():
    recipe = find_recipe("digits_cgan")
    for changes, message in (
        ({"steps": None, "epochs": 3, "evaluate_every_steps": None}, "`steps` of a generator, not"),
        ({"precision": "bf16"}, "`precision` 32 or 64 for a generator, got bf16"),
        ({"ema_decay": 1.0}, "`ema_decay` from 0 to below 1"),
    ):
        with pytest.raises(UserError, match=message):
            replace(recipe, **changes)


def test_small_work_is_done_by_one_thread():
    assert (
        0 < find_recipe("digits_cgan").step_cost() < 1e9 < find_recipe("cifar10_wgan").step_cost()
    )
    assert find_recipe("digits_cgan,data=folder").step_cost() == 0


def two(self, device, precision, *, fsdp):
    self.size, self.rank, self.is_first = 2, 0, True


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": toys.Squares()}, "images in memory with one label each .* data=squares"),
        ({"steps": 3, "evaluate_every_steps": 1}, "expected one process for a generator"),
    ],
)
def test_what_cannot_be_trained_is_said(changes, message, tmp_path, monkeypatch):
    run = describe("cgan", tmp_path)
    if "steps" in changes:
        monkeypatch.setattr(Processes, "__init__", two)
    subset = replace(run.recipe.subset, train_per_class=None, test_images=None)
    run = replace(run, recipe=replace(run.recipe, subset=subset, **changes))
    with pytest.raises(UserError, match=message):
        train_quietly(run)


def test_a_generator_of_each_class_wants_images_of_each(tmp_path):
    from semaug.data import load_data
    from semaug.generation.loop import _Batches

    data = load_data("digits")
    data = replace(data, train=data.train.subset(data.train.labels != 7))
    recipe = find_recipe("digits_wgan")
    with pytest.raises(UserError, match="got none of 1 of 10 classes"):
        _Batches(recipe, data)
    assert isinstance(recipe, GenerationRecipe)


def test_batches_of_classes_take_turns():
    from semaug.data import load_data
    from semaug.generation.loop import _Batches

    data = load_data("digits")
    for name, count in (("wgan", 320), ("acgan", 32)):
        batches = _Batches(find_recipe(f"digits_{name}"), data)
        batch = batches.draw(torch.Generator().manual_seed(0))
        assert batch.real.shape == (count, 3, 8, 8)
        assert (batch.real.min(), batch.real.max()) == (-1, 1)
        if name == "wgan":
            assert torch.equal(batch.labels, torch.arange(10).repeat(32))
            assert torch.equal(batch.real_labels, batch.labels)
        else:
            assert not torch.equal(batch.real_labels, batch.labels)
