"""Tests of semaug.cli.group."""

import itertools
import subprocess
import sys

import pytest

from semaug.cli.group import COMMANDS, load_command

HELPS = [[name] for name in COMMANDS] + [["data", name] for name in ("list", "fetch", "check")]


def test_help_tells_every_command(semaug):
    status, output, _ = semaug("--help")
    assert status == 0
    words = " ".join(output.replace("│", " ").split())
    for name, text in COMMANDS.items():
        assert f"{name} {text}" in words


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command_begins_as_in_the_list(name):
    assert load_command(name).help.split("\n")[0] == COMMANDS[name]


@pytest.mark.parametrize(
    "arguments", [[], ["--help"], ["-h"], ["--version"], ["trian"], ["--sed"]], ids=" ".join
)
def test_the_list_of_commands_imports_none_of_them(arguments):
    code = (
        "import sys; from semaug.cli import main; sys.argv[1:] = {!r}\n"
        "try: main()\n"
        "finally: print(*sys.modules.keys() & {{'torch', 'matplotlib', 'timm', 'numpy'}}, 'end')"
    )
    command = [sys.executable, "-c", code.format(arguments)]
    output = subprocess.run(command, capture_output=True, text=True).stdout
    assert output.splitlines()[-1].split() == ["end"]


@pytest.mark.parametrize("width", [70, 80])
@pytest.mark.parametrize("command", HELPS, ids=" ".join)
def test_help_breaks_lines_where_the_terminal_ends(semaug, monkeypatch, command, width):
    monkeypatch.setenv("COLUMNS", str(width))
    status, output, _ = semaug(*command, "--help")
    assert status == 0
    lines = [line.strip() for line in output.partition("╭")[0].splitlines()]
    lines = lines[lines.index("", 2) :]  # the usage stands before
    assert len(lines) > 2
    assert max(map(len, lines)) <= width - 2
    for line, following in itertools.pairwise(lines):
        if line and following:
            assert len(line) + 1 + len(following.split()[0]) > width - 2


@pytest.mark.parametrize("command", HELPS, ids=" ".join)
def test_examples_have_lines_of_their_own(semaug, monkeypatch, command):
    monkeypatch.setenv("COLUMNS", "80")
    found = load_command(command[0])
    for name in command[1:]:
        found = found.commands[name]
    examples = [line for line in found.help.split("\n\n") if line.startswith("semaug ")]
    lines = [line.strip() for line in semaug(*command, "--help")[1].splitlines()]
    assert {line for line in examples if len(line) <= 78} <= set(lines)
    assert examples or "list" in command or command == ["data"]


def test_a_typing_mistake_is_answered_with_the_nearest_command(semaug):
    status, _, error = semaug("trian")
    assert status == 2
    assert "Did you mean 'train'" in error


def test_a_field_that_is_written_as_an_option_is_explained(semaug):
    status, _, error = semaug("train", "digits_resnet8", "--lr", "0.1")
    assert status == 2
    assert "No such option: --lr; fields of the recipe have no dashes, such as epochs=20" in error
    assert "fields" not in semaug("evaluate", "runs", "--lr", "0.1")[2]


@pytest.mark.parametrize("command", [[], ["train"], ["data"]], ids=" ".join)
def test_help_cuts_no_name_in_a_narrow_terminal(semaug, monkeypatch, command):
    monkeypatch.setenv("COLUMNS", "40")
    status, output, _ = semaug(*command, "--help")
    assert status == 0
    assert "…" not in output
    assert "bold]" not in output
    assert max(map(len, output.splitlines())) <= 40
    names = {"": "--install-completion\n", "train": "--checkpoint-seconds", "data": "\nfetch\n"}
    assert names["".join(command)] in output
