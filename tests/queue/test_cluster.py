"""Tests of semaug.queue.cluster."""

import io
import json
import os
import pickle
import signal
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from semaug.engine.interrupt import InterruptedRunError, watch_interrupts
from semaug.engine.options import TrainOptions
from semaug.engine.train import train
from semaug.errors import UserError
from semaug.queue import cluster
from semaug.queue.cluster import Task, parse_cluster_options, run_on_cluster
from semaug.queue.outcome import Outcome, log_of
from semaug.runs.files import write_json
from semaug.runs.run import FORMAT
from tests.engine.same import assert_same_runs
from tests.queue import fake_slurm
from tests.queue.summaries import summary_of

OPTIONS = TrainOptions(device="cpu", threads=1)
QUIET = Console(quiet=True)
TIME_IS_UP = signal.SIGUSR2

submitit = pytest.importorskip("submitit")


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(cluster, "_SECONDS_BETWEEN_LOOKS", 0.05)
    monkeypatch.setattr(cluster, "_SECONDS_OF_SLOW_DISKS", 0.2)


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """Return the folder of what a Slurm that is none knows about its jobs."""
    fake_slurm.install(tmp_path / "slurm", monkeypatch)
    monkeypatch.setattr(submitit.SlurmJob.watcher, "_delay_s", 0.2)
    yield tmp_path / "slurm"
    submitit.SlurmJob.watcher.clear()


class Job:
    """A job that ended as soon as it began, or that runs until it is told to end."""

    def __init__(self, folder, job_id, state="COMPLETED", errors=""):
        self.paths = type("Paths", (), {"folder": Path(folder)})
        self.job_id = job_id
        self.state = state
        self.stderr = lambda: errors

    def done(self):
        return self.state == "COMPLETED"


class Executor:
    """Ends jobs as it is told, in the order of their submission; else their runs are finished."""

    def __init__(self, folder):
        self.folder = folder
        self.endings = []
        self.batches = []
        self.finished = {}

    def submit_array(self, tasks):
        self.batches.append([task.run.seed for task in tasks])
        return [Job(self.folder, str(task.run.seed), errors=self.end(task)) for task in tasks]

    def end(self, task):
        ending = self.endings.pop(0) if self.endings else Outcome(task.run, summary_of(1.0))
        if isinstance(ending, str):  # what a job says that is killed
            return ending
        task.run.folder.mkdir(parents=True, exist_ok=True)
        ended = {"job": str(task.run.seed)}
        if ending is not None and ending.error is None:
            self.finished[task.run.folder] = ending
        elif ending is not None:  # else its run was taken
            ended["error"] = ending.error
        write_json(task.run.folder / "cluster_ended.json", ended)
        return ""


@pytest.fixture
def executor(tmp_path, monkeypatch):
    """Submit nothing."""
    executor = Executor(tmp_path)

    def make(folder, cluster, jobs, options):
        executor.cluster = cluster
        return executor

    before = cluster.finished_before
    monkeypatch.setattr(
        cluster,
        "finished_before",
        lambda run, options: executor.finished.get(run.folder) or before(run, options),
    )
    monkeypatch.setattr(cluster, "_executor", make)
    return executor


@pytest.fixture
def run_local():
    def run(runs, jobs=1, output=None, cluster="local", **options):
        console = Console(file=output, quiet=output is None)
        return run_on_cluster(runs, OPTIONS, jobs, console, cluster=cluster, **options)

    return run


@pytest.mark.full
def test_a_local_job_equals_a_plain_run(make_run, run_local):
    run, output = make_run(), io.StringIO()
    options = {"slurm_partition": "gpu", "timeout_min": 60}
    (outcome,) = run_local([run], 1, output, cluster_options=options)
    assert outcome.summary == run.summary()
    assert "epoch 3/3" in log_of(run).read_text()
    alone = replace(run, root=run.root.parent / "alone")
    train(alone, OPTIONS, console=QUIET)
    assert_same_runs(run, alone)
    assert " trains digits_resnet8_isda seed 0\nlogs of jobs are in " in output.getvalue()
    assert list(run.root.glob("cluster/*/*_log.out"))

    (again,) = run_local([run])
    assert again.summary == run.summary()
    assert len(list(run.root.glob("cluster/*"))) == 1


@pytest.mark.full
def test_an_array_goes_on_where_time_was_up_and_beside_failures(make_run, slurm, monkeypatch):
    unfit = make_run("digits_resnet8", "network=vit_tiny_patch16_224")
    good = make_run("digits_resnet8_isda", "epochs=60")

    def end_the_time():
        deadline = time.monotonic() + 300
        while not good.checkpoint.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        os.kill(int((slurm / "1_1.pid").read_text()), signal.SIGUSR2)

    thread = threading.Thread(target=end_the_time)
    thread.start()
    output = io.StringIO()
    asked = {"slurm_partition": "gpu", "timeout_min": 600, "cpus_per_task": 2}
    asked["slurm_setup"] = ["true  # first"]
    outcomes = run_on_cluster(
        [unfit, good], OPTIONS, 2, Console(file=output), cluster="slurm", cluster_options=asked
    )
    thread.join()
    assert [outcome.run for outcome in outcomes] == [unfit, good]
    assert outcomes[0].summary is None
    assert "cannot take data=digits" in outcomes[0].error
    assert f"the end of {log_of(unfit)}:" in output.getvalue()
    assert outcomes[1].summary == good.summary()
    assert log_of(good).read_text().count("stopped in epoch") == 1
    alone = replace(good, root=good.root.parent / "alone")
    monkeypatch.setenv("PATH", os.defpath)  # beside an `srun`, Lightning warns of runs without it
    train(alone, OPTIONS, console=QUIET)
    assert_same_runs(good, alone)

    script = (slurm / "1.sh").read_text().splitlines()
    for wanted in ("array=0-1%2", "partition=gpu", "time=600", "cpus-per-task=2", "nodes=1"):
        assert f"#SBATCH --{wanted}" in script
    assert "#SBATCH --job-name=semaug" in script
    assert "true  # first" in script
    assert any(line.startswith("srun ") and "--cpus-per-task=2 " in line for line in script)


def test_what_slurm_refuses_is_said(make_run, slurm):
    with pytest.raises(UserError, match=r"the jobs were refused: .*invalid partition .*nowhere"):
        run_on_cluster(
            [make_run()],
            OPTIONS,
            1,
            QUIET,
            cluster="slurm",
            cluster_options={"slurm_partition": "nowhere"},
        )


def test_needs_the_commands_of_slurm(make_run, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match='cluster: Could not detect "srun"'):
        run_on_cluster([make_run()], OPTIONS, 1, QUIET, cluster="slurm")


def test_needs_submitit(make_run, run_local, monkeypatch):
    monkeypatch.setattr(cluster, "submitit", None)
    with pytest.raises(UserError, match=r"install it with: pip install .*\[cluster\]"):
        run_local([make_run()])


def test_options_are_those_of_submitit():
    texts = ["slurm_partition=gpu", "mem_gb=1.5", "cpus_per_task=8", "slurm_exclusive=true"]
    assert parse_cluster_options([*texts, "slurm_gres=gpu:a100:1", 'slurm_setup=["a=1"]']) == {
        "slurm_partition": "gpu",
        "mem_gb": 1.5,
        "cpus_per_task": 8,
        "slurm_exclusive": True,
        "slurm_gres": "gpu:a100:1",
        "slurm_setup": ["a=1"],
    }


@pytest.mark.parametrize("text", ["slurm_partition", "slurm_partition=", "=gpu"])
def test_options_have_a_key_and_a_value(text):
    with pytest.raises(UserError, match=f"expected KEY=VALUE, such as .*, got '{text}'"):
        parse_cluster_options([text])


@pytest.mark.parametrize("where", ["slurm", "local"])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"slurm_partitoin": "gpu"}, "Unknown argument 'partitoin' .* arguments: .*partition"),
        ({"gpu": 1}, "'gpu' need to be prefixed by an executor name"),
        ({"timeout_min": "long"}, "\"timeout_min\" expected type <class 'int'>"),
        ({"nodes": "two"}, "\"nodes\" expected type <class 'int'>"),
    ],
)
def test_submitit_checks_the_options(make_run, slurm, run_local, where, options, message):
    with pytest.raises(UserError, match=f"cluster: .*{message}"):
        run_local([make_run()], cluster=where, cluster_options=options)
    assert not make_run().folder.exists()


def test_a_job_has_four_hours_and_the_cpus_it_asks_for(tmp_path, slurm):
    used = cluster._executor(tmp_path / "jobs", "slurm", 3, {"cpus_per_task": 4})._executor
    assert used.parameters["time"] == 240
    assert used.parameters["job_name"] == "semaug"
    assert used.parameters["array_parallelism"] == 3
    assert used.parameters["srun_args"] == ["--cpus-per-task=4"]
    assert used.max_num_timeout == 1000
    asked = {"cpus_per_task": 4, "slurm_srun_args": ["--exact"], "timeout_min": 5}
    used = cluster._executor(tmp_path / "jobs", "slurm", 3, asked)._executor
    assert (used.parameters["srun_args"], used.parameters["time"]) == (["--exact"], 5)


def test_local_jobs_start_as_others_end(make_run, run_local, executor):
    runs = [make_run(seed=seed) for seed in range(3)]
    outcomes = run_local([*runs, runs[0]], 2)
    assert [outcome.run for outcome in outcomes] == [*runs, runs[0]]
    assert executor.batches == [[0, 1], [2]]


def test_a_job_without_a_result_fails_its_run(make_run, run_local, executor):
    executor.endings = ["no output\nslurmstepd: error: Detected 1 oom-kill event"]
    output = io.StringIO()
    outcomes = run_local([make_run(), make_run(seed=1)], 1, output)
    assert outcomes[0].error == "job 0 ended without a result (COMPLETED)"
    assert outcomes[0].last_lines(1) == ["slurmstepd: error: Detected 1 oom-kill event"]
    assert "oom-kill" in output.getvalue()
    assert outcomes[1].error is None


def test_what_a_job_says_of_a_failure_is_its_outcome(make_run, run_local, executor):
    run, diverged = make_run(), make_run(seed=1)
    executor.endings = [Outcome(run, error="no disk"), Outcome(diverged, error="loss is nan")]
    diverged.folder.mkdir(parents=True)
    write_json(diverged.folder / "recipe.json", {"format": FORMAT, **diverged.plain()})
    diverged.write_divergence(2, 3)
    diverged.diverged.rename(diverged.folder / "later.json")  # the job has not written it yet

    def end(task):
        if task.run == diverged:
            (diverged.folder / "later.json").rename(diverged.diverged)
        return Executor.end(executor, task)

    executor.end = end
    outcomes = run_local([run, diverged], 2)
    assert [outcome.diverged for outcome in outcomes] == [False, True]
    assert outcomes[0].error == "no disk"


def test_a_run_that_another_process_trains_is_waited_for(make_run, run_local, executor):
    taken, free = make_run(seed=0), make_run(seed=1)
    executor.endings = [Outcome(free, summary_of(1.0)), None]
    locked = threading.Event()

    def hold():
        with taken.lock():
            locked.set()
            while not executor.batches:
                time.sleep(0.01)
            time.sleep(0.2)

    thread = threading.Thread(target=hold)
    thread.start()
    locked.wait()
    outcomes = run_local([taken, free], 2)
    thread.join()
    assert [outcome.error for outcome in outcomes] == [None, None]
    # The first job for it found it taken.
    assert executor.batches == [[1], [0], [0]]


def test_a_run_that_another_process_finishes_needs_no_job(make_run, run_local, executor):
    run = make_run()
    locked = threading.Event()

    def train_elsewhere():
        with run.lock():
            locked.set()
            time.sleep(0.2)
        train(run, OPTIONS, resume=True, console=QUIET)

    thread = threading.Thread(target=train_elsewhere)
    executor.endings = [None] * 100  # taken
    thread.start()
    locked.wait()
    (outcome,) = run_local([run])
    thread.join()
    assert outcome.summary == run.summary()


@pytest.mark.parametrize(
    "written", [{"job": 3, "folder": "a"}, ["job"], {"job": "3", "folder": None}], ids=str
)
def test_an_odd_file_of_a_job_is_named(make_run, run_local, executor, written):
    run = make_run()
    run.folder.mkdir(parents=True)
    write_json(run.folder / "cluster.json", written)
    with pytest.raises(UserError, match=r"cluster.json: expected the job of a run, got something"):
        run_local([run], cluster="slurm")


class Evil:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_stranger_folder_executes_nothing(make_run, slurm, tmp_path, monkeypatch):
    """Its job seems to run, and to leave a result that would execute code when it is read."""
    run, evil = make_run(), tmp_path / "executed"
    run.folder.mkdir(parents=True)
    write_json(run.folder / "cluster.json", {"job": "77", "folder": str(tmp_path / "theirs")})
    (tmp_path / "theirs").mkdir()
    states = iter(["RUNNING", "RUNNING"])

    def state(watcher, job_id, mode="standard"):
        found = next(states, "COMPLETED") if job_id == "77" else "RUNNING"
        if found == "COMPLETED":
            content = pickle.dumps(("success", Evil(evil)))
            (tmp_path / "theirs" / "77_0_result.pkl").write_bytes(content)
        return found

    monkeypatch.setattr(submitit.SlurmJob.watcher.__class__, "get_state", state)
    (outcome,) = run_on_cluster([run], OPTIONS, 1, QUIET, cluster="slurm")
    assert outcome.error == "job 77 ended without a result (COMPLETED)"
    assert not evil.exists()
    assert pickle.loads(pickle.dumps(Evil(evil))) is None  # it would
    assert evil.exists()


@pytest.mark.parametrize(("state", "times"), [("RUNNING", 0), ("UNKNOWN", 1), ("PREEMPTED", 1)])
def test_jobs_submitted_before_are_waited_for(
    make_run, run_local, executor, monkeypatch, state, times
):
    run = make_run()
    run_local([run], cluster="slurm")
    written = json.loads((run.folder / "cluster.json").read_text())
    assert written == {"job": "0", "folder": str(executor.folder)}

    executor.finished.clear()

    def written_job(folder, job_id):
        job = Job(folder, job_id, state)
        if state == "RUNNING":
            executor.finished[run.folder] = Outcome(run, summary_of(2.0))
        threading.Timer(0.2, setattr, (job, "state", "COMPLETED")).start()
        return job

    monkeypatch.setattr(submitit, "SlurmJob", written_job)
    executor.batches.clear()
    output = io.StringIO()
    (outcome,) = run_local([run], 1, output, cluster="slurm")
    assert len(executor.batches) == times
    assert ("job 0 was submitted before" in output.getvalue()) == (times == 0)
    assert outcome.summary == summary_of(1.0 if times else 2.0)


def test_ctrl_c_stops_waiting(make_run, run_local, executor, monkeypatch):
    runs = [make_run(seed=seed) for seed in range(2)]
    monkeypatch.setattr(Job, "done", lambda job: job.job_id == "0")
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(
        InterruptedRunError, match="stopped waiting with 1 of 2 runs done"
    ) as stopped:
        run_local(runs, 2)
    timer.join()
    assert stopped.value.signal_number == signal.SIGINT


def test_ctrl_c_does_not_reach_jobs(make_run, run_local, executor, monkeypatch):
    masks, end = [], executor.end
    monkeypatch.setattr(
        executor,
        "end",
        lambda task: masks.append(signal.pthread_sigmask(signal.SIG_BLOCK, ())) or end(task),
    )
    run_local([make_run()])
    assert signal.SIGINT in masks[0]
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_expects_a_job_and_a_known_cluster(make_run):
    with pytest.raises(ValueError, match="run_on_cluster: expected `jobs` >= 1, got 0"):
        run_on_cluster([make_run()], OPTIONS, 0, QUIET, cluster="slurm")
    with pytest.raises(UserError, match="cluster: unknown name 'slrum'; did you mean 'slurm'"):
        run_on_cluster([make_run()], OPTIONS, 1, QUIET, cluster="slrum")


# What a job does.


class Requeued(BaseException):
    """What submitit does when it ends the process."""


@pytest.fixture
def in_job(monkeypatch):
    """Return a function that calls a task in a job of a cluster: outcome and signals answered."""
    answered = []

    def answer(number, frame):
        answered.append(number)
        raise Requeued

    def call(task, cluster="slurm"):
        monkeypatch.setenv("SUBMITIT_EXECUTOR", cluster)
        monkeypatch.setenv("SUBMITIT_LOCAL_JOB_ID", "1")
        monkeypatch.setenv("SLURM_JOB_ID", "1")
        task.run.folder.mkdir(parents=True)
        before = signal.signal(TIME_IS_UP, answer), signal.signal(signal.SIGTERM, signal.SIG_IGN)
        try:
            with suppress(Requeued):
                task()
            path = task.run.folder / "cluster_ended.json"
            return json.loads(path.read_text()) if path.exists() else None, answered
        finally:
            signal.signal(TIME_IS_UP, before[0])
            signal.signal(signal.SIGTERM, before[1])

    return call


@pytest.fixture
def trained(monkeypatch):
    """Return a list of signals for each time that training is started: it gets them, and saves."""
    starts = []

    def train_one(run, options, console):
        with watch_interrupts() as interrupt:
            for number in starts.pop(0):
                signal.raise_signal(number)
            if interrupt:
                raise InterruptedRunError("stopped in epoch 1", interrupt.signal_number)
        return Outcome(run, {"finished": True})

    monkeypatch.setattr(cluster, "train_one", train_one)
    return starts


def test_a_task_trains_its_run(make_run, trained, in_job):
    trained.append([])
    assert in_job(Task(make_run(), OPTIONS)) == ({"job": "1"}, [])


def test_a_task_whose_time_is_up_is_saved_before_submitit_hears_of_it(make_run, trained, in_job):
    trained.append([TIME_IS_UP])
    task = Task(make_run(), OPTIONS)
    assert in_job(task) == (None, [TIME_IS_UP])
    assert Outcome(task.run).last_lines() == ["stopped in epoch 1"]


def test_time_that_is_up_before_training_is_answered_at_once(make_run, monkeypatch, in_job):
    def train_one(run, options, console):
        signal.raise_signal(TIME_IS_UP)  # while it reads the images
        raise AssertionError("not answered")

    monkeypatch.setattr(cluster, "train_one", train_one)
    assert in_job(Task(make_run(), OPTIONS)) == (None, [TIME_IS_UP])


def test_time_may_be_up_twice_and_after_a_warning(make_run, trained, in_job):
    trained.append([signal.SIGTERM, TIME_IS_UP, TIME_IS_UP])
    assert in_job(Task(make_run(), OPTIONS)) == (None, [TIME_IS_UP])


def test_slurm_warns_with_sigterm_so_a_task_saves_and_goes_on(make_run, trained, in_job):
    trained += [[signal.SIGTERM], [signal.SIGTERM], []]
    task = Task(make_run(), OPTIONS)
    assert in_job(task) == ({"job": "1"}, [])
    assert Outcome(task.run).last_lines() == 2 * [
        "stopped in epoch 1",
        "saved, and goes on until it is killed",
    ]


@pytest.mark.parametrize(
    ("number", "where"), [(signal.SIGTERM, "local"), (signal.SIGINT, "local"), (2, "slurm")]
)
def test_a_task_can_be_stopped(make_run, trained, in_job, number, where):
    trained.append([number])
    ended = {"job": "1", "error": "stopped in epoch 1"}
    assert in_job(Task(make_run(), OPTIONS), where) == (ended, [])


def test_a_job_that_comes_back_does_the_same(make_run):
    task = Task(make_run(), OPTIONS)
    again = pickle.loads(pickle.dumps(task.checkpoint())).function
    assert again == task
