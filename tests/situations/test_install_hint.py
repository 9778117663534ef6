"""With torch alone the command says how to install the rest, by a command that works."""

import shlex
import subprocess
import sys
from pathlib import Path

from semaug import errors
from semaug.errors import how_to_install


def test_the_hint_names_this_checkout(monkeypatch, tmp_path):
    program, verb, wanted = shlex.split(how_to_install("train"))
    assert (program, verb, wanted[-7:]) == ("pip", "install", "[train]")
    assert 'name = "semaug"' in Path(wanted[:-7], "pyproject.toml").read_text()
    monkeypatch.setattr(errors, "__file__", str(tmp_path / "site" / "semaug" / "errors.py"))
    assert how_to_install("cluster") == 'pip install ".[cluster]" in a checkout of semaug'


def test_a_missing_command_line_is_told():
    code = "import sys; sys.modules['typer'] = None; import semaug.cli"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert told.returncode == 1
    assert told.stderr.count("\n") == 1
    assert how_to_install("train") in told.stderr
