"""Tests of semaug.transfer.result."""

import json

import numpy as np
import pytest

from semaug.errors import UserError
from semaug.runs.checkpoint import load_checkpoint, save_checkpoint
from semaug.transfer import TEST_SETS, measure, measure_transfer, result, transfer_accuracies


def test_what_was_found_is_read_again(run, monkeypatch):
    assert transfer_accuracies(run) is None
    found = measure_transfer(run, device="cpu")
    assert list(found.accuracies) == list(TEST_SETS)
    monkeypatch.setattr(measure, "load_trained", None)
    assert measure_transfer(run) == found
    assert transfer_accuracies(run) == found.accuracies
    content = json.loads((run / "transfer.json").read_text())
    assert list(content["test_sets"]) == ["seed=0,hue=0.0"]
    (run / "checkpoint.pt").unlink()  # somebody needs the room
    assert transfer_accuracies(run) == found.accuracies


def test_each_seed_and_hue_is_kept(run):
    found = measure_transfer(run, device="cpu")
    other = measure_transfer(run, device="cpu", seed=1, hue=0.1)
    assert other != found
    assert measure_transfer(run, device="cpu") == found
    assert len(json.loads((run / "transfer.json").read_text())["test_sets"]) == 2
    assert transfer_accuracies(run) == found.accuracies


def test_other_weights_are_measured_anew(run):
    found = measure_transfer(run, device="cpu")
    state = load_checkpoint(run / "checkpoint.pt")
    for tensor in state["method"].values():
        tensor.zero_()
    save_checkpoint(run / "checkpoint.pt", {k: v for k, v in state.items() if k != "format"})
    assert transfer_accuracies(run) is None
    assert measure_transfer(run, device="cpu") != found


@pytest.mark.parametrize("content", ["{", "{}", "[]", '{"test_sets": []}', "damaged settings"])
def test_a_damaged_file_is_named(run, content):
    if content == "damaged settings":
        measure_transfer(run, device="cpu")
        whole = json.loads((run / "transfer.json").read_text())
        del whole["test_sets"]["seed=0,hue=0.0"]["accuracies"]
        content = json.dumps(whole)
    (run / "transfer.json").write_text(content)
    with pytest.raises(UserError, match=r"transfer\.json: expected .* delete it, and"):
        measure_transfer(run, device="cpu")


def test_a_disk_that_takes_nothing_leaves_nothing_half(run, monkeypatch):
    def full(path, value):
        raise OSError("no space left")

    monkeypatch.setattr(result, "write_json", full)
    with pytest.raises(OSError, match="no space left"):
        measure_transfer(run, device="cpu")
    assert not (run / "transfer.json").exists()


def test_files_of_an_early_version_have_the_first_network_alone(pair, monkeypatch):
    found = measure_transfer(pair, device="cpu")
    path = pair / "transfer.json"
    content = json.loads(path.read_text())
    (kept,) = content["test_sets"].values()
    (other,) = kept.pop("others")
    assert other["accuracies"] == found.others[0].accuracies
    assert list(kept) == ["accuracies", "divergences", "distances", "images"]
    path.write_text(json.dumps(content))
    assert transfer_accuracies(pair) == found.accuracies  # nothing is missing for a table
    assert measure_transfer(pair, device="cpu") == found  # but the other network is
    monkeypatch.setattr(measure, "load_trained", None)
    assert measure_transfer(pair) == found


def test_corruptions_of_an_early_version_are_measured_anew_too(pair, tmp_path):
    folder = tmp_path / "digits-C"
    folder.mkdir()
    np.save(folder / "labels.npy", np.zeros(5, dtype=np.uint8))
    np.save(folder / "dark.npy", np.zeros((5, 8, 8, 3), dtype=np.uint8))
    found = measure_transfer(pair, device="cpu", corruptions=folder)
    path = pair / "transfer.json"
    content = json.loads(path.read_text())
    del content["corrupted"][str(folder.resolve())]["others"]
    path.write_text(json.dumps(content))
    assert measure_transfer(pair, device="cpu", corruptions=folder) == found
    assert "others" in json.loads(path.read_text())["corrupted"][str(folder.resolve())]


def test_one_network_is_kept_as_early_versions_kept_it(run, monkeypatch):
    found = measure_transfer(run, device="cpu")
    assert found.networks == (found,)
    (kept,) = json.loads((run / "transfer.json").read_text())["test_sets"].values()
    assert list(kept) == ["accuracies", "divergences", "distances", "images"]
    monkeypatch.setattr(measure, "load_trained", None)
    (run / "summary.json").write_text("[]")
    with pytest.raises(UserError, match=r"summary\.json: expected the summary of a run"):
        measure_transfer(run)
    (run / "summary.json").unlink()  # what is known needs none
    assert measure_transfer(run) == found
