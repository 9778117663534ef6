"""Tests of semaug.engine.session, by a loop of its own that trains one number."""

import json
import math
import signal
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import pytest
import torch
from torch import nn

from semaug.engine.interrupt import InterruptedRunError
from semaug.engine.processes import Processes
from semaug.engine.seeding import make_generator
from semaug.engine.session import Session
from semaug.engine.trained import load_trained
from semaug.errors import UserError
from semaug.keepers import ClassificationKeeper
from semaug.metrics import Error
from semaug.recipe.plan import StreamPlan, make_plan
from semaug.recipe.recipe import BaseRecipe
from semaug.runs.checkpoint import load_checkpoint, save_checkpoint
from semaug.runs.divergence import DivergedError
from semaug.runs.finished import load_finished_run
from semaug.runs.read import load_summary, measure_of, value_of
from semaug.runs.run import Run
from tests.engine.same import assert_same_runs, without_times
from tests.tiny import rows_of, train_quietly

MEASURES = [("score", "", "higher"), ("cost", "s", "lower")]


class Counter:
    """An object that a checkpoint may hold; it is no module."""

    def __init__(self):
        self.calls = 0

    def state_dict(self):
        return {"calls": self.calls}

    def load_state_dict(self, state):
        self.calls = state["calls"]


@dataclass(frozen=True, kw_only=True)
class Script:
    """What happens in a run: functions of the session, called at each step or test."""

    at_step: Any = lambda session, step: None
    results: Any = lambda session, epoch: {"": {"score": float(epoch), "cost": 1.0}}
    by_class: Any = lambda session, epoch: None
    predictors: tuple[str, ...] = ("",)


def walk(start):
    """Train one weight towards numbers that are drawn."""
    script = start.recipe.script[0]
    plan = make_plan(start.recipe, {"labeled": StreamPlan(10, start.recipe.batch_size)})
    torch.manual_seed(start.seed)
    weight, counter = nn.Linear(1, 1, bias=False), Counter()
    optimizer = torch.optim.SGD(weight.parameters(), lr=0.1, momentum=0.9)
    objects = {"weight": weight, "optimizer": optimizer, "counter": counter}
    error = Error(num_classes=2)
    options = {"predictors": script.predictors, "training": {"error": error}}
    with Session(start, plan, objects, MEASURES, **options) as session:
        for epoch in session.epochs():
            numbers = torch.randn(10, generator=session.generator("numbers", epoch))
            for step in session.steps():
                own = numbers[step * 4 : step * 4 + 4]
                loss = (weight.weight.squeeze() - own).square().mean() + torch.rand(1).squeeze()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                counter.calls += 1
                outputs = nn.functional.one_hot((own > 0).long(), 2).float()
                error.update(outputs, (own > 0.5).long())
                script.at_step(session, step)
                session.count_step({"loss": loss, "size": torch.tensor(float(len(own)))})
                session.pause()
            tested = script.results(session, epoch) if plan.is_evaluated(epoch + 1) else None
            session.finish_epoch(tested, script.by_class(session, epoch), own=epoch / 2)
        return session.summary()


@dataclass(frozen=True, kw_only=True)
class Walk(BaseRecipe):
    """A kind of recipe with a loop of its own."""

    loop: ClassVar = staticmethod(walk)
    script: ClassVar[list[Script]] = [Script()]


@pytest.fixture
def walk_run(tmp_path):
    """Return a function that describes a run of that loop: three steps an epoch, of 4, 4 and 2."""

    def make(name="walk", script=None, **options):
        Walk.script[0] = script or Script()
        length = {} if "steps" in options else {"epochs": 3}
        recipe = Walk(data="digits", batch_size=4, **{**length, **options})
        return Run(name, recipe, seed=1, root=tmp_path)

    return make


def go(run, **options):
    train_quietly(run, **options)
    return run


def stop_at(total_step):
    """Return what sends a signal at a step of the run."""

    def at_step(session, step):
        if session.total_step == total_step:
            signal.raise_signal(signal.SIGTERM)

    return at_step


def test_images_that_a_loop_did_not_load_have_no_names(walk_run):
    keeper = ClassificationKeeper(torch.zeros(2, dtype=torch.int64))
    script = Script(results=lambda session, epoch: session.keep(keeper, lambda places: None))
    with pytest.raises(RuntimeError, match=r"keep: expected images of `start.load_data\(\)`"):
        go(walk_run(script=script))


def test_parameters_are_shared_out_by_loops_that_know_how(walk_run, monkeypatch):
    monkeypatch.setattr("semaug.engine.train.Processes", partial(several, Processes))
    with pytest.raises(UserError, match=r"expected a loop that shares its networks out, .* Walk"):
        go(walk_run(), fsdp=True)


def several(kind, place, precision, *, fsdp):
    processes = kind(place, precision)
    processes.fsdp = fsdp
    return processes


def test_a_checkpoint_holds_every_object_by_its_name(walk_run):
    run = go(walk_run())
    state = load_checkpoint(run.checkpoint)
    assert state["objects"].keys() == {"weight", "optimizer", "counter"}
    assert state["objects"]["counter"] == {"calls": 9}
    assert (state["format"], state["epoch"], state["step"], state["seed"]) == (2, 3, 0, 1)
    assert state["recipe"]["kind"].endswith(":Walk")


@pytest.mark.parametrize("length", [{}, {"steps": 8, "evaluate_every_steps": 3}])
@pytest.mark.parametrize("step", [0, 4, 5, 7])
def test_a_stop_at_any_step_changes_nothing(walk_run, step, length):
    """Optimizer, counter, drawn numbers, sums and the metric of training images all go on."""
    whole = go(walk_run("whole", **length))
    script = Script(at_step=stop_at(step))
    stopped = walk_run("stopped", script, **length)
    with pytest.raises(InterruptedRunError, match=f"epoch {step // 3 + 1} of 3 after step"):
        go(stopped)
    assert load_checkpoint(stopped.checkpoint)["objects"]["counter"] == {"calls": step + 1}
    again = walk_run("stopped", **length)
    go(again, resume=True)
    assert_same_runs(whole, again)


def test_rows_hold_means_over_images_tests_and_own_values(walk_run):
    run = go(walk_run())
    rows = rows_of(run)
    assert [(row["epoch"], row["step"]) for row in rows] == [(1, 3), (2, 6), (3, 9)]
    assert [row["train_size"] for row in rows] == [3.6] * 3  # 4, 4 and 2 of 10 images
    assert [row["own"] for row in rows] == [0, 0.5, 1]
    assert [row["test_score"] for row in rows] == [0, 1, 2]
    assert all(0 <= row["train_error"] <= 100 for row in rows)
    assert all(row["seconds"] >= 0 and row["images_per_second"] > 0 for row in rows)
    generators = [make_generator(run.seed, "numbers", epoch) for epoch in range(3)]
    numbers = torch.stack([torch.randn(10, generator=own) for own in generators])
    shares = ((numbers > 0) & (numbers <= 0.5)).double().mean(dim=1)
    assert [row["train_error"] for row in rows] == pytest.approx((100 * shares).tolist())


def test_the_summary_tells_the_main_metric_and_all_results(walk_run):
    predictors = ("", "teacher")
    script = Script(
        predictors=predictors,
        results=lambda session, epoch: {
            "": {"score": epoch, "cost": 3 - epoch},
            "teacher": {"score": epoch * 10.0},
        },
        by_class=lambda session, epoch: {"cat": epoch, "dog": 1.0} | ({"bee": 7} if epoch else {}),
    )
    run = go(walk_run(script=script))
    summary = load_summary(run.folder)
    assert summary["metric"] == {
        "name": "score",
        "unit": "",
        "better": "higher",
        "report": "mean_last_10",
    }
    assert summary["results"] == {
        "": {
            "score": {"mean_last_10": 1, "last": 2, "best": 2},
            "cost": {"mean_last_10": 2, "last": 1, "best": 1},
        },
        "teacher": {"score": {"mean_last_10": 10, "last": 20, "best": 20}},
    }
    assert summary["by_class"] == {"cat": 1.0, "dog": 1.0}  # bees are in some tests only
    assert (summary["epochs"], summary["optimizer_steps"], summary["images_seen"]) == (3, 9, 30)
    assert (summary["test_on"], summary["finished"], summary["format"]) == ("test", True, 2)
    rows = rows_of(run)
    assert [row["test_score_teacher"] for row in rows] == [0, 10, 20]
    assert [row["test_cost_teacher"] for row in rows] == [None] * 3


@pytest.mark.parametrize(("report", "value"), [("mean_last_10", 5.5), ("last", 10), ("best", 1)])
def test_the_recipe_says_which_tests_are_reported(walk_run, report, value):
    script = Script(results=lambda session, epoch: {"": {"score": -abs(epoch), "cost": 0.0}})
    summary = load_summary(go(walk_run(script=script, epochs=11, report=report)).folder)
    assert measure_of(summary).report == report
    assert value_of(summary) == -(value - (report == "best"))


def test_a_value_that_is_no_number_is_none_of_the_results(walk_run):
    values = [math.nan, 2.0, math.inf]
    script = Script(results=lambda session, epoch: {"": {"score": values[epoch], "cost": math.nan}})
    run = go(walk_run(script=script))
    assert [row["test_score"] for row in rows_of(run)] == [None, 2.0, None]
    summary = load_summary(run.folder)
    assert summary["results"] == {"": {"score": {"mean_last_10": 2, "last": 2, "best": 2}}}
    assert value_of(summary, metric="cost") is None


def test_epochs_without_a_test_have_no_result(walk_run):
    rows = rows_of(go(walk_run(epochs=13, evaluate_every_epochs=2)))
    tested = [row["epoch"] for row in rows if row["test_score"] is not None]
    assert tested == [2, *range(4, 14)]


def test_a_run_of_steps_has_a_row_for_each_test(walk_run):
    run = go(walk_run(steps=8, evaluate_every_steps=3))
    assert [row["step"] for row in rows_of(run)] == [3, 6, 8]
    summary = load_summary(run.folder)
    assert (summary["epochs"], summary["optimizer_steps"], summary["images_seen"]) == (3, 8, 32)


def test_numbers_drawn_depend_on_seed_purpose_and_epoch_alone(walk_run):
    drawn = []

    def draw(session, step):
        for purpose, epoch in (("a", 0), ("b", 0), ("a", 1)):
            generator = session.generator(purpose, epoch)
            drawn.append(torch.rand(1, generator=generator).item())

    go(walk_run(script=Script(at_step=draw)))
    assert len(set(drawn)) == 3
    assert drawn == drawn[:3] * 9


def test_means_are_weighted_by_what_a_process_saw(walk_run):
    """Two processes would each count the half of a batch."""

    def count_twice(session, step):
        session.count_step({"half": torch.tensor(8.0)}, share=0.5)
        session.step -= 1

    rows = rows_of(go(walk_run(script=Script(at_step=count_twice))))
    assert [row["train_half"] for row in rows] == [4.0] * 3


def test_checkpoints_in_time_are_written_at_each_step(walk_run, monkeypatch):
    steps = []
    save = Session.save
    monkeypatch.setattr(Session, "save", lambda self: (steps.append(self.step), save(self)))
    go(walk_run(), checkpoint_seconds=0)
    assert steps == 3 * [1, 2, 3, 0]


def break_at(total_step, value):
    """Return what makes the weight a number that is none, after the loss of a step."""

    def at_step(session, step):
        if session.total_step == total_step:
            session.objects["weight"].weight.data.fill_(value)

    return at_step


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_no_number_ends_the_run(walk_run, value):
    run = walk_run(script=Script(at_step=break_at(3, value)))
    message = r"expected a finite loss, got .* in step 2 of 3 of epoch 2; .*kept in .*checkpoint.pt"
    with pytest.raises(DivergedError, match=message) as error:
        go(run)
    assert (error.value.epoch, error.value.step) == (2, 2)
    assert load_checkpoint(run.checkpoint)["epoch"] == 1
    assert json.loads(run.diverged.read_text())["step"] == 2


def test_a_weight_that_is_no_number_is_not_saved(walk_run):
    run = walk_run(script=Script(at_step=break_at(2, math.nan)))
    message = "finite weights, got others in 'weight' after step 3 of 3 of epoch 1; .*: none yet"
    with pytest.raises(DivergedError, match=message):
        go(run)
    assert not run.checkpoint.exists()


def test_a_state_of_other_objects_is_named(walk_run):
    run = go(walk_run())
    (run.folder / "summary.json").unlink()
    state = load_checkpoint(run.checkpoint)
    del state["objects"]["counter"]
    save_checkpoint(run.checkpoint, state)
    message = r"checkpoint.pt: holds the state of another version: 'counter'"
    with pytest.raises(UserError, match=message):
        go(run, resume=True)


def test_a_finished_run_whose_summary_is_gone_writes_it_anew(walk_run):
    run = go(walk_run())
    before = load_summary(run.folder)
    (run.folder / "summary.json").unlink()
    go(run, resume=True)
    after = load_summary(run.folder)
    assert without_times(after) == without_times(before)


def test_a_run_of_another_kind_has_no_networks_to_load(walk_run):
    run = go(walk_run())
    assert isinstance(load_finished_run(run.folder)[0].recipe, Walk)
    with pytest.raises(UserError, match="expected a run of networks that predict, got one of Walk"):
        load_trained(run.folder)
