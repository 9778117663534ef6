"""Tests of semaug.engine.interrupt."""

import signal
import threading

import pytest

from semaug.engine.interrupt import watch_interrupts


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_remembered(number):
    with watch_interrupts() as interrupt:
        assert not interrupt
        signal.raise_signal(number)
        assert interrupt
        assert interrupt.signal_number == number


def test_a_second_signal_ends_the_program():
    with watch_interrupts() as interrupt:
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert interrupt


def test_handlers_come_back():
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with watch_interrupts():
        signal.raise_signal(signal.SIGTERM)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_other_threads_watch_nothing():
    states = []

    def watch():
        with watch_interrupts() as interrupt:
            states.append(bool(interrupt))

    thread = threading.Thread(target=watch)
    thread.start()
    thread.join()
    assert states == [False]
