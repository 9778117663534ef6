"""Tests of semaug.queue.display."""

import io
import json

import pytest
from rich.console import Console

from semaug.queue.display import JobsDisplay, report_failures
from semaug.queue.outcome import Outcome, log_of
from semaug.runs.read import value_of
from tests.queue.summaries import summary_of


@pytest.fixture
def screen():
    return io.StringIO()


def test_a_terminal_has_a_line_for_each_running_job(train_tiny, make_run, screen):
    trained, fresh = train_tiny(), make_run(seed=1)
    with trained.metrics.open("a") as file:
        file.write('{"epoch": 4, "test')  # just being written
    console = Console(file=screen, force_terminal=True, width=120)
    with JobsDisplay(console, 1, 2) as display:
        display.show_running([trained, fresh])
        display.show_outcome(Outcome(trained, summary_of(12.345)))
        display.show_running([fresh])
    shown = screen.getvalue()
    error = value_of(trained.summary(), report="last")
    assert f"epoch 3/3 error {error:.2f} % digits_resnet8_isda seed 0" in shown
    assert "epoch 0/3 digits_resnet8_isda seed 1" in shown
    assert "2 of 3: digits_resnet8_isda seed 0 finished, error 12.35 %" in shown
    assert "2 of 3 runs are done" in shown


def test_a_run_that_counts_steps_shows_steps(train_tiny, screen):
    length = ["epochs=none", "steps=6", "evaluate_every_steps=2"]
    run = train_tiny("digits_resnet8", *length, "metrics=accuracy")
    lines = run.metrics.read_text().splitlines(keepends=True)
    run.metrics.write_text("".join(lines[:2]))
    console = Console(file=screen, force_terminal=True, width=120)
    with JobsDisplay(console, 0, 1) as display:
        display.show_running([run])
    accuracy = json.loads(lines[1])["test_accuracy"]
    assert f"step 4/6 accuracy {accuracy:.2f} % digits_resnet8 seed 0" in screen.getvalue()


def test_elsewhere_there_is_a_line_for_each_outcome(make_run, screen):
    with JobsDisplay(Console(file=screen), 0, 1) as display:
        display.show_running([make_run()])
        display.show_outcome(Outcome(make_run(), error="no disk"))
    assert screen.getvalue().splitlines() == [
        "runs: 1, finished before: 0",
        "1 of 1: digits_resnet8_isda seed 0 failed: no disk",
    ]


def test_failures_show_the_end_of_the_log(make_run, screen):
    run, console = make_run(), Console(file=screen)
    report_failures([Outcome(run, {})], console)
    assert screen.getvalue() == ""
    report_failures([Outcome(run, error="no disk")], console)
    log_of(run).parent.mkdir(parents=True)
    log_of(run).write_text("[bold]before\nlast\n")
    report_failures([Outcome(run, error="no disk")], console)
    title = "digits_resnet8_isda seed 0 failed"
    without, reason, *shown = screen.getvalue().splitlines()
    assert (without, reason) == (f"{title}:", "  no disk")
    assert shown == [f"{title}; the end of {log_of(run)}:", "  [bold]before", "  last"]


def test_of_runs_that_failed_alike_one_log_is_shown(make_run, screen):
    runs, console = [make_run(seed=seed) for seed in range(4)], Console(file=screen)
    errors = ["no disk", "no disk", "no memory", "no disk"]
    failed = [Outcome(run, error=error) for run, error in zip(runs, errors, strict=True)]
    report_failures(failed, console)
    first, told, second, other = screen.getvalue().splitlines()
    assert first.startswith("digits_resnet8_isda seed 0 and 2 other runs failed:")
    assert second.startswith("digits_resnet8_isda seed 2 failed:")
    assert (told, other) == ("  no disk", "  no memory")
