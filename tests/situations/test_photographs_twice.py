"""Recipes for folders of photographs: a second folder, and a short run."""

import pytest

from semaug.engine.session import Session
from semaug.engine.train import train
from semaug.errors import UserError
from semaug.recipe.plan import StreamPlan, make_plan
from semaug.recipes import find_recipe, make_run
from tests.tiny import tiny_run, train_quietly


def test_a_second_folder_is_told_where_to_keep_its_run(tmp_path):
    run = make_run("folder_resnet18", {}, 0, False, tmp_path)
    run.folder.mkdir(parents=True)
    run.checkpoint.touch()
    with pytest.raises(UserError, match="for other images than those of this run, choose another"):
        train(run)
    digits = make_run("digits_resnet8", {}, 0, False, tmp_path)
    digits.folder.mkdir(parents=True)
    digits.checkpoint.touch()
    with pytest.raises(UserError, match=r"another folder with --runs$"):
        train(digits)


def test_a_run_that_stopped_before_it_was_saved_is_trained_anew(tmp_path, monkeypatch):
    run = tiny_run(tmp_path, "digits_resnet8", "epochs=1")
    with monkeypatch.context() as patch:
        patch.setattr(Session, "epochs", None)
        with pytest.raises(TypeError):
            train_quietly(run)
    assert {"recipe.json", "images.json"} <= {path.name for path in run.folder.iterdir()}
    for name in ("recipe.json", "images.json", "pretrained.json"):  # of another attempt
        (run.folder / name).write_text('{"format": 2, "sha256": {}}')
    assert train_quietly(run)["finished"]
    with pytest.raises(UserError, match="holds this run already"):
        train_quietly(run)


@pytest.mark.parametrize(("epochs", "steps"), [(90, 200), (2, 4)])
def test_the_warm_up_shrinks_with_the_run(epochs, steps):
    recipe = find_recipe(f"folder_resnet18_isda,epochs={epochs}")
    plan = make_plan(recipe, {"labeled": StreamPlan(5120, 128)})
    rate, factor = recipe.schedule.build(plan), recipe.schedule.factor
    total = plan.total_steps
    risen = [rate(1.0, step) == factor(step, total) for step in range(total)]
    assert risen.index(True) == steps - 1
    assert all(risen[steps - 1 :])
