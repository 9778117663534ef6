"""Tests of semaug.engine.loop."""

import io
import json
import os
import signal
from dataclasses import replace

import pytest
import timm
import torch
from rich.console import Console
from semaug.engine.divergence import DivergedError
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from semaug.data import load_data
from semaug.engine import loop, run_files
from semaug.engine.build import build_method
from semaug.engine.interrupt import InterruptedRunError
from semaug.engine.loop import train
from semaug.errors import UserError
from semaug.methods import Supervised
from semaug.runs.checkpoint import load_checkpoint, save_checkpoint
from tests.engine.same import assert_same, without_times


def test_folder_holds_all_about_a_run(train_tiny):
    run = train_tiny()
    names = {path.name for path in run.folder.iterdir()}
    assert names == {
        "checkpoint.pt",
        "environment.json",
        "images.json",
        "images.npz",
        "lock",
        "metrics.jsonl",
        "recipe.json",
        "summary.json",
        "tensorboard",
    }
    (start,) = json.loads((run.folder / "environment.json").read_text())
    assert {"started", "device", "threads", "torch", "commit"} <= start.keys()
    recipe = json.loads((run.folder / "recipe.json").read_text())
    assert recipe["recipe"]["precision"] in ("32", "bf16")  # no "auto" is left


def test_rows_tell_step_loss_errors_rate_and_strength(train_tiny):
    rows = train_tiny("digits_resnet8_isda", "lr=0.2", "strength=0.6").metric_rows()
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert [row["step"] for row in rows] == [4, 8, 12]
    assert [row["strength"] for row in rows] == pytest.approx([0.2, 0.4, 0.6])
    assert rows[0]["lr"] == pytest.approx(0.2 * (1 + torch.tensor(torch.pi / 4).cos()) / 2)
    assert all(row["train_loss"] > 0 and row["images_per_second"] > 0 for row in rows)
    assert all(0 <= row[name] <= 100 for row in rows for name in ("train_error", "test_error"))
    assert rows[0]["seconds"] <= rows[1]["seconds"] <= rows[2]["seconds"]


def test_epochs_without_a_test_have_no_test_error(train_tiny):
    run = train_tiny("digits_resnet8", "epochs=12", "evaluate_every_epochs=50")
    errors = [row["test_error"] for row in run.metric_rows()]
    assert errors[:2] == [None, None]
    assert None not in errors[2:]
    assert run.summary()["error_mean_last_10"] == pytest.approx(sum(errors[2:]) / 10)


def test_errors_of_classes_are_those_of_the_tests_that_are_averaged(train_tiny):
    summary = train_tiny("digits_resnet8", "epochs=12", "test_images=none").summary()
    of_classes = summary["error_per_class"]
    assert list(of_classes) == [str(digit) for digit in range(10)]
    labels = load_data("digits").test.labels
    sizes = labels.bincount().double() / len(labels)
    mean = sizes @ torch.tensor(list(of_classes.values()), dtype=torch.float64)
    assert mean.item() == pytest.approx(summary["error_mean_last_10"])
    assert len(set(of_classes.values())) > 1


def test_classes_without_test_images_have_no_error(train_tiny):
    summary = train_tiny("digits_resnet8", "epochs=1", "test_images=5").summary()
    assert list(summary["error_per_class"]) == ["1", "2", "3", "8", "9"]


def test_a_checkpoint_of_early_versions_goes_on_without_errors_of_classes(train_tiny):
    run = train_tiny("digits_resnet8")
    (run.folder / "summary.json").unlink()
    state = load_checkpoint(run.checkpoint)
    kept = ("format", "wrong_by_class", "peak_memory")
    save_checkpoint(run.checkpoint, {key: state[key] for key in state if key not in kept})
    summary = train_tiny("digits_resnet8", resume=True).summary()
    assert (summary["error_per_class"], summary["peak_memory_mib"]) == ({}, None)


def test_memory_is_that_of_the_start_that_took_most(train_tiny):
    run = train_tiny("digits_resnet8")
    rows = run.metric_rows()
    peaks = [row["peak_memory_mib"] for row in rows]
    assert 50 < peaks[0] <= peaks[1] <= peaks[2] <= run.summary()["peak_memory_mib"]
    (run.folder / "summary.json").unlink()
    state = load_checkpoint(run.checkpoint)
    del state["format"]
    save_checkpoint(run.checkpoint, state | {"peak_memory": 1e9})
    assert train_tiny("digits_resnet8", resume=True).summary()["peak_memory_mib"] == 1e9


def test_every_number_of_a_row_is_in_tensorboard(train_tiny):
    run = train_tiny()
    events = EventAccumulator(str(run.folder / "tensorboard")).Reload()
    numbers = {name for row in run.metric_rows() for name in row if row[name] is not None}
    classes = {f"error_per_class/{name}" for name in run.summary()["error_per_class"]}
    assert set(events.Tags()["scalars"]) == numbers - {"epoch", "step"} | classes


def test_training_learns_something(train_tiny):
    run = train_tiny("digits_resnet8", "epochs=12", "test_images=none", "train_per_class=50")
    assert run.summary()["error_last"] < 25


def test_both_arms_have_the_same_weights_batches_and_augmentation(train_tiny):
    """At strength 0 ISDA is cross-entropy, so paired runs must not differ in anything."""
    baseline = train_tiny("digits_resnet8")
    other = train_tiny("digits_resnet8_isda", "strength=0", "ramp=constant")
    rows = [without_times(row) for row in other.metric_rows()]
    for row in rows:
        assert row.pop("strength") == row.pop("mean_penalty") == row.pop("bound_gap") == 0
        assert row.pop("order_changed") == 0
        assert row.pop("fewest_samples") > 0
        assert 1 <= row.pop("effective_rank") <= 64
    assert rows == without_times(baseline.metric_rows())


def test_seeds_make_different_runs(train_tiny):
    first, second = (train_tiny("digits_resnet8", seed=seed).metric_rows() for seed in (0, 1))
    assert without_times(first) != without_times(second)


def test_the_same_seed_makes_the_same_run_whatever_was_drawn_before(train_tiny):
    first = train_tiny(root="first")
    torch.rand(5)
    second = train_tiny(root="second")
    assert_same(*(without_times(load_checkpoint(run.checkpoint)) for run in (first, second)))


@pytest.mark.parametrize("channels_last", ["true", "false"])
def test_bf16_keeps_weights_and_statistics_in_float32(train_tiny, channels_last):
    run = train_tiny("digits_resnet8_isda", "precision=bf16", f"channels_last={channels_last}")
    method = load_checkpoint(run.checkpoint)["method"]
    dtypes = {value.dtype for value in method.values() if value.is_floating_point()}
    assert dtypes == {torch.float32}
    assert method["criterion.estimator.count"].sum() == 3 * 100


def test_other_networks_of_timm_train_too(train_tiny):
    run = train_tiny("digits_resnet8_isda", "network=resnet20_cifar", "epochs=1")
    assert run.summary()["finished"]


def test_a_run_is_not_trained_over(train_tiny):
    train_tiny()
    with pytest.raises(
        ValueError, match=r"holds this run already; add --resume .* seed=N .*--runs"
    ):
        train_tiny()


def test_a_finished_run_gives_its_summary(train_tiny, make_run, quiet):
    run = train_tiny()
    assert train(make_run(), resume=True, **quiet) == run.summary()


def test_a_stop_after_the_last_test_is_not_forgotten(make_run, quiet, monkeypatch):
    run = make_run()

    def stop(self, errors, epoch):
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(loop.Record, "add_classes", stop)
    message = "digits_resnet8_isda seed 0: stopped after its last epoch, finished"
    with pytest.raises(InterruptedRunError, match=message):
        train(run, **quiet)
    assert run.summary()["finished"]


def test_what_training_means_is_told_once_nothing_is_misspelt(make_run, quiet):
    told = []
    with pytest.raises(UserError):
        train(make_run("digits_resnet8", "network=resnet9_cifar"), report=told.append, **quiet)
    assert told == []
    for _ in range(2):
        train(make_run("digits_resnet8"), report=told.append, resume=True, **quiet)
    assert told == ["starts", "was finished before"]


def test_all_devices_of_a_run_are_told(make_run, quiet, monkeypatch):
    """Starts count from the one that began the run: of those before it nothing is left."""
    run, output = make_run(), io.StringIO()
    add = loop.Record.add

    def stop(self, row):
        add(self, row)
        raise KeyboardInterrupt

    def start(device, **options):
        monkeypatch.setattr(run_files, "describe_device", lambda place: device)
        return train(run, resume=True, **quiet | options)

    monkeypatch.setattr(loop.Record, "add", stop)
    with pytest.raises(KeyboardInterrupt):
        start("a slow CPU")
    with pytest.raises(KeyboardInterrupt):
        start("a CPU", checkpoint_seconds=0)
    monkeypatch.setattr(loop.Record, "add", add)
    summary = start("a GPU", console=Console(file=output))
    assert summary["device"] == "a CPU; a GPU"
    assert output.getvalue().startswith("warning: this run began on a CPU and goes on with a GPU;")
    starts = json.loads((run.folder / "environment.json").read_text())
    assert [start["device"] for start in starts] == ["a slow CPU", "a CPU", "a GPU"]


def test_resuming_what_never_began_begins_it(train_tiny):
    assert train_tiny(resume=True).summary()["epochs"] == 3


def test_another_recipe_in_the_folder_is_named(train_tiny):
    train_tiny("digits_resnet8_isda")
    with pytest.raises(ValueError, match=r"another recipe: lr is 0.1 there and 0.2 now"):
        train_tiny("digits_resnet8_isda", "lr=0.2", resume=True)


def test_auto_means_what_the_run_began_with(train_tiny, make_run, quiet):
    train_tiny("digits_resnet8", "precision=bf16")
    train(make_run("digits_resnet8"), resume=True, **quiet)
    with pytest.raises(ValueError, match="precision is 'bf16' there and '32' now"):
        train(make_run("digits_resnet8", "precision=32"), resume=True, **quiet)


def test_what_cannot_begin_leaves_no_run(make_run, quiet):
    run = make_run("digits_resnet8", "network=resnet9_cifar")
    with pytest.raises(ValueError, match="unknown network 'resnet9_cifar'; did you mean 'resnet"):
        train(run, **quiet)
    assert not run.has_begun


@pytest.mark.parametrize(
    "changes", [["network=vit_tiny_patch16_224"], ["padding=8", "padding_mode=reflect"]]
)
def test_what_does_not_fit_the_images_leaves_no_run(make_run, quiet, changes):
    run = make_run("digits_resnet8_isda", *changes)
    with pytest.raises(UserError, match="data=digits"):
        train(run, **quiet)
    assert not run.folder.parent.exists()


def test_too_little_memory_is_told_with_the_batch_size(make_run, quiet, monkeypatch):
    def fail(*arguments):
        raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 2 GiB")

    monkeypatch.setattr(Supervised, "loss", fail)
    message = r"too little memory for batch_size=32 or evaluation_batch_size=1000; choose a smaller"
    with pytest.raises(UserError, match=message):
        train(make_run(), **quiet)


def test_mistakes_inside_a_step_are_no_errors_for_users(make_run, quiet, monkeypatch):
    def fail(*arguments):
        raise ValueError("a mistake of ours")

    monkeypatch.setattr(Supervised, "loss", fail)
    with pytest.raises(ValueError, match="a mistake of ours") as caught:
        train(make_run(), **quiet)
    assert not isinstance(caught.value, UserError)


@pytest.mark.parametrize("name", ["recipe.json", "environment.json"])
def test_damaged_files_of_a_run_are_named(train_tiny, name):
    run = train_tiny()
    (run.folder / "summary.json").unlink()
    (run.folder / name).write_text("{")
    with pytest.raises(
        UserError, match=rf"{name}: expected JSON, got a damaged file .*; delete it"
    ):
        train_tiny(resume=True)
    (run.folder / name).unlink()
    assert train_tiny(resume=True).summary() is not None


def test_samples_left_out_are_told_once_an_epoch(train_tiny, monkeypatch):
    calls = []
    monkeypatch.setattr(Supervised, "warn_of_skipped", lambda self: calls.append(self.training))
    train_tiny()
    assert len(calls) == 3


def test_a_loss_that_is_no_number_stops_the_run_and_keeps_the_checkpoint(
    make_run, quiet, monkeypatch
):
    run = make_run()
    monkeypatch.setattr(
        loop, "learning_rate_schedule", lambda *_: lambda step: 0.1 if step < 5 else float("inf")
    )
    message = r"expected a finite loss, got nan in step 3 of 4 of epoch 2.*kept in .*checkpoint.pt"
    with pytest.raises(FloatingPointError, match=message), pytest.warns(match="non-finite"):
        train(run, **quiet)
    assert load_checkpoint(run.checkpoint)["epoch"] == 1
    assert len(run.metric_rows()) == 1
    monkeypatch.undo()
    written = json.loads(run.diverged.read_text())
    assert (written["epoch"], written["step"], written["seed"]) == (2, 3, 0)
    before = r"before, in step 3 of epoch 2; .* to try it again nevertheless, delete .*diverged.js"
    with pytest.raises(DivergedError, match=before):
        train(run, resume=True, **quiet)
    run.diverged.unlink()
    assert train(run, resume=True, **quiet)["finished"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "diverged.json: expected JSON, got a damaged file .* and the run is tried again"),
        ("[]", "diverged.json: expected where a run diverged; delete it, and the run is tried"),
    ],
)
def test_a_damaged_mark_of_divergence_is_named(make_run, quiet, content, message):
    run = make_run()
    run.folder.mkdir(parents=True)
    run.diverged.write_text(content)
    with pytest.raises(UserError, match=message):
        train(run, resume=True, **quiet)


def test_a_mark_of_another_recipe_is_refused(make_run, quiet):
    run = make_run("digits_resnet8")
    run.folder.mkdir(parents=True)
    replace(run, recipe=replace(run.recipe, lr=0.3)).write_divergence(1, 1)
    with pytest.raises(UserError, match=r"another recipe: .*lr is 0.3 there and 0.1 now"):
        train(run, resume=True, **quiet)


def test_a_last_step_that_explodes_is_not_saved(make_run, quiet, monkeypatch):
    """Its loss is finite, for that is of the weights before the step."""
    run = make_run()
    monkeypatch.setattr(
        loop, "learning_rate_schedule", lambda *_: lambda step: 0.1 if step < 7 else float("inf")
    )
    message = r"expected finite weights, got others in '.*' after step 4 of 4 of epoch 2.*kept in"
    with pytest.raises(FloatingPointError, match=message):
        train(run, checkpoint_seconds=0, **quiet)
    kept = load_checkpoint(run.checkpoint)
    assert (kept["epoch"], kept["step"]) == (1, 3)
    assert all(value.isfinite().all() for value in kept["method"].values())


def test_a_checkpoint_of_another_version_is_named(train_tiny):
    run = train_tiny()
    (run.folder / "summary.json").unlink()
    state = load_checkpoint(run.checkpoint)
    del state["method"]["criterion.ramp.step"]
    save_checkpoint(run.checkpoint, {key: state[key] for key in state if key != "format"})
    with pytest.raises(UserError, match=r"checkpoint.pt: holds the state of another version: E"):
        train_tiny(resume=True)


def test_what_a_killed_process_left_half_written_is_removed(make_run, quiet):
    run = make_run()
    run.folder.mkdir(parents=True)
    (run.folder / "checkpoint.pt.1-2.partial").touch()
    train(run, **quiet)
    assert not list(run.folder.glob("*.partial"))


def test_a_damaged_checkpoint_is_named(train_tiny):
    run = train_tiny()
    (run.folder / "summary.json").unlink()
    run.checkpoint.write_bytes(run.checkpoint.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"checkpoint.pt: expected a checkpoint, got a damaged"):
        train_tiny(resume=True)


def test_folders_of_early_versions_lack_fields_that_came_later(train_tiny):
    run = train_tiny("digits_resnet8")
    path = run.folder / "recipe.json"
    written = json.loads(path.read_text())
    assert written["recipe"].pop("method")["name"] == "supervised"
    del written["recipe"]["clip_norm"]
    path.write_text(json.dumps(written))
    train_tiny("digits_resnet8", resume=True)
    with pytest.raises(UserError, match=r"another recipe: .*method\.name is 'supervised' there"):
        train_tiny("digits_resnet8", "method=ait", resume=True)


def test_evaluation_gets_images_only(make_run, quiet, monkeypatch):
    sizes = []

    def count_wrong(predict, batches, wrong, stop):
        (batch,) = batches
        sizes.append(predict(batch.images).shape)
        wrong.by_class[0, [3, 8]] = 3
        return wrong

    monkeypatch.setattr(loop, "count_wrong", count_wrong)
    summary = train(make_run(), **quiet)
    assert summary["error_last"] == 10
    assert sizes == 3 * [(1, 60, 10)]


# Several views and several networks.


def test_summary_tells_steps_images_and_passes(train_tiny):
    summary = train_tiny("digits_resnet8", "method=ait", "views=3").summary()
    assert summary["optimizer_steps"] == 3 * 4
    assert summary["images_seen"] == 3 * 100
    assert summary["forward_passes"] == 3 * 100 * 3


def test_ait_without_weight_on_equal_views_is_supervised_training(train_tiny):
    changes = ["padding=0", "flip=false", "precision=64", "batch_size=50"]
    pairs = ["method=ait", "ai_weight=0", "ai_convention=released"]
    # Batch norm sees each image twice, and its running variance is of twice as many.
    alone, together = (
        train_tiny("digits_resnet8", *changes, *more, root=str(len(more))).metric_rows()
        for more in ([], pairs)
    )
    for one, other in zip(alone, together, strict=True):
        assert other["train_loss"] == pytest.approx(one["train_loss"], rel=1e-9)
        assert other["train_error"] == one["train_error"]


def test_first_network_begins_as_it_does_alone(make_run):
    alone, together = (
        build_method(
            make_run("digits_resnet8", *changes).recipe,
            load_data("digits"),
            torch.zeros(2, 3, 8, 8),
            seed=3,
            num_steps=1,
        )
        for changes in ([], ["method=dml", "peers=resnet8_cifar,resnet20_cifar"])
    )
    assert_same(alone.network.state_dict(), together.networks[0].state_dict())
    first, second, _ = together.networks
    assert not torch.equal(first.get_classifier().weight, second.get_classifier().weight)


def test_each_network_is_tested(train_tiny, make_run):
    run = train_tiny("digits_resnet8", "method=dml", "peers=resnet20_cifar")
    summary, rows = run.summary(), run.metric_rows()
    errors = [row["test_error_2"] for row in rows]
    assert summary["error_mean_last_10_2"] == pytest.approx(sum(errors) / 3)
    assert errors != [row["test_error"] for row in rows]
    state = load_checkpoint(run.checkpoint)["method"]
    assert {"network.0.conv1.weight", "network.1.conv1.weight"} <= state.keys()


def test_decay_of_weights_may_differ_between_networks(train_tiny):
    changes = ["method=dml", "peers=resnet8_cifar", "weight_decay=0.1"]
    norms = []
    for more in ([], ["peer_weight_decay=0.9"]):
        run = train_tiny("digits_resnet8", *changes, *more, root=str(len(more)))
        state = load_checkpoint(run.checkpoint)
        norms.append([state["method"][f"network.{k}.conv1.weight"].norm() for k in (0, 1)])
    assert norms[1][1] < 0.9 * norms[0][1]
    torch.testing.assert_close(norms[1][0], norms[0][0], rtol=0.2, atol=0)


def test_errors_of_five_guesses_are_told_where_there_are_many_classes(train_tiny, monkeypatch):
    for module in ("session", "evaluate"):
        monkeypatch.setattr(f"semaug.engine.{module}.MIN_CLASSES_FOR_TOP5", 10)
    run = train_tiny("digits_resnet8")
    for row in run.metric_rows():
        assert row["test_top5_error"] <= row["test_error"]
    assert run.summary()["top5_error_last"] == run.metric_rows()[-1]["test_top5_error"]


class Tokens(torch.nn.Module):
    """A network by timm's conventions whose features before the pooling are no map."""

    def __init__(self, num_classes):
        super().__init__()
        self.fc = torch.nn.Linear(5, num_classes)

    def get_classifier(self):
        return self.fc

    def forward_features(self, images):
        return images.mean((1, 2, 3)).view(-1, 1, 1).expand(-1, 4, 5)

    def forward_head(self, tokens, pre_logits=False):
        pooled = tokens.mean(dim=1)
        return pooled if pre_logits else self.fc(pooled)

    def forward(self, images):
        return self.forward_head(self.forward_features(images))


def tokens_for_tests(pretrained=False, num_classes=10, **kwargs):
    return Tokens(num_classes)


timm.models.register_model(tokens_for_tests)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            ["method=ait", "ai_layer=feature_map", "network=tokens_for_tests"],
            "recipe: ai_layer=feature_map network=tokens_for_tests: WithFeatureMap: expected "
            "forward_features to return (N, A, H, W), got (2, 4, 5)",
        ),
        (["method=dml", "peers=resnet9_cifar"], "unknown peers 'resnet9_cifar'; did you mean"),
        (
            ["method=dml", "peers=vit_tiny_patch16_224"],
            "recipe: peers=vit_tiny_patch16_224 cannot take data=digits",
        ),
    ],
)
def test_what_does_not_fit_is_said_before_anything_is_written(make_run, quiet, changes, message):
    run = make_run("digits_resnet8", *changes)
    with pytest.raises(UserError) as error:
        train(run, **quiet)
    assert message in str(error.value)
    assert not run.metrics.exists()
