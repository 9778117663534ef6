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
from tests.engine.same import assert_same_runs, kept_by, without_times
from tests.tiny import rows_of

pytestmark = pytest.mark.full  # a minute of training; losses of two processes are in the default
SCRIPT = str(Path(__file__).with_name("ranks.py"))
PATHS = os.pathsep.join([str(Path(SCRIPT).parents[2]), os.environ.get("PYTHONPATH", "")])


def start(size, *tasks):
    """Do tasks in so many processes."""
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={size}"]
    subprocess.run(
        [sys.executable, *torchrun, SCRIPT, *tasks],
        check=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": PATHS},
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return the folder of all that was trained, in folders by the number of processes."""
    folder = tmp_path_factory.mktemp("processes")
    ranks.train_whole(folder / "one")
    start(
        2,
        f"train_whole={folder}/two",
        f"stop_and_resume={folder}/stopped",
        f"stop_each={folder}/two_then_one",
        f"share_out={folder}/fsdp",
        f"refuse={folder}/refused",
    )
    return folder


def of(folder, name):
    return ranks.make_run(folder / name, name)


def assert_close_runs(run, expected):
    rows, expected_rows = (without_times(rows_of(r)) for r in (run, expected))
    assert len(rows) == len(expected_rows)
    for row, other in zip(rows, expected_rows, strict=True):
        assert row == pytest.approx(other, rel=1e-6)
    kept, other = (kept_by(r) for r in (run, expected))
    assert (kept and kept["names"]) == (other and other["names"])  # none of masks
    for name, value in kept["arrays"].items() if kept else ():
        assert_close(value, other["arrays"][name], rtol=1e-5, atol=1e-6, msg=name)
    first, second = (load_checkpoint(r.checkpoint)["objects"]["method"] for r in (run, expected))
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert_close(value, second[name], rtol=1e-6, atol=1e-9, msg=name)


JOINT = [name for name in ranks.RUNS if name not in ("dropout", "batch norm")]


@pytest.mark.parametrize("name", JOINT)
def test_two_processes_learn_what_one_learns_from_the_joint_batch(folder, name):
    assert_close_runs(of(folder / "two", name), of(folder / "one", name))


def test_one_process_goes_on_where_two_stopped(folder):
    """With sums, metrics and streams in the middle of an epoch."""
    ranks.resume_each(folder / "two_then_one")
    for name in ranks.MOVED:
        assert_close_runs(of(folder / "two_then_one", name), of(folder / "one", name))


@pytest.mark.parametrize("name", ranks.SHARED_OUT)
def test_parameters_that_are_shared_out_learn_the_same(folder, name):
    assert_close_runs(of(folder / "fsdp", name), of(folder / "one", name))


def test_one_process_goes_on_with_parameters_that_were_shared_out(folder):
    run = of(folder / "fsdp" / "stopped", "isda")
    ranks.go(run, resume=True)
    assert_close_runs(run, of(folder / "one", "isda"))


def test_one_process_has_nobody_to_share_parameters_out_to(tmp_path):
    with pytest.raises(UserError, match=r"fsdp needs several processes .* torchrun"):
        ranks.go(ranks.make_run(tmp_path), fsdp=True)


@pytest.mark.slow
def test_three_processes_go_on_where_one_stopped(folder):
    ranks.stop_each(folder / "one_then_three")
    start(3, f"resume_each={folder}/one_then_three")
    for name in ranks.MOVED:
        assert_close_runs(of(folder / "one_then_three", name), of(folder / "one", name))


@pytest.mark.parametrize("name", ranks.STOPPED)
def test_a_stop_told_to_one_process_changes_nothing(folder, name):
    assert_same_runs(of(folder / "two", name), of(folder / "stopped", name))


def test_dropout_differs_between_processes(folder):
    states = [
        load_checkpoint(of(folder / size, "dropout").checkpoint)["objects"]["method"]
        for size in ("one", "two")
    ]
    weights = [state["network.model.fc.weight"] for state in states]
    assert not torch.allclose(*weights, rtol=1e-6)


def test_batch_norm_is_the_same_in_all_processes_when_it_is_tested(folder):
    run = of(folder / "two", "batch norm")
    assert run.summary()["finished"]
    state = load_checkpoint(run.checkpoint)["objects"]["method"]
    assert all(value.isfinite().all() for value in state.values())


def test_one_process_writes(folder):
    run = of(folder / "two", "isda")
    assert [row["epoch"] for row in rows_of(run)] == [1, 2, 3]
    assert not list(run.folder.glob("*.partial"))
    assert not (folder / "refused").exists() or not [*(folder / "refused").rglob("recipe.json")]


def test_rows_say_what_each_process_waited_and_how_long_it_tested(folder):
    for row in rows_of(of(folder / "two", "isda")):
        waiting, seconds = (
            row[name]
            for name in ("waiting_for_images_percent_by_process", "test_seconds_by_process")
        )
        assert len(waiting) == len(seconds) == 2
        assert all(0 < one < 100 for one in waiting)
        assert all(0 < one < row["seconds"] for one in seconds)
    assert not [
        name for row in rows_of(of(folder / "one", "isda")) for name in row if "by_" in name
    ]


def test_more_processes_than_gpus_are_named(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    message = "expected one GPU for each of 4 processes on this machine, got 2"
    with pytest.raises(UserError, match=message):
        Processes(torch.device("cuda", 0), "32")
