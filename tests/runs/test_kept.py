"""Tests of semaug.runs.kept."""

import numpy as np
import pytest
import torch

from semaug.errors import UserError
from semaug.runs.kept import Kept, read_kept, write_kept

ARRAYS = {"ids": torch.tensor([1, 2]), "pixels": torch.zeros(1, 2, 2, 3, dtype=torch.uint8)}


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "tested.npz"
    write_kept(path, Kept("some kind", ("a/1.jpg", "caf\\xe9"), ("cat", "\u732b"), ARRAYS))
    return path


def test_what_is_written_is_read(path):
    kept = read_kept(path)
    assert (kept.kind, kept.names) == ("some kind", ("a/1.jpg", "caf\\xe9"))
    assert kept.classes == ("cat", "\u732b")
    assert kept.arrays.keys() == ARRAYS.keys()
    assert kept.arrays["ids"].tolist() == [1, 2]
    assert kept.arrays["ids"].dtype == torch.int32
    assert torch.equal(kept.arrays["pixels"], ARRAYS["pixels"])
    assert [file.name for file in path.parent.iterdir()] == ["tested.npz"]


def about(text):
    return {"about": np.frombuffer(text.encode(), np.uint8)}


@pytest.mark.parametrize(
    "arrays",
    [
        {},
        about("{"),
        about('{"format": 2}'),
        about('{"format": 2, "kind": 3, "names": [], "classes": []}'),
        about('{"format": 2, "kind": "a", "names": [3], "classes": []}'),
        {"about": np.array({"code": print}, dtype=object)},
    ],
)
def test_a_file_of_another_shape_is_named_and_nothing_in_it_is_executed(path, arrays):
    np.savez(path, **arrays)
    with pytest.raises(UserError, match=r"tested.npz: expected what a run keeps .* damaged file"):
        read_kept(path)


def test_a_file_of_another_format_is_named(path):
    np.savez(path, **about('{"format": 1}'))
    with pytest.raises(UserError, match="expected a run folder of format 2, got 1"):
        read_kept(path)


def test_damaged_bytes_are_named(path):
    content = path.read_bytes()
    for damaged in (b"", b"no zip", content[:-30], content[: len(content) // 2]):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match="damaged file"):
            read_kept(path)
    for place in range(0, len(content), 7):  # a byte that no longer fits may be one of no meaning
        path.write_bytes(content[:place] + b"\xff" + content[place + 1 :])
        try:
            read_kept(path)
        except UserError:
            continue
