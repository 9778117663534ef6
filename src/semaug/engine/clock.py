"""How long a run takes: in all, for its steps, and what each process takes for itself."""

import time
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from semaug.engine.processes import Processes

T = TypeVar("T")


class Clock:
    """Seconds of a run, of its starts before this one too.

    Args:
        processes: Those that train together.
    """

    def __init__(self, processes: Processes) -> None:
        self.seconds = 0.0  # in all, tests included
        self.epoch_seconds = 0.0  # of the steps of this epoch
        self._processes = processes
        self._last_lap = self._test_begin = time.monotonic()
        self._own: dict[str, float] = {}  # what this process took for itself in an epoch, by name

    def start(self) -> None:
        """Begin to count."""
        self._last_lap = time.monotonic()

    def start_epoch(self) -> None:
        """Begin to count the steps of another epoch."""
        self.epoch_seconds, self._own = 0.0, {}

    def lap(self, *, of_steps: bool = False) -> None:
        """Add the seconds since the last call to the run, and to its epoch if of steps."""
        now = time.monotonic()
        lap, self._last_lap = now - self._last_lap, now
        self.seconds += lap
        self.epoch_seconds += lap if of_steps else 0

    def seconds_of_steps(self) -> float:
        """Return how long the steps of this epoch have taken until now."""
        return self.epoch_seconds + time.monotonic() - self._last_lap

    def reading(self, batches: Iterator[T]) -> Iterator[T]:
        """Yield the batches of an epoch, and note how long this process waits for them."""
        begin, waited = time.monotonic(), 0.0
        while True:
            before = time.monotonic()
            batch = next(batches, None)
            waited += time.monotonic() - before
            share = waited / max(time.monotonic() - begin, 1e-9)
            self._own["waiting_for_images_percent_by_process"] = 100 * share
            if batch is None:
                return
            yield batch

    def begin_test(self) -> None:
        """Begin to count what this process needs for a test."""
        self._test_begin = time.monotonic() - self._processes.seconds_waited

    def end_test(self) -> None:
        """Note what this process needed for a test, without waiting for the others."""
        end = time.monotonic() - self._processes.seconds_waited
        self._own["test_seconds_by_process"] = end - self._test_begin

    def by_process(self) -> dict[str, list[float]]:
        """Return what each of several processes took for itself in this epoch, by name.

        All must call this. It is for finding one that is slower than the others.
        """
        if self._processes.size == 1:
            return {}
        gather = self._processes.gather
        return {name: [round(x, 6) for x in gather(own)] for name, own in self._own.items()}

    def state_dict(self) -> dict[str, float]:
        """Return the seconds so far."""
        return {"epoch_seconds": self.epoch_seconds, "seconds": self.seconds}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from the seconds of a state.

        Raises:
            KeyError: If they are missing.
        """
        self.epoch_seconds, self.seconds = state["epoch_seconds"], state["seconds"]
