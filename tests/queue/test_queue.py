"""Tests of semaug.queue.queue."""

import io
import signal
from dataclasses import replace

import pytest
from rich.console import Console

from semaug.engine.interrupt import InterruptedRunError
from semaug.engine.options import TrainOptions
from semaug.engine.train import train
from semaug.queue import outcome, queue, workers
from semaug.queue.outcome import Outcome, log_of
from semaug.queue.queue import train_missing, train_runs
from tests.engine.same import assert_same_runs
from tests.queue.summaries import summary_of

OPTIONS = TrainOptions(device="cpu", threads=1)
QUIET = Console(quiet=True)


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.full)])
def test_runs_equal_runs_alone_and_failures_stop_none(make_run, jobs):
    unfit = make_run("digits_resnet8", "network=vit_tiny_patch16_224", seed=7)
    diverging = make_run("digits_resnet8", "lr=1e9", seed=8)
    good = [make_run(seed=seed) for seed in range(3)]
    runs = [good[0], unfit, good[1], diverging, good[2]]
    output = io.StringIO()
    outcomes = train_runs(runs, OPTIONS, jobs, Console(file=output))

    assert [outcome.run for outcome in outcomes] == runs
    for one, run in zip(outcomes[::2], good, strict=True):
        assert one.summary == run.summary()
        alone = replace(run, root=run.root.parent / "alone")
        train(alone, OPTIONS, console=QUIET)
        assert_same_runs(run, alone)
        text = output.getvalue() if jobs == 1 else log_of(run).read_text()
        assert "epoch 3/3" in text
    for one, message in (
        (outcomes[1], "cannot take data=digits"),
        (outcomes[3], "a finite loss, got nan"),
    ):
        assert one.summary is None
        assert message in one.error
        assert message in one.last_lines()[-1]
        assert f"the end of {log_of(one.run)}:" in output.getvalue()
    assert [outcome.diverged for outcome in outcomes] == [False, False, False, True, False]
    assert "5 of 5" in output.getvalue()


def test_runs_in_turn_have_lines_of_their_own(make_run, monkeypatch):
    def fail(run, *arguments, **options):
        raise OSError("no disk")

    monkeypatch.setattr(outcome, "train", fail)
    runs, output = [make_run(seed=seed) for seed in range(2)], io.StringIO()
    train_runs([*runs, runs[0]], OPTIONS, 1, Console(file=output))
    name = "digits_resnet8_isda seed"
    assert output.getvalue().splitlines()[:5] == [
        "runs: 2, finished before: 0",
        f"run 1 of 2: {name} 0 starts",
        f"1 of 2: {name} 0 failed: no disk",
        f"run 2 of 2: {name} 1 starts",
        f"2 of 2: {name} 1 failed: no disk",
    ]


def test_a_run_in_turn_shows_its_bar_on_a_terminal(make_run):
    screen = io.StringIO()
    run = make_run()
    train_runs([run], OPTIONS, 1, Console(file=screen, force_terminal=True, width=120))
    shown = screen.getvalue()
    assert "run 1 of 1: digits_resnet8_isda seed 0 starts" in shown
    assert "testing" in shown
    assert "runs are done" not in shown
    assert "1 of 1: digits_resnet8_isda seed 0 finished, error " in shown


def test_only_what_is_missing_is_trained_and_once(make_run, train_tiny):
    finished, missing, output = train_tiny(), make_run(seed=1), io.StringIO()

    def fail(waiting, display):
        assert waiting == [missing]
        yield Outcome(missing, error="the disk is full")

    runs = [missing, finished, missing]
    outcomes = train_missing(runs, OPTIONS, Console(file=output), fail)
    assert [outcome.run for outcome in outcomes] == runs
    assert [outcome.error for outcome in outcomes] == ["the disk is full", None, "the disk is full"]
    assert outcomes[1].summary == finished.summary()
    assert "runs: 2, finished before: 1" in output.getvalue()
    assert output.getvalue().count("seed 1 failed:\n") == 1


@pytest.mark.parametrize("jobs", [1, 4])
def test_nothing_is_started_or_shown_where_nothing_is_missing(train_tiny, monkeypatch, jobs):
    monkeypatch.setattr(workers, "_Worker", None)
    monkeypatch.setattr(outcome, "train", None)
    finished, output = train_tiny(), io.StringIO()
    (one,) = train_runs([finished], OPTIONS, jobs, Console(file=output))
    assert one.summary == finished.summary()
    assert output.getvalue() == ""


def test_a_run_of_another_process_is_waited_for_last(make_run, monkeypatch):
    monkeypatch.setattr(queue, "_SECONDS_BETWEEN_TRIES", 0)
    runs = [make_run(seed=seed) for seed in range(3)]
    tries, output = [], io.StringIO()

    def train_one(run, options, console):
        tries.append(run.seed)
        if run.seed == 0 and tries.count(0) < 3:
            return None
        return Outcome(run, summary_of(1.0, seed=run.seed))

    monkeypatch.setattr(queue, "train_one", train_one)
    outcomes = train_runs(runs, OPTIONS, 1, Console(file=output, width=120))
    assert [outcome.summary["seed"] for outcome in outcomes] == [0, 1, 2]
    assert tries == [0, 1, 2, 0, 0]
    busy = "run 1 of 3: digits_resnet8_isda seed 0 waits: another process is training it\n"
    assert output.getvalue().count(busy) == 1


def test_a_stop_says_how_many_runs_are_done(make_run, monkeypatch):
    def train_one(run, options, console):
        if run.seed == 1:
            raise InterruptedRunError("stopped in epoch 2", signal.SIGTERM)
        return Outcome(run, summary_of(1.0))

    monkeypatch.setattr(queue, "train_one", train_one)
    runs = [make_run(seed=seed) for seed in range(3)]
    message = "stopped in epoch 2; 1 of 3 runs are done"
    with pytest.raises(InterruptedRunError, match=message) as stop:
        train_runs(runs, OPTIONS, 1, QUIET)
    assert stop.value.signal_number == signal.SIGTERM


def test_expects_a_job(make_run):
    with pytest.raises(ValueError, match="train_runs: expected `jobs` >= 1, got 0"):
        train_runs([make_run()], OPTIONS, 0, QUIET)
