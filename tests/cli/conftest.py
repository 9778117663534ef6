"""A command line to call."""

import sys

import pytest

from semaug import cli


@pytest.fixture
def semaug(monkeypatch, capsys, tmp_path):
    """Return a function that runs a command line: exit status, output, errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["semaug", *arguments])
        try:
            cli.main()
        except SystemExit as exit:
            status = exit.code
        else:
            status = 0
        output = capsys.readouterr()
        return status, output.out, output.err

    return run
