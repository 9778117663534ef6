"""Tests of semaug.runs.checkpoint."""

import resource

import pytest
import torch

from semaug.errors import UserError
from semaug.runs.checkpoint import (
    load_checkpoint,
    random_state,
    restore_random_state,
    save_checkpoint,
)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, {"weights": torch.arange(1000.0), "rows": [{"epoch": 1}]})
    return path


def test_tensors_and_plain_data_come_back(path):
    state = load_checkpoint(path)
    assert torch.equal(state["weights"], torch.arange(1000.0))
    assert state["rows"] == [{"epoch": 1}]


@pytest.mark.parametrize("kept", [0, 10, 0.5, 0.99])
def test_truncated_files_are_refused(path, kept):
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content)) if kept < 1 else kept])
    with pytest.raises(ValueError, match="expected a checkpoint, got a damaged file"):
        load_checkpoint(path)


def test_a_single_wrong_byte_is_noticed(path):
    content = bytearray(path.read_bytes())
    content[content.index(torch.arange(1000.0).numpy().tobytes()) + 400] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"damaged file \(wrong sum of"):
        load_checkpoint(path)


def test_damage_anywhere_is_an_error_or_changes_nothing(tmp_path):
    """In names and sizes of the archive too, where zipfile and torch raise what they like."""
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, {"weights": torch.arange(4)})
    whole, messages = path.read_bytes(), []
    for place in range(0, len(whole), 3):
        content = bytearray(whole)
        content[place] ^= 0x80
        path.write_bytes(content)
        try:
            state = load_checkpoint(path)
        except UserError as error:
            messages.append(str(error))
        else:
            assert state["weights"].tolist() == [0, 1, 2, 3]
    assert len(messages) > 100
    assert all("checkpoint.pt: expected a checkpoint" in message for message in messages)


def test_a_checkpoint_that_is_not_there_is_no_damage(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_checkpoint(tmp_path / "checkpoint.pt")


def test_files_that_would_execute_something_are_refused(tmp_path):
    path = tmp_path / "checkpoint.pt"
    torch.save({"format": 2, "evil": print}, path)
    with pytest.raises(ValueError, match="damaged file"):
        load_checkpoint(path)


def test_another_format_is_named(tmp_path):
    path = tmp_path / "checkpoint.pt"
    early = "an earlier one"
    for content, found in (({"format": 99}, "99"), ({"epoch": 3}, early), (torch.zeros(1), early)):
        torch.save(content, path)
        message = f"checkpoint.pt: expected a run folder of format 2, got {found}; train the run in"
        with pytest.raises(UserError, match=message):
            load_checkpoint(path)


def test_a_full_disk_keeps_the_old_checkpoint(path):
    old = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(
            OSError, match=r"cannot be written: File too large; .* needs 0.4 MB; the one before it"
        ):
            save_checkpoint(path, {"weights": torch.zeros(100_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == old
    assert list(path.parent.iterdir()) == [path]


def test_random_state_comes_back():
    state = random_state(torch.device("cpu"))
    first = torch.rand(3)
    restore_random_state(state, torch.device("cpu"))
    assert torch.equal(torch.rand(3), first)
