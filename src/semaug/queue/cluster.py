"""Many runs on many machines, as jobs of a cluster.

`submitit <https://github.com/facebookincubator/submitit>`_ writes the job arrays of Slurm, submits
them, keeps the logs of jobs, asks for their states, and puts those back into the queue whose time
is up. What is added here is a run: each task of an array trains one, in the folder where it would
be trained without a cluster, so all machines must see that folder.
"""

import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import Any

from rich.console import Console

from semaug._torch.checks import check_one_of, check_positive_int
from semaug.engine.interrupt import InterruptedRunError, watch_interrupts
from semaug.errors import UserError
from semaug.queue.cluster_options import CLUSTERS, as_parameters, ignored_options
from semaug.queue.cluster_task import Task, import_submitit
from semaug.queue.display import JobsDisplay
from semaug.queue.outcome import Outcome
from semaug.queue.queue import finished_before, open_log, train_missing_runs
from semaug.runs.files import read_json, write_json
from semaug.runs.run import Run, RunIsBusyError
from semaug.runs.words import say

__all__ = ["run_on_cluster"]

_SECONDS_BETWEEN_LOOKS = 2.0
_MOST_TIMEOUTS = 1000  # of one job; it goes on from where it was saved, so more than submitit's 3


def run_on_cluster(
    runs: Sequence[Run],
    train_options: Mapping[str, Any],
    jobs: int,
    console: Console,
    *,
    cluster: str,
    cluster_options: Mapping[str, Any] | None = None,
) -> list[Outcome]:
    """Train the runs that are not finished as jobs of a cluster; a failed one stops no other.

    Given the same runs again, it waits for the jobs that it submitted before, and submits those
    runs that no job and no other process is training.

    Args:
        runs: All that is needed, in the order of their start.
        train_options: Of :func:`semaug.engine.loop.train`, but for ``resume`` and ``console``.
        jobs: How many at a time: the parallelism of the array, where there is one.
        console: Shows a line for each running job, and why runs failed.
        cluster: ``"slurm"``, or ``"local"`` for processes on this machine.
        cluster_options: As of :func:`semaug.queue.cluster_options.parse_cluster_options`.

    Returns:
        One for each of ``runs``, in their order.

    Raises:
        InterruptedRunError: After Ctrl-C or SIGTERM. The jobs go on.
        UserError: If submitit or Slurm is missing, or refuses the jobs.
        ValueError: If ``jobs`` is below 1 or the cluster unknown.
    """
    check_positive_int("run_on_cluster", jobs=jobs)
    check_one_of("run_on_cluster", "cluster", cluster, CLUSTERS)
    submitit = import_submitit()
    options = cluster_options or {}
    parameters = as_parameters(cluster, options, jobs)

    def train_waiting(
        waiting: list[Run], outcomes: dict[Path, Outcome], display: JobsDisplay
    ) -> None:
        ignored = ignored_options(cluster, options)
        if ignored:
            say(console, f"{cluster} jobs have no {', '.join(ignored)}")
        folder = waiting[0].root / "cluster" / f"{datetime.now():%Y-%m-%d_%H-%M-%S}-{os.getpid()}"
        executor = _executor(submitit, cluster, folder, parameters)
        # An array keeps to its parallelism by itself.
        at_once = jobs if cluster == "local" else len(waiting)
        queue = _Queue(submitit, executor, train_options, at_once, console)
        queue.train_all(waiting, outcomes, display)

    return train_missing_runs(runs, train_options, console, train_waiting)


def _executor(
    submitit: ModuleType, cluster: str, folder: Path, parameters: Mapping[str, Any]
) -> Any:
    most = {f"{name}_max_num_timeout": _MOST_TIMEOUTS for name in CLUSTERS}
    try:
        executor = submitit.AutoExecutor(folder, cluster=cluster, **most)
    except RuntimeError as error:  # no `srun` here
        raise UserError(
            f"cluster: expected the commands of Slurm on this machine ({error}); submit from a "
            "machine that has them, or try --cluster local"
        ) from error
    executor.update_parameters(**parameters)
    return executor


class _Queue:
    """Runs that wait, and those that were submitted.

    Args:
        submitit: The module.
        executor: Of submitit, told what jobs ask for.
        train_options: Of the training of all runs.
        at_once: How many may be submitted at a time.
        console: For words about submissions.
    """

    def __init__(
        self,
        submitit: ModuleType,
        executor: Any,
        train_options: Mapping[str, Any],
        at_once: int,
        console: Console,
    ) -> None:
        self._job_of = {"slurm": submitit.SlurmJob, "local": submitit.LocalJob}
        self._executor = executor
        self._train_options = train_options
        self._at_once = at_once
        self._console = console
        self._waiting: list[Run] = []
        self._submitted: dict[Path, tuple[Run, Any]] = {}  # with the job, by folder

    def train_all(
        self, waiting: list[Run], outcomes: dict[Path, Outcome], display: JobsDisplay
    ) -> None:
        """Fill in the outcomes of runs that wait."""
        self._waiting = waiting
        self._find_submitted()
        with watch_interrupts() as interrupt:
            while self._waiting or self._submitted:
                self._submit_free()
                display.show_running([run for run, _ in self._submitted.values() if run.has_begun])
                time.sleep(_SECONDS_BETWEEN_LOOKS)
                if interrupt:
                    raise InterruptedRunError(
                        f"stopped waiting with {display.done} of {display.total} runs done; the "
                        "jobs that were submitted go on, and the same command waits for them",
                        interrupt.signal_number,
                    )
                for outcome in [*self._ended(), *self._finished_elsewhere()]:
                    outcomes[outcome.run.folder] = outcome
                    display.show_outcome(outcome)

    def _find_submitted(self) -> None:
        """Find jobs that this command submitted when it was started before."""
        known = {run.folder: self._written_job(run) for run in self._waiting}
        for run in list(self._waiting):
            job = known[run.folder]
            # What the cluster knows nothing of will not end; if it is there nevertheless, the
            # lock of the folder keeps two jobs from training one run.
            if job is not None and not job.done() and job.state not in ("UNKNOWN", "PREEMPTED"):
                self._submitted[run.folder] = run, job
                self._waiting.remove(run)
        if self._submitted:
            say(
                self._console,
                f"submitted before: {_ids([job for _, job in self._submitted.values()])}",
            )

    def _written_job(self, run: Run) -> Any:
        path = _job_file(run)
        if not path.exists():
            return None
        written = read_json(path, "delete it, and the run is submitted anew")
        return self._job_of[written["cluster"]](folder=written["folder"], job_id=written["job"])

    def _submit_free(self) -> None:
        """Submit runs that nothing else is training, as many as may run."""
        room = self._at_once - len(self._submitted)
        free = [run for run in self._waiting if not _is_taken(run)][: max(room, 0)]
        if not free:
            return
        tasks = [Task(run, self._train_options) for run in free]
        try:
            with _deaf_children():
                jobs = self._executor.submit_array(tasks)
        except RuntimeError as error:  # all of submitit, such as what `sbatch` said
            raise UserError(f"cluster: the jobs were refused: {error}") from error
        for run, job in zip(free, jobs, strict=True):
            run.folder.mkdir(parents=True, exist_ok=True)
            where = {"cluster": self._executor.cluster, "job": job.job_id}
            write_json(_job_file(run), {**where, "folder": str(job.paths.folder)})
            self._submitted[run.folder] = run, job
            self._waiting.remove(run)
        what = "1 run" if len(free) == 1 else f"{len(free)} runs"
        say(
            self._console, f"submitted {what}: {_ids(jobs)}, logs of jobs in {jobs[0].paths.folder}"
        )

    def _ended(self) -> Iterator[Outcome]:
        """Take what jobs came to, but for those that found their run taken."""
        for run, job in list(self._submitted.values()):
            if not job.done():
                continue
            del self._submitted[run.folder]
            outcome = _outcome(run, job)
            if outcome is None:
                self._waiting.append(run)
            else:
                yield outcome

    def _finished_elsewhere(self) -> Iterator[Outcome]:
        for run in list(self._waiting):
            outcome = finished_before(run, self._train_options)
            if outcome is not None:
                self._waiting.remove(run)
                yield outcome


def _ids(jobs: Sequence[Any]) -> str:
    ids = [job.job_id for job in jobs]
    return "job " + (", ".join(ids) if len(ids) < 4 else f"{ids[0]}, ..., {ids[-1]}")


def _job_file(run: Run) -> Path:
    return run.folder / "cluster.json"


def _is_taken(run: Run) -> bool:
    """Whether another process is training the run, or has just finished it."""
    if (run.folder / "lock").exists():
        try:
            with run.lock():
                pass
        except RunIsBusyError:
            return True
    return run.summary() is not None


def _outcome(run: Run, job: Any) -> Outcome | None:
    """Return what an ended job came to, None if another process was training its run."""
    error = job.exception()
    if error is None:
        outcome: Outcome | None = job.result()
        if outcome is not None:  # a change makes network file systems look anew for what is there
            run.folder.chmod(run.folder.stat().st_mode)
        return outcome
    with open_log(run) as log:
        print(error, file=log)
    return Outcome(run, error=f"job {job.job_id} ended without a result (state: {job.state})")


@contextmanager
def _deaf_children() -> Iterator[None]:
    """Keep Ctrl-C from processes that start now: it is meant for the command that waits."""
    former = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, former)
