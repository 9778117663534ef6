"""Tests of semaug.export.weights: what is read, and that nothing of it is executed."""

import os
import pickle
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from torch import nn

from semaug.export.weights import find_file, read_weights


class Evil:
    """Makes a folder when it is unpickled."""

    def __init__(self, function, path):
        self.call = function, (str(path),)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("function", [os.mkdir, eval, open, np.save])
@pytest.mark.parametrize("old_format", [False, True])
def test_files_of_torch_execute_nothing(function, old_format, tmp_path):
    written = tmp_path / "written"
    argument = f"__import__('os').mkdir({str(written)!r})" if function is eval else written
    path = tmp_path / "evil.pth"
    state = {"conv.weight": torch.ones(2), "evil": Evil(function, argument)}
    torch.save(state, path, _use_new_zipfile_serialization=not old_format)
    refused = function is os.mkdir  # torch itself never lets `os` in
    with (
        pytest.raises(ValueError, match="is damaged or would execute something")
        if refused
        else nullcontext()
    ):
        assert list(read_weights(path)) == ["conv.weight"]
    assert sorted(x.name for x in tmp_path.iterdir()) == ["evil.pth"]


@pytest.mark.parametrize("function", [os.mkdir, eval, open])
def test_pickles_of_arrays_execute_nothing(function, tmp_path):
    path = tmp_path / "evil.pkl"
    path.write_bytes(pickle.dumps({"w": np.ones(2), "evil": Evil(function, tmp_path / "written")}))
    with pytest.raises(ValueError, match="expected arrays, strings, numbers, lists and dicts only"):
        read_weights(path)
    assert [x.name for x in tmp_path.iterdir()] == ["evil.pkl"]


def test_the_attacks_would_work_on_a_reader_that_trusts(tmp_path):
    path = tmp_path / "evil.pkl"
    path.write_bytes(pickle.dumps(Evil(os.mkdir, tmp_path / "written")))
    with path.open("rb") as file:
        pickle.load(file)
    assert (tmp_path / "written").is_dir()


def test_tensors_and_arrays_at_any_depth_are_found(tmp_path):
    path = tmp_path / "a.pth"
    torch.save({"a": {"b.c": torch.ones(1), 0: nn.Parameter(torch.zeros(1))}, "step": 3}, path)
    found = read_weights(path)
    assert list(found) == ["a/b.c", "a/0"]
    assert not any(tensor.requires_grad for tensor in found.values())
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps({"m": {"x": np.arange(3.0)}, "names": np.array(["y"])}))
    assert {name: x.tolist() for name, x in read_weights(path).items()} == {"m/x": [0.0, 1.0, 2.0]}


@pytest.mark.parametrize("name", ["a.pth", "a.safetensors", "a.pkl"])
def test_damaged_files_are_named(name, tmp_path):
    (tmp_path / name).write_bytes(b"not weights at all")
    with pytest.raises(
        ValueError, match=rf"expected weights in .*{name}, got a file that is damaged .*: \S"
    ):
        read_weights(tmp_path / name)


def test_a_pickled_network_is_refused(tmp_path):
    torch.save(nn.Linear(2, 2), tmp_path / "a.pth")
    with pytest.raises(ValueError, match=r"got no tensors by name; save the state_dict\(\)"):
        read_weights(tmp_path / "a.pth")


def test_files_are_found_in_folders(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"a folder with checkpoint.pt, .*, got"):
        find_file(tmp_path)
    with pytest.raises(FileNotFoundError, match="expected a file of weights, got none"):
        find_file("nowhere.pth")
    for name in ("pytorch_model.bin", "model.safetensors", "checkpoint.pt"):
        (tmp_path / name).touch()
        assert find_file(tmp_path).name == name
    monkeypatch.setenv("HOME", str(tmp_path))
    assert find_file("~/model.safetensors") == tmp_path / "model.safetensors"
