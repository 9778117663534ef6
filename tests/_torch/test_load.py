"""Tests of semaug._torch.load."""

import argparse

import pytest
import torch

from semaug._torch.load import load_tensors


@pytest.mark.parametrize("old_format", [False, True])
def test_tensors_and_plain_data_come_back(old_format, tmp_path):
    path = tmp_path / "a.pt"
    saved = {"a": torch.arange(3), "b": [1, "two", None]}
    torch.save(saved, path, _use_new_zipfile_serialization=not old_format)
    for leave_objects in (False, True):
        found = load_tensors(path, leave_objects=leave_objects)
        assert found["a"].tolist() == [0, 1, 2]
        assert found["b"] == [1, "two", None]


@pytest.mark.parametrize("old_format", [False, True])
def test_objects_are_refused_or_left_out(old_format, tmp_path):
    path = tmp_path / "a.pt"
    saved = {"options": argparse.Namespace(lr=0.1), "a": torch.arange(3)}
    torch.save(saved, path, _use_new_zipfile_serialization=not old_format)
    refused = "^Unsupported global: GLOBAL argparse.Namespace was not an allowed global by default$"
    with pytest.raises(ValueError, match=refused):
        load_tensors(path)
    found = load_tensors(path, leave_objects=True)
    assert found["a"].tolist() == [0, 1, 2]
    assert not hasattr(found["options"], "lr")
    with pytest.raises(ValueError, match=refused):  # nothing stays allowed
        load_tensors(path)


def test_damage_is_said_shortly(tmp_path):
    path = tmp_path / "a.pt"
    torch.save({"a": torch.arange(1000)}, path)
    content = bytearray(path.read_bytes())
    content[content.index(torch.arange(1000).numpy().tobytes()) + 8] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"^wrong sum of "):
        load_tensors(path, leave_objects=True)
    path.write_bytes(b"")
    with pytest.raises(ValueError, match=r"^Ran out of input|EOF"):
        load_tensors(path)
    with pytest.raises(FileNotFoundError):
        load_tensors(tmp_path / "b.pt")
