"""Tests of semaug.cli.completion."""

import subprocess
import sys

import pytest

from semaug.cli import completion
from semaug.cli.group import COMMANDS
from semaug.registry import losses


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Return a folder that keeps the names, as the first completion leaves it."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        assert completion._names() == completion._names()
    return folder


@pytest.fixture
def complete(semaug, cache, monkeypatch):
    """Return a function that completes the last of some words as bash asks for it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    monkeypatch.setenv("_SEMAUG_COMPLETE", "complete_bash")

    def words(*words):
        monkeypatch.setenv("COMP_WORDS", " ".join(["semaug", *words]))
        monkeypatch.setenv("COMP_CWORD", str(len(words)))
        return semaug()[1].split()

    return words


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["tra"], ["train", "transfer"]),
        (["train", "digits_res"], ["digits_resnet8", "digits_resnet8_isda"]),
        (["compare", "digits_resnet8", "digits_resnet8_"], ["digits_resnet8_isda"]),
        (["train", "digits_resnet8", "epo"], ["epochs="]),
        (["train", "digits_resnet8", "--threads", "1", "nest"], ["nesterov="]),
        (["compare", "a", "b", "nesterov=t"], ["nesterov=true"]),
        (["train", "digits_resnet8", "loss", "=", "isd"], ["isda"]),  # as bash parts words
        (["train", "digits_resnet8", "nesterov", "="], ["true", "false"]),
        (["search", "digits_resnet8", "report=l"], ["report=last"]),
        (["train", "digits_resnet8", "network=resnet8_"], ["network=resnet8_cifar"]),
        (["flops", "no_such"], []),
        (["flops", "resnet18d"], ["resnet18d"]),  # one of timm's
        (["table", "isda-8"], ["isda-8", "isda-8-small"]),
        (["list", "lo"], ["losses"]),
        (["data", "ch"], ["check"]),
        (["data", "check", "cifar100"], ["cifar100"]),
        (["train", "digits_resnet8", "--thr"], ["--threads"]),
        (["data", "check", "cifar10", "--data"], ["--data-root"]),
    ],
    ids=lambda words: " ".join(words),
)
def test_words_become_names(complete, words, wanted):
    assert complete(*words) == wanted


def test_values_of_a_choice_are_its_names(complete):
    assert complete("train", "digits_resnet8", "loss=") == [f"loss={one}" for one in losses.names()]


def test_every_command_is_known(cache, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    known = completion._names()
    assert known["options"].keys() == COMMANDS.keys()
    assert completion._ARGUMENTS.keys() <= COMMANDS.keys()
    assert {name for names in completion._ARGUMENTS.values() for name in names} <= known.keys()


def test_a_later_completion_imports_nothing_slow(cache, monkeypatch):
    code = (
        "import sys; from semaug.cli import main\n"
        "try: main()\n"
        "finally: print(*sys.modules.keys() & {'torch', 'timm', 'numpy', 'matplotlib'}, 'end')"
    )
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    monkeypatch.setenv("_SEMAUG_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "semaug train digits_resnet8 stren")
    monkeypatch.setenv("COMP_CWORD", "3")
    command = [sys.executable, "-c", "import sys; sys.argv[0] = 'semaug'\n" + code]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert output.split() == ["strength=", "end"]


def test_names_are_told_without_a_cache(complete, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null")
    assert complete("list", "lo") == ["losses"]
