"""Tests of semaug.runs.run."""

import fcntl
import hashlib
import json
import os
import pickle
import subprocess
import sys
from dataclasses import replace

import pytest

from semaug.errors import UserError
from semaug.recipe.overrides import override
from semaug.recipes import find_recipe
from semaug.runs.run import Run, RunIsBusyError, check_format, label, name_of_seeds
from tests.runs.test_read import SUMMARY


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
    run = replace(run, root=run.root / "runs")
    with run.lock():
        assert run.folder.exists()
    assert not run.root.exists()
    run.root.mkdir()
    with run.lock():
        pass
    assert not [*run.root.iterdir()]
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


def test_damaged_summary_is_named(run):
    run.folder.mkdir(parents=True)
    (run.folder / "summary.json").write_text("{")
    with pytest.raises(ValueError, match=r"summary.json: expected JSON, got a damaged file"):
        run.summary()


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
    (run.folder / "summary.json").write_text(json.dumps(SUMMARY))
    assert run.state() == "was finished before"


@pytest.mark.parametrize("content", [{}, {"format": 1}, {"format": 3}, []])
def test_files_of_other_versions_are_refused(run, content):
    path = run.folder / "summary.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(content))
    found = content["format"] if content else "an earlier one"
    message = f"summary.json: expected a run folder of format 2, got {found}; .*--runs"
    for read in (run.summary, lambda: check_format(path, content)):
        with pytest.raises(UserError, match=message):
            read()


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


def test_a_folder_that_cannot_be_made_is_named(make_run):
    run = make_run()
    run.folder.parent.parent.mkdir(parents=True, exist_ok=True)
    run.folder.parent.write_text("a file")
    with pytest.raises(OSError, match="isda: cannot be written: File exists"), run.lock():
        pass


CENTER = '''
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Center:
    """Pull features to the center of their class."""

    pull: float = 0.1
'''


def test_another_process_gets_the_run_with_code_from_a_file(run, tmp_path):
    """A process that knows neither the file nor the classes that stand for networks of timm."""
    file = tmp_path / "pickled_center.py"
    file.write_text(CENTER)
    changes = {"loss": f"{file}:Center", "pull": "0.5", "network": "resnet10t"}
    run = replace(run, recipe=override(run.recipe, changes), overrides=changes, quick=True)
    assert pickle.loads(pickle.dumps(run)) == run
    program = (
        "import pickle, sys; run = pickle.load(sys.stdin.buffer); "
        "print(run.recipe.loss, run.recipe.network.model, run.seed, run.folder)"
    )
    command = [sys.executable, "-c", program]
    result = subprocess.run(command, input=pickle.dumps(run), capture_output=True, check=True)
    assert result.stdout.decode().strip() == f"Center(pull=0.5) resnet10t 3 {run.folder}"


def test_a_run_tells_the_digest_of_its_code(run, tmp_path):
    assert run.plain()["code"] == run.code() == {}
    file = tmp_path / "told_center.py"
    file.write_text(CENTER)
    ours = replace(run, recipe=override(run.recipe, {"loss": f"{file}:Center"}))
    digest = hashlib.sha256(CENTER.encode()).hexdigest()
    assert ours.code() == {"told_center.py": {"place": str(file), "sha256": digest}}
    assert ours.plain()["recipe"]["loss"] == {"name": "told_center.py:Center", "pull": 0.1}
