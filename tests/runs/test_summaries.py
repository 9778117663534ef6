"""Tests of semaug.runs.read."""

import json

import pytest

from semaug.errors import UserError
from semaug.runs.read import (
    REPORTS,
    Measure,
    best_of,
    load_summary,
    measure_of,
    row_name,
    summarize,
    value_of,
)

ERROR = Measure("error", "%", "lower")
MIOU = Measure("miou", "%", "higher", "best")


def row(epoch, test_error, **others):
    return {"epoch": epoch, "test_error": test_error, **others}


def test_the_last_ten_tests_are_averaged_and_epochs_without_one_passed_over():
    rows = [row(epoch, None if epoch < 10 else float(epoch)) for epoch in range(1, 31)]
    summary = summarize(rows, [ERROR], [""])
    expected = {"mean_last_10": 25.5, "last": 30.0, "best": 10.0}
    assert summary["results"] == {"": {"error": expected}}
    assert summary["metric"] == {
        "name": "error",
        "unit": "%",
        "better": "lower",
        "report": "mean_last_10",
    }


def test_higher_may_be_better():
    assert best_of(MIOU, [3.0, 5.0, 4.0]) == 5.0
    assert sorted([3.0, 5.0, 4.0], key=MIOU.sort_key) == [5.0, 4.0, 3.0]
    rows = [{"test_miou": value} for value in (3.0, 5.0, 4.0)]
    summary = summarize(rows, [MIOU], [""])
    assert [value_of(summary, report=report) for report in REPORTS] == [4.0, 4.0, 5.0]
    assert value_of(summary) == 5.0  # as the recipe reports it
    assert measure_of(summary) == MIOU


def test_each_predictor_has_each_metric_that_was_measured():
    assert row_name("error", "network 2") == "test_error_network_2"
    rows = [row(1, 4.0, test_miou=7.0, test_error_teacher=2.0, test_miou_teacher=None)]
    summary = summarize(rows, [ERROR, MIOU], ["", "teacher"])
    assert value_of(summary, "teacher") == 2.0
    assert value_of(summary, metric="miou") == 7.0
    assert value_of(summary, "teacher", "miou") is None
    assert value_of(summary, "network 2") is None


def test_values_are_written_with_their_unit():
    assert ERROR.text(12.3456) == "12.35 %"
    assert Measure("fid", "", "lower").text(3) == "3.00"


@pytest.mark.parametrize("summary", [{}, {"metric": {"name": "error"}}, {"metric": 3}])
def test_a_summary_without_a_metric_is_named(summary):
    with pytest.raises(UserError, match=r"summary.json: expected a metric: "):
        measure_of(summary)


def test_summaries_come_back(tmp_path):
    (tmp_path / "summary.json").write_text(json.dumps({"format": 2, "name": "run"}))
    assert load_summary(str(tmp_path)) == {"format": 2, "name": "run"}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "expected the folder of a run, got one without summary.json"),
        ({"metrics.jsonl": "{}\n{}\n"}, "expected a finished run, got one that has done 2 epochs"),
        ({"summary.json": "{"}, r"summary.json: expected JSON, got a damaged file .*; restore a c"),
        ({"summary.json": "{}"}, "expected a run folder of format 2, got an earlier one; train"),
        ({"summary.json": '{"format": 1}'}, "expected a run folder of format 2, got 1; train"),
    ],
)
def test_folders_without_a_finished_run_are_named(tmp_path, files, message):
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=message):
        load_summary(tmp_path)


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match="x: expected the folder of a run, got no such folder"):
        load_summary(tmp_path / "x")
