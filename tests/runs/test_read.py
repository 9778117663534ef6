"""Tests of semaug.runs.read."""

import json

import pytest

from semaug.errors import UserError
from semaug.runs.read import (
    REPORTS,
    Measure,
    best_of,
    load_rows,
    load_summary,
    measure_of,
    measured,
    row_name,
    summarize,
    value_of,
)

ERROR = Measure("error", "%", "lower")
MIOU = Measure("miou", "%", "higher", "best")
SUMMARY = {
    **{"format": 2, "name": "digits_resnet8", "overrides": {}, "quick": False, "seed": 0},
    **{"recipe": {}, "code": {}, "epochs": 1, "seconds": 1.0, "device": "a CPU", "test_on": "test"},
    "metric": {"name": "error", "unit": "%", "better": "lower"},
    "results": {"": {"error": {"mean_last_10": 3.0, "last": 3.0, "best": 3.0}}},
}
FRECHET = Measure("frechet", "", "lower", "last")


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


@pytest.fixture
def summary():
    rows = [
        {"epoch": epoch, "test_miou": 10.0 * epoch, "test_miou_network_2": None, "test_frechet": 1}
        for epoch in range(1, 13)
    ]
    return {"test_on": "test", **summarize(rows, [MIOU, FRECHET], ["", "network 2"])}


def test_the_main_metric_is_what_is_asked_for_by_default(summary):
    assert measure_of(summary) == MIOU
    assert value_of(summary) == 120
    assert value_of(summary, report="mean_last_10") == 75
    assert value_of(summary, metric="frechet") == 1
    assert value_of(summary, "network 2") is None  # was never measured
    assert measured(summary) == "test miou"
    assert measured(summary | {"test_on": "hold_out"}) == "held-out miou"


def test_a_metric_that_a_summary_does_not_tell_is_an_error():
    for content in ({}, {"metric": {"name": "error"}}, {"metric": 3}):
        with pytest.raises(UserError, match="expected the metric of a run, got something else"):
            measure_of(content)


@pytest.mark.parametrize(
    ("measure", "difference", "gain", "verdict"),
    [
        (MIOU, 1.25, "1.25 points better", "better"),
        (MIOU, -0.5, "0.50 points worse", "worse"),
        (FRECHET, -3.0, "3.00 better", "better"),
        (Measure("time", "s", "lower"), 3.0, "3.000 s worse", "worse"),
        (FRECHET, 0.004, "", "worse"),
    ],
)
def test_gains_have_the_side_of_their_metric(measure, difference, gain, verdict):
    assert (measure.gain(difference), measure.verdict(difference)) == (gain, verdict)


def test_rows_come_in_order_and_damaged_lines_are_counted(tmp_path):
    lines = [{"epoch": 2, "x": None}, {"epoch": 1, "x": 5}, {"x": 3}, {"epoch": 2, "x": 7}]
    content = "\n".join(map(json.dumps, lines)) + '\n{"epoch": 3, "x'
    (tmp_path / "metrics.jsonl").write_text(content)
    assert load_rows(tmp_path / "metrics.jsonl") == (
        [{"epoch": 1, "x": 5}, {"epoch": 2, "x": 7}],
        [3, 5],
    )
    with pytest.raises(FileNotFoundError):
        load_rows(tmp_path / "nowhere.jsonl")


def test_a_run_is_looked_for_below_a_folder_that_is_none(tmp_path):
    run = tmp_path / "runs" / "a" / "seed1"
    run.mkdir(parents=True)
    (run / "summary.json").touch()
    for place in (run.parent, run.parent.parent):
        with pytest.raises(UserError, match=rf"; choose one below it, such as {run}$"):
            load_summary(place)
    with pytest.raises(UserError, match="expected the folder of a run, got a file"):
        load_summary(run / "summary.json")


def test_the_summary_of_an_unfinished_run_says_how_far_it_is(tmp_path):
    with pytest.raises(UserError, match="expected the folder of a run, got no such folder"):
        load_summary(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"folder of a run, got one without summary\.json$"):
        load_summary(tmp_path)
    (tmp_path / "metrics.jsonl").write_text('{"epoch": 1}\n{"epoch": 2}\n')
    with pytest.raises(UserError, match="expected a finished run, got one that has done 2 epochs"):
        load_summary(tmp_path)
    (tmp_path / "summary.json").write_text("{}")
    with pytest.raises(UserError, match="expected a run folder of format 2, got an earlier one"):
        load_summary(tmp_path)


def test_summaries_come_back(tmp_path):
    (tmp_path / "summary.json").write_text(json.dumps(SUMMARY))
    assert load_summary(str(tmp_path)) == SUMMARY


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "expected JSON, got a damaged file .*; restore a copy of it"),
        ('{"format": 1}', "expected a run folder of format 2, got 1; train"),
        ('{"format": 2, "a": 1}', "expected the summary of a run; restore .*: `name` is None"),
        (json.dumps(SUMMARY | {"epochs": "3"}), "expected the summary .*: `epochs` is '3'"),
        (json.dumps(SUMMARY | {"metric": {}}), "expected the summary of a run; restore"),
        (json.dumps(SUMMARY | {"results": {"": {"error": 3}}}), "expected the summary of a run; "),
        (json.dumps(SUMMARY | {"results": {"": 3}}), "expected the summary of a run; restore"),
    ],
)
def test_damaged_summaries_and_those_of_other_versions_are_named(tmp_path, content, message):
    (tmp_path / "summary.json").write_text(content)
    with pytest.raises(UserError, match=message):
        load_summary(tmp_path)


def test_the_summary_of_a_diverged_run_says_what_helps(tmp_path):
    recipe = {"clip_norm": 2.0, "loss": {"name": "isda", "strength": 1}, "optimizer": {"lr": 0.1}}
    (tmp_path / "diverged.json").write_text(json.dumps({"recipe": recipe}))
    message = "a finished run, got one that diverged; try a lower clip_norm or strength or lr: that"
    with pytest.raises(UserError, match=message):
        load_summary(tmp_path)
    (tmp_path / "diverged.json").write_text('{"recipe": 3}')
    with pytest.raises(
        UserError, match=r"diverged\.json: expected where a run diverged; delete it"
    ):
        load_summary(tmp_path)


@pytest.mark.parametrize(
    "options", [(3, "%", "lower"), ("error", None, "lower"), ("error", "%", "less")], ids=str
)
def test_a_measure_of_something_else_is_refused(options):
    with pytest.raises(TypeError, match="Measure: expected a name, a unit, lower or higher, got M"):
        Measure(*options)
    with pytest.raises(TypeError, match="Measure: expected a name"):
        Measure("error", "%", "lower", "median")
