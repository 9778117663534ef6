"""Tests of semaug.runs.record."""

import json

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from semaug.runs.record import Record
from tests.tiny import rows_of


def row(epoch, test_error):
    return {"epoch": epoch, "step": 4 * epoch, "train_loss": 1.0, "test_error": test_error}


@pytest.fixture
def run(make_run):
    run = make_run()
    run.folder.mkdir(parents=True)
    return run


def shown(run, name="test_error"):
    events = EventAccumulator(str(run.folder / "tensorboard")).Reload()
    return [(event.step, event.value) for event in events.Scalars(name)]


def test_rows_become_lines_and_events(run):
    with Record(run, []) as record:
        record.add(row(1, None))
        record.add(row(2, 50.0))
    assert [json.loads(line) for line in run.metrics.read_text().splitlines()] == [
        row(1, None),
        row(2, 50.0),
    ]
    assert shown(run) == [(2, 50.0)]


def test_going_on_drops_rows_after_the_checkpoint_and_torn_ones(run):
    with Record(run, []) as record:
        record.add(row(1, 60.0))
        record.add(row(2, 50.0))
    with run.metrics.open("a") as file:
        file.write('{"epoch": 3, "st')
    with Record(run, [row(1, 60.0)]) as record:
        record.add(row(2, 55.0))
    assert rows_of(run) == [row(1, 60.0), row(2, 55.0)]
    assert shown(run) == [(1, 60.0), (2, 55.0)]


def test_classes_become_events_alone(run):
    with Record(run, [row(1, 50.0)]) as record:
        record.add_classes({"cat": 40.0, "dog": 60.0}, epoch=1)
    assert shown(run, "by_class/dog") == [(1, 60.0)]
    assert rows_of(run) == [row(1, 50.0)]
