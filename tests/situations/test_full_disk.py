"""The disk is full: the message names the file and the reason of the system."""

from pathlib import Path

import pytest
import torch

from semaug.recipes import make_run
from semaug.runs.checkpoint import load_checkpoint, save_checkpoint
from semaug.runs.files import write_bytes, write_json, write_text
from semaug.runs.folder import write_start
from semaug.runs.read import Measure
from semaug.runs.record import Record

FULL = Path("/dev/full")
pytestmark = pytest.mark.skipif(not FULL.exists(), reason="needs the full device of Linux")


@pytest.fixture
def disk_is_full(monkeypatch):
    """Return a function after which every file that is opened for writing lies on a full disk."""
    open_file = Path.open

    def open_full(path, mode="r", *arguments, **options):
        return open_file(FULL if {*mode} & {*"wa"} else path, mode, *arguments, **options)

    return lambda: monkeypatch.setattr(Path, "open", open_full)


@pytest.mark.parametrize("numbers", [1, 1_000_000])
def test_a_checkpoint_says_how_much_it_needs_and_the_one_before_it_is_kept(
    tmp_path, disk_is_full, numbers
):
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, {"epoch": 1})
    disk_is_full()
    state = {"epoch": 2, "objects": {"method": {"weight": torch.zeros(numbers)}}}
    message = (
        rf"checkpoint\.pt: cannot be written: No space left on device; the checkpoint needs "
        rf"{4e-6 * numbers:.1f} MB; the one before it, if any, is kept, and --resume goes on"
    )
    with pytest.raises(OSError, match=message):
        save_checkpoint(path, state)
    assert load_checkpoint(path)["epoch"] == 1
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("write", [write_json, write_text])
def test_results_are_named(tmp_path, disk_is_full, write):
    disk_is_full()
    with pytest.raises(OSError, match=r"x\.json: cannot be written: No space left on device"):
        write(tmp_path / "x.json", "results")
    assert not list(tmp_path.iterdir())


def test_copies_of_code_are_whole_or_absent(tmp_path, disk_is_full, monkeypatch):
    file = tmp_path / "my_recipes.py"
    file.write_text(
        "from semaug.recipes import find_recipe\n\nmine = find_recipe('digits_resnet8')\n"
    )
    run = make_run(f"{file}:mine", {}, 0, False, tmp_path / "runs")
    error = Measure("error", "%", "lower")
    run.folder.mkdir(parents=True)
    copy = run.folder / "code" / "my_recipes.py"

    def fail(path, content):
        disk_is_full()
        write_bytes(path, content)

    monkeypatch.setattr("semaug.runs.folder.write_bytes", fail)
    with pytest.raises(
        OSError, match=r"my_recipes\.py: cannot be written: No space left on device"
    ):
        write_start(run, torch.device("cpu"), [error])
    assert not copy.exists()
    monkeypatch.undo()
    write_start(run, torch.device("cpu"), [error])
    assert copy.read_bytes() == file.read_bytes()


def test_rows_of_metrics_are_named(tmp_path, disk_is_full, monkeypatch):
    run = make_run("digits_resnet8", {}, 0, False, tmp_path)
    run.folder.mkdir(parents=True)
    with Record(run, []) as record:
        disk_is_full()
        with pytest.raises(OSError, match=r"metrics\.jsonl: cannot be written: No space left on"):
            record.add({"epoch": 1})
        monkeypatch.undo()

        def fail(*arguments):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(record._writer, "add_scalar", fail)
        with pytest.raises(OSError, match=r"tensorboard: cannot be written: No space left on"):
            record.add({"epoch": 1, "lr": 0.1})


def test_mistakes_of_ours_are_told_as_they_are(tmp_path):
    with pytest.raises(AttributeError):
        write_text(tmp_path / "x", 3)
