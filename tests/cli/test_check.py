"""Tests of semaug.cli.check."""

import re

import pytest
import torch

from semaug.cli.check import _summarize


@pytest.mark.slow
def test_check_says_what_a_checkpoint_holds_and_writes_nothing(semaug, tmp_path):
    command = ["check", "digits_resnet8_isda", "batch_size=16", "seed=3", "metrics=accuracy"]
    status, output, errors = semaug(*command, "--device", "cpu", "--threads", "1")
    assert status == 0, errors
    name = "digits_resnet8_isda,quick,batch_size=16,metrics=accuracy"
    first, *_, last = output.splitlines()
    assert first == f"checking {name}: four steps, then the same with a kill after the third"
    assert last == f"{name}: resumed bit for bit where it would have ended"
    assert re.search(r"^  method: [\d,]+ numbers in \d+ tensors$", output, re.MULTILINE)
    assert "  measured: train_loss, train_accuracy, test_accuracy\n" in output
    assert not list(tmp_path.iterdir())


def test_groups_of_an_optimizer_are_counted():
    group = {"params": [0, 1], "lr": 0.1}
    state = {
        "objects": {
            "method": {"weight": torch.zeros(1000, 2), "step": torch.tensor(1), "name": "x"},
            "one": {"state": {}, "param_groups": [group]},
            "two": {"state": {}, "param_groups": [group, {"params": [2]}]},
        },
        "rows": [{}, {"epoch": 2, "train_loss": 1.0, "test_miou": 2.0, "lr": 0.1}],
    }
    assert list(_summarize(state)) == [
        "method: 2,001 numbers in 2 tensors",
        "one: 2 parameters",
        "two: 2 and 1 parameters in groups",
        "measured: train_loss, test_miou",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["digits_resnet"], "unknown recipe 'digits_resnet'; did you mean 'digits_resnet8'?"),
        (["not_there.py:recipe"], "not_there.py: expected a Python file, got no such file"),
        (["digits_resnet8", "loss=isda"], "loss=isda expects strength=..."),
        (["digits_resnet8", "network=vit_tiny_patch16_224"], "cannot take data=digits of 3 x 8 x"),
    ],
)
def test_what_does_not_fit_is_named(semaug, tmp_path, arguments, message):
    status, _, errors = semaug("check", *arguments, "--device", "cpu")
    assert status == 2
    assert message in errors
    assert errors.count("\n") == 1
    assert not list(tmp_path.iterdir())
