"""``--runs=~/runs``: a shell does not expand the tilde there, nor does a launcher."""

from pathlib import Path

import pytest

import semaug as package
from semaug.cli.group import COMMANDS, Command, load_command
from tests.cli.conftest import semaug  # noqa: F401


@pytest.fixture
def home(monkeypatch, tmp_path):
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_runs_lie_at_home(semaug, home, tmp_path):  # noqa: F811
    train = ["train", "digits_resnet8", "--quick", "--device", "cpu"]
    assert semaug(*train, "--runs=~/runs")[0] == 0
    run = "~/runs/digits_resnet8,quick/seed0"
    assert semaug("evaluate", run, "--device", "cpu")[0] == 0
    assert semaug("report", "~/runs", "--output=~/page.html")[0] == 0
    show = ["show", "digits_resnet8", "--images", "1", "--epochs", "1", "--output=~/seen.png"]
    assert semaug(*show)[0] == 0
    assert {path.name for path in home.iterdir()} == {"runs", "page.html", "seen.png"}
    assert [path.name for path in tmp_path.iterdir()] == ["home"]
    assert package.load(run, device="cpu").folder == Path(run).expanduser()


def test_every_command_expands_its_paths():
    for name in COMMANDS:
        command = load_command(name)
        for leaf in getattr(command, "commands", {name: command}).values():
            assert isinstance(leaf, Command), name


def test_what_is_no_home_stays(semaug, tmp_path):  # noqa: F811
    status, _, error = semaug("evaluate", "~nobody-of-this-name/runs")
    assert (status, error) == (
        2,
        "~nobody-of-this-name/runs: expected the folder of a run, got no such folder\n",
    )
