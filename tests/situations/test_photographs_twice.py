"""Recipes for folders of photographs: a second folder, and a short run."""

import pytest

from semaug.engine.train import train
from semaug.errors import UserError
from semaug.recipe.plan import StreamPlan, make_plan
from semaug.recipes import find_recipe, make_run


def test_a_second_folder_is_told_where_to_keep_its_run(tmp_path):
    run = make_run("folder_resnet18", {}, 0, False, tmp_path)
    run.folder.mkdir(parents=True)
    (run.folder / "recipe.json").touch()
    with pytest.raises(UserError, match="for other images than those of this run, choose another"):
        train(run)
    digits = make_run("digits_resnet8", {}, 0, False, tmp_path)
    digits.folder.mkdir(parents=True)
    (digits.folder / "recipe.json").touch()
    with pytest.raises(UserError, match=r"another folder with --runs$"):
        train(digits)


@pytest.mark.parametrize(("epochs", "steps"), [(90, 200), (2, 4)])
def test_the_warm_up_shrinks_with_the_run(epochs, steps):
    recipe = find_recipe(f"folder_resnet18_isda,epochs={epochs}")
    plan = make_plan(recipe, {"labeled": StreamPlan(5120, 128)})
    rate, factor = recipe.schedule.build(plan), recipe.schedule.factor
    total = plan.total_steps
    risen = [rate(1.0, step) == factor(step, total) for step in range(total)]
    assert risen.index(True) == steps - 1
    assert all(risen[steps - 1 :])
