"""Tests of semaug.queue.cluster_task."""

import pickle
import signal
import sys

import pytest

from semaug.engine.interrupt import InterruptedRunError, watch_interrupts
from semaug.errors import UserError
from semaug.queue import cluster_task
from semaug.queue.cluster_task import Task, import_submitit
from semaug.queue.outcome import Outcome

TIME_IS_UP = signal.SIGUSR2


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
        before = signal.signal(TIME_IS_UP, answer), signal.signal(signal.SIGTERM, signal.SIG_IGN)
        try:
            return task(), answered
        except Requeued:
            return None, answered
        finally:
            signal.signal(TIME_IS_UP, before[0])
            signal.signal(signal.SIGTERM, before[1])

    return call


@pytest.fixture
def trained(monkeypatch):
    """Return a list of signals for each time that training is started: it gets them, and saves."""
    starts = []

    def train_logged(run, options, log):
        with watch_interrupts() as interrupt:
            for number in starts.pop(0):
                signal.raise_signal(number)
            if interrupt:
                print("saved", file=log)
                raise InterruptedRunError("stopped in epoch 1", interrupt.signal_number)
        return Outcome(run, {"finished": True})

    monkeypatch.setattr(cluster_task, "train_logged", train_logged)
    return starts


def test_a_task_trains_its_run(make_run, trained, in_job):
    trained.append([])
    outcome, answered = in_job(Task(make_run(), {}))
    assert outcome.summary == {"finished": True}
    assert answered == []


def test_a_task_whose_time_is_up_is_saved_before_submitit_hears_of_it(make_run, trained, in_job):
    trained.append([TIME_IS_UP])
    task = Task(make_run(), {})
    assert in_job(task) == (None, [TIME_IS_UP])
    assert Outcome(task.run).last_lines() == ["saved"]


def test_time_that_is_up_before_training_is_answered_at_once(make_run, monkeypatch, in_job):
    def train_logged(run, options, log):
        signal.raise_signal(TIME_IS_UP)  # while it reads the images
        raise AssertionError("not answered")

    monkeypatch.setattr(cluster_task, "train_logged", train_logged)
    assert in_job(Task(make_run(), {})) == (None, [TIME_IS_UP])


def test_time_may_be_up_twice_and_after_a_warning(make_run, trained, in_job):
    trained.append([signal.SIGTERM, TIME_IS_UP, TIME_IS_UP])
    assert in_job(Task(make_run(), {})) == (None, [TIME_IS_UP])


def test_slurm_warns_with_sigterm_so_a_task_saves_and_goes_on(make_run, trained, in_job):
    trained += [[signal.SIGTERM], [signal.SIGTERM], []]
    task = Task(make_run(), {})
    outcome, answered = in_job(task)
    assert outcome.summary == {"finished": True}
    assert answered == []
    assert Outcome(task.run).last_lines() == 2 * ["saved", "saved, and goes on until it is killed"]


@pytest.mark.parametrize(
    ("number", "where"), [(signal.SIGTERM, "local"), (signal.SIGINT, "local"), (2, "slurm")]
)
def test_a_task_can_be_stopped(make_run, trained, in_job, monkeypatch, number, where):
    monkeypatch.setenv("SUBMITIT_LOCAL_JOB_ID", "1")
    trained.append([number])
    outcome, answered = in_job(Task(make_run(), {}), where)
    assert outcome.error == "stopped in epoch 1"
    assert answered == []


def test_handlers_come_back(make_run, trained, in_job):
    trained.append([])
    before = signal.getsignal(TIME_IS_UP)
    Task(make_run(), {})()
    assert signal.getsignal(TIME_IS_UP) == before


def test_a_job_that_comes_back_does_the_same(make_run):
    task = Task(make_run(), {"device": "cpu"})
    again = pickle.loads(pickle.dumps(task.checkpoint())).function
    assert again == task


def test_needs_submitit(monkeypatch):
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(UserError, match=r'cluster: .*submitit.*pip install "semaug\[cluster\]"'):
        import_submitit()
