"""Tests of semaug.runs.work."""

from dataclasses import dataclass

import pytest

from semaug.methods import Stream, View
from semaug.recipe.plan import StreamPlan, make_plan
from semaug.runs.work import Work, count_work, describe_work, work_of
from tests.tiny import tiny_recipe


@dataclass(frozen=True, kw_only=True)
class TwoStreams:
    """One view of labeled images, two of others."""

    def streams(self, recipe):
        return {"labeled": Stream(), "unlabeled": Stream("unlabeled", views=(View(), View()))}


def work(recipe, **streams):
    return count_work(recipe, make_plan(recipe, streams))


@pytest.mark.parametrize(
    ("changes", "passes"),
    [
        ([], 1),
        (["method=ait", "views=3"], 3),
        (["method=dml", "peers=resnet8_cifar,resnet8_cifar"], 3),
        (["method=multi_ait", "peers=resnet8_cifar"], 2),
    ],
)
def test_passes_are_those_of_views_and_networks(changes, passes):
    recipe = tiny_recipe("digits_resnet8", *changes)
    assert work(recipe, labeled=StreamPlan(100, 32)) == Work(12, 300, 300 * passes)


def test_every_stream_counts_with_its_own_views():
    recipe = tiny_recipe("digits_resnet8")
    object.__setattr__(recipe, "method", TwoStreams())
    streams = {"labeled": StreamPlan(100, 32), "unlabeled": StreamPlan(500, 50)}
    assert work(recipe, **streams) == Work(12, 300 + 12 * 50, 300 + 2 * 12 * 50)
    by_steps = recipe.lasting(steps=7)
    assert work(by_steps, **streams) == Work(7, 7 * 82, 7 * 32 + 2 * 7 * 50)


def test_work_is_read_from_a_summary():
    told = {"optimizer_steps": 1000, "images_seen": 2, "forward_passes": 3, "epochs": 4}
    assert work_of(told) == Work(1000, 2, 3)
    assert (
        describe_work([work_of(told)]) == "1,000 optimizer steps, 2 images seen, 3 forward passes"
    )
    assert work_of({"images_seen": 2}) is None
    assert describe_work([work_of(told), None]) == ""
