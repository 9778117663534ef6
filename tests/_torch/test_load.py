"""Tests of semaug._torch.load."""

import argparse
from collections import OrderedDict, defaultdict

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


class CfgNode(dict):
    """Options as yacs keeps them, with a state beside the items."""

    def __init__(self, *items):
        raise AssertionError("nothing of the class runs")

    __setstate__ = __setitem__ = __init__


class Names(list):
    """A kind of list."""

    append = extend = CfgNode.__init__


@pytest.mark.parametrize("old_format", [False, True])
def test_kinds_of_dict_and_list_become_plain_ones(old_format, tmp_path):
    path = tmp_path / "a.pt"
    config, inner, one, two = (kind.__new__(kind) for kind in (CfgNode, CfgNode, Names, Names))
    config.__dict__["immutable"] = True
    dict.update(config, lr=0.1, inner=inner, weight=torch.arange(3))
    list.extend(one, ["x"])
    list.extend(two, ["y", "z"])
    counts = defaultdict(list, a=[1])
    saved = {"config": config, "names": [one, two], "counts": counts, "b": torch.arange(2)}
    torch.save(saved, path, _use_new_zipfile_serialization=not old_format)
    with pytest.raises(ValueError, match=r"^Unsupported global: GLOBAL .*CfgNode was not"):
        load_tensors(path)
    found = load_tensors(path, leave_objects=True)
    assert [type(x) for x in (found["config"], found["counts"])] == [OrderedDict] * 2
    assert (found["config"]["lr"], found["config"]["inner"]) == (0.1, {})
    assert found["counts"] == {"a": [1]}
    assert found["config"]["weight"].tolist() == [0, 1, 2]
    assert found["names"] == [["x"], ["y", "z"]]
    assert [type(x) for x in found["names"]] == [list] * 2
    assert found["b"].tolist() == [0, 1]


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
