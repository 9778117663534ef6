"""Tests of semaug.engine.epoch_values."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from semaug.engine.epoch_values import EpochValues
from semaug.metrics import Error

CPU = torch.device("cpu")
# Three steps an epoch, of 4, 4 and 2 images.
PLAN = SimpleNamespace(
    steps_per_epoch=3, counted="labeled", joint_size=lambda stream, step: (4, 4, 2)[step]
)
ONE = SimpleNamespace(size=1, is_first=True, sum_tensor=torch.clone)
FIRST = SimpleNamespace(size=2, is_first=True, sum_tensor=lambda tensor: 2 * tensor)
SECOND = SimpleNamespace(size=2, is_first=False, sum_tensor=lambda tensor: 2 * tensor)


def make_values(processes=ONE):
    metrics = nn.ModuleDict({"error": Error(2), "error_unlabeled": Error(2)})
    return EpochValues(PLAN, processes, CPU, metrics, "error"), metrics


def add_all(values, share=1.0):
    for step, loss in enumerate((1.0, 2.0, 5.0)):
        values.add(step, {"loss": torch.tensor(loss, requires_grad=True)}, share)


def test_means_are_over_the_images_of_the_steps_so_far():
    values, metrics = make_values()
    add_all(values)
    metrics["error"].update(torch.eye(2), torch.tensor([0, 0]))
    assert values.losses(2).tolist() == [1, 2]
    assert values.means(3, joint=True) == {"loss": 2.2, "error": 50.0}
    assert values.means(2, joint=True)["loss"] == 1.5


def test_the_main_metric_is_there_even_if_nothing_was_counted():
    values, _ = make_values()
    assert values.means(0, joint=True) == {"error": None}
    assert values.losses(0).tolist() == []


@pytest.mark.parametrize("joint", [True, False])
def test_each_process_has_its_share(joint):
    values, _ = make_values(FIRST)
    add_all(values, share=0.5)
    assert values.means(3, joint=joint)["loss"] == pytest.approx(2.2)


def test_the_first_process_goes_on_from_what_all_counted():
    values, metrics = make_values(FIRST)
    add_all(values, share=0.5)
    metrics["error"].update(torch.eye(2), torch.tensor([0, 0]))
    state = values.state_dict()
    assert state["sums"]["loss"].tolist() == [1, 2, 5]
    for processes, losses, count in ((FIRST, [1, 2, 5], 4), (SECOND, [0, 0, 0], 0)):
        again, counted = make_values(processes)
        again.load_state_dict(state)
        assert again.losses(3).tolist() == losses
        assert counted["error"].count.sum() == count


def test_an_epoch_begins_with_nothing():
    values, metrics = make_values()
    add_all(values)
    metrics["error"].update(torch.eye(2), torch.tensor([0, 0]))
    values.reset()
    assert values.means(0, joint=True) == {"error": None}
