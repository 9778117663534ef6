"""Tests of semaug.training.files."""

import json

import pytest

from semaug.training.files import as_json, write_atomically, write_json


def test_writes_readable_json(tmp_path):
    write_json(tmp_path / "x.json", {"a": [1, None]})
    assert json.loads((tmp_path / "x.json").read_text()) == {"a": [1, None]}


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "x"
    path.write_text("old")

    def fail_half_way(file):
        file.write(b"ne")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, fail_half_way)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_json_is_strict():
    with pytest.raises(ValueError, match="not JSON compliant"):
        as_json(float("nan"))
