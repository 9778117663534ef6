"""Several processes train what one process trains; see ranks.py."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from semaug.engine.processes import Processes
from semaug.errors import UserError
from semaug.runs.checkpoint import load_checkpoint
from tests.engine import ranks
from tests.engine.same import assert_same_runs, without_times

SCRIPT = str(Path(__file__).with_name("ranks.py"))


def start(size, *tasks):
    """Do tasks in so many processes."""
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={size}"]
    launcher = torchrun if size > 1 else []
    subprocess.run(
        [sys.executable, *launcher, SCRIPT, *tasks],
        check=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(SCRIPT).parents[2])},
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return the folder of all that was trained, in folders by the number of processes."""
    folder = tmp_path_factory.mktemp("processes")
    start(1, f"train_whole={folder}/one", f"stop={folder}/one_then_three")
    start(
        2,
        f"train_whole={folder}/two",
        f"stop_and_resume={folder}/stopped",
        f"stop={folder}/two_then_one",
        f"refuse={folder}/refused",
    )
    start(1, f"resume={folder}/two_then_one")
    start(3, f"resume={folder}/one_then_three")
    return folder


def assert_close_runs(run, expected):
    rows, expected_rows = (without_times(r.metric_rows()) for r in (run, expected))
    assert len(rows) == len(expected_rows)
    for row, other in zip(rows, expected_rows, strict=True):
        assert row == pytest.approx(other, rel=1e-6)
    states = [load_checkpoint(r.checkpoint)["method"] for r in (run, expected)]
    assert states[0].keys() == states[1].keys()
    for name, value in states[0].items():
        assert_close(value, states[1][name], rtol=1e-6, atol=1e-9, msg=name)


JOINT = [name for name in ranks.RUNS if name not in ("dropout", "batch norm")]


@pytest.mark.parametrize("name", JOINT)
def test_two_processes_learn_what_one_learns_from_the_joint_batch(folder, name):
    assert_close_runs(ranks.make_run(folder / "two" / name), ranks.make_run(folder / "one" / name))


@pytest.mark.parametrize("way", ["two_then_one", "one_then_three"])
def test_another_number_of_processes_goes_on_alike(folder, way):
    assert_close_runs(ranks.make_run(folder / way), ranks.make_run(folder / "one" / "isda"))


@pytest.mark.parametrize("name", ["isda", "dropout"])
def test_a_stop_told_to_one_process_changes_nothing(folder, name):
    assert_same_runs(
        ranks.make_run(folder / "two" / name), ranks.make_run(folder / "stopped" / name)
    )


def test_dropout_differs_between_processes(folder):
    states = [
        load_checkpoint(ranks.make_run(folder / size / "dropout").checkpoint)["method"]
        for size in ("one", "two")
    ]
    weights = [state["network.model.fc.weight"] for state in states]
    assert not torch.allclose(*weights, rtol=1e-6)


def test_batch_norm_is_the_same_in_all_processes_when_it_is_tested(folder):
    run = ranks.make_run(folder / "two" / "batch norm")
    assert run.summary()["finished"]
    state = load_checkpoint(run.checkpoint)["method"]
    assert all(value.isfinite().all() for value in state.values())


def test_one_process_writes(folder):
    run = ranks.make_run(folder / "two" / "isda")
    assert [row["epoch"] for row in run.metric_rows()] == [1, 2, 3]
    assert not list(run.folder.glob("*.partial"))
    assert not (folder / "refused" / "run" / "seed0" / "recipe.json").exists()


def test_more_processes_than_gpus_are_named(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    message = "expected one GPU for each of 4 processes on this machine, got 2"
    with pytest.raises(UserError, match=message):
        Processes(torch.device("cuda", 0), "32")
