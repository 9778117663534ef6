"""Tests of semaug.train and semaug.load."""

from dataclasses import replace

import pytest
import torch

import semaug
from semaug.engine.trained import load_trained
from semaug.errors import UserError
from semaug.runs.read import value_of
from tests.engine import toys
from tests.tiny import rows_of, tiny_recipe

QUIET = {"device": "cpu", "progress": False}


@pytest.fixture
def recipe():
    """Return a recipe with a network of somebody else, which trains in a moment."""
    return replace(tiny_recipe("digits_resnet8", "epochs=1"), network=toys.Plain())


def test_a_recipe_is_trained_and_its_networks_come_back(recipe, tmp_path):
    run = semaug.train(recipe, seed=3, runs=str(tmp_path), **QUIET)
    assert run.folder == tmp_path / "recipe" / "seed3"
    summary = run.summary()
    trained = semaug.load(run, device="cpu")
    assert trained.recipe.network == toys.Plain()
    assert trained.test() == {"": {"error": value_of(summary)}}
    images = trained.prepare(trained.data.test.images)
    again = semaug.load(run.folder, device="cpu")
    assert torch.equal(again.logits(images), trained.logits(images))


def test_a_name_is_trained_as_on_the_command_line(tmp_path):
    name = "digits_resnet8,loss=isda,strength=0.3,network=tests.engine.toys:Plain"
    run = semaug.train(name, runs=tmp_path, quick=True, **QUIET)
    label = "digits_resnet8,quick,loss=isda,network=tests.engine.toys:Plain,strength=0.3"
    assert (run.label, run.quick) == (label, True)
    assert run.recipe.loss.strength == 0.3
    assert len(rows_of(run)) == 2
    assert load_trained(run.folder).label == label


def test_what_is_there_is_gone_on_with_or_refused(recipe, tmp_path):
    run = semaug.train(recipe, name="mine", runs=tmp_path, **QUIET)
    with pytest.raises(UserError, match="holds this run already; add --resume"):
        semaug.train(recipe, name="mine", runs=tmp_path, **QUIET)
    again = semaug.train(recipe, name="mine", runs=tmp_path, resume=True, **QUIET)
    assert again.summary() == run.summary()
    other = replace(recipe, batch_size=16)
    with pytest.raises(UserError, match="another recipe: batch_size is 32 there and 16 now"):
        semaug.train(other, name="mine", runs=tmp_path, resume=True, **QUIET)


def test_progress_is_shown_unless_it_is_not_wanted(recipe, tmp_path, capsys):
    semaug.train(recipe, runs=tmp_path / "loud", device="cpu")
    assert "epoch 1/1 loss" in capsys.readouterr().out
    semaug.train(recipe, runs=tmp_path / "quiet", **QUIET)
    assert capsys.readouterr().out == ""


def test_mistakes_are_named(recipe, tmp_path):
    with pytest.raises(UserError, match="unknown recipe 'digits_resnet9'; did you mean 'digits_re"):
        semaug.train("digits_resnet9", runs=tmp_path)
    with pytest.raises(TypeError, match="unexpected keyword argument 'devise'"):
        semaug.train(recipe, runs=tmp_path, devise="cpu")
    with pytest.raises(UserError, match="expected the folder of a run, got no such folder"):
        semaug.load(tmp_path / "nowhere")
    assert not list(tmp_path.iterdir())


def test_data_may_lie_in_a_folder_of_ones_own(tmp_path):
    recipe = tiny_recipe("cifar10_resnet32", "network=tests.engine.toys:Plain")
    with pytest.raises(FileNotFoundError, match=str(tmp_path / "mine")):
        semaug.train(recipe, runs=tmp_path, data_root=str(tmp_path / "mine"), **QUIET)
