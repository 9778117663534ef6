"""Tests of semaug.engine.check."""

import math
import os
from dataclasses import dataclass, replace

import pytest
import torch
from torch import nn

from semaug.engine import check
from semaug.engine.check import check_run, differences
from semaug.engine.options import TrainOptions
from semaug.errors import UserError
from tests.engine import toys

CPU = TrainOptions(device="cpu", threads=1)


@dataclass(frozen=True, kw_only=True)
class Forgetful:
    """A loss that counts its calls in an attribute, which no checkpoint holds."""

    def build(self, sizes):
        return ForgetfulLoss()


class ForgetfulLoss(nn.Module):
    def __init__(self):
        super().__init__()
        self.calls = 0
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, logits, labels):
        self.calls += self.training
        self.seen.fill_(self.calls)
        return nn.functional.cross_entropy(logits * self.calls, labels)


@pytest.fixture
def run_with(make_run):
    """Return a function that describes a run with specs of others."""

    def make(*changes, **specs):
        run = make_run("digits_resnet8", "train_per_class=2", "batch_size=8", *changes)
        return replace(run, recipe=replace(run.recipe, network=toys.Plain(), **specs))

    return make


@pytest.fixture
def in_forks(monkeypatch):
    """Fork the processes, which must not import everything anew."""
    monkeypatch.setattr(check, "_processes", check.multiprocessing.get_context("fork"))


@pytest.mark.slow
def test_what_goes_on_alike_passes_in_processes_of_its_own(run_with):
    run = run_with("labeled_per_class=1", method=toys.Consistent(unlabeled_batch_size=7))
    state = check_run(run, CPU)
    assert (state["epoch"], state["step"]) == (2, 0)
    assert not run.folder.parent.exists()


def test_state_that_is_not_saved_is_found_and_named(run_with, in_forks):
    message = (
        r"killed and resumed ended elsewhere .*: objects\.method\.criterion\.seen, .* differ; "
        r"attributes that were not saved: method\.criterion\.calls; keep all state in buffers"
    )
    with pytest.raises(UserError, match=message):
        check_run(run_with(loss=Forgetful()), CPU)


def test_what_a_checkpoint_holds_passes(run_with, in_forks):
    """Counts of epochs, an average, an optimizer with state, and dropout."""
    run = run_with("ema_decay=0.5", "optimizer=adamw", method=toys.Noting())
    run = replace(run, recipe=replace(run.recipe, network=toys.Plain(drop_rate=0.5)))
    objects = check_run(run, CPU)["objects"]
    assert objects.keys() == {"method", "optimizer", "average"}
    assert objects["method"]["ends"] == 2


def test_a_process_that_ends_otherwise_is_told(run_with, in_forks, monkeypatch):
    monkeypatch.setattr(check, "_train_noting_attributes", lambda *arguments, saves=0: os._exit(7))
    with pytest.raises(UserError, match="the process that trains ended with exit code 7; its erro"):
        check_run(run_with(), CPU)


def test_a_loop_that_does_not_pause_is_told(run_with, in_forks, monkeypatch):
    monkeypatch.setattr(check, "_train_noting_attributes", lambda *arguments, saves=0: None)
    with pytest.raises(UserError, match=r"saves after each step, .* loop is to call session.pause"):
        check_run(run_with(), CPU)


def test_what_does_not_fit_is_said(run_with, in_forks):
    run = run_with("padding=8", "padding_mode=reflect")
    with pytest.raises(UserError, match=r"^recipe: augmentation does not fit data=digits"):
        check_run(run, CPU)


def test_places_that_differ_have_names():
    nan = torch.tensor([1.0, math.nan])
    one = {"a": [1, {"b": torch.zeros(2)}], "nan": nan, "seconds": 1.0, "same": (1, "x")}
    other = {"a": [1, {"b": torch.ones(2)}], "nan": nan.clone(), "seconds": 2.0, "same": (1, "x")}
    assert list(differences(one, one)) == []
    assert list(differences(one, other)) == ["a[1].b"]
    assert list(differences({"x": 1}, {"y": 1})) == ["x", "y"]
    assert list(differences({"x": 1}, {"x": 1.0})) == ["x"]
    assert list(differences([1, 2], [1])) == [""]
    for wrong in (torch.zeros(3), torch.zeros(2, dtype=torch.float64), torch.zeros(2).bool()):
        assert list(differences({"x": torch.zeros(2)}, {"x": wrong})) == ["x"]
    assert list(differences({"x": nan}, {"x": torch.tensor([1.0, 0.5])})) == ["x"]
