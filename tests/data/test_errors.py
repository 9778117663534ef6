"""Tests of semaug.data.errors."""

import pytest

from semaug.data import LoadError, explain_worker_death

REPORTS = [
    "DataLoader worker (pid 12) is killed by signal: Killed. ",
    "DataLoader worker (pid(s) 12, 13) exited unexpectedly",
    "wrapped by others: DataLoader worker (pid 12) is killed by signal: Bus error. ",
]


@pytest.mark.parametrize("report", REPORTS)
def test_a_report_of_torch_is_explained(report):
    explained = explain_worker_death(RuntimeError(report))
    assert isinstance(explained, LoadError)
    assert isinstance(explained, RuntimeError)
    assert "take fewer workers or smaller batches" in str(explained)
    assert "or by a damaged file (`semaug data check`" in str(explained)
    assert str(explained).endswith(report.strip())


def test_what_is_explained_stays_as_it_is():
    explained = explain_worker_death(RuntimeError(REPORTS[0]))
    assert explain_worker_death(explained) is explained


def test_other_errors_are_none_of_its_business():
    assert explain_worker_death(RuntimeError("CUDA out of memory")) is None
    assert explain_worker_death(LoadError("FileReader: expected one use at a time")) is None
