"""Tests of semaug.runs.files."""

import json

import pytest

from semaug.errors import UserError
from semaug.runs.files import (
    as_json,
    read_json,
    remove_partial_files,
    write_atomically,
    write_json,
)


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


def test_two_writers_of_one_file_do_not_disturb_each_other(tmp_path):
    path = tmp_path / "x"

    def write_while_another_writes(file):
        file.write(b"first")
        write_atomically(path, lambda other: other.write(b"second"))
        assert path.read_bytes() == b"second"

    write_atomically(path, write_while_another_writes)
    assert path.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [path]


def test_what_killed_processes_left_half_written_is_removed(tmp_path):
    def look(file):
        (partial,) = tmp_path.iterdir()
        (tmp_path / "left").write_text(partial.name)

    write_atomically(tmp_path / "x", look)
    (tmp_path / (tmp_path / "left").read_text()).touch()
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / (tmp_path / "left").read_text()).touch()
    remove_partial_files(tmp_path)
    assert {path.name for path in tmp_path.rglob("*")} == {"x", "left", "below"}


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\x00"])
def test_a_damaged_file_is_named_with_its_remedy(tmp_path, content):
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"x.json: expected JSON, got a damaged file .*; delete it"):
        read_json(path, "delete it")


@pytest.mark.parametrize("content", [b"{", b'{"x": NaN}', b"\xff", b"[" * 100_000, b"7" * 5000])
def test_what_is_no_json_is_named_with_a_remedy(tmp_path, content):
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"x.json: expected JSON, got a damaged file .*; delete it"):
        read_json(path, "delete it")
