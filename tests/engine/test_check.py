"""Tests of semaug.engine.check."""

import pytest
import torch

from semaug.engine.check import check_run, differences
from semaug.engine.options import TrainOptions
from semaug.recipes import make_run


@pytest.mark.slow
def test_a_recipe_is_checked_in_new_processes(tmp_path):
    run = make_run("digits_resnet8_isda", {}, 0, True, tmp_path)
    state = check_run(run, TrainOptions(device="cpu", threads=1))
    assert state["epoch"] == 2
    assert list(state["objects"]) == ["method", "optimizer"]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("one", "other", "places"),
    [
        ({"a": 1, "b": [2, 3]}, {"a": 1, "b": [2, 4]}, ["b[1]"]),
        ({"a": 1}, {"a": 1.0, "b": 2}, ["a", "b"]),
        ({"a": {"seconds": 1}}, {"a": {"seconds": 2}}, []),
        ([1], [1, 2], ["at"]),
        (torch.tensor([1.0, float("nan")]), torch.tensor([1.0, float("nan")]), []),
        (torch.ones(2), torch.ones(3), ["at"]),
        (torch.zeros(2), torch.tensor([0.0, 1e-30]), ["at"]),
    ],
)
def test_differences_are_named_by_their_places(one, other, places):
    assert list(differences(one, other, "at" if places == ["at"] else "")) == places
