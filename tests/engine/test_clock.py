"""Tests of semaug.engine.clock."""

from types import SimpleNamespace

import pytest

from semaug.engine import clock
from semaug.engine.clock import Clock


@pytest.fixture
def time(monkeypatch):
    """Return a time that passes only when it is told to."""
    time = SimpleNamespace(now=100.0)
    monkeypatch.setattr(clock, "time", SimpleNamespace(monotonic=lambda: time.now))
    return time


def processes(size=2):
    return SimpleNamespace(size=size, seconds_waited=0.0, gather=lambda own: [own, 2 * own])


def test_laps_add_up_and_those_of_steps_are_the_epoch(time):
    own = Clock(processes())
    time.now += 50
    own.start()
    time.now += 3
    own.lap()
    time.now += 4
    own.lap(of_steps=True)
    time.now += 1
    assert (own.seconds, own.epoch_seconds, own.seconds_of_steps()) == (7, 4, 5)
    own.start_epoch()
    assert (own.seconds, own.epoch_seconds) == (7, 0)


def test_a_run_goes_on_from_the_seconds_of_its_checkpoint(time):
    own, other = Clock(processes()), Clock(processes())
    time.now += 6
    own.lap(of_steps=True)
    other.load_state_dict(own.state_dict())
    assert (other.seconds, other.epoch_seconds) == (6, 6)


def test_each_process_says_what_it_waited_for_images_and_tested(time):
    several = processes()
    own = Clock(several)

    def batches():
        for batch in range(2):
            time.now += 1
            yield batch

    for _ in own.reading(batches()):
        time.now += 3
    own.begin_test()
    time.now += 10
    several.seconds_waited += 4  # for the others
    own.end_test()
    assert own.by_process() == {
        "waiting_for_images_percent_by_process": [25, 50],
        "test_seconds_by_process": [6, 12],
    }
    own.start_epoch()
    assert own.by_process() == {}


def test_a_single_process_has_none_to_compare_with(time):
    own = Clock(processes(size=1))
    own.begin_test()
    own.end_test()
    assert own.by_process() == {}
