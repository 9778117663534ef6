"""Tests of recipes that are taken from the ``recipe.json`` of a run."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from semaug.errors import UserError
from semaug.recipes import baseline_of, find_recipe, make_run
from semaug.runs.folder import write_start
from semaug.runs.read import Measure

RUNS = Path("other")


@pytest.fixture
def write(tmp_path):
    """Return a function that begins a run, and returns it with the path of its recipe.json."""

    def begin(name, changes=None, seed=3, quick=False):
        run = make_run(name, changes or {}, seed, quick, tmp_path / "runs")
        run.folder.mkdir(parents=True)
        write_start(run, torch.device("cpu"), [Measure("error", "%", "lower")])
        return run, str(run.folder / "recipe.json")

    return begin


@pytest.mark.parametrize(
    "name",
    [
        "digits_resnet8_isda",
        "cifar10_resnet32_ait_isda",
        "cifar10_4000_mean_teacher",
        "camvid_pspnet_lite0",
        "cifar10_acgan",
    ],
)
def test_a_file_gives_the_same_run_for_every_kind_of_recipe(write, name):
    run, path = write(name, {"deterministic": "true"})
    again = make_run(path, {}, None, False, RUNS)
    assert again == replace(run, root=RUNS)
    assert find_recipe(path) == run.recipe
    assert (
        baseline_of(path),
        baseline_of(f"{path},epochs=1"),
    ) == (name, path)


def test_changes_and_a_seed_make_another_run_with_both_in_its_name(write):
    run, path = write("digits_resnet8_isda", {"lr": "0.2", "strength": "0.25"})
    again = make_run(f"{path},epochs=50%", {"lr": "0.3"}, 0, False, RUNS)
    assert again.label == "digits_resnet8_isda,epochs=15,lr=0.3,strength=0.25"
    assert (again.seed, again.recipe.loss.strength, run.recipe.epochs) == (0, 0.25, 30)
    without = make_run(path, {"loss": "cross_entropy", "lr": "0.2"}, None, False, RUNS)
    assert without.label == "digits_resnet8_isda,loss=cross_entropy,lr=0.2"


def test_a_smoke_test_stays_one_and_is_not_shrunk_again(write):
    run, path = write("digits_resnet8", quick=True)
    assert make_run(path, {}, None, True, RUNS) == replace(run, root=RUNS)
    _, whole = write("digits_resnet8")
    assert make_run(whole, {}, None, True, RUNS).recipe == run.recipe


def foreign(content):
    del content["overrides"], content["quick"]


def of_another_format(content):
    content["format"] = 1


def of_an_unknown_loss(content):
    content["recipe"]["loss"] = {"name": "isdaa"}


def of_no_kind(content):
    del content["recipe"]["kind"]


def of_code_that_is_not_recorded(content):
    content["name"] = "evil.py:recipe"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (foreign, "expected the recipe.json of a run, got other JSON: `overrides` is None"),
        (of_another_format, "expected a run folder of format 2, got 1"),
        (of_an_unknown_loss, "unknown loss 'isdaa'; did you mean 'isda'"),
        (of_no_kind, "expected the recipe.json of a run, got other JSON: 'kind'"),
        (of_code_that_is_not_recorded, "expected names of recorded code, got evil.py"),
    ],
)
def test_a_file_that_is_no_recipe_of_a_run_is_refused(write, change, message):
    _, path = write("digits_resnet8")
    content = json.loads(Path(path).read_text())
    change(content)
    Path(path).write_text(json.dumps(content))
    with pytest.raises(UserError, match=message):
        make_run(path, {}, None, False, RUNS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "x.json: expected JSON, got a damaged file"),
        ("[1]", "x.json: expected the recipe.json of a run, got other JSON"),
        (None, "x.json: expected the recipe.json of a run, got no such file"),
    ],
)
def test_a_damaged_or_missing_file_is_named(tmp_path, text, message):
    if text is not None:
        (tmp_path / "x.json").write_text(text)
    with pytest.raises(UserError, match=message):
        find_recipe(str(tmp_path / "x.json"))
