"""Tests of semaug.transfer.result."""

import json

import pytest

from semaug.errors import UserError
from semaug.runs.checkpoint import load_checkpoint, save_checkpoint
from semaug.transfer import TEST_SETS, measure, measure_transfer, result, transfer_accuracies
from tests.transfer.conftest import CPU


def test_what_was_found_is_read_again(run, monkeypatch):
    assert transfer_accuracies(run) is None
    found = measure_transfer(run, CPU)
    assert list(found[""].accuracies) == list(TEST_SETS)
    monkeypatch.setattr(measure, "load_trained", None)
    assert measure_transfer(run) == found
    assert transfer_accuracies(run) == found[""].accuracies
    content = json.loads((run / "transfer.json").read_text())
    assert list(content["test_sets"]) == ["crop=1/8,seed=0,hue=0.0"]
    (run / "checkpoint.pt").unlink()  # somebody needs the room
    assert transfer_accuracies(run) == found[""].accuracies


def test_each_seed_and_hue_is_kept(run):
    found = measure_transfer(run, CPU)
    other = measure_transfer(run, CPU, seed=1, hue=0.1)
    assert other != found
    assert measure_transfer(run, CPU) == found
    assert len(json.loads((run / "transfer.json").read_text())["test_sets"]) == 2
    assert transfer_accuracies(run) == found[""].accuracies


def test_other_weights_are_measured_anew(run):
    found = measure_transfer(run, CPU)
    state = load_checkpoint(run / "checkpoint.pt")
    for tensor in state["objects"]["method"].values():
        tensor.zero_()
    save_checkpoint(run / "checkpoint.pt", {k: v for k, v in state.items() if k != "format"})
    assert transfer_accuracies(run) is None
    assert measure_transfer(run, CPU) != found


@pytest.mark.parametrize("content", ["{", "{}", "[]", '{"test_sets": []}', "damaged settings"])
def test_a_damaged_file_is_named(run, content):
    if content == "damaged settings":
        measure_transfer(run, CPU)
        whole = json.loads((run / "transfer.json").read_text())
        del whole["test_sets"]["crop=1/8,seed=0,hue=0.0"]["predictors"][""]["accuracies"]
        content = json.dumps(whole)
    (run / "transfer.json").write_text(content)
    with pytest.raises(UserError, match=r"transfer\.json: expected .* delete it, and"):
        measure_transfer(run, CPU)


def test_a_disk_that_takes_nothing_leaves_nothing_half(run, monkeypatch):
    def full(path, value):
        raise OSError("no space left")

    monkeypatch.setattr(result, "write_json", full)
    with pytest.raises(OSError, match="no space left"):
        measure_transfer(run, CPU)
    assert not (run / "transfer.json").exists()


def test_predictors_are_kept_by_their_names(pair, monkeypatch):
    found = measure_transfer(pair, CPU)
    content = json.loads((pair / "transfer.json").read_text())
    (kept,) = content["test_sets"].values()
    assert list(kept) == ["images", "predictors"]
    assert list(kept["predictors"]) == ["", "network 2"]
    assert kept["predictors"]["network 2"]["accuracies"] == found["network 2"].accuracies
    assert transfer_accuracies(pair) == found[""].accuracies
    monkeypatch.setattr(measure, "load_trained", None)
    assert measure_transfer(pair) == found
