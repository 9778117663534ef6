"""Tests of semaug.runs.run."""

import fcntl
import os
import sys

import pytest

from semaug.errors import UserError
from semaug.recipes import find_recipe
from semaug.runs.run import Run, RunIsBusyError, all_options, label, name_of_seeds


@pytest.fixture
def run(tmp_path):
    return Run("digits_resnet8", find_recipe("digits_resnet8"), seed=3, root=tmp_path)


def test_folder_tells_recipe_changes_and_seed(tmp_path):
    run = Run("a", find_recipe("digits_resnet8"), 3, {"lr": "0.2", "epochs": "5"}, True, tmp_path)
    assert run.folder == tmp_path / "a,quick,epochs=5,lr=0.2" / "seed3"


def test_labels_fit_into_file_names():
    first = label("a", {"network": "x/" + 200 * "y"}, quick=False)
    second = label("a", {"network": "x/" + 201 * "y"}, quick=False)
    assert len(first) == len(second) == 110
    assert first != second
    assert "/" not in first


def test_a_folder_is_for_one_process_at_a_time(run):
    busy = pytest.raises(RunIsBusyError, match="another process is training")
    with run.lock(), busy, run.lock():
        pass
    with run.lock():  # free again
        pass


def test_a_child_does_not_hold_the_lock_of_its_parent(run):
    """Else the folder of a killed run stays locked while processes that decode live on."""
    begun, alive = os.pipe(), os.pipe()
    with run.lock():
        child = os.fork()
        if child == 0:
            os.close(alive[1])
            os.write(begun[1], b".")
            os.read(alive[0], 1)  # until the parent closes its end
            os._exit(0)
        os.close(alive[0])
        os.read(begun[0], 1)
        with pytest.raises(RunIsBusyError), run.lock():  # still that of the parent
            pass
    try:
        with run.lock():
            pass
    finally:
        os.close(alive[1])
        os.waitpid(child, 0)


def test_a_run_that_never_began_leaves_no_folder(run):
    with run.lock():
        assert run.folder.exists()
    assert not run.folder.parent.exists()
    with run.lock():
        (run.folder / "recipe.json").touch()
    assert (run.folder / "lock").exists()


def test_a_lock_that_its_holder_removed_is_taken_anew(run, monkeypatch):
    """Else two processes could each hold one: that of a removed file, and that of its successor."""
    flock, calls = fcntl.flock, []

    def remove_first(file, operation):
        calls.append(file)
        if len(calls) == 1:
            (run.folder / "lock").unlink()
            run.folder.rmdir()
        flock(file, operation)

    monkeypatch.setattr("fcntl.flock", remove_first)
    with run.lock():
        busy = pytest.raises(RunIsBusyError)
        with busy, run.lock():
            pass
    assert len(calls) == 3


def test_many_seeds_make_a_short_name():
    assert name_of_seeds(range(5, 8)) == "seeds5,6,7"
    assert name_of_seeds(range(20)) == f"seeds{','.join(map(str, range(20)))}"
    assert name_of_seeds(range(7, 1007)) == "seeds7-1006"
    huge = [name_of_seeds([10**20 + 2 * k + last for k in range(60)]) for last in (0, 1)]
    assert huge[0] != huge[1]
    assert all(len(name) == 110 for name in huge)


def test_options_of_early_recipes_are_those_of_today():
    recipe = find_recipe("cifar10_5k_resnet20").as_plain_data()
    early = {name: value for name, value in recipe.items() if name not in ("method", "clip_norm")}
    subset = {name: value for name, value in early.pop("subset").items() if value is not None}
    assert all_options(early | subset) == all_options(recipe)
    assert all_options(recipe)["subset.train_per_class"] == subset["train_per_class"]


def test_damaged_summary_is_named(run):
    run.folder.mkdir(parents=True)
    (run.folder / "summary.json").write_text("{")
    with pytest.raises(ValueError, match=r"summary.json: expected JSON, got a damaged file"):
        run.summary()


def test_damaged_rows_are_named(run):
    run.folder.mkdir(parents=True)
    run.metrics.write_text('{"epoch": 1}\n{"epo')
    with pytest.raises(UserError, match=r"metrics.jsonl: expected JSON, .* delete summary.json"):
        run.metric_rows()


def test_a_system_without_file_locks_is_told_so(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "fcntl", None)
    with pytest.raises(UserError, match="on Windows train inside WSL"), run.lock():
        pass


def test_states_follow_each_other(run):
    assert run.state() == "starts"
    run.folder.mkdir(parents=True)
    run.checkpoint.touch()
    assert run.state() == "continues"
    run.write_divergence(1, 2)
    assert run.state() == "diverged before"
    (run.folder / "summary.json").write_text("{}")
    assert run.state() == "was finished before"


def test_a_file_system_without_locks_is_named(make_run, monkeypatch):
    def no_locks(file, operation):
        raise OSError(37, "No locks available")

    monkeypatch.setattr("fcntl.flock", no_locks)
    with (
        pytest.raises(
            UserError, match=r"its file system has no locks .*No locks available.*--runs"
        ),
        make_run().lock(),
    ):
        pass
