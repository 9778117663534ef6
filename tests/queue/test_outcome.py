"""Tests of semaug.queue.outcome."""

import io
import itertools
import signal
from dataclasses import replace

import pytest
from rich.console import Console

from semaug.engine.interrupt import InterruptedRunError
from semaug.engine.options import TrainOptions
from semaug.errors import UserError
from semaug.queue import outcome as module
from semaug.queue.outcome import (
    Outcome,
    finished_before,
    log_of,
    open_log,
    summaries_of,
    tail,
    train_one,
)
from semaug.recipe.overrides import override, split_overrides
from semaug.recipes import find_recipe
from semaug.runs.run import Run
from tests.data.image_files import write_image

OPTIONS = TrainOptions(device="cpu", threads=1)
QUIET = Console(quiet=True)


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
        ([failed, diverged], "tries them again, but for those that diverged$"),
        ([diverged], "delete diverged.json$"),
    ):
        with pytest.raises(UserError, match=end):
            summaries_of(outcomes)


def test_the_end_of_a_log(make_run):
    run = make_run()
    assert Outcome(run, error="it never began").last_lines() == []
    with open_log(run) as log:
        log.write("".join(f"line {n}\n" for n in range(9999)))
    assert Outcome(run, error="x").last_lines(2) == ["line 9997", "line 9998"]
    assert len(tail(log_of(run))) < 9999


def test_a_finished_run_is_read_and_not_trained(train_tiny, monkeypatch):
    run = train_tiny()
    monkeypatch.setattr(module, "train", None)
    assert finished_before(run, OPTIONS) == Outcome(run, run.summary())
    with run.lock():  # of a process that looks at the run as well
        assert finished_before(run, OPTIONS).error is None


def test_a_run_that_is_not_finished_has_no_outcome(make_run):
    assert finished_before(make_run(), OPTIONS) is None


def test_a_finished_run_of_another_recipe_is_a_failure(train_tiny):
    run = train_tiny()
    other = replace(run, recipe=replace(run.recipe, batch_size=16))
    assert "batch_size is 32 there and 16 now" in finished_before(other, OPTIONS).error


def test_a_damaged_summary_is_a_failure(train_tiny):
    run = train_tiny()
    (run.folder / "summary.json").write_text("{")
    assert "expected JSON, got a damaged file" in finished_before(run, OPTIONS).error


def test_a_finished_run_of_other_images_of_the_user_is_a_failure(tmp_path):
    for root, kind in itertools.product("ab", ("cat", "dog")):
        for part, number in itertools.product(("train", "val"), range(3)):
            write_image(tmp_path / root / part / kind / f"{root}{number}.png", 18, 18)
    changes = ["network=resnet8_cifar", "image_size=16", "batch_size=4", "epochs=1"]
    recipe = find_recipe("folder_resnet18")
    recipe = override(recipe, split_overrides([*changes, "warmup_epochs=0"]))
    run = Run("folder_resnet18", recipe, root=tmp_path / "runs")
    options = replace(OPTIONS, data_root=tmp_path / "a", workers=0)
    assert train_one(run, options, QUIET).error is None
    assert finished_before(run, options).error is None
    elsewhere = replace(options, data_root=tmp_path / "b")
    assert "the run began with other images" in finished_before(run, elsewhere).error


def test_a_run_that_diverged_is_not_trained_again(make_run, monkeypatch):
    run = make_run("digits_resnet8", "lr=1e9")
    first = train_one(run, OPTIONS, QUIET)
    assert first.diverged
    assert f"to train this one again nevertheless, delete {run.diverged}" in first.error
    assert first.last_lines() == [first.error]
    monkeypatch.setattr(module, "train", None)
    again = finished_before(run, OPTIONS)
    assert again.diverged
    assert "in step 4 of epoch 1" in again.error
    run.diverged.unlink()
    assert finished_before(run, OPTIONS) is None


def test_a_run_shows_its_progress_on_the_console(make_run):
    run, output = make_run(), io.StringIO()
    outcome = train_one(run, OPTIONS, Console(file=output))
    assert outcome == Outcome(run, run.summary())
    assert "epoch 3/3" in output.getvalue()
    assert not log_of(run).exists()


def test_a_run_that_another_process_is_training_has_no_outcome(make_run):
    run = make_run()
    with run.lock():
        assert train_one(run, OPTIONS, QUIET) is None


@pytest.mark.parametrize(
    ("error", "said", "diverged"),
    [
        (FloatingPointError("got nan"), "got nan", True),
        (OSError("no space"), "no space", False),
        (KeyError("weight"), "KeyError: 'weight'", False),
    ],
)
def test_a_failure_is_an_outcome(make_run, monkeypatch, error, said, diverged):
    def fail(*arguments, **options):
        raise error

    monkeypatch.setattr(module, "train", fail)
    outcome = train_one(make_run(), OPTIONS, QUIET)
    assert (outcome.error, outcome.diverged) == (said, diverged)
    assert said in outcome.last_lines(1)[0]


def test_a_failure_whose_log_cannot_be_written_is_an_outcome(make_run):
    run = make_run("digits_resnet8", "network=vit_tiny_patch16_224")
    log_of(run).mkdir(parents=True)
    assert "cannot take data=digits" in train_one(run, OPTIONS, QUIET).error


def test_a_stop_is_no_outcome(make_run, monkeypatch):
    def stop(*arguments, **options):
        raise InterruptedRunError("stopped in epoch 2", signal.SIGTERM)

    monkeypatch.setattr(module, "train", stop)
    with pytest.raises(InterruptedRunError, match="stopped in epoch 2"):
        train_one(make_run(), OPTIONS, QUIET)
