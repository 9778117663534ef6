"""Tests of semaug.cli.evaluate."""

import json

import pytest
import torch

from semaug.runs.read import load_summary, value_of

SMALL = ["--quick", "--device", "cpu"]


@pytest.fixture
def threads():
    number = torch.get_num_threads()
    yield number
    torch.set_num_threads(number)


def test_networks_are_tested_again(semaug, tmp_path, threads):
    mutual = ["method=dml", "peers=resnet20_cifar", "network=resnet8_cifar"]
    assert semaug("train", "digits_resnet8", *mutual, *SMALL)[0] == 0
    assert semaug("train", "digits_resnet8", "hold_out=20", "test_images=none", *SMALL)[0] == 0
    folders = sorted(path.parent for path in tmp_path.glob("runs/*/seed0/summary.json"))
    held, both = (folder.relative_to(tmp_path) for folder in folders)
    assert "hold_out" in str(held)
    command = ["evaluate", str(both), str(held), "--device", "cpu", "--threads", str(threads)]
    status, output, _ = semaug(*command)
    assert status == 0
    summary = json.loads((both / "summary.json").read_text())
    first, second = (value_of(summary, name, report="last") for name in ("", "network 2"))
    kept_back = value_of(load_summary(held), report="last")
    assert output.splitlines() == [
        f"{both}: test error {first:.2f} %, as recorded",
        f"{both}: test error of network 2 {second:.2f} %, as recorded",
        f"{held}: held-out error {kept_back:.2f} %, as recorded",
    ]

    summary["results"]["network 2"]["error"]["last"] = 99.0
    del summary["results"][""]
    (both / "summary.json").write_text(json.dumps(summary))
    _, output, _ = semaug(*command)
    lines = output.splitlines()
    assert lines[0].endswith(f" %, recorded: nothing on {summary['device']}")
    assert lines[1].endswith(f" %, recorded: 99.00 % on {summary['device']}")
    assert lines[3].startswith("results may differ on another device")


def test_a_folder_without_a_finished_run_is_refused(semaug):
    status, _, error = semaug("evaluate", "nowhere")
    assert status == 2
    assert error == "nowhere: expected the folder of a run, got no such folder\n"
