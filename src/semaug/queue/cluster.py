"""Many runs on many machines, as jobs of a cluster.

`submitit <https://github.com/facebookincubator/submitit>`_ writes the job arrays of Slurm, submits
them, keeps the logs of jobs, asks for their states, and requeues jobs whose time is up. Each task
of an array trains one run, in the folder where it would be trained without a cluster, so all
machines must see that folder.

submitit keeps what a job returns as a pickle, and a pickle may execute anything. So jobs return
nothing, no pickle is read here, and a job writes as JSON, beside its run, how it ended.
"""

import json
import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from types import FrameType
from typing import Any

from rich.console import Console

from semaug._torch.checks import check_positive_int
from semaug._torch.names import unknown_name
from semaug.engine.interrupt import InterruptedRunError, watch_interrupts
from semaug.engine.options import TrainOptions
from semaug.errors import UserError, as_user_error, how_to_install
from semaug.queue.display import JobsDisplay
from semaug.queue.outcome import Outcome, finished_before, open_log, train_one
from semaug.queue.queue import train_missing
from semaug.queue.workers import deaf_children
from semaug.runs.files import read_json, write_json
from semaug.runs.run import Run, RunIsBusyError
from semaug.runs.words import say

try:
    import submitit
except ModuleNotFoundError:  # the extra `cluster`
    submitit = None  # type: ignore[assignment]

_ENDED = "cluster_ended.json"
_CLUSTERS = ("slurm", "local")
_SECONDS_BETWEEN_LOOKS = 2.0
_SECONDS_OF_SLOW_DISKS = 15.0  # until others see a file that was written
_MOST_TIMEOUTS = 1000  # of a job that goes on from where it was saved; submitit's default is 3


def parse_cluster_options(texts: Sequence[str]) -> dict[str, Any]:
    """Read options of submitit written as ``KEY=VALUE``, where a value may be JSON.

    Raises:
        UserError: If a text has no key or no value.

    >>> parse_cluster_options(["slurm_partition=gpu", "mem_gb=1.5", 'slurm_setup=["ulimit -n 99"]'])
    {'slurm_partition': 'gpu', 'mem_gb': 1.5, 'slurm_setup': ['ulimit -n 99']}
    """
    options: dict[str, Any] = {}
    for text in texts:
        name, _, value = text.partition("=")
        if not name or not value:
            raise UserError(f"cluster: expected KEY=VALUE, such as gpus_per_node=1, got {text!r}")
        try:
            options[name] = json.loads(value)
        except ValueError:
            options[name] = value
    return options


def run_on_cluster(
    runs: Sequence[Run],
    options: TrainOptions,
    jobs: int,
    console: Console,
    *,
    cluster: str,
    cluster_options: Mapping[str, Any] | None = None,
) -> list[Outcome]:
    """Train the runs that are not finished as jobs of a cluster; a failed one stops no other.

    Given the same runs again, it waits for the jobs that it submitted before, and submits the
    runs that no job and no other process is training.

    Args:
        runs: All that is needed, in the order of their start.
        options: How to train them.
        jobs: How many at a time: the parallelism of the array, where there is one.
        console: Shows a line for each running job, and why runs failed.
        cluster: ``"slurm"``, or ``"local"`` for processes on this machine.
        cluster_options: Arguments of ``submitit.AutoExecutor.update_parameters``.

    Returns:
        One for each of ``runs``, in their order.

    Raises:
        InterruptedRunError: After Ctrl-C or SIGTERM. The jobs go on.
        UserError: If the cluster is unknown, submitit or Slurm is missing, or one of them refuses
            the options or the jobs.
        ValueError: If ``jobs`` is below 1.
    """
    check_positive_int("run_on_cluster", jobs=jobs)
    if cluster not in _CLUSTERS:
        raise UserError(unknown_name("cluster", "name", cluster, _CLUSTERS))
    if submitit is None:
        raise UserError(
            "cluster: submitit is missing; install it with: " + how_to_install("cluster")
        )

    def train_waiting(waiting: list[Run], display: JobsDisplay) -> Iterator[Outcome]:
        folder = waiting[0].root / "cluster" / f"{datetime.now():%Y-%m-%d_%H-%M-%S}-{os.getpid()}"
        executor = _executor(folder, cluster, jobs, cluster_options or {})
        # An array of Slurm keeps to its parallelism by itself.
        at_once = jobs if cluster == "local" else len(waiting)
        return _Queue(executor, options, at_once, console).train(waiting, display)

    return train_missing(runs, options, console, train_waiting)


def _executor(folder: Path, cluster: str, jobs: int, options: Mapping[str, Any]) -> Any:
    parameters = {"name": "semaug", "timeout_min": 240, "slurm_array_parallelism": jobs, **options}
    if "cpus_per_task" in options:  # since 22.05 `srun` does not take over what `sbatch` was told
        parameters.setdefault("slurm_srun_args", [f"--cpus-per-task={options['cpus_per_task']}"])
    most = {f"{name}_max_num_timeout": _MOST_TIMEOUTS for name in _CLUSTERS}
    with as_user_error("cluster: ", AssertionError, NameError, RuntimeError, TypeError, ValueError):
        executor = submitit.AutoExecutor(folder, cluster=cluster, **most)
        executor.update_parameters(**parameters)
    return executor


@dataclass
class _Queue:
    """Submits runs, and waits for them.

    Args:
        executor: Of submitit, with the parameters of all jobs.
        options: How to train all runs.
        at_once: Most runs that are submitted at a time.
        console: Gets a line for each submission.
    """

    executor: Any
    options: TrainOptions
    at_once: int
    console: Console

    def train(self, waiting: list[Run], display: JobsDisplay) -> Iterator[Outcome]:
        submitted = self._submitted_before(waiting)
        with watch_interrupts() as interrupt:
            while waiting or submitted:
                submitted += self._submit(waiting, max(0, self.at_once - len(submitted)))
                display.show_running([run for run, _ in submitted if run.has_started])
                time.sleep(_SECONDS_BETWEEN_LOOKS)
                if interrupt:
                    raise InterruptedRunError(
                        f"stopped waiting with {display.done} of {display.total} runs done; the "
                        "jobs that were submitted go on, and the same command waits for them",
                        interrupt.signal_number,
                    )
                ended = [(run, job) for run, job in submitted if job.done()]
                submitted = [one for one in submitted if one not in ended]
                waiting += [run for run, _ in ended]
                failures = [_failure(run, job) for run, job in ended]
                for outcome in [
                    *(finished_before(run, self.options) for run in waiting),
                    *failures,
                ]:
                    if outcome is not None and outcome.run in waiting:
                        waiting.remove(outcome.run)
                        yield outcome

    def _submitted_before(self, waiting: list[Run]) -> list[tuple[Run, Any]]:
        """Take out the runs whose jobs were submitted by this command when it ran before."""
        submitted = []
        for run in [run for run in waiting if _job_file(run).exists()]:
            written = _read(_job_file(run))
            job: Any = submitit.SlurmJob(Path(written["folder"]), written["job"])
            # A job of which Slurm knows nothing would be waited for in vain. If it is there
            # nevertheless, the lock of the folder keeps two jobs from training one run.
            if not job.done() and job.state not in ("UNKNOWN", "PREEMPTED"):
                say(self.console, f"job {job.job_id} was submitted before")
                submitted.append((run, job))
                waiting.remove(run)
        return submitted

    def _submit(self, waiting: list[Run], room: int) -> list[tuple[Run, Any]]:
        """Submit runs that nothing else is training, as many as there is room for."""
        free = list(islice((run for run in waiting if not _is_taken(run)), room))
        if not free:
            return []
        with as_user_error("cluster: the jobs were refused: ", RuntimeError), deaf_children():
            jobs = self.executor.submit_array([Task(run, self.options) for run in free])
        for run, job in zip(free, jobs, strict=True):
            waiting.remove(run)
            run.folder.mkdir(parents=True, exist_ok=True)
            if self.executor.cluster == "slurm":  # submitit cannot find local jobs again
                where = {"job": job.job_id, "folder": str(job.paths.folder)}
                write_json(_job_file(run), where)
            say(self.console, f"job {job.job_id} trains {run.label} seed {run.seed}")
        say(self.console, f"logs of jobs are in {jobs[0].paths.folder}")
        return list(zip(free, jobs, strict=True))


def _job_file(run: Run) -> Path:
    return run.folder / "cluster.json"


def _is_taken(run: Run) -> bool:
    """Whether another process is training the run, or has just finished it."""
    try:
        with run.lock():
            return run.summary() is not None
    except RunIsBusyError:
        return True


def _read(path: Path) -> dict[str, str]:
    """Return what this file wrote: texts by name."""
    remedy = "delete it, and the run is submitted anew"
    found = read_json(path, remedy)
    if not isinstance(found, dict) or not all(isinstance(one, str) for one in found.values()):
        raise UserError(f"{path}: expected the job of a run, got something else; {remedy}")
    return found


def _failure(run: Run, job: Any) -> Outcome | None:
    """Return the failure of an ended job; None if it finished, or found its run taken."""
    path, deadline = run.folder / _ENDED, time.monotonic() + _SECONDS_OF_SLOW_DISKS
    while (ended := _read(path) if path.exists() else {}).get("job") != job.job_id:
        with suppress(OSError):  # a change makes network file systems look anew for what is there
            run.folder.chmod(run.folder.stat().st_mode)
        if time.monotonic() > deadline:
            with open_log(run) as log:
                print(job.stderr() or "", file=log)
            return Outcome(run, error=f"job {job.job_id} ended without a result ({job.state})")
        time.sleep(0.1)
    return Outcome(run, error=ended["error"]) if "error" in ended else None


@dataclass(frozen=True)
class Task:
    """What a job does: it trains one run, and goes on with it whenever it is started again.

    Args:
        run: To train. All that must outlive the job is in its folder.
        options: How to train it.
    """

    run: Run
    options: TrainOptions

    def __call__(self) -> None:
        """Train, and write how it ended, beside the run.

        submitit's signal announces the end of the job's time or its preemption, and its handler
        requeues the job at once, in the middle of a step. So the signal is passed on as SIGTERM,
        for which training listens while there is something to save, and the handler is called
        when that is saved.
        """
        environment = submitit.JobEnvironment()
        outcome = self._train(environment)
        ended = {} if outcome is None or outcome.error is None else {"error": outcome.error}
        write_json(self.run.folder / _ENDED, {"job": environment.job_id, **ended})

    def _train(self, environment: Any) -> Outcome | None:
        """Train until it is finished, or told to stop; None if another process does already."""
        time_is_up = signal.Signals[f"SIG{environment.USR_SIG}"]
        untrained, came = signal.getsignal(signal.SIGTERM), []
        requeue: Any = signal.getsignal(time_is_up)

        def save_first(number: int, frame: FrameType | None) -> None:
            came.append(number)
            handler = signal.getsignal(signal.SIGTERM)
            if handler == untrained:
                requeue(number, frame)
            elif handler is not signal.default_int_handler:  # else it was told to stop already
                signal.raise_signal(signal.SIGTERM)

        signal.signal(time_is_up, save_first)
        with open_log(self.run) as log:
            while True:
                try:
                    return train_one(self.run, self.options, Console(file=log, soft_wrap=True))
                except InterruptedRunError as stop:
                    print(stop, file=log)
                    if came:
                        requeue(time_is_up, None)  # ends the process
                    # Slurm sends SIGTERM before it kills a job, be it for good or to start it
                    # again. A job that ends by itself meanwhile would not be started again.
                    if stop.signal_number != signal.SIGTERM or environment.cluster != "slurm":
                        return Outcome(self.run, error=str(stop))
                    print("saved, and goes on until it is killed", file=log)

    def checkpoint(self) -> Any:
        """Return what the job does when it comes back: the same. Called by submitit."""
        return submitit.helpers.DelayedSubmission(self)
