"""Compare what runs leave behind, but for the time and the memory they took."""

import torch

from semaug.runs.checkpoint import load_checkpoint
from semaug.runs.kept import read_kept
from tests.tiny import rows_of

MEASURED = ("seconds", "images_per_second", "epoch_seconds", "peak_memory", "peak_memory_mib")
MEASURED += ("waiting_for_images_percent_by_process", "test_seconds_by_process")


def without_times(value):
    """Drop measured seconds, and memory, which no two runs share."""
    if isinstance(value, dict):
        return {key: without_times(item) for key, item in value.items() if key not in MEASURED}
    if isinstance(value, list):
        return [without_times(item) for item in value]
    return value


def assert_same(first, second):
    """Assert that nested containers hold the same, tensors bit for bit."""
    if isinstance(first, torch.Tensor):
        assert torch.equal(first, second)
    elif isinstance(first, dict):
        assert first.keys() == second.keys()
        for key in first:
            assert_same(first[key], second[key])
    elif isinstance(first, list | tuple):
        assert len(first) == len(second)
        for pair in zip(first, second, strict=True):
            assert_same(*pair)
    else:
        assert first == second


def kept_by(run):
    """Return what a run keeps of single test images, None for nothing."""
    path = run.folder / "tested.npz"
    return vars(read_kept(path)) if path.exists() else None


def assert_same_runs(first, second):
    """Assert that two finished runs have the same checkpoints and rows, and keep the same."""
    assert_same(kept_by(first), kept_by(second))
    assert_same(*(without_times(load_checkpoint(run.checkpoint)) for run in (first, second)))
    assert without_times(rows_of(first)) == without_times(rows_of(second))
