"""Tests of semaug.runs.read."""

import json

import pytest

from semaug.errors import UserError
from semaug.runs.read import (
    Measure,
    load_rows,
    load_summary,
    measure_of,
    measured,
    summarize,
    value_of,
)

MIOU = Measure("miou", "%", "higher", "best")
FRECHET = Measure("frechet", "", "lower", "last")


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
        (Measure("time", "s", "lower"), 3.0, "3.00 s worse", "worse"),
        (FRECHET, 0.004, "", "worse"),
    ],
)
def test_gains_have_the_side_of_their_metric(measure, difference, gain, verdict):
    assert (measure.gain(difference), measure.verdict(difference)) == (gain, verdict)


def test_rows_come_in_order_and_damaged_lines_are_counted(tmp_path):
    lines = [{"epoch": 2, "x": None}, {"epoch": 1, "x": 5}, {"x": 3}, {"epoch": 2, "x": 7}]
    content = "\n".join(map(json.dumps, lines)) + '\n{"epoch": 3, "x'
    (tmp_path / "metrics.jsonl").write_text(content)
    assert load_rows(tmp_path) == ([{"epoch": 1, "x": 5}, {"epoch": 2, "x": 7}], [3, 5])
    with pytest.raises(FileNotFoundError):
        load_rows(tmp_path / "nowhere")


def test_the_summary_of_an_unfinished_run_says_how_far_it_is(tmp_path):
    with pytest.raises(UserError, match="expected the folder of a run, got no such folder"):
        load_summary(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"expected the folder of a run, got one without summary"):
        load_summary(tmp_path)
    (tmp_path / "metrics.jsonl").write_text('{"epoch": 1}\n{"epoch": 2}\n')
    with pytest.raises(UserError, match="expected a finished run, got one that has done 2 epochs"):
        load_summary(tmp_path)
    (tmp_path / "summary.json").write_text("{}")
    with pytest.raises(UserError, match="expected a run folder of format 2, got an earlier one"):
        load_summary(tmp_path)
