"""Tests of semaug.runs.finished."""

import shutil

import pytest

from semaug.errors import UserError
from semaug.runs.checkpoint import load_checkpoint, save_checkpoint
from semaug.runs.finished import load_finished_run, load_state
from tests.tiny import tiny_run, train_quietly


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return the folder of a finished run; nothing may change it."""
    run = tiny_run(tmp_path_factory.mktemp("runs"), "digits_resnet8")
    train_quietly(run)
    return run.folder


@pytest.fixture
def finished(trained, tmp_path):
    """Return the folder of a finished run that may be spoilt."""
    return shutil.copytree(trained, tmp_path / "digits_resnet8" / "seed0")


def test_a_finished_run_is_read_from_its_folder_alone(finished):
    run, summary = load_finished_run(finished)
    assert (run.folder, run.label, run.seed) == (finished, "digits_resnet8", 0)
    assert summary["finished"]


def test_a_run_that_is_not_finished_says_how_far_it_is(finished):
    (finished / "summary.json").unlink()
    with pytest.raises(UserError, match=r"seed0: expected a finished run, .* done 3 epochs; go on"):
        load_finished_run(finished)


def test_a_folder_without_a_run_is_named(tmp_path):
    with pytest.raises(UserError, match="expected the folder of a run, got one without summary"):
        load_finished_run(tmp_path)
    with pytest.raises(UserError, match="x: expected the folder of a run, got no such folder"):
        load_finished_run(tmp_path / "x")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "expected JSON, got a damaged file"),
        ('{"format": 2}', "expected the summary of a run; restore"),
        ('{"format": 1}', "expected a run folder of format 2, got 1; train the run in another"),
        ("{}", "expected a run folder of format 2, got an earlier one; train the run in another"),
    ],
)
def test_a_damaged_summary_is_named(finished, content, message):
    (finished / "summary.json").write_text(content)
    with pytest.raises(UserError, match=f"summary.json: {message}"):
        load_finished_run(finished)


def test_weights_are_those_of_the_epoch(finished):
    path = finished / "checkpoint.pt"
    state = load_checkpoint(path)
    assert load_state(path, 3).keys() == {"method", "optimizer"}
    save_checkpoint(path, state | {"epoch": 0})
    with pytest.raises(UserError, match="the weights after epoch 3, got those after epoch 0"):
        load_state(path, 3)
    save_checkpoint(path, state | {"format": 1})
    with pytest.raises(UserError, match=r"checkpoint\.pt: expected a run folder of format 2"):
        load_state(path, 3)
    path.write_bytes(b"PK")
    with pytest.raises(UserError, match="expected a checkpoint, got a damaged file"):
        load_state(path, 3)
    path.unlink()
    with pytest.raises(UserError, match="expected the weights of the run, got no such file"):
        load_state(path, 3)
