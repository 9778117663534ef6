"""Tests of semaug.queue.search."""

import json
from dataclasses import replace

import pytest
import torch
from rich.console import Console

from semaug.data import load_data, select
from semaug.engine.options import TrainOptions
from semaug.engine.streams import Streams
from semaug.errors import UserError
from semaug.queue.outcome import Outcome
from semaug.queue.queue import train_runs
from semaug.queue.search import Candidate, search
from semaug.runs.read import value_of
from tests.queue.summaries import summary_of

HELD_OUT = 50


@pytest.fixture
def make_candidates(make_run):
    """Return a function that makes a candidate of each strength."""

    def make(*strengths, seeds=(0,)):
        candidates = []
        for strength in strengths:
            final = [
                make_run("digits_resnet8_isda", f"strength={strength}", seed=seed, root=strength)
                for seed in seeds
            ]
            choosing = []
            for run in final:
                subset = replace(run.recipe.subset, hold_out=HELD_OUT, test_images=None)
                recipe = replace(run.recipe, subset=subset)
                choosing.append(replace(run, recipe=recipe, name="choosing"))
            candidates.append(Candidate({"strength": strength}, choosing, final))
        return candidates

    return make


def pretend(errors, name="error", better="lower"):
    """Return what pretends to train: errors by strength and seed, None is a divergence."""
    asked = []

    def train_all(runs):
        asked.append(list(runs))
        return [outcome(run) for run in runs]

    def outcome(run):
        error = errors[run.recipe.loss.strength][run.seed]
        if error is None:
            return Outcome(run, error="got nan", diverged=True)
        if isinstance(error, str):
            return Outcome(run, error=error)
        return Outcome(run, summary_of(error, name, better, device="none", commit="0"))

    train_all.asked = asked
    return train_all


def test_test_images_are_seen_once_after_the_choice(make_candidates, tmp_path, monkeypatch):
    evaluated, phases = [], []
    batches = Streams.test_batches

    def spy(streams):
        evaluated.append((len(phases), streams.data.test))
        return batches(streams)

    def train_all(runs):
        phases.append(list(runs))
        return train_runs(runs, TrainOptions(device="cpu"), 1, Console(quiet=True))

    monkeypatch.setattr(Streams, "test_batches", spy)
    candidates = make_candidates("0.1", "0.5")
    result = search(candidates, train_all, tmp_path / "search")

    digits = load_data("digits")
    held_out = select(digits, train_per_class=10, hold_out=HELD_OUT)[1].held_out
    places = torch.arange(60) * len(digits.test) // 60
    seen = {1: digits.train.subset(held_out), 2: digits.test.subset(places)}
    assert [phase for phase, _ in evaluated] == [1] * 6 + [2] * 3  # of 3 epochs each
    for phase, images in evaluated:
        assert torch.equal(images.images, seen[phase].images)
        assert torch.equal(images.labels, seen[phase].labels)
    chosen = min(candidates, key=lambda one: value_of(one.choosing[0].summary()))
    assert result["chosen"] == chosen.values
    assert phases == [[one.choosing[0] for one in candidates], list(chosen.final)]
    assert result["final"]["test"]["values"] == [value_of(chosen.final[0].summary())]
    assert chosen.final[0].summary()["test_on"] == "test"


def test_the_lowest_mean_wins_and_everything_is_written(make_candidates, tmp_path):
    train_all = pretend({0.1: [9.0, 2.0], 0.25: [5.0, 5.0], 0.5: [4.0, 6.0]})
    result = search(make_candidates("0.1", "0.25", "0.5", seeds=(0, 1)), train_all, tmp_path)
    assert result["chosen"] == {"strength": "0.25"}  # the first of equals
    written = json.loads((tmp_path / "search.json").read_text())
    assert written == result
    assert (written["hold_out"], written["seeds"]) == (HELD_OUT, [0, 1])
    errors = [row["held_out"] for row in written["candidates"]]
    assert [row["mean"] for row in errors] == [5.5, 5.0, 5.0]
    assert [row["values"] for row in errors] == [[9.0, 2.0], [5.0, 5.0], [4.0, 6.0]]
    assert errors[2]["std"] == pytest.approx(2**0.5)
    assert written["final"]["test"] == {"mean": 5.0, "std": 0.0, "values": [5.0, 5.0]}


def test_the_highest_mean_wins_where_higher_is_better(make_candidates, tmp_path):
    train_all = pretend({0.1: [70.0], 0.25: [90.0], 0.5: [80.0]}, "accuracy", "higher")
    result = search(make_candidates("0.1", "0.25", "0.5"), train_all, tmp_path)
    assert result["chosen"] == {"strength": "0.25"}
    assert json.loads((tmp_path / "search.json").read_text())["metric"]["name"] == "accuracy"


def test_what_cannot_be_compared_is_not_chosen_from(make_candidates, tmp_path):
    def outcome(run, value=1.0):
        name = "error" if run.recipe.loss.strength == 0.1 else "miou"
        return Outcome(run, summary_of(value, name))

    message = r"the same main metric, got error in percent \(mean_last_10\) and miou in percent"
    with pytest.raises(UserError, match=f"search: expected runs with {message}"):
        search(make_candidates("0.1", "0.5"), lambda runs: [*map(outcome, runs)], tmp_path)
    with pytest.raises(UserError, match="expected the main metric of each run, got a run without"):
        search(make_candidates("0.1"), lambda runs: [outcome(runs[0], None)], tmp_path)


def test_a_value_that_diverged_is_not_chosen(make_candidates, tmp_path):
    train_all = pretend({0.1: [1.0, None], 0.5: [8.0, 8.0]})
    result = search(make_candidates("0.1", "0.5", seeds=(0, 1)), train_all, tmp_path)
    assert result["chosen"] == {"strength": "0.5"}
    written = json.loads((tmp_path / "search.json").read_text())
    assert [row["diverged"] for row in written["candidates"]] == [True, False]


def test_nothing_is_chosen_if_all_diverged(make_candidates, tmp_path):
    train_all = pretend({0.1: [None], 0.5: [None]})
    with pytest.raises(UserError, match="search: every candidate diverged; try a lower strength"):
        search(make_candidates("0.1", "0.5"), train_all, tmp_path)


def test_nothing_is_chosen_while_a_run_is_missing(make_candidates, tmp_path):
    train_all = pretend({0.1: [1.0], 0.5: ["no disk"]})
    with pytest.raises(UserError, match="1 of 2 runs failed, such as choosing seed 0: no disk"):
        search(make_candidates("0.1", "0.5"), train_all, tmp_path)
    assert len(train_all.asked) == 1


def test_a_search_that_stopped_goes_on(make_candidates, tmp_path):
    errors = {0.1: [3.0], 0.5: [2.0]}
    train_all, candidates = pretend(errors), make_candidates("0.1", "0.5")

    def stop_at_the_end(runs):
        if runs[0].recipe.subset.hold_out is None:
            raise KeyboardInterrupt
        return train_all(runs)

    with pytest.raises(KeyboardInterrupt):
        search(candidates, stop_at_the_end, tmp_path)
    written = json.loads((tmp_path / "search.json").read_text())
    assert (written["chosen"], written["final"]) == ({"strength": "0.5"}, None)
    assert search(candidates, train_all, tmp_path)["final"]["test"]["values"] == [2.0]


def test_the_images_of_runs_are_checked(make_candidates, tmp_path):
    (good,) = make_candidates("0.1")
    with pytest.raises(ValueError, match="expected `hold_out` in all of `choosing`"):
        search([replace(good, choosing=good.final)], pretend({}), tmp_path)
    with pytest.raises(ValueError, match="and none of `final`"):
        search([replace(good, final=good.choosing)], pretend({}), tmp_path)
