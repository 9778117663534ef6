"""Tests of semaug.queue.workers."""

import multiprocessing
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

from semaug.engine.options import TrainOptions
from semaug.engine.train import train
from semaug.errors import UserError
from semaug.queue import workers
from semaug.queue.outcome import log_of
from semaug.queue.queue import train_runs
from semaug.queue.workers import share_out
from tests.engine.same import assert_same_runs
from tests.queue.queue_of_runs import make_runs
from tests.queue.summaries import summary_of

OPTIONS = TrainOptions(device="cpu", threads=1)
QUIET = Console(quiet=True)


@pytest.mark.full
@pytest.mark.slow
def test_a_killed_queue_goes_on(tmp_path):
    short, long = make_runs(tmp_path / "killed")

    def start():
        script = Path(__file__).with_name("queue_of_runs.py")
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        command = [sys.executable, str(script), str(short.root), "2"]
        return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)

    def stop_when_it_saved(number):
        before, process = last_saved(long), start()
        deadline = time.monotonic() + 120
        while last_saved(long) == before and time.monotonic() < deadline:
            time.sleep(0.01)
        while short.summary() is None and time.monotonic() < deadline:
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
    assert log_of(long).read_text().count("stopped in epoch") == 2

    alone = replace(long, root=tmp_path / "alone")
    train(alone, OPTIONS, console=QUIET)
    assert_same_runs(long, alone)


def last_saved(run):
    return run.checkpoint.stat().st_mtime_ns if run.checkpoint.exists() else 0


@pytest.mark.full
def test_ctrl_c_does_not_reach_workers(tmp_path):
    script = Path(__file__).with_name("queue_of_runs.py")
    command = [sys.executable, str(script), str(tmp_path), "2", "deaf"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "1 of 1: epochs1 seed 0 failed: deaf to Ctrl-C: True" in done.stdout


def test_the_death_of_a_worker_fails_its_run(make_run, monkeypatch, capfd):
    monkeypatch.setattr(workers, "_work", sys.exit)
    outcomes = train_runs([make_run(seed=seed) for seed in range(3)], OPTIONS, 2, QUIET)
    assert [outcome.error for outcome in outcomes] == ["its process died with exit code 1"] * 3


class Changed:
    """A run whose code was changed when another process asks for it."""

    def __reduce__(self):
        return refuse, ("loss.py: was changed since this command began",)


def refuse(message):
    raise UserError(message)


def test_code_that_was_changed_fails_its_run(monkeypatch):
    monkeypatch.setattr(workers, "_processes", multiprocessing.get_context("fork"))
    worker = workers._Worker(1)
    for _ in range(2):
        worker.give(Changed(), OPTIONS)
        _, outcome = worker.take()
        assert outcome.error == "loss.py: was changed since this command began"
    assert worker.process.is_alive()
    worker.process.kill()  # a fork holds both ends of its connection, and would wait for ever
    worker.process.join()
    worker.connection.close()


@pytest.mark.full
def test_a_log_that_cannot_be_opened_fails_its_run(make_run):
    run = make_run()
    log_of(run).mkdir(parents=True)
    (outcome,) = train_runs([run], OPTIONS, 2, QUIET)
    assert "Is a directory" in outcome.error


def test_a_run_that_another_process_trains_is_waited_for(make_run, monkeypatch):
    monkeypatch.setattr(workers, "_SECONDS_BETWEEN_TRIES", 0.01)
    tries = []

    class Worker:
        process = run = None

        def __init__(self, threads):
            assert threads >= 1

        def give(self, run, options):
            self.run = run
            tries.append(run.seed)

        def take(self):
            run, self.run = self.run, None
            busy = run.seed == 0 and tries.count(0) < 3
            return run, None if busy else workers.Outcome(run, summary_of(1.0))

    monkeypatch.setattr(workers, "_Worker", Worker)
    monkeypatch.setattr(workers, "_ready", lambda some: [one for one in some if one.run])
    outcomes = train_runs([make_run(seed=seed) for seed in range(3)], OPTIONS, 2, QUIET)
    assert all(outcome.error is None for outcome in outcomes)
    assert (tries[0], tries.count(0), tries.count(1), tries.count(2)) == (0, 3, 1, 1)


def test_readers_are_shared_out(monkeypatch):
    monkeypatch.setattr("semaug.engine.device._num_cores", lambda: 13)
    nothing, given = TrainOptions(), TrainOptions(threads=5, workers=0)
    assert share_out(nothing, 1) == nothing
    assert share_out(nothing, 3) == replace(nothing, workers=4)
    assert share_out(nothing, 16) == replace(nothing, workers=1)
    assert share_out(given, 3) == given


def test_threads_are_shared_out(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    for jobs, threads in ((1, 8), (3, 2), (16, 1)):
        with workers._workers(jobs) as made:
            assert [worker.threads for worker in made] == [threads] * jobs
    set_to = []
    monkeypatch.setattr(torch, "set_num_threads", set_to.append)
    here, there = multiprocessing.Pipe()
    here.close()  # nothing to do
    handler = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(workers, "_stop_without_parent", lambda: None)
    workers._work(there, 2)
    signal.signal(signal.SIGTERM, handler)
    assert set_to == [2]


def test_a_worker_keeps_freed_memory(monkeypatch):
    asked = []
    monkeypatch.setattr(workers, "keep_freed_memory", lambda: asked.append(True))
    monkeypatch.setattr(workers, "_stop_without_parent", lambda: None)
    former = signal.getsignal(signal.SIGTERM)
    theirs, ours = multiprocessing.Pipe()
    ours.close()
    try:
        workers._work(theirs, torch.get_num_threads())
    finally:
        signal.signal(signal.SIGTERM, former)
        theirs.close()
    assert asked
