"""Tests of semaug.queue.queue."""

import io
import signal

import pytest
from rich.console import Console

from semaug.engine import loop
from semaug.engine.interrupt import InterruptedRunError
from semaug.queue.outcome import Outcome
from semaug.queue.queue import (
    finished_before,
    open_log,
    train_logged,
    train_missing_runs,
)

OPTIONS = {"device": "cpu", "threads": 1}


def test_only_what_is_missing_is_trained_and_once(make_run, train_tiny):
    finished, missing, output = train_tiny(), make_run(seed=1), io.StringIO()

    def fail(waiting, outcomes, display):
        assert waiting == [missing]
        assert list(outcomes) == [finished.folder]
        outcomes[missing.folder] = Outcome(missing, error="the disk is full")

    runs = [missing, finished, missing]
    outcomes = train_missing_runs(runs, OPTIONS, Console(file=output), fail)
    assert [outcome.run for outcome in outcomes] == runs
    assert [outcome.error for outcome in outcomes] == ["the disk is full", None, "the disk is full"]
    assert outcomes[1].summary == finished.summary()
    assert "runs: 2, finished before: 1" in output.getvalue()
    assert "the disk is full" in output.getvalue()


def test_nothing_is_shown_where_nothing_is_missing(train_tiny):
    finished, output = train_tiny(), io.StringIO()
    (outcome,) = train_missing_runs([finished], OPTIONS, Console(file=output), None)
    assert outcome.summary == finished.summary()
    assert output.getvalue() == ""


def test_a_finished_run_that_another_process_has_open_is_looked_at_again(train_tiny):
    run = train_tiny()
    with run.lock():
        assert finished_before(run, OPTIONS) is None
    assert finished_before(run, OPTIONS).summary == run.summary()


def test_a_run_that_diverged_is_not_trained_again(make_run, monkeypatch):
    run = make_run("digits_resnet8", "lr=1e9")
    with open_log(run) as log:
        first = train_logged(run, OPTIONS, log)
    assert first.diverged
    assert f"to try it again nevertheless, delete {run.diverged}" in first.error
    monkeypatch.setattr(loop, "_train", None)
    again = finished_before(run, OPTIONS)
    assert again.diverged
    assert "stopped being finite before, in step 4 of epoch 1" in again.error
    run.diverged.unlink()
    assert finished_before(run, OPTIONS) is None


def test_a_run_is_trained_into_its_log(make_run):
    run = make_run()
    with open_log(run) as log:
        with run.lock():
            assert train_logged(run, OPTIONS, log) is None
        outcome = train_logged(run, OPTIONS, log)
    assert outcome.summary == run.summary()
    assert "epoch 3/3" in outcome.log.read_text()


@pytest.mark.parametrize(
    ("error", "said", "diverged"),
    [
        (FloatingPointError("got nan"), "got nan", True),
        (OSError("no space"), "no space", False),
        (KeyError("weight"), "KeyError: 'weight'", False),
    ],
)
def test_a_failure_is_an_outcome(make_run, monkeypatch, error, said, diverged):
    def fail(run, **options):
        raise error

    monkeypatch.setattr(loop, "train", fail)
    with open_log(make_run()) as log:
        outcome = train_logged(make_run(), {}, log)
    assert (outcome.error, outcome.diverged) == (said, diverged)
    assert said in outcome.last_lines(1)[0]


def test_a_stop_is_none(make_run, monkeypatch):
    def stop(run, **options):
        raise InterruptedRunError("stopped in epoch 2", signal.SIGTERM)

    monkeypatch.setattr(loop, "train", stop)
    with (
        open_log(make_run()) as log,
        pytest.raises(InterruptedRunError, match="stopped in epoch 2"),
    ):
        train_logged(make_run(), {}, log)
    assert Outcome(make_run()).last_lines() == ["stopped in epoch 2"]
