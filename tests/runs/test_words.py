"""Tests of semaug.runs.words."""

import io
import os

from rich.console import Console

from semaug.runs.words import say


def test_a_line_with_a_name_that_is_no_utf_8_can_be_written():
    file = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
    name = os.fsdecode(b"caf\xe9")
    say(Console(file=file, width=8), f"café {name} [red] in one line")
    assert file.buffer.getvalue().decode() == "café caf\\udce9 [red] in one line\n"


def test_a_name_between_colons_is_no_emoji():
    file = io.StringIO()
    say(Console(file=file), "mine.py:x: expected a loss")
    assert file.getvalue() == "mine.py:x: expected a loss\n"
