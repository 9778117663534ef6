"""Tests of semaug.queue.workers."""

import io
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console

from semaug.engine.loop import train
from semaug.queue import workers
from semaug.queue.workers import run_jobs
from tests.engine.same import assert_same_runs
from tests.queue.queue_of_runs import make_runs

OPTIONS = {"device": "cpu", "threads": 1}


@pytest.fixture
def no_workers(monkeypatch):
    """Forbid to start one."""
    monkeypatch.setattr(workers, "_Worker", None)


def test_runs_side_by_side_equal_runs_one_after_the_other(make_run, quiet):
    unknown = make_run("digits_resnet8", "network=resnet9999", seed=7)
    diverging = make_run("digits_resnet8", "lr=1e9", seed=8)
    good = [make_run(seed=seed) for seed in range(3)]
    runs = [good[0], unknown, good[1], diverging, good[2]]
    output = io.StringIO()
    outcomes = run_jobs(runs, OPTIONS, 2, Console(file=output))

    assert [outcome.run for outcome in outcomes] == runs
    for outcome, run in zip(outcomes[::2], good, strict=True):
        assert outcome.summary == run.summary()
        assert "epoch 3/3" in outcome.log.read_text()
        alone = replace(run, root=run.root.parent / "alone")
        train(alone, **quiet)
        assert_same_runs(run, alone)
    for outcome, message in ((outcomes[1], "resnet9999"), (outcomes[3], "a finite loss, got nan")):
        assert outcome.summary is None
        assert message in outcome.error
        assert message in outcome.last_lines()[-1]
        assert f"the end of {outcome.log}:" in output.getvalue()
    assert [outcome.diverged for outcome in outcomes] == [False, False, False, True, False]
    assert "5 of 5" in output.getvalue()


@pytest.mark.slow
def test_a_killed_queue_goes_on(tmp_path, quiet):
    short, long = make_runs(tmp_path / "killed")

    def start():
        script = Path(__file__).with_name("queue_of_runs.py")
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        command = [sys.executable, str(script), str(short.root)]
        return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)

    def stop_when_it_saved(number):
        before, process = last_saved(long), start()
        deadline = time.monotonic() + 120
        while last_saved(long) == before and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(number)
        return process.communicate(timeout=60)[1]

    assert "stopped with 1 of 2 runs done; the others are saved" in stop_when_it_saved(
        signal.SIGTERM
    )
    assert stop_when_it_saved(signal.SIGKILL) == ""
    written = (short.folder / "summary.json").stat().st_mtime_ns
    assert long.summary() is None
    last = start()  # the worker of the killed process may still be in the folder, saving
    assert last.communicate(timeout=120)[1] == ""
    assert last.returncode == 0
    assert (short.folder / "summary.json").stat().st_mtime_ns == written
    # Twice the worker saved: told by the first process, and when that was gone.
    assert (long.folder / "log.txt").read_text().count("stopped in epoch") == 2

    alone = replace(long, root=tmp_path / "alone")
    train(alone, threads=1, **quiet)
    assert_same_runs(long, alone)


def last_saved(run):
    return run.checkpoint.stat().st_mtime_ns if run.checkpoint.exists() else 0


def test_finished_runs_need_no_worker(train_tiny, no_workers):
    run = train_tiny()
    (outcome,) = run_jobs([run], OPTIONS, 4, Console(quiet=True))
    assert outcome.summary == run.summary()


def test_a_finished_run_of_another_recipe_is_a_failure(train_tiny, no_workers):
    run = train_tiny()
    other = replace(run, recipe=replace(run.recipe, lr=0.3))
    (outcome,) = run_jobs([other], OPTIONS, 1, Console(quiet=True))
    assert "lr" in outcome.error


def test_a_damaged_summary_is_a_failure(train_tiny, no_workers):
    run = train_tiny()
    (run.folder / "summary.json").write_text("{")
    (outcome,) = run_jobs([run], OPTIONS, 1, Console(quiet=True))
    assert "expected JSON, got a damaged file" in outcome.error


def test_the_death_of_a_worker_fails_its_run(make_run, monkeypatch, capfd):
    monkeypatch.setattr(workers, "_work", sys.exit)
    outcomes = run_jobs([make_run(seed=seed) for seed in range(2)], {}, 1, Console(quiet=True))
    assert [outcome.error for outcome in outcomes] == ["its process died with exit code 1"] * 2


def test_a_log_that_cannot_be_opened_fails_its_run(make_run):
    run = make_run()
    (run.folder / "log.txt").mkdir(parents=True)
    (outcome,) = run_jobs([run], OPTIONS, 1, Console(quiet=True))
    assert "Is a directory" in outcome.error


def test_a_run_that_another_process_trains_is_waited_for(make_run, monkeypatch):
    monkeypatch.setattr(workers, "_SECONDS_BETWEEN_TRIES", 0.01)
    tries = []

    class Worker:
        process = type("Process", (), {"is_alive": lambda self: True})()
        run = None

        def give(self, run, options):
            self.run = run
            tries.append(run.seed)

        def take(self):
            run, self.run = self.run, None
            busy = run.seed == 0 and tries.count(0) < 3
            return run, None if busy else workers.Outcome(run, {"error_mean_last_10": 1.0})

        def end(self):
            pass

    monkeypatch.setattr(workers, "_Worker", Worker)
    monkeypatch.setattr(workers, "_ready", lambda some: [one for one in some if one.run])
    outcomes = run_jobs([make_run(seed=seed) for seed in range(2)], {}, 1, Console(quiet=True))
    assert all(outcome.error is None for outcome in outcomes)
    assert (tries[0], tries.count(0), tries.count(1)) == (0, 3, 1)


def test_threads_and_readers_are_shared_out(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    monkeypatch.setattr("semaug.engine.device._num_cores", lambda: 13)
    assert workers._shared_out({}, 1) == {}
    assert workers._shared_out({"device": "cpu"}, 3) == {
        "device": "cpu",
        "threads": 2,
        "workers": 4,
    }
    assert workers._shared_out({"threads": None}, 16) == {"threads": 1, "workers": 1}
    assert workers._shared_out({"threads": 5, "workers": 0}, 3) == {"threads": 5, "workers": 0}


def test_expects_a_job(make_run):
    with pytest.raises(ValueError, match="run_jobs: expected `jobs`"):
        run_jobs([make_run()], {}, 0, Console(quiet=True))
