"""Tests of --cluster in semaug.cli."""

import pytest

from semaug.queue.outcome import train_one

TINY = ["epochs=1", "train_per_class=10", "test_images=60", "batch_size=32", "--device", "cpu"]
COMPARE = ["compare", "digits_resnet8", "digits_resnet8_isda", "--seeds", "1", *TINY]
SEARCH = ["search", "digits_resnet8_isda", "strength=0.1,0.5", "--hold-out", "50", *TINY]


@pytest.fixture
def asked(monkeypatch):
    """Train in this process, and collect what was asked of the cluster."""
    calls = []

    def run_on_cluster(runs, options, jobs, console, **cluster):
        calls.append((len(runs), jobs, cluster))
        return [train_one(run, options, console) for run in runs]

    monkeypatch.setattr("semaug.cli.queue.run_on_cluster", run_on_cluster)
    return calls


@pytest.mark.parametrize(("command", "sizes"), [(COMPARE, [2]), (SEARCH, [2, 1])])
def test_commands_ask_the_cluster_for_what_they_need(semaug, asked, command, sizes):
    options = ["--cluster-option", "slurm_partition=gpu", "--cluster-option", "timeout_min=90"]
    status, _, errors = semaug(*command, "--jobs", "3", "--cluster", "slurm", *options)
    assert status == 0, errors
    wanted = {"cluster": "slurm", "cluster_options": {"slurm_partition": "gpu", "timeout_min": 90}}
    assert asked == [(size, 3, wanted) for size in sizes]


@pytest.mark.parametrize("command", [COMPARE, SEARCH])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--cluster", "slrum"], "cluster: unknown name 'slrum'; did you mean 'slurm'?"),
        (["--cluster", "local", "--cluster-option", "gpu"], "cluster: expected KEY=VALUE"),
        (["--cluster-option", "name=x"], "expected --cluster with --cluster-option"),
    ],
)
def test_mistakes_are_named(semaug, tmp_path, command, arguments, message):
    status, _, errors = semaug(*command, *arguments)
    assert status == 2
    assert message in errors
    assert not list(tmp_path.iterdir())
