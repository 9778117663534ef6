"""Tests of semaug.queue.cluster_options."""

import pytest

from semaug.errors import UserError
from semaug.queue.cluster_options import (
    as_parameters,
    ignored_options,
    parse_cluster_options,
)

ALL = [
    "account=me",
    "comment=a run",
    "constraint=a100",
    "cpus_per_task=8",
    "dependency=afterok:1",
    "exclude=node1",
    "gpus_per_node=1",
    "gres=gpu:a100:1",
    "mail_type=END",
    "mail_user=me",
    "mem_gb=1.5",
    "mem_per_cpu=2GB",
    "mem_per_gpu=30GB",
    "name=table",
    "nodelist=node2",
    "partition=gpu",
    "qos=low",
    "setup=module load cuda=12",
    "setup=ulimit -n 4096",
    "signal_delay_s=120",
    "timeout_min=600",
]


def test_values_get_their_types():
    options = parse_cluster_options(ALL)
    assert options["cpus_per_task"] == 8
    assert options["mem_gb"] == 1.5
    assert options["constraint"] == "a100"
    assert options["setup"] == ["module load cuda=12", "ulimit -n 4096"]


def test_submitit_knows_every_option(tmp_path, monkeypatch):
    submitit = pytest.importorskip("submitit")
    (tmp_path / "srun").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    executor = submitit.AutoExecutor(tmp_path / "jobs", cluster="slurm")
    executor.update_parameters(**as_parameters("slurm", parse_cluster_options(ALL), 3))
    used = executor._executor.parameters
    assert used["array_parallelism"] == 3
    assert used["mem"] == "1536MB"
    assert used["time"] == 600
    assert used["job_name"] == "table"
    assert used["srun_args"] == ["--cpus-per-task=8"]

    local = submitit.AutoExecutor(tmp_path / "jobs", cluster="local")
    local.update_parameters(**as_parameters("local", parse_cluster_options(ALL), 3))
    assert local._executor.parameters["timeout_min"] == 600


def test_there_is_time_for_a_run_unless_it_is_given():
    assert as_parameters("slurm", {}, 1)["timeout_min"] == 240
    assert as_parameters("local", {}, 1)["timeout_min"] == 10080
    assert as_parameters("slurm", {"timeout_min": 5}, 1)["timeout_min"] == 5
    assert "slurm_srun_args" not in as_parameters("slurm", {}, 1)


def test_local_jobs_have_few_options():
    options = parse_cluster_options(ALL)
    ignored = ignored_options("local", options)
    assert set(options) - set(ignored) == {"gpus_per_node", "timeout_min"}
    assert ignored_options("slurm", options) == []


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (
            ["partitoin=gpu"],
            r"unknown option 'partitoin'; did you mean 'partition'\? There are account, co",
        ),
        (["x=1"], "cluster: unknown option 'x'; choose from account, comment, .*, timeout_min"),
        (["partition"], "expected KEY=VALUE, such as partition=gpu, got 'partition'"),
        (["partition="], "expected KEY=VALUE"),
        (["qos=a", "qos=b"], "cluster: expected `qos` once, got it twice"),
        (["timeout_min=1.5"], "expected `timeout_min` to be a whole number >= 0, got '1.5'"),
        (["gpus_per_node=-1"], "expected `gpus_per_node` to be a whole number >= 0, got '-1'"),
        (["mem_gb=nan"], "expected `mem_gb` to be a number >= 0, got 'nan'"),
        (["mem_gb=all"], "expected `mem_gb` to be a number >= 0, got 'all'"),
    ],
)
def test_mistakes_are_named(texts, message):
    with pytest.raises(UserError, match=message):
        parse_cluster_options(texts)
