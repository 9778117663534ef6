"""Tests of semaug.engine.loop: what a run learns, tests and writes down."""

from dataclasses import replace

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from semaug.average import WeightAverage
from semaug.engine import loop, measure
from semaug.engine.evaluation import SlidingWindow
from semaug.engine.options import TrainOptions
from semaug.engine.trained import load_trained
from semaug.keepers import Answers
from semaug.methods import Supervised, method
from semaug.metrics import AccuracySpec, Error, ErrorSpec, MeanIoUSpec
from semaug.registry import data_sets
from semaug.runs.checkpoint import load_checkpoint
from semaug.runs.kept import read_kept
from semaug.runs.read import measure_of, value_of
from tests.engine import toys
from tests.engine.same import assert_same, without_times
from tests.tiny import rows_of, tiny_run, train_quietly


def method_of(run):
    return load_checkpoint(run.checkpoint)["objects"]["method"]


def final(run, predictor="", metric=None, report="last"):
    return value_of(run.summary(), predictor, metric, report)


@pytest.fixture
def train_own(make_run):
    """Return a function that trains a tiny run whose recipe has specs that are given."""

    def train_with(*arguments, root="runs", **specs):
        run = make_run(*arguments, root=root)
        run = replace(run, recipe=replace(run.recipe, **specs))
        train_quietly(run)
        return run

    return train_with


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Return a finished tiny run with ISDA, which nothing may change."""
    run = tiny_run(tmp_path_factory.mktemp("tiny"), "digits_resnet8_isda", "lr=0.2", "strength=0.6")
    train_quietly(run)
    return run


# Rows and summary.


def test_rows_tell_step_loss_errors_rate_and_strength(tiny):
    rows = rows_of(tiny)
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert [row["step"] for row in rows] == [4, 8, 12]
    assert [row["strength"] for row in rows] == pytest.approx([0.2, 0.4, 0.6])
    assert rows[0]["lr"] == pytest.approx(0.2 * (1 + torch.tensor(torch.pi / 4).cos()) / 2)
    assert all(row["train_loss"] > 0 and row["images_per_second"] > 0 for row in rows)
    assert all(0 <= row[name] <= 100 for row in rows for name in ("train_error", "test_error"))
    assert rows[0]["seconds"] <= rows[1]["seconds"] <= rows[2]["seconds"]


def test_every_number_of_a_row_is_in_tensorboard(tiny):
    events = EventAccumulator(str(tiny.folder / "tensorboard")).Reload()
    numbers = {name for row in rows_of(tiny) for name in row if row[name] is not None}
    classes = {f"by_class/{name}" for name in tiny.summary()["by_class"]}
    assert len(classes) == 10
    assert set(events.Tags()["scalars"]) == numbers - {"epoch", "step"} | classes


def test_epochs_without_a_test_have_no_test_error(train_tiny):
    run = train_tiny("digits_resnet8", "epochs=12", "evaluate_every_epochs=50")
    errors = [row["test_error"] for row in rows_of(run)]
    assert errors[:2] == [None, None]
    assert None not in errors[2:]
    assert final(run, report="mean_last_10") == pytest.approx(sum(errors[2:]) / 10)
    assert final(run, report="best") == min(errors[2:])


def test_errors_of_classes_are_those_of_the_tests_that_are_averaged(train_tiny):
    run = train_tiny("digits_resnet8", "epochs=12", "test_images=none")
    of_classes = run.summary()["by_class"]
    assert list(of_classes) == [str(digit) for digit in range(10)]
    labels = data_sets.make("digits").load(None, None).test.labels
    sizes = labels.bincount().double() / len(labels)
    mean = sizes @ torch.tensor(list(of_classes.values()), dtype=torch.float64)
    assert mean.item() == pytest.approx(final(run, report="mean_last_10"))
    assert len(set(of_classes.values())) > 1


def test_classes_without_test_images_have_no_error(train_tiny):
    summary = train_tiny("digits_resnet8", "epochs=1", "test_images=5").summary()
    assert list(summary["by_class"]) == ["1", "2", "3", "8", "9"]


def test_training_learns_something(train_tiny):
    run = train_tiny("digits_resnet8", "epochs=12", "test_images=none", "train_per_class=50")
    assert final(run) < 25


def test_both_arms_have_the_same_weights_batches_and_augmentation(train_tiny):
    """At strength 0 ISDA is cross-entropy, so paired runs must not differ in anything."""
    baseline = train_tiny("digits_resnet8")
    other = train_tiny("digits_resnet8_isda", "strength=0", "ramp=constant")
    rows = [without_times(row) for row in rows_of(other)]
    for row in rows:
        assert row.pop("strength") == row.pop("mean_penalty") == row.pop("bound_gap") == 0
        assert row.pop("order_changed") == 0
        assert row.pop("fewest_samples") > 0
        assert 1 <= row.pop("effective_rank") <= 64
    assert rows == without_times(rows_of(baseline))


@pytest.mark.parametrize("channels_last", ["true", "false"])
def test_bf16_keeps_weights_and_statistics_in_float32(train_tiny, channels_last):
    changes = ["precision=bf16", f"channels_last={channels_last}", "epochs=2"]
    state = method_of(train_tiny("digits_resnet8_isda", *changes))
    dtypes = {value.dtype for value in state.values() if value.is_floating_point()}
    assert dtypes == {torch.float32}
    assert state["criterion.estimator.count"].sum() == 2 * 100


def test_other_networks_of_timm_train_too(train_tiny):
    run = train_tiny("digits_resnet8_isda", "network=resnet20_cifar", "epochs=1")
    assert run.summary()["finished"]


def test_summary_tells_steps_images_and_passes(train_tiny):
    summary = train_tiny("digits_resnet8", "method=ait", "views=3").summary()
    assert summary["optimizer_steps"] == 3 * 4
    assert summary["images_seen"] == 3 * 100
    assert summary["forward_passes"] == 3 * 100 * 3


# Length in steps.


def test_a_run_of_steps_is_tested_as_often_as_it_says(train_tiny):
    changes = ["epochs=none", "steps=10", "evaluate_every_steps=4", "schedule=poly", "lr=0.5"]
    run = train_tiny("digits_resnet8", *changes)
    rows = rows_of(run)
    assert [row["step"] for row in rows] == [4, 8, 10]
    assert [row["lr"] for row in rows] == pytest.approx(
        [0.5 * (1 - step / 10) ** 0.9 for step in (3, 7, 9)]
    )
    summary = run.summary()
    assert (summary["optimizer_steps"], summary["images_seen"]) == (10, 320)
    errors = [row["test_error"] for row in rows]
    assert None not in errors
    assert final(run, report="mean_last_10") == pytest.approx(sum(errors) / 3)
    assert load_trained(run.folder).test()[""]["error"] == errors[-1]


# What is tested.


def test_what_is_kept_of_the_last_test_agrees_with_its_metrics(train_tiny):
    changes = ["folds=5", "ema_decay=0.9", "metrics=error,nll", "test_images=none"]
    run = train_tiny("digits_resnet8", *changes, "train_per_class=20")
    kept = read_kept(run.folder / "tested.npz")
    answers = Answers(*(kept.arrays[name] for name in Answers.__dataclass_fields__))
    is_wrong = answers.labels != answers.predictions
    assert 100 * is_wrong.double().mean().item() == pytest.approx(final(run))
    nll = -answers.label_log_probs.double().mean().item()
    assert nll == pytest.approx(final(run, metric="nll"), rel=1e-5)
    assert kept.classes == tuple("0123456789")
    train = data_sets.make("digits").load(None, None).train
    places = torch.tensor([int(name.removeprefix("training image ")) for name in kept.names])
    assert torch.equal(train.labels[places], answers.labels)
    shown = kept.arrays["shown"].long()
    pictures = kept.arrays["pictures"].movedim(3, 1)
    assert torch.equal(pictures, train.images[places[shown]])


def test_photographs_are_kept_as_their_test_sees_them(make_run, photographs):
    root = photographs(train=5, test=3)
    changes = ["network=resnet8_cifar", "image_size=16", "batch_size=4", "epochs=1"]
    run = make_run("folder_resnet18", *changes, "train_per_class=none", "test_images=none")
    train_quietly(run, data_root=str(root), workers=0)
    kept = read_kept(run.folder / "tested.npz")
    names = [f"{kind}/{place}.png" for kind in ("cat", "dog") for place in range(3)]
    assert sorted(kept.names) == names
    assert kept.arrays["shown"].tolist() == [0, 1, 2, 3, 4, 5]
    assert kept.arrays["pictures"].shape == (6, 16, 16, 3)
    seen = load_trained(run.folder, TrainOptions(data_root=str(root), workers=0)).test_pixels()
    pixels = torch.cat([batch.pixels for batch in seen])
    assert torch.equal(kept.arrays["pictures"].movedim(3, 1), pixels)


def test_evaluation_gets_images_only(make_run, monkeypatch):
    sizes = []

    def look(predict, evaluator, batches, *others):
        (samples,) = batches
        outputs = evaluator(predict, samples.images, None)[""]
        sizes.append(outputs.shape)
        error = Error(10)
        error.count.fill_(6)
        error.chosen[[3, 8]] = 3
        return measure.Tested({"": [error]})

    monkeypatch.setattr(loop, "measure", look)
    run = make_run("digits_resnet8")
    train_quietly(run)
    assert final(run) == 10
    assert run.summary()["by_class"]["3"] == 50
    assert sizes == 3 * [(60, 10)]


def test_a_metric_of_which_more_is_better(train_own):
    metrics = (AccuracySpec(), ErrorSpec())
    run = train_own("digits_resnet8", "report=best", metrics=metrics)
    rows, summary = rows_of(run), run.summary()
    for row in rows:
        assert row["test_accuracy"] == pytest.approx(100 - row["test_error"])
        assert 0 <= row["train_accuracy"] <= 100
        assert "train_error" not in row  # the main metric alone is counted in training
    measure = measure_of(summary)
    assert (measure.name, measure.better, measure.report) == ("accuracy", "higher", "best")
    assert value_of(summary) == max(row["test_accuracy"] for row in rows)
    assert final(run, metric="error", report="best") == min(row["test_error"] for row in rows)
    by_class = summary["by_class"]
    assert sum(by_class.values()) / 10 == pytest.approx(final(run, report="mean_last_10"), abs=10)


@pytest.mark.parametrize("evaluation", [None, SlidingWindow(window=5, mirror=True)])
def test_masks_are_learned_and_measured(train_own, evaluation):
    specs = {"data": toys.Squares(), "network": toys.Pixelwise(), "metrics": (MeanIoUSpec(),)}
    if evaluation is not None:
        specs["evaluation"] = evaluation
    changes = ["train_per_class=none", "test_images=none", "batch_size=5", "augment.flip=true"]
    run = train_own("digits_resnet8", *changes, "epochs=40", **specs)
    rows, summary = rows_of(run), run.summary()
    assert summary["metric"]["name"] == "miou"
    assert summary["by_class"].keys() == {"ground", "square"}
    assert rows[-1]["test_miou"] > 80
    assert rows[-1]["train_miou"] > 60
    assert (run.folder / "tested.npz").exists()  # its metric keeps masks of a few images
    assert load_trained(run.folder).test() == {"": {"miou": rows[-1]["test_miou"]}}


def test_errors_of_five_guesses_are_told_where_there_are_many_classes(train_tiny, monkeypatch):
    monkeypatch.setattr(method, "MIN_CLASSES_FOR_TOP5", 10)
    run = train_tiny("digits_resnet8")
    rows = rows_of(run)
    for row in rows:
        assert row["test_top5_error"] <= row["test_error"]
    assert final(run, metric="top5_error") == rows[-1]["test_top5_error"]


class Never(Error):
    """It is not a number."""

    name = "never"

    def compute(self):
        return float("nan")


def test_a_metric_that_is_no_number_is_none_of_the_results(train_tiny, monkeypatch):
    monkeypatch.setattr(Supervised, "metrics", lambda self, sizes: [Never(10), Error(10)])
    run = train_tiny("digits_resnet8")
    for row in rows_of(run):
        assert row["train_never"] is row["test_never"] is None
        assert row["test_error"] >= 0
    assert final(run) is None
    assert run.summary()["results"][""].keys() == {"error"}
    assert run.summary()["metric"]["name"] == "never"


def test_a_method_may_have_no_logits_of_labeled_images(train_own):
    rows = rows_of(train_own("digits_resnet8", "epochs=2", method=toys.Other()))
    assert [row["train_error"] for row in rows] == [None, None]
    assert all(row["train_loss"] > 0 and row["test_error"] >= 0 for row in rows)


# Several views and several networks.


def test_ait_without_weight_on_equal_views_is_supervised_training(train_tiny):
    changes = ["padding=0", "augment.flip=false", "precision=64", "batch_size=50"]
    pairs = ["method=ait", "ai_weight=0", "ai_convention=released"]
    # Batch norm sees each image twice, and its running variance is of twice as many.
    alone, together = (
        rows_of(train_tiny("digits_resnet8", *changes, *more, root=str(len(more))))
        for more in ([], pairs)
    )
    for one, other in zip(alone, together, strict=True):
        assert other["train_loss"] == pytest.approx(one["train_loss"], rel=1e-9)
        assert other["train_error"] == one["train_error"]


def test_each_network_is_tested(train_tiny):
    run = train_tiny("digits_resnet8", "method=dml", "peers=resnet20_cifar")
    rows = rows_of(run)
    errors = [row["test_error_network_2"] for row in rows]
    assert final(run, "network 2", report="mean_last_10") == pytest.approx(sum(errors) / 3)
    assert errors != [row["test_error"] for row in rows]
    assert {"network.0.conv1.weight", "network.1.conv1.weight"} <= method_of(run).keys()


def test_decay_of_weights_may_differ_between_networks(train_tiny):
    changes = ["method=dml", "peers=resnet8_cifar", "weight_decay=0.1"]
    norms = []
    for more in ([], ["peer_weight_decay=0.9"]):
        state = method_of(train_tiny("digits_resnet8", *changes, *more, root=str(len(more))))
        norms.append([state[f"network.{k}.conv1.weight"].norm() for k in (0, 1)])
    assert norms[1][1] < 0.9 * norms[0][1]
    torch.testing.assert_close(norms[1][0], norms[0][0], rtol=0.2, atol=0)


# Several streams.


def test_terms_and_logs_are_written_down(train_own):
    changes = ["labeled_per_class=4", "batch_size=16"]
    run = train_own("digits_resnet8", *changes, method=toys.Consistent(), network=toys.Plain())
    for row in rows_of(run):
        sum_of_terms = row["train_loss_supervised"] + row["train_loss_consistency"]
        assert row["train_loss"] == pytest.approx(sum_of_terms, rel=1e-5)
        assert 0.1 <= row["train_certainty"] <= 1
        assert row["test_error_teacher"] >= 0
    assert [row["step"] for row in rows_of(run)] == [3, 6, 9]
    summary = run.summary()
    assert (summary["images_seen"], summary["forward_passes"]) == (120 + 198, 120 + 2 * 198)
    results = load_trained(run.folder).test()
    assert results.keys() == {"", "teacher"}
    assert results["teacher"]["error"] == final(run, "teacher")


# When methods are called.


def test_methods_are_called_in_order(train_own, monkeypatch):
    notes = toys.NotingMethod.notes
    notes.clear()
    update = WeightAverage.update

    def note_and_update(self, networks):
        notes.append("average")
        update(self, networks)

    monkeypatch.setattr(WeightAverage, "update", note_and_update)
    changes = ["epochs=2", "batch_size=50", "ema_decay=0.9"]
    run = train_own("digits_resnet8", *changes, method=toys.Noting(), network=toys.Plain())
    expected = []
    for epoch in range(2):
        expected.append(f"start_epoch {epoch}")
        for step in (2 * epoch, 2 * epoch + 1):
            expected += [f"loss {step}", f"after_step {step}", "average"]
        expected += ["end_epoch", "diagnostics training=False"]
    assert notes == expected
    assert [row["images"] for row in rows_of(run)] == [64, 64]


def test_samples_left_out_are_told_once_an_epoch(train_tiny, monkeypatch):
    calls = []
    monkeypatch.setattr(Supervised, "end_epoch", lambda self: calls.append(self.training))
    train_tiny("digits_resnet8_isda")
    assert calls == [True] * 3


def test_the_same_batches_are_seen_by_every_loss(train_own, monkeypatch):
    """Whatever a loss draws in a step."""
    seen = []
    loss = Supervised.loss

    def loss_and_note(self, batch):
        seen.append(batch.labeled.images.clone())
        torch.rand(3)
        return loss(self, batch)

    monkeypatch.setattr(Supervised, "loss", loss_and_note)
    for name in ("digits_resnet8", "digits_resnet8_isda"):
        train_own(name, "epochs=1")
    assert len(seen) == 8
    assert_same(seen[:4], seen[4:])
