"""Processes that decode files, batch by batch, in the order in which they are asked.

Built on torch's ``DataLoader``, which brings processes, shared memory and pinned memory. What
it would do with data sets, samplers and random numbers is not used: a request says which files
are wanted and what was drawn for them, and the answer is their pixels.
"""

import multiprocessing
import os
import signal
import sys
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Thread
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from semaug.data.decode import decode_file, decode_pair
from semaug.data.errors import LoadError, explain_worker_death, killed
from semaug.data.image_set import FilePaths, MaskFiles
from semaug.data.views import View

_AHEAD = 2  # batches that each process works on, or holds ready


class Request(NamedTuple):
    """Which files are wanted.

    Arrays, not tensors: those would each travel to a process through shared memory.
    """

    positions: np.ndarray  # (n,) int64, at least one
    draws: np.ndarray  # (n, number of draws of the view) float32
    wanted: int  # how many of these; 0 asks for an empty batch of the right shape


def requests(order: Tensor, draws: Tensor, pieces: Iterable[slice]) -> Iterator[Request]:
    """Ask for pieces of an order, on the CPU; some may be empty, the first place is in one."""
    for piece in pieces:
        count = piece.stop - piece.start
        # An empty batch gets its shape from a neighbor; rank 0 always has an image.
        shown = piece if count else slice(piece.start - 1, piece.start)
        yield Request(order[shown].numpy(), draws[shown].numpy(), count)


class Answers(Dataset[Any], ABC):
    """What a process needs to answer a request."""

    def __getitem__(self, request: Any) -> Any:
        """Answer, with an error as a value: raised here, torch would wrap it."""
        try:
            return self.read(request)
        except (ValueError, OSError) as error:
            return error

    @abstractmethod
    def read(self, request: Any) -> Any:
        """Answer, a tensor or what else torch sends from process to process.

        Raises:
            OSError: If a file cannot be read.
            ValueError: If a file is damaged.
        """


class Reader:
    """Answers requests in the order in which they are asked.

    Args:
        files: What answers them.
        workers: Processes; with 0, everything happens in this one. They start with the first
            request and stay until :meth:`close`.
        pin_memory: Whether tensors lie in memory that a GPU copies from without waiting.
    """

    def __init__(self, files: Answers, *, workers: int, pin_memory: bool) -> None:
        self._files, self._requests = files, _Requests()
        self._workers, self._pin_memory = workers, pin_memory
        self._loader: DataLoader[Any] | None = None
        self._results: Any = None  # an iterator of torch
        self._round = 0

    def read(self, requests: Iterable[Any], *, keep_errors: bool = False) -> Iterator[Any]:
        """Yield the answer to each request.

        A second call makes what is left of the first one useless.

        Args:
            requests: Which files are wanted.
            keep_errors: Whether what is wrong with a file is yielded in place of an answer, and the
                other requests go on.

        Raises:
            LoadError: If a process was killed, or another call or :meth:`close` came between.
            OSError: If a file cannot be read.
            ValueError: If a file is damaged, or pictures differ in size; the message names it.
        """
        if self._workers == 0:
            yield from map(self._files.__getitem__ if keep_errors else self._files.read, requests)
            return
        self._start(requests)
        current = self._round
        while True:
            if current != self._round:
                raise LoadError(
                    f"{type(self).__name__}: expected one use at a time, got another or `close`"
                )
            # No variable here holds what `close` lets go of, even if this generator lives on.
            result = self._next()
            if result is None:
                return
            if isinstance(result, Exception) and not keep_errors:
                raise result
            yield result

    def close(self) -> None:
        """End the processes."""
        self._round += 1
        results, self._results, self._loader = self._results, None, None
        if results is not None:
            # Torch does this once nobody holds the iterator, but the traceback of an error may.
            results._shutdown_workers()

    def _start(self, requests: Iterable[Any]) -> None:
        """Hand requests to the processes, which are started if they are not all alive."""
        if self._count_dead():
            self.close()
        self._round += 1
        self._requests.now = requests
        if self._loader is None:
            self._loader = DataLoader(
                self._files,
                batch_size=None,  # a request is a batch
                sampler=self._requests,
                num_workers=self._workers,
                pin_memory=self._pin_memory,
                collate_fn=_return_unchanged,
                worker_init_fn=_leave_signals_to_the_parent,
                multiprocessing_context=_process_context(),
                generator=torch.Generator(),  # or it would draw from the global one
                prefetch_factor=_AHEAD,
                persistent_workers=True,
            )
        with self._explain_deaths(), _signals_blocked(), warnings.catch_warnings():
            # Python warns of forks beside threads. The children decode, and take no lock of ours.
            warnings.filterwarnings("ignore", ".*fork.*", DeprecationWarning)
            self._results = iter(self._loader)

    def _next(self) -> Any:
        """Return the next answer, or None after the last one."""
        with self._explain_deaths():
            return None if self._results is None else next(self._results, None)

    @contextmanager
    def _explain_deaths(self) -> Iterator[None]:
        """Say what to do when a process has died.

        Torch reports that as RuntimeError. But what a process had sent before may be out of reach
        then, and be noticed first, as OSError or EOFError.
        """
        try:
            yield
        except (RuntimeError, OSError, EOFError) as error:
            explained = explain_worker_death(error)
            if explained is None and (dead := self._count_dead()):
                explained = killed(f"{dead} of {self._workers} ended ({error})")
            if explained is None:
                raise
            self.close()
            raise explained from error

    def _count_dead(self) -> int:
        """Count processes that have ended, though nobody has told them to."""
        started = [] if self._results is None else self._results._workers
        return sum(not process.is_alive() for process in started)


class FileReader(Reader):
    """Reads, decodes and views files.

    Its answer to a :class:`Request` is ``(wanted, 3, H, W)`` uint8; with them come masks
    ``(wanted, h, w)`` uint8, if there are any.

    Args:
        paths: All files.
        view: Makes pictures of one size; None if the files are of one size already.
        workers: Of :class:`Reader`, as ``pin_memory``.
        pin_memory: See there.
        masks: Of the files; None reads none.
    """

    def __init__(
        self,
        paths: FilePaths,
        view: View | None,
        *,
        workers: int,
        pin_memory: bool,
        masks: MaskFiles | None = None,
    ) -> None:
        super().__init__(_Files(paths, view, masks), workers=workers, pin_memory=pin_memory)


@dataclass(frozen=True)
class _Files(Answers):
    """Files, what is made of them, and their masks."""

    paths: FilePaths
    view: View | None
    masks: MaskFiles | None = None

    def read(self, request: Request) -> Any:
        pictures: list[Tensor] = []
        masks: list[Tensor] = []
        for position, draws in zip(
            request.positions.tolist(), torch.from_numpy(request.draws), strict=True
        ):
            path = self.paths[position]
            if self.masks is None:
                image = decode_file(path)
            else:
                image, mask = decode_pair(path, self.masks, position)
                if self.view is not None:
                    draws = self.view.choose_draws(mask, draws)
                    mask = self.view.move(mask, draws)
                masks.append(mask)
            picture = image if self.view is None else self.view(image, draws)
            if pictures and picture.shape != pictures[0].shape:
                raise ValueError(
                    f"Loader: expected pictures of one shape, got {tuple(pictures[0].shape)} and, "
                    f"for {str(path)!r}, {tuple(picture.shape)}; a `view` would make them equal"
                )
            pictures.append(picture)
        # In a process of its own, this stacks straight into shared memory.
        found = [default_collate(own)[: request.wanted] for own in (pictures, masks) if own]
        return found[0] if self.masks is None else tuple(found)


class _Requests:
    """A sampler of torch that hands out what is wanted now."""

    def __init__(self) -> None:
        self.now: Iterable[Any] = ()

    def __iter__(self) -> Iterator[Any]:
        return iter(self.now)


def _return_unchanged(answer: Any) -> Any:
    """Return an answer; torch would turn tuples into lists."""
    return answer


def _process_context() -> Any:
    """Fork where torch does by default: it is quick, and shares the paths without copying."""
    return multiprocessing.get_context("fork" if sys.platform == "linux" else None)


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """Keep what ends a run waiting, for the processes that start now too, until they know of it."""
    if sys.platform == "linux":
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        if sys.platform == "linux":
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _leave_signals_to_the_parent(worker: int) -> None:
    """Let the process that trains decide when to stop.

    A terminal sends Ctrl-C to all processes, and so do cluster schedulers with SIGTERM; a run
    that saves itself after the current step needs its workers until then.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":  # elsewhere nobody says who sent a signal
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        Thread(target=_end_when_the_parent_says, daemon=True).start()


def _end_when_the_parent_says() -> None:
    parent = os.getppid()
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
        pass
    os._exit(0)
