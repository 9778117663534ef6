"""Tests of semaug.training.checkpoint."""

import resource

import pytest
import torch

from semaug.training.checkpoint import (
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


def test_files_that_would_execute_something_are_refused(tmp_path):
    path = tmp_path / "checkpoint.pt"
    torch.save({"format": 1, "evil": print}, path)
    with pytest.raises(ValueError, match="damaged file"):
        load_checkpoint(path)


def test_another_format_is_named(tmp_path):
    path = tmp_path / "checkpoint.pt"
    torch.save({"format": 99}, path)
    with pytest.raises(ValueError, match="expected a checkpoint of format 1, got 99"):
        load_checkpoint(path)


def test_a_full_disk_keeps_the_old_checkpoint(path):
    old = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(
            OSError, match=r"could not be written .* one before it, if any, is kept"
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
