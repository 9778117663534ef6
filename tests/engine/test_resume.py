"""Runs that are killed, stopped and resumed end bit for bit where uninterrupted ones end."""

import errno
import os
import random
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision
from torch.amp import GradScaler

from semaug.engine import loop, processes, session
from semaug.engine.interrupt import InterruptedRunError
from semaug.engine.measure import measure
from semaug.engine.session import Session
from semaug.methods.segmentation import SegmentationMethod
from semaug.runs.checkpoint import load_checkpoint
from tests.engine import toys
from tests.engine.kill_and_resume import describe_runs
from tests.engine.same import assert_same, assert_same_runs
from tests.tiny import rows_of, train_quietly

# A kill after it saved nothing, one that loses a row, and one at the very end.
WORST = ["before_a_save", "between_row_and_save", "before_a_save", "before_the_summary"]


def test_killed_runs_end_bit_for_bit_where_an_uninterrupted_run_ends(tmp_path):
    chance = random.Random()
    moments = [str(chance.uniform(0, 0.1)) for _ in range(5)]
    print("killed after seconds:", moments)  # shown if the test fails
    kill_and_compare(tmp_path, 1, isda=[*moments, *WORST], streams=WORST)


@pytest.mark.full
@pytest.mark.slow
def test_kills_of_runs_with_two_threads_change_nothing(tmp_path):
    kill_and_compare(tmp_path, 2, isda=["between_row_and_save", "before_the_summary"])


def kill_and_compare(folder, threads, **moments):
    """Train runs whole and with kills, and assert that both end alike."""
    script = Path(__file__).with_name("kill_and_resume.py")
    command = [sys.executable, str(script), str(folder), str(threads)]
    command += [f"{name}={','.join(own)}" for name, own in moments.items()]
    paths = [str(script.parents[2]), os.environ.get("PYTHONPATH", "")]
    environment = {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    environment["OMP_WAIT_POLICY"] = "passive"  # on a busy machine threads would wait and wait
    subprocess.run(command, check=True, timeout=300, env={**os.environ, **environment})
    for name in moments:
        whole, killed = describe_runs(folder)[name]
        assert len(rows_of(killed)) == 5
        assert_same_runs(whole, killed)


def stop_at(monkeypatch, step, number=signal.SIGINT):
    """Send a signal to the run after so many steps."""
    count_step = Session.count_step

    def count_and_stop(self, *arguments):
        count_step(self, *arguments)
        if self.total_step == step:
            signal.raise_signal(number)

    monkeypatch.setattr(Session, "count_step", count_and_stop)


def stopped_and_resumed(run, monkeypatch, step):
    """Train a run that is stopped in the middle of its second epoch."""
    with monkeypatch.context() as patch:
        stop_at(patch, step)
        message = r"epoch 2 of 3 after step \d of \d, saved"
        with pytest.raises(InterruptedRunError, match=message) as stop:
            train_quietly(run)
        assert stop.value.signal_number == signal.SIGINT
    train_quietly(run, resume=True)
    return run


HOST = ["labeled_per_class=3", "unlabeled_loss=semantic_consistency"]
EXPLICIT = ["loss=explicit", "strength=0.5", "num_samples=2"]


@pytest.mark.parametrize(
    "changes",
    [
        [],
        ["memory=epoch", "covariance=low_rank"],
        EXPLICIT,
        [*EXPLICIT, "covariance=learned"],
        ["method=ait", "views=3"],
        ["method=ait", "loss=disturb_label", "rate=0.5"],
        ["loss=center", "center_strength=0.1"],
        ["method=multi_ait", "peers=resnet8_cifar", "ai_weight=0.5"],
        ["method=pi_model", "input_noise=0.1", *HOST],
        ["method=temporal_ensembling", *HOST],
        ["method=mean_teacher", *HOST],
        ["method=vat", "block_drop_rate=0.1", *HOST],
        ["method=fixmatch", "unlabeled_batch_size=30", "strong_cutout=2", *HOST],
        ["ema_decay=0.9"],
        ["mixup=0.2", "cutmix=1"],
        ["policy=autoaugment_svhn", "cutout=3", "jitter=0.4,0.4,0.4", "grayscale=0.2"],
        ["test_images=0", "whitening=true"],
        ["clip_norm=0.5", "warmup_epochs=1.5", "deterministic=true"],
        ["whitening=true", "corrupt_percent=20", "train_percent=50", "batch_size=16"],
        ["optimizer=adamw", "decay_norms=false", "schedule=poly"],
        ["optimizer=lion", "layer_decay=0.7"],
        ["epochs=none", "steps=11", "evaluate_every_steps=4"],
    ],
    ids=" ".join,
)
def test_a_stop_in_the_middle_of_an_epoch_changes_nothing(make_run, monkeypatch, changes):
    whole, stopped = (make_run("digits_resnet8_isda", *changes, root=root) for root in ("a", "b"))
    train_quietly(whole)
    assert_same_runs(whole, stopped_and_resumed(stopped, monkeypatch, 7))


@pytest.mark.parametrize(
    ("specs", "changes"),
    [
        ({"network": toys.Plain(drop_rate=0.5)}, []),
        ({"network": toys.Plain(), "method": toys.Consistent()}, ["labeled_per_class=10"]),
        (
            {"network": toys.Plain(drop_rate=0.5), "method": toys.Consistent()},
            ["labeled_per_class=4", "epochs=none", "steps=11", "evaluate_every_steps=4"],
        ),
        (
            {"network": toys.Pixelwise(), "data": toys.Squares()},
            ["train_per_class=none", "test_images=none", "batch_size=3"],
        ),
        (
            {"network": toys.Pixelwise(), "data": toys.Squares(), "method": SegmentationMethod()},
            ["train_per_class=none", "test_images=none", "batch_size=3", "loss=isda", "strength=1"],
        ),
        ({"network": toys.Plain(), "method": toys.Noting()}, ["ema_decay=0.5"]),
        ({"loss": toys.Offset(lr=0.3)}, []),
    ],
    ids=[
        "dropout",
        "two streams",
        "two streams in steps",
        "masks",
        "segmentation",
        "counts of epochs",
        "loss",
    ],
)
def test_a_stop_changes_nothing_for_specs_of_others(make_run, monkeypatch, specs, changes):
    whole, stopped = (make_run("digits_resnet8", *changes, root=root) for root in ("a", "b"))
    whole, stopped = (replace(run, recipe=replace(run.recipe, **specs)) for run in (whole, stopped))
    train_quietly(whole)
    assert_same_runs(whole, stopped_and_resumed(stopped, monkeypatch, 6))


def test_what_is_kept_changes_nothing_and_survives_a_stop(make_run, monkeypatch):
    plain, whole, stopped = (make_run("digits_resnet8_isda", root=root) for root in "abc")
    train_quietly(plain)
    assert not (plain.folder / "checkpoints").exists()
    train_quietly(whole, keep_checkpoints=3)
    assert whole.kept_epochs == [1, 2, 3]
    assert_same_runs(plain, whole)

    save = session.save_checkpoint

    def save_and_stop(path, state):
        if state["epoch"] == 2 and path == stopped.checkpoint:
            raise OSError("killed between the kept checkpoint and that to go on from")
        save(path, state)

    with monkeypatch.context() as patch:
        patch.setattr(session, "save_checkpoint", save_and_stop)
        with pytest.raises(OSError, match="killed"):
            train_quietly(stopped, keep_checkpoints=3)
    assert stopped.kept_epochs == [1, 2]
    train_quietly(stopped, resume=True, keep_checkpoints=3)
    assert_same_runs(whole, stopped)
    for epoch in stopped.kept_epochs:
        kept = [load_checkpoint(run.kept_checkpoint(epoch)) for run in (whole, stopped)]
        assert_same(*kept)
        assert kept[0]["objects"].keys() == {"method"}  # the optimizer is not looked at


def test_a_stop_while_testing_changes_nothing(make_run, monkeypatch):
    """Nor does a method end its epoch twice, though the epoch is tested anew."""
    runs = [make_run("digits_resnet8", root=root) for root in ("whole", "stopped")]
    specs = {"method": toys.Noting(), "network": toys.Plain()}
    whole, stopped = (replace(run, recipe=replace(run.recipe, **specs)) for run in runs)
    train_quietly(whole)

    def stop_and_measure(*arguments):
        signal.raise_signal(signal.SIGTERM)
        return measure(*arguments)

    for epoch in (1, 2):
        with monkeypatch.context() as patch:
            patch.setattr(loop, "measure", stop_and_measure)
            message = f"epoch {epoch} of 3 after step 4 of 4, saved"
            with pytest.raises(InterruptedRunError, match=message) as stop:
                train_quietly(stopped, resume=True)
            assert stop.value.signal_number == signal.SIGTERM
        if epoch == 1:
            with monkeypatch.context() as patch:
                stop_at(patch, 5)
                with pytest.raises(InterruptedRunError):
                    train_quietly(stopped, resume=True)
    train_quietly(stopped, resume=True)
    assert_same_runs(whole, stopped)
    state = load_checkpoint(stopped.checkpoint)["objects"]["method"]
    assert (state["starts"], state["ends"]) == (3, 3)


def test_checkpoints_in_time_are_in_the_middle_of_an_epoch(make_run, monkeypatch):
    steps = []
    save = Session.save
    monkeypatch.setattr(Session, "save", lambda self: (steps.append(self.step), save(self)))
    train_quietly(make_run("digits_resnet8"), checkpoint_seconds=0)
    assert steps == 3 * [1, 2, 3, 4, 0]


def test_a_full_disk_ends_the_run_which_goes_on_once_there_is_room(make_run, monkeypatch):
    whole, stopped = (make_run("digits_resnet8", root=root) for root in ("a", "b"))
    train_quietly(whole)
    saves = []
    save = torch.save

    def save_until_it_is_full(state, file):
        saves.append(state)
        if len(saves) == 6:
            file.write(b"a part")
            raise OSError(errno.ENOSPC, "No space left on device")
        save(state, file)

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", save_until_it_is_full)
        with pytest.raises(OSError, match=r"cannot be written: No space left on device"):
            train_quietly(stopped, checkpoint_seconds=0)
    kept = load_checkpoint(stopped.checkpoint)
    assert (kept["epoch"], kept["step"]) == (1, 0)
    assert not list(stopped.folder.glob("*.partial"))
    train_quietly(stopped, resume=True)
    assert_same_runs(whole, stopped)


def test_a_folder_of_photographs_goes_on_with_any_number_of_workers(
    photographs, make_run, monkeypatch
):
    root = photographs("ant", "bee", "cow", train=7, test=2)
    changes = ["network=resnet8_cifar", "image_size=16", "loss=isda", "strength=0.5"]
    changes += ["train_per_class=none", "test_images=none", "batch_size=6", "epochs=2"]
    whole, stopped = (make_run("folder_resnet18", *changes, root=name) for name in ("a", "b"))
    train_quietly(whole, data_root=root, workers=1)
    with monkeypatch.context() as patch:
        stop_at(patch, 6)
        with pytest.raises(InterruptedRunError, match="epoch 2 of 2 after step 2 of 4"):
            train_quietly(stopped, data_root=root, workers=2)
    assert train_quietly(stopped, data_root=root, workers=0, resume=True)["finished"]
    assert_same_runs(whole, stopped)
    method = load_checkpoint(whole.checkpoint)["objects"]["method"]
    assert method["criterion.estimator.count"].tolist() == 3 * [14]


def test_scaled_gradients_of_fp16_go_on_with_their_scale(make_run, monkeypatch):
    def fabric(**options):  # a CPU that scales, as a GPU does
        scaling = MixedPrecision("16-mixed", "cpu")
        return Fabric(**options | {"precision": None, "plugins": [scaling]})

    monkeypatch.setattr(processes, "Fabric", fabric)
    monkeypatch.setattr("semaug.engine.train.settled", lambda run, device: run)
    monkeypatch.setattr(GradScaler, "get_growth_interval", lambda self: 3)
    changes = ("digits_resnet8_isda", "precision=fp16", "channels_last=false", "clip_norm=1")
    whole, stopped = make_run(*changes), make_run(*changes, root="stopped")
    train_quietly(whole)
    stopped_and_resumed(stopped, monkeypatch, step=6)
    assert_same_runs(whole, stopped)
    scaler = load_checkpoint(whole.checkpoint)["objects"]["scaler"]
    assert scaler["scale"] > 0
    assert scaler["_growth_tracker"] == 12 or scaler["scale"] < 2**16
