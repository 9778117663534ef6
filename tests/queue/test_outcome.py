"""Tests of semaug.queue.outcome."""

import pytest

from semaug.errors import UserError
from semaug.queue.outcome import Outcome, log_of, summaries_of, tail


def test_summaries_are_those_of_finished_runs(make_run):
    outcomes = [Outcome(make_run(seed=seed), {"seed": seed}) for seed in range(2)]
    assert summaries_of(outcomes) == [{"seed": 0}, {"seed": 1}]


def test_the_first_failure_is_named(make_run):
    outcomes = [
        Outcome(make_run(), {}),
        Outcome(make_run("digits_resnet8", seed=3), error="no disk"),
    ]
    with pytest.raises(UserError, match="1 of 2 runs failed, such as digits_resnet8 seed 3: no di"):
        summaries_of(outcomes)


def test_only_what_would_be_tried_again_is_promised(make_run):
    failed = Outcome(make_run(), error="no disk")
    diverged = Outcome(make_run(seed=1), error="delete diverged.json", diverged=True)
    for outcomes, end in (
        ([failed], "no disk; the same command tries them again$"),
        ([failed, diverged], "tries them again, but for those whose numbers stopped being finite$"),
        ([diverged], "delete diverged.json$"),
    ):
        with pytest.raises(UserError, match=end):
            summaries_of(outcomes)


def test_the_end_of_a_log(make_run):
    run = make_run()
    assert Outcome(run, error="it never began").last_lines() == []
    log_of(run).parent.mkdir(parents=True)
    log_of(run).write_text("".join(f"line {n}\n" for n in range(9999)))
    assert Outcome(run, error="x").last_lines(2) == ["line 9997", "line 9998"]
    assert len(tail(log_of(run))) < 9999
