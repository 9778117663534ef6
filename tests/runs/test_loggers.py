"""Tests of semaug.runs.loggers."""

import csv
import json

import pytest
import torch

from semaug.errors import UserError
from semaug.runs import loggers
from semaug.runs.loggers import make_loggers
from semaug.runs.record import Record
from tests.tiny import rows_of, train_quietly

SERVICE = """
LOG = []

class Service:
    \"""Keeps what it is told, as a web site would.\"""

    def __init__(self, name, run_id=None, missing=False):
        self.version = run_id or "new-id"
        LOG.append((name, run_id))

    def log_hyperparams(self, params):
        LOG.append(params["loss"])

    def log_metrics(self, metrics, step):
        LOG.append((step, metrics))

    def finalize(self, status):
        LOG.append(status)

class Failing(Service):
    def __init__(self):
        raise ModuleNotFoundError("No module named 'mlflow'")

class Refusing(Service):
    def log_metrics(self, metrics, step):
        raise ConnectionError("no network")

def of_run(run):
    return Service(run.label)

number = 5
"""


def row(epoch):
    return {"epoch": epoch, "step": 4 * epoch, "train_loss": 1.0 / epoch, "test_error": None}


def logged(epoch):
    return epoch, {"train_loss": 1.0 / epoch}


@pytest.fixture
def run(make_run, forget, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_file.py").write_text(SERVICE)
    run = make_run()
    run.folder.mkdir(parents=True)
    return run


def log_of(run, name, rows, *added):
    """Let a logger see a start of a run, and return what the file of the test kept."""
    made = make_loggers(name, run)
    with Record(run, rows, made) as record:
        for one in added:
            record.add(one)
    log = vars(__import__("sys").modules["my_file"])["LOG"]
    found = [*log]
    log.clear()
    return found


def test_csv_has_every_row_once_after_a_run_went_on(run):
    for before, added in (([], [row(1), row(2)]), ([row(1)], [row(2), row(3)])):
        with Record(run, before, make_loggers(["csv"], run)) as record:
            for one in added:
                record.add(one)
            record.add_classes({"cat": 40.0}, 3)
    with (run.folder / "loggers" / "csv" / "metrics.csv").open() as file:
        rows = [(int(one["step"]), one["train_loss"]) for one in csv.DictReader(file)]
    assert [step for step, loss in rows if loss] == [1, 2, 3]


def test_a_service_goes_on_with_what_it_has(run):
    title = f"{run.label} seed 0"
    first = log_of(run, "my_file.py:Service", [], row(1), row(2))
    assert first == [(title, None), "isda", logged(1), logged(2), "success"]
    second = log_of(run, "my_file.py:Service", [row(1)], row(2), row(3))
    assert second == [(title, "new-id"), logged(3), "success"]


def test_what_has_no_id_gets_all_rows_again(run):
    for _ in range(2):
        log = log_of(run, "my_file.py:of_run", [row(1)], row(2))
        assert log == [(run.label, None), "isda", logged(1), logged(2), "success"]


def test_a_run_that_stops_says_so(run):
    made = make_loggers("my_file.py:of_run", run)
    with pytest.raises(KeyboardInterrupt), Record(run, [], made):
        raise KeyboardInterrupt
    assert made[0]._logger.__class__.__module__ == "my_file"
    assert log_of(run, "my_file.py:of_run", [])[2] == "failed"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("csvv", "train: unknown logger 'csvv'; did you mean 'csv'"),
        ("my_file.py:Failing", "logger my_file.py:Failing: No module named 'mlflow'"),
        ("my_file.py:number", "logger my_file.py:number: expected a logger of Lightning, got 5"),
        ("my_file.py:other", "unknown name 'other'"),
        (object(), "logger object: expected a logger of Lightning"),
    ],
)
def test_what_is_no_logger_ends_a_run_before_it_begins(run, monkeypatch, name, message):
    monkeypatch.setattr(loggers, "_HOMES", ("lightning_fabric",))
    run.folder.rmdir()
    with pytest.raises(UserError, match=message):
        train_quietly(run, logger=name)
    assert not run.has_started


def test_a_logger_that_fails_is_named(run):
    with pytest.raises(UserError, match=r"logger my_file\.py:Refusing: no network"):
        log_of(run, "my_file.py:Refusing", [], row(1))


class Drawing:
    """Draws numbers, which must not be those of the run."""

    def __init__(self):
        self.steps = []

    def log_metrics(self, metrics, step):
        torch.rand(3)
        self.steps.append(step)

    def finalize(self, status):
        torch.rand(3)


def test_a_logger_changes_neither_the_run_nor_its_result(make_run):
    changes = ("digits_resnet8", "epochs=2", "block_drop_rate=0.5")
    plain, logged = make_run(*changes), make_run(*changes, root="others")
    train_quietly(plain)
    drawing = Drawing()
    train_quietly(logged, logger=["csv", drawing])
    losses = [[one["train_loss"] for one in rows_of(run)] for run in (plain, logged)]
    assert losses[0] == losses[1]
    assert drawing.steps[:2] == [1, 2]
    files = [json.loads((run.folder / "recipe.json").read_text()) for run in (plain, logged)]
    assert files[0] == files[1]
