"""Tests of semaug.queue.in_turn."""

from semaug.queue import in_turn
from semaug.queue.in_turn import train_missing
from semaug.runs.run import RunIsBusyError


def test_runs_of_another_process_are_waited_for(make_run, monkeypatch):
    monkeypatch.setattr(in_turn, "_SECONDS_BETWEEN_LOOKS", 0)
    runs = [make_run(seed=seed) for seed in range(3)]
    tries, lines = [], []

    def train_one(run):
        tries.append(run.seed)
        if run.seed == 0 and tries.count(0) < 3:
            raise RunIsBusyError("busy")
        return {"seed": run.seed}

    summaries = train_missing(runs, train_one, lines.append)
    assert [summary["seed"] for summary in summaries] == [0, 1, 2]
    assert tries == [0, 1, 2, 0, 0]
    assert lines[0] == "run 1 of 3: digits_resnet8_isda seed 0 starts"
    assert (
        lines[1] == "run 1 of 3: digits_resnet8_isda seed 0 waits: another process is training it"
    )
    assert len(lines) == 4
