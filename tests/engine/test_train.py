"""Tests of semaug.engine.train: everything around the loop of a run."""

import io
import json
import math
import os
import signal
from dataclasses import replace

import pytest
import timm
import torch
from rich.console import Console

from semaug.engine.interrupt import InterruptedRunError
from semaug.engine.optimizers import SGD
from semaug.engine.processes import Processes
from semaug.engine.schedules import Cosine
from semaug.errors import UserError
from semaug.methods import Supervised
from semaug.runs import folder
from semaug.runs.checkpoint import load_checkpoint, save_checkpoint
from semaug.runs.divergence import DivergedError
from semaug.runs.record import Record
from tests.engine.same import assert_same, without_times
from tests.tiny import rows_of, train_quietly


@pytest.fixture
def unfinished(train_tiny):
    """Return a run of one epoch whose summary is gone."""
    run = train_tiny("digits_resnet8_isda", "epochs=1")
    (run.folder / "summary.json").unlink()
    return run


def test_folder_holds_all_about_a_run(train_tiny):
    run = train_tiny("digits_resnet8", "epochs=1")
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
        "tested.npz",
    }
    (start,) = json.loads((run.folder / "environment.json").read_text())
    assert {"started", "device", "threads", "torch", "commit"} <= start.keys()
    recipe = json.loads((run.folder / "recipe.json").read_text())
    assert recipe["recipe"]["precision"] in ("32", "bf16")  # no "auto" is left
    assert recipe["recipe"]["kind"] == "train"
    assert recipe["recipe"]["loss"] == {
        "name": "cross_entropy",
        "label_smoothing": 0.0,
    }
    assert (recipe["format"], recipe["code"]) == (2, {})


def test_a_run_is_not_trained_over(train_tiny):
    train_tiny("digits_resnet8", "epochs=1")
    message = r"holds this run already; add --resume .* seed=N .*--runs"
    with pytest.raises(UserError, match=message):
        train_tiny("digits_resnet8", "epochs=1")


def test_a_finished_run_gives_its_summary(train_tiny):
    run = train_tiny("digits_resnet8", "epochs=1")
    assert train_quietly(run, resume=True) == run.summary()


def test_resuming_what_never_began_begins_it(train_tiny):
    assert train_tiny(resume=True).summary()["epochs"] == 3


def test_a_stop_after_the_last_test_is_not_forgotten(make_run, monkeypatch):
    run = make_run("digits_resnet8_isda", "epochs=1")
    stop = lambda self, values, epoch: os.kill(os.getpid(), signal.SIGTERM)  # noqa: E731
    monkeypatch.setattr(Record, "add_classes", stop)
    message = "digits_resnet8_isda seed 0: stopped after its last epoch, finished"
    with pytest.raises(InterruptedRunError, match=message):
        train_quietly(run)
    assert run.summary()["finished"]


def test_what_training_means_is_told_once_nothing_is_misspelt(make_run):
    told = []
    too_large = make_run("digits_resnet8", "padding=8", "padding_mode=reflect")
    with pytest.raises(UserError):
        train_quietly(too_large, report=told.append)
    assert told == []
    for _ in range(2):
        train_quietly(make_run("digits_resnet8", "epochs=1"), report=told.append, resume=True)
    assert told == ["starts", "was finished before"]


def test_all_devices_of_a_run_are_told(make_run, monkeypatch):
    """Starts count from the one that began the run: of those before it nothing is left."""
    run, output = make_run("digits_resnet8"), io.StringIO()
    add = Record.add

    def stop(self, row):
        add(self, row)
        raise KeyboardInterrupt

    def start(device, **options):
        monkeypatch.setattr(folder, "describe_device", lambda place: device)
        return train_quietly(run, resume=True, **options)

    monkeypatch.setattr(Record, "add", stop)
    with pytest.raises(KeyboardInterrupt):
        start("a slow CPU")
    with pytest.raises(KeyboardInterrupt):
        start("a CPU", checkpoint_seconds=0)
    monkeypatch.setattr(Record, "add", add)
    summary = start("a GPU", console=Console(file=output))
    assert summary["device"] == "a CPU; a GPU"
    assert output.getvalue().startswith("warning: this run began on a CPU and goes on with a GPU;")
    starts = json.loads((run.folder / "environment.json").read_text())
    assert [start["device"] for start in starts] == ["a slow CPU", "a CPU", "a GPU"]


def test_threads_are_those_that_are_asked_for(make_run, monkeypatch):
    asked, own = [], torch.get_num_threads()
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    train_quietly(make_run("digits_resnet8", "epochs=1"), threads=7)
    assert asked == [7, own]


# What the folder holds already.


def test_another_recipe_in_the_folder_is_named(train_tiny):
    train_tiny("digits_resnet8_isda", "epochs=1")
    message = "holds a run of another recipe: lr is 0.1 there and 0.2 now; choose anothe"
    with pytest.raises(UserError, match=message):
        train_tiny("digits_resnet8_isda", "epochs=1", "lr=0.2", resume=True)
    message = "recipe: loss is 'isda' there and 'cross_entropy' now; covariance is 'full' there"
    with pytest.raises(UserError, match=message):
        train_tiny("digits_resnet8_isda", "epochs=1", "loss=cross_entropy", resume=True)


def test_auto_means_what_the_run_began_with(train_tiny):
    train_tiny("digits_resnet8", "epochs=1", "precision=bf16")
    train_tiny("digits_resnet8", "epochs=1", resume=True)
    with pytest.raises(UserError, match="precision is 'bf16' there and '32' now"):
        train_tiny("digits_resnet8", "epochs=1", "precision=32", resume=True)


@pytest.mark.parametrize("name", ["recipe.json", "environment.json"])
def test_damaged_files_of_a_run_are_named(unfinished, name):
    (unfinished.folder / name).write_text("{")
    message = rf"{name}: expected JSON, got a damaged file .*; delete it"
    with pytest.raises(UserError, match=message):
        train_quietly(unfinished, resume=True)
    (unfinished.folder / name).unlink()
    assert train_quietly(unfinished, resume=True)["finished"]


@pytest.mark.parametrize("name", ["recipe.json", "summary.json"])
@pytest.mark.parametrize(("format", "found"), [(None, "an earlier one"), (1, "1"), (3, "3")])
def test_folders_of_other_versions_are_refused(train_tiny, name, format, found):
    run = train_tiny("digits_resnet8", "epochs=1")
    path = run.folder / name
    content = json.loads(path.read_text())
    del content["format"]
    path.write_text(json.dumps(content | ({} if format is None else {"format": format})))
    message = f"{name}: expected a run folder of format 2, got {found}; train the run in another"
    with pytest.raises(UserError, match=message):
        train_quietly(run, resume=True)


def test_a_checkpoint_of_another_version_is_named(unfinished):
    state = load_checkpoint(unfinished.checkpoint)
    del state["objects"]["method"]["criterion.ramp.step"]
    save_checkpoint(unfinished.checkpoint, state)
    with pytest.raises(UserError, match=r"checkpoint.pt: holds the state of another version: E"):
        train_quietly(unfinished, resume=True)
    save_checkpoint(unfinished.checkpoint, state | {"format": 1})
    with pytest.raises(UserError, match=r"checkpoint.pt: expected a run folder of format 2, got 1"):
        train_quietly(unfinished, resume=True)


def test_a_damaged_checkpoint_is_named(unfinished):
    unfinished.checkpoint.write_bytes(unfinished.checkpoint.read_bytes()[:1000])
    with pytest.raises(UserError, match=r"checkpoint.pt: expected a checkpoint, got a damaged"):
        train_quietly(unfinished, resume=True)


def test_a_checkpoint_of_another_seed_is_named(unfinished):
    state = load_checkpoint(unfinished.checkpoint)
    save_checkpoint(unfinished.checkpoint, state | {"seed": 5})
    with pytest.raises(UserError, match="a run of another recipe: seed is 5 there and 0 now"):
        train_quietly(unfinished, resume=True)


def test_what_a_killed_process_left_half_written_is_removed(make_run):
    run = make_run("digits_resnet8", "epochs=1")
    run.folder.mkdir(parents=True)
    (run.folder / "checkpoint.pt.1-2.partial").touch()
    train_quietly(run)
    assert not list(run.folder.glob("*.partial"))


def test_memory_is_that_of_the_start_that_took_most(train_tiny):
    run = train_tiny("digits_resnet8")
    peaks = [row["peak_memory_mib"] for row in rows_of(run)]
    assert 50 < peaks[0] <= peaks[1] <= peaks[2] <= run.summary()["peak_memory_mib"]
    (run.folder / "summary.json").unlink()
    save_checkpoint(run.checkpoint, load_checkpoint(run.checkpoint) | {"peak_memory": 1e9})
    assert train_tiny("digits_resnet8", resume=True).summary()["peak_memory_mib"] == 1e9


# What does not fit.


@pytest.mark.parametrize(
    "changes", [["network=vit_tiny_patch16_224"], ["padding=8", "padding_mode=reflect"]]
)
def test_what_does_not_fit_the_images_leaves_no_run(make_run, changes):
    run = make_run("digits_resnet8_isda", *changes)
    with pytest.raises(UserError, match="data=digits"):
        train_quietly(run)
    assert not run.has_begun
    assert not run.folder.parent.exists()


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
        (
            ["method=dml", "peers=vit_tiny_patch16_224"],
            "recipe: peers=vit_tiny_patch16_224 cannot take data=digits",
        ),
    ],
)
def test_what_does_not_fit_is_said_before_anything_is_written(make_run, changes, message):
    run = make_run("digits_resnet8", *changes)
    with pytest.raises(UserError) as error:
        train_quietly(run)
    assert message in str(error.value)
    assert not run.folder.parent.exists()


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 2 GiB"),
            "too little memory for batch_size=32 or evaluation_batch_size=250; choose a smaller",
        ),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory"),
            "too little memory for batch_size=32",
        ),
        (
            RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed."),
            "a process that decodes .* killed",
        ),
        (
            RuntimeError("x does not have a deterministic implementation"),
            "torch has no deterministic form",
        ),
    ],
)
def test_what_torch_cannot_do_is_explained(make_run, monkeypatch, error, message):
    def fail(*arguments):
        raise error

    monkeypatch.setattr(Supervised, "loss", fail)
    with pytest.raises(UserError, match=message):
        train_quietly(make_run("digits_resnet8"))


@pytest.mark.parametrize("kind", [ValueError, RuntimeError])
def test_mistakes_inside_a_step_are_no_errors_for_users(make_run, monkeypatch, kind):
    def fail(*arguments):
        raise kind("a mistake of ours")

    monkeypatch.setattr(Supervised, "loss", fail)
    with pytest.raises(kind, match="a mistake of ours") as caught:
        train_quietly(make_run("digits_resnet8"))
    assert not isinstance(caught.value, UserError)


def test_deterministic_operators_are_for_the_run_alone(make_run, monkeypatch):
    seen = []
    loss = Supervised.loss

    def loss_and_note(self, batch):
        seen.append((torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark))
        return loss(self, batch)

    monkeypatch.setattr(Supervised, "loss", loss_and_note)
    before = torch.backends.cudnn.benchmark
    train_quietly(make_run("digits_resnet8", "epochs=1", "deterministic=true"))
    assert set(seen) == {(True, False)}
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.backends.cudnn.benchmark == before


# Runs that diverge.


def explode_at(monkeypatch, step):
    """Let the learning rate be infinite from a step of the run on."""

    def factor(self, now, total):
        return 1.0 if now < step else math.inf

    monkeypatch.setattr(Cosine, "factor", factor)


def test_a_loss_that_is_no_number_stops_the_run_and_keeps_the_checkpoint(make_run, monkeypatch):
    run = make_run("digits_resnet8_isda")
    explode_at(monkeypatch, 5)
    message = r"expected a finite loss, got nan in step 3 of 4 of epoch 2.*kept in .*checkpoint.pt"
    with pytest.raises(FloatingPointError, match=message), pytest.warns(match="non-finite"):
        train_quietly(run)
    assert load_checkpoint(run.checkpoint)["epoch"] == 1
    assert len(rows_of(run)) == 1
    monkeypatch.undo()
    written = json.loads(run.diverged.read_text())
    assert (written["epoch"], written["step"], written["seed"]) == (2, 3, 0)
    before = r"before, in step 3 of epoch 2; .* to train this one again nevertheless, delete .*di"
    with pytest.raises(DivergedError, match=before):
        train_quietly(run, resume=True)
    run.diverged.unlink()
    assert train_quietly(run, resume=True)["finished"]


def test_a_last_step_that_explodes_is_not_saved(make_run, monkeypatch):
    """Its loss is finite, for that is of the weights before the step."""
    run = make_run("digits_resnet8_isda")
    explode_at(monkeypatch, 7)
    message = r"expected finite weights, got others in '.*' after step 4 of 4 of epoch 2.*kept in"
    with pytest.raises(FloatingPointError, match=message):
        train_quietly(run, checkpoint_seconds=0)
    kept = load_checkpoint(run.checkpoint)
    assert (kept["epoch"], kept["step"]) == (1, 3)
    assert all(value.isfinite().all() for value in kept["objects"]["method"].values())


def test_clipped_training_that_diverges_ends_in_a_word(make_run):
    run = make_run("digits_resnet8", "clip_norm=1", "lr=1e30")
    with pytest.raises(
        FloatingPointError, match=r"expected .* try a lower lr or clip_norm: that is another run"
    ):
        train_quietly(run)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "diverged.json: expected JSON, got a damaged file .* and the run is tried again"),
        ("[]", "diverged.json: expected where a run diverged; delete it, and the run is tried"),
    ],
)
def test_a_damaged_mark_of_divergence_is_named(make_run, content, message):
    run = make_run("digits_resnet8")
    run.folder.mkdir(parents=True)
    run.diverged.write_text(content)
    with pytest.raises(UserError, match=message):
        train_quietly(run, resume=True)


def test_a_mark_of_another_recipe_is_refused(make_run):
    run = make_run("digits_resnet8")
    run.folder.mkdir(parents=True)
    replace(run, recipe=replace(run.recipe, optimizer=SGD(lr=0.3))).write_divergence(1, 1)
    with pytest.raises(UserError, match=r"another recipe: .*lr is 0.3 there and 0.1 now"):
        train_quietly(run, resume=True)


# Seeds.


def test_seeds_make_different_runs(train_tiny):
    runs = [train_tiny("digits_resnet8", "epochs=1", seed=seed) for seed in (0, 1)]
    first, second = (rows_of(run) for run in runs)
    assert without_times(first) != without_times(second)


def test_the_same_seed_makes_the_same_run_whatever_was_drawn_before(train_tiny):
    first = train_tiny(root="first")
    torch.rand(5)
    second = train_tiny(root="second")
    assert_same(*(without_times(load_checkpoint(run.checkpoint)) for run in (first, second)))


def test_fp16_needs_a_gpu(make_run):
    with pytest.raises(UserError, match="train: expected a GPU for precision=fp16"):
        train_quietly(make_run("digits_resnet8", "precision=fp16"))
    tests = Processes(torch.device("cpu"), "fp16").fabric  # what a GPU trained
    assert tests.strategy.precision.precision == "32-true"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_fp16_trains_on_a_gpu(make_run):
    run = make_run("digits_resnet8_isda", "precision=fp16")
    train_quietly(run, device="cuda")
    assert all(0 < row["train_loss"] < 10 for row in rows_of(run))
