"""Tests of semaug.cli.options."""

import inspect
from dataclasses import fields
from pathlib import Path
from types import NoneType, UnionType
from typing import get_args

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from semaug.cli.group import COMMANDS, load_command
from semaug.cli.options import changes_for, check_files, with_options
from semaug.cli.queue import Queue
from semaug.engine.options import TrainOptions
from semaug.errors import UserError
from semaug.recipes import make_run


@pytest.fixture
def calls():
    """Return the arguments of each call of the command of ``call``."""
    return []


@pytest.fixture
def call(calls):
    """Return a function that calls a command with options of two groups."""
    app = typer.Typer()

    @app.command()
    @with_options(leave_out=["checkpoint_seconds"])
    def command(name: str, seed: int = 0, *, queue: Queue, options: TrainOptions) -> None:
        calls.append((name, seed, queue, options))

    return lambda *arguments: CliRunner().invoke(app, arguments)


def test_a_command_is_given_its_options_in_groups(call, calls):
    many = ["--jobs", "2", "--cluster-option", "a=1", "--cluster-option", "b=2", "--threads", "3"]
    assert call("x", "--seed", "4", *many, "--data-root", "data").exit_code == 0
    queue = Queue(2, None, ["a=1", "b=2"])
    assert calls == [("x", 4, queue, TrainOptions(Path("data"), threads=3))]


def test_defaults_are_those_of_the_groups(call, calls):
    assert call("x").exit_code == 0
    assert calls == [("x", 0, Queue(), TrainOptions())]


@pytest.mark.parametrize("option", ["--checkpoint-seconds", "--options"])
def test_what_is_left_out_is_no_option(call, option):
    assert call("x", option, "1").exit_code == 2


def test_the_signature_shows_every_option():
    @with_options()
    def command(*, options: TrainOptions) -> None:
        """Do nothing."""

    names = [field.name for field in fields(TrainOptions)]
    assert list(inspect.signature(command).parameters) == names
    assert command.__doc__ == "Do nothing."


def test_each_recipe_takes_the_changes_that_it_has_options_for():
    arms = ["digits_resnet8", "digits_resnet8_isda"]
    changes = {"epochs": "3", "loss.strength": "0.25", "ramp": "constant"}
    assert changes_for(arms, changes) == [{"epochs": "3"}, changes]
    assert changes_for(arms, {"loss": "isda", "strength": "1"}) == 2 * [
        {"loss": "isda", "strength": "1"}
    ]


def test_what_stands_behind_a_name_comes_before_changes_for_all():
    arms = ["digits_resnet8_isda,loss.strength=0.25,epochs=9", "digits_resnet8_isda"]
    changes = {"strength": "1", "epochs": "50%", "lr": "0.2"}
    assert changes_for(arms, changes) == [{"lr": "0.2"}, changes]
    arms = ["digits_resnet8,loss=isda,strength=1", "digits_resnet8_isda"]
    changes = {"loss": "explicit", "num_samples": "3", "ramp": "constant"}
    assert changes_for(arms, changes) == [{"ramp": "constant"}, changes]


@pytest.mark.parametrize(
    ("arms", "changes", "message"),
    [
        (["", "_isda"], {"ai_weight": "1"}, "no field 'ai_weight'; add method=ait or method=dml"),
        (["", "_isda"], {"epoch": "1"}, "unknown field 'epoch'; did you mean 'epochs'?"),
        (["_isda", ",loss=isda,strength=1"], {"loss": "idsa"}, "unknown loss 'idsa'; did you mean"),
        (["_isda", ""], {"loss": "cross_entropy", "strength": "1"}, "no field 'strength'; add lo"),
        ([",epochs=1", ",epochs=2"], {"epochs": "3"}, "`epochs` has no effect; each recipe that"),
        (["", "_isda,strength=1"], {"strength": "3"}, "`strength` has no effect; each recipe that"),
    ],
)
def test_a_change_without_effect_is_refused(arms, changes, message):
    with pytest.raises(UserError) as error:
        changes_for([f"digits_resnet8{arm}" for arm in arms], changes)
    assert message in str(error.value)


def all_options():
    """Yield each command with each of its options, and what the option takes."""
    for name in COMMANDS:
        command = load_command(name)
        for one in getattr(command, "commands", {name: command}).values():
            parameters = inspect.signature(one.callback).parameters
            for option in one.params:
                if option.name in parameters:
                    taken, *_ = get_args(parameters[option.name].annotation)
                    kinds = {*get_args(taken)} if isinstance(taken, UnionType) else {taken}
                    yield f"{name} {one.name}", option, frozenset(kinds - {NoneType})


def test_an_option_of_several_commands_takes_the_same_in_all():
    taken = {}
    for command, option, kinds in all_options():
        for name in option.opts:
            if name.startswith("-"):
                taken.setdefault(name, {}).setdefault(kinds, []).append(command)
    assert {name: kinds for name, kinds in taken.items() if len(kinds) > 1} == {}
    assert [*taken["--images"]] == [{int}]
    assert len(taken) > 50


def test_each_option_has_help_that_is_a_sentence_or_a_noun():
    for command, option, _ in all_options():
        assert option.help[:1].isupper(), f"{command}: {option.name}: {option.help}"
        assert not option.help.endswith("."), f"{command}: {option.name}: {option.help}"


QUIET = Console(quiet=True)


def run_of(recipe, root):
    return make_run(recipe, {}, 0, False, root / "runs")


def test_missing_files_are_named_before_anything_is_trained(tmp_path):
    run = run_of("cifar10_resnet32", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no file .*cifar-10-batches-py/.*; fetch it with"):
        check_files([run], TrainOptions(data_root=tmp_path), QUIET)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("weights=lost.pth", r"network.weights: expected a file or a folder, got lost.pth"),
        ("freeze=backbon", r"unknown part 'backbon'; did you mean 'backbone'"),
        ("freeze=backbone,conv9", r"unknown part 'conv9'; did you mean 'conv1'"),
    ],
)
def test_what_a_network_lacks_is_found_before_anything_is_trained(change, message, tmp_path):
    good = run_of("digits_resnet8", tmp_path)
    bad = make_run("digits_resnet8", dict([change.split("=")]), 0, False, tmp_path / "runs")
    with pytest.raises((FileNotFoundError, UserError), match=message):
        check_files([good, bad], TrainOptions(data_root=tmp_path), QUIET)
    assert not list(tmp_path.iterdir())


def test_files_that_are_there_are_not_read(tmp_path):
    run = run_of("cifar10_resnet32", tmp_path)
    folder = tmp_path / run.recipe.data.files.folder
    folder.mkdir()
    for name in run.recipe.data.files.md5:
        (folder / name).touch()
    check_files([run], TrainOptions(data_root=tmp_path), QUIET)


def test_a_run_that_began_had_its_files(tmp_path):
    run = run_of("cifar10_resnet32", tmp_path)
    run.folder.mkdir(parents=True)
    run.checkpoint.touch()
    check_files([run, run_of("digits_resnet8", tmp_path)], TrainOptions(data_root=tmp_path), QUIET)
