"""Ctrl-C and SIGTERM as a wish to stop after the current step."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class InterruptedRunError(Exception):
    """A run stopped on demand, and can be resumed.

    Args:
        message: Where it stopped.
        signal_number: What stopped it.
    """

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.signal_number = signal_number


class Interrupt:
    """Remembers that a signal came; a second one ends the program at once."""

    def __init__(self) -> None:
        self.signal_number = 0

    def __bool__(self) -> bool:
        return self.signal_number != 0

    def receive(self, number: int, frame: FrameType | None) -> None:
        """Take a signal."""
        self.signal_number = number
        signal.signal(number, signal.default_int_handler)


@contextmanager
def watch_interrupts() -> Iterator[Interrupt]:
    """Collect SIGINT and SIGTERM instead of dying from them.

    Signals reach the main thread only, so in another thread this collects nothing.
    """
    interrupt = Interrupt()
    try:
        former = {number: signal.signal(number, interrupt.receive) for number in _SIGNALS}
    except ValueError:  # not in the main thread
        former = {}
    try:
        yield interrupt
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
