"""A default changed since a run was trained: it is not continued, and not taken for one of today.

These defaults did: images in a step of testing (1,000), the epochs in which the learning rate of
the papers falls (one later), and what a policy fills with (black, before there was an option).
"""

import json

import pytest

from semaug.errors import UserError
from semaug.published.places import Entry
from semaug.published.table import Cell
from semaug.recipe.plain import recipe_from_plain_data
from semaug.recipes import make_run
from semaug.report.data import unequal_settings
from semaug.runs.folder import check_same_recipe
from semaug.runs.run import FORMAT

ERROR = {"name": "error", "unit": "%", "better": "lower", "report": "mean_last_10"}


def before_batches_of_250(recipe):
    recipe["evaluation_batch_size"] = 1000


def before_epochs_of_the_papers(recipe):
    recipe["schedule"]["milestones_percent"] = [50.0, 75.0]


def before_fill(recipe):
    del recipe["augment"]["fill"]


@pytest.fixture
def finished(tmp_path):
    """Return a run of today, whose folder holds what an earlier version wrote of it."""

    def finish(name, change):
        run = make_run(name, {}, 0, False, tmp_path)
        found = {"format": FORMAT, "metric": ERROR, **run.plain(), "device": "a CPU", "code": {}}
        found |= {"name": run.name, "overrides": {}, "quick": False, "epochs": 1, "seconds": 1.0}
        found |= {"test_on": "test"}
        found["results"] = {"": {"error": {"mean_last_10": 1.0, "last": 1.0, "best": 1.0}}}
        change(found["recipe"])
        run.folder.mkdir(parents=True)
        (run.folder / "summary.json").write_text(json.dumps(found))
        return run

    return finish


@pytest.mark.parametrize(
    ("name", "change", "told"),
    [
        ("digits_resnet8", before_batches_of_250, "evaluation_batch_size is 1000 there and 250"),
        (
            "cifar10_resnet32",
            before_epochs_of_the_papers,
            r"milestones_percent is \[50.0, 75.0\] there and \[49.375, 74.375\] now",
        ),
        ("digits_resnet8,policy=randaugment", before_fill, "fill is .* 'mean' now"),
        (
            "cifar10_wide_resnet28_10_autoaugment",
            before_fill,
            "fill is .* there and 'gray' now",
        ),
    ],
)
def test_it_is_another_recipe(finished, name, change, told):
    run = finished(name, change)
    with pytest.raises(UserError, match=f"holds a run of another recipe: .*{told}"):
        check_same_recipe(run, run.summary())
    cell = Cell(Entry("row", "column", name), [run])
    assert (cell.measured(), cell.values()) == ("another recipe", {})


def test_a_pair_with_a_run_of_today_is_marked(finished):
    before = finished("digits_resnet8", before_batches_of_250).summary()
    now = finished("digits_resnet8_isda", lambda recipe: None).summary()
    assert unequal_settings([before], [now]) == {"evaluation batch size": (["1000"], ["250"])}
    assert unequal_settings([now], [now]) == {}


def test_a_policy_without_a_word_on_its_color_filled_with_black(finished):
    run = finished("digits_resnet8,policy=randaugment", before_fill)
    assert recipe_from_plain_data(run.summary()["recipe"]).augment.fill == "black"
    assert recipe_from_plain_data(run.plain()["recipe"]).augment.fill == "mean"
    plain = finished("digits_resnet8", before_fill).summary()["recipe"]
    assert recipe_from_plain_data(plain).augment.fill is None
