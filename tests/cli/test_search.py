"""Tests of semaug.cli.search."""

import json
import re

import pytest
import typer
from typer.testing import CliRunner

from semaug.cli.search import search_command
from semaug.errors import UserError
from semaug.queue.queue import train_runs

TINY = ["epochs=1", "train_per_class=10", "test_images=60", "batch_size=32", "--device", "cpu"]

app = typer.Typer()
app.command()(search_command)


@pytest.fixture
def trained(monkeypatch):
    """Collect the runs that are trained."""
    runs = []

    def spy(some, *arguments):
        runs.extend(some)
        return train_runs(some, *arguments)

    monkeypatch.setattr("semaug.cli.queue.train_runs", spy)
    return runs


@pytest.fixture
def run_search(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")

    def run(*arguments):
        result = CliRunner().invoke(app, list(arguments))
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.exit_code, result.output

    return run


def test_prints_the_table_the_choice_and_the_test_error(run_search, trained, tmp_path):
    command = [
        "digits_resnet8_isda",
        "strength=0.10,0.5",
        *TINY,
        "--hold-out",
        "50",
        "--seeds",
        "2",
    ]
    status, output = run_search(*command)
    assert status == 0
    written = json.loads(next(tmp_path.glob("runs/search/*/seeds0,1/search.json")).read_text())
    for row in written["candidates"]:
        error = row["held_out"]
        assert f"{error['mean']:.2f} ± {error['std']:.2f}" in output
    assert [row["values"]["strength"] for row in written["candidates"]] == ["0.1", "0.5"]
    assert f"chosen: strength={written['chosen']['strength']}" in output
    error = written["final"]["test"]
    assert f"test error {error['mean']:.2f} ± {error['std']:.2f} %" in output
    subsets = [(run.recipe.subset.hold_out, run.recipe.subset.test_images) for run in trained]
    assert subsets == [(50, None)] * 4 + [(None, 60)] * 2

    before = sorted(path.stat().st_mtime_ns for path in tmp_path.glob("runs/*/*/summary.json"))
    status, again = run_search(*command)
    assert status == 0
    assert again == output[output.index("Held-out error in percent") :]
    after = sorted(path.stat().st_mtime_ns for path in tmp_path.glob("runs/*/*/summary.json"))
    assert after == before  # nothing was trained twice


def test_quick_searches_have_few_images(run_search, trained, tmp_path):
    command = ["digits_resnet8", "lr=0.05,0.1", "network=resnet8_cifar", "--hold-out", "5000"]
    status, _ = run_search(*command, "--quick", "--device", "cpu")
    assert status == 0
    assert all(",quick" in run.label for run in trained)


def test_many_seeds_fit_into_the_name_of_a_folder(run_search, monkeypatch, tmp_path):
    folders = []

    def search(candidates, train_all, folder):
        folders.append(folder)
        raise UserError("far enough")

    monkeypatch.setattr("semaug.cli.search.search", search)
    with pytest.raises(UserError, match="far enough"):
        run_search("digits_resnet8", "lr=0.05,0.1", "--hold-out", "50", "--seeds", "200")
    (folder,) = folders
    assert folder.name == "seeds0-199"
    assert folder.parent.name == "digits_resnet8,hold_out=50,lr=0.05,0.1"


def test_the_highest_accuracy_is_chosen_and_dotted_names_are_the_same(run_search, tmp_path):
    command = ["digits_resnet8", "metrics=accuracy", "epochs=4", "train_per_class=20"]
    command += ["test_images=60", "batch_size=16", "--device", "cpu", "--hold-out", "50"]
    status, output = run_search(*command, "optimizer.lr=1e-9,0.1", "subset.corrupt_percent=0")
    assert status == 0
    (path,) = tmp_path.glob("runs/search/*/seeds0/search.json")
    written = json.loads(path.read_text())
    found = [row["held_out"]["mean"] for row in written["candidates"]]
    assert found[0] < found[1]
    assert written["chosen"] == {"optimizer.lr": "0.1"}
    assert written["metric"]["better"] == "higher"
    assert "Held-out accuracy in percent (higher is better), 1 seed each" in output
    assert "chosen: optimizer.lr=0.1" in output
    assert f"test accuracy {written['final']['test']['mean']:.2f} %" in output

    again = run_search(*command, "lr=0.000000001,1e-1", "corrupt_percent=0")[1]
    assert again.startswith("Held-out accuracy")  # nothing is trained, and the folder is the same
    assert "chosen: lr=0.1" in again
    assert list(tmp_path.glob("runs/search/*/seeds0/search.json")) == [path]


def test_test_images_are_limited_at_the_end_alone_however_that_is_given(run_search, trained):
    command = ["digits_resnet8", "lr=0.1,0.2", *TINY, "--hold-out", "50"]
    command[command.index("test_images=60")] = "subset.test_images=30"
    assert run_search(*command)[0] == 0
    assert [run.recipe.subset.test_images for run in trained] == [None, None, 30]


def test_all_combinations_are_tried_and_lists_stay_whole(run_search, trained):
    fields = ["schedule=step", "milestones_percent=40,80", "lr=0.05,0.1", "weight_decay=0,0.0001"]
    assert run_search("digits_resnet8", *fields, *TINY, "--hold-out", "50")[0] == 0
    recipes = [run.recipe for run in trained[:-1]]
    grid = [(recipe.optimizer.lr, recipe.optimizer.weight_decay) for recipe in recipes]
    assert grid == [(0.05, 0.0), (0.05, 0.0001), (0.1, 0.0), (0.1, 0.0001)]
    assert {run.recipe.schedule.milestones_percent for run in trained} == {(40.0, 80.0)}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["strenght=0.1,0.5"], "unknown field 'strenght'; did you mean 'strength'?"),
        (["strength=0.5", "lr=0.1"], "expected a field with several values, .* got strength=0.5 l"),
        (["strength=0.1,-1"], "expected `strength` >= 0"),
        (["strength=0.1,large"], "expected `strength` to be a number, got 'large'"),
        (["strength=0.1,,1"], "expected values of `strength` with commas between, got '0.1,,1'"),
        (["strength=0.5,0.50"], "expected each value once, got strength=0.5 twice"),
        (["strength=0.1,1", "seed=1"], "search: expected no `seed`"),
        (["strength=0.1,1", "hold_out=50"], "search: expected no `hold_out`; choose with --hold"),
        (["strength=0.1,1", "subset.hold_out=50"], "search: expected no `hold_out`; choose with"),
        (["train_per_class=10,20"], "expected one value of `train_per_class`, got 10,20; results"),
        (["subset.subset_seed=0,1"], "expected one value of `subset.subset_seed`, got 0,1; res"),
    ],
)
def test_mistakes_are_found_before_anything_is_trained(run_search, tmp_path, arguments, message):
    with pytest.raises(UserError, match=message):
        run_search("digits_resnet8_isda", *arguments, "--hold-out", "50")
    assert not list(tmp_path.iterdir())


def test_too_few_images_end_the_search(run_search, tmp_path):
    arguments = ["digits_resnet8_isda", "strength=0.1,1", "train_per_class=5", "--hold-out", "50"]
    with pytest.raises(UserError, match=r"2 of 2 runs failed, .* expected `hold_out` < 50, .* got"):
        run_search(*arguments)
    assert not list(tmp_path.rglob("*.json"))


def test_the_number_of_images_held_out_is_needed(run_search):
    status, output = run_search("digits_resnet8_isda", "strength=0.1,0.5")
    assert status == 2
    assert "Missing option" in re.sub(r"\x1b\[[0-9;]*m", "", output)


def test_is_no_command_for_torchrun(run_search, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match="search: expected one process, got several"):
        run_search("digits_resnet8_isda", "strength=0.1,0.5", "--hold-out", "50")
