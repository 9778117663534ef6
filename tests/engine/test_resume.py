"""Runs that are killed, stopped and resumed end bit for bit where uninterrupted ones end."""

import os
import random
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from semaug.engine.schedule import learning_rate_schedule
from semaug.recipes.digits_resnet8_isda import recipe

from semaug.engine import build, loop
from semaug.engine.interrupt import InterruptedRunError
from semaug.engine.loop import train
from semaug.engine.session import Session
from semaug.runs.run import Run
from tests.engine.same import assert_same_runs


def test_killed_runs_end_bit_for_bit_where_an_uninterrupted_run_ends(tmp_path):
    chance = random.Random()
    seconds = [str(chance.uniform(0, 0.12)) for _ in range(6)]
    print("killed after seconds:", seconds)  # shown if the test fails
    kill_and_compare(tmp_path, 1, seconds)


@pytest.mark.parametrize("threads", [1, 2])
def test_kills_at_the_worst_moments_change_nothing(tmp_path, threads):
    points = ["before_a_save", "between_row_and_save", "before_a_save", "before_the_summary"]
    kill_and_compare(tmp_path, threads, points)


EXPLICIT = ["loss=explicit", "strength=0.5", "num_samples=2"]


@pytest.mark.parametrize(
    "changes",
    [
        [],
        ["memory=epoch", "covariance=low_rank"],
        EXPLICIT,
        [*EXPLICIT, "covariance=learned"],
        ["method=ait", "views=3"],
        ["method=multi_ait", "peers=resnet8_cifar", "ai_weight=0.5"],
    ],
)
def test_a_stop_in_the_middle_of_an_epoch_changes_nothing(
    train_tiny, make_run, quiet, monkeypatch, changes
):
    whole = train_tiny("digits_resnet8_isda", *changes, root="whole")
    stopped = make_run("digits_resnet8_isda", *changes, root="stopped")
    send_signal_at_step(monkeypatch, 6)
    with pytest.raises(InterruptedRunError, match=r"epoch 2 of 3 after step 3 of 4, saved") as stop:
        train(stopped, **quiet)
    assert stop.value.signal_number == signal.SIGINT
    monkeypatch.undo()
    train(stopped, resume=True, **quiet)
    assert_same_runs(whole, stopped)


def test_a_stop_while_testing_changes_nothing(train_tiny, make_run, quiet, monkeypatch):
    whole = train_tiny(root="whole")
    stopped = make_run(root="stopped")
    monkeypatch.setattr(loop, "count_wrong", lambda *_: signal.raise_signal(signal.SIGTERM))
    with pytest.raises(InterruptedRunError, match=r"epoch 1 of 3 after step 4 of 4, saved") as stop:
        train(stopped, **quiet)
    assert stop.value.signal_number == signal.SIGTERM
    monkeypatch.undo()
    train(stopped, resume=True, **quiet)
    assert_same_runs(whole, stopped)


def test_dropout_goes_on_with_the_numbers_it_would_have_drawn(make_run, quiet, monkeypatch):
    create = build.timm.create_model
    with_dropout = partial(create, drop_rate=0.5)
    monkeypatch.setattr(build.timm, "create_model", with_dropout)
    whole, stopped = make_run(root="whole"), make_run(root="stopped")
    train(whole, **quiet)
    send_signal_at_step(monkeypatch, 5)
    with pytest.raises(InterruptedRunError):
        train(stopped, **quiet)
    monkeypatch.undo()
    monkeypatch.setattr(build.timm, "create_model", with_dropout)
    train(stopped, resume=True, **quiet)
    assert_same_runs(whole, stopped)


def test_a_checkpoint_in_time_is_in_the_middle_of_an_epoch(make_run, quiet, monkeypatch):
    steps = []
    save = Session.save
    monkeypatch.setattr(Session, "save", lambda self: (steps.append(self.step), save(self)))
    train(make_run(), checkpoint_seconds=0, **quiet)
    assert steps == 3 * [1, 2, 3, 4, 0]


def send_signal_at_step(monkeypatch, step):
    """Interrupt the run while the learning rate of the step is asked for."""

    def schedule(*arguments):
        rate = learning_rate_schedule(*arguments)

        def rate_with_signal(now):
            if now == step:
                signal.raise_signal(signal.SIGINT)
            return rate(now)

        return rate_with_signal

    monkeypatch.setattr(loop, "learning_rate_schedule", schedule)


def kill_and_compare(folder, threads, moments):
    """Train a run whole and with kills, and assert that both end alike."""
    script = Path(__file__).with_name("kill_and_resume.py")
    command = [sys.executable, str(script), str(folder), str(threads), *moments]
    subprocess.run(command, check=True, timeout=300, env={**os.environ, "OMP_NUM_THREADS": "1"})
    whole, killed = (Run("run", recipe(), root=folder / name) for name in ("a", "b"))
    assert len(killed.metric_rows()) == 5
    assert_same_runs(whole, killed)
