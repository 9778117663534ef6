"""Tests of semaug.runs.environment."""

import subprocess

import pytest
import torch

from semaug.runs import environment
from semaug.runs.environment import describe_device, describe_software


def test_describes_the_processor_with_its_threads():
    assert f"{torch.get_num_threads()} of" in describe_device(torch.device("cpu"))


def test_describes_versions_and_commit():
    software = describe_software()
    assert torch.__version__.startswith(software["torch"])
    assert software["commit"]


@pytest.mark.parametrize("error", [FileNotFoundError(), subprocess.TimeoutExpired("git", 20)])
def test_commit_is_unknown_without_git(monkeypatch, error):
    def fail(*arguments, **options):
        raise error

    monkeypatch.setattr(environment.subprocess, "run", fail)
    assert describe_software()["commit"] == "unknown"


def test_a_package_that_is_not_installed_has_no_version(monkeypatch):
    monkeypatch.setattr(environment, "_PACKAGES", ("no_such_package",))
    assert describe_software()["no_such_package"] == "unknown"
