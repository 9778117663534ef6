"""Tests of what a recipe can ask of the loop: averaged weights, clipping, mixing and the rest."""

import json
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from semaug.data import load_data, unpack_selection
from semaug.engine import loop
from semaug.engine.build import build_data
from semaug.engine.interrupt import InterruptedRunError
from semaug.engine.loop import train
from semaug.engine.session import Session
from semaug.errors import UserError
from semaug.methods import Supervised
from semaug.recipe.overrides import override, split_overrides
from semaug.recipes import Subset, find_recipe, make_quick
from semaug.runs.checkpoint import load_checkpoint
from semaug.runs.run import Run
from tests.engine.same import assert_same, assert_same_runs, without_times


def method_of(run):
    return load_checkpoint(run.checkpoint)["method"]


def stop_at_step(monkeypatch, step):
    """Interrupt the run after so many steps."""
    count_step = Session.count_step

    def count_and_stop(self, *arguments):
        count_step(self, *arguments)
        if self.total_step == step:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Session, "count_step", count_and_stop)


@pytest.mark.parametrize(
    "changes",
    [
        ["ema_decay=0.9"],
        ["mixup=0.2", "cutmix=1"],
        ["policy=autoaugment_svhn", "cutout=3", "jitter=0.4,0.4,0.4", "grayscale=0.2"],
        ["clip_norm=0.5", "warmup_epochs=1.5", "deterministic=true"],
        ["whitening=true", "corrupt_percent=20", "train_percent=50"],
    ],
)
def test_a_stop_changes_nothing(train_tiny, make_run, quiet, monkeypatch, changes):
    whole = train_tiny("digits_resnet8_isda", *changes, root="whole")
    stopped = make_run("digits_resnet8_isda", *changes, root="stopped")
    stop_at_step(monkeypatch, 3)
    with pytest.raises(InterruptedRunError):
        train(stopped, **quiet)
    monkeypatch.undo()
    train(stopped, resume=True, **quiet)
    assert_same_runs(whole, stopped)


def test_averaging_tests_other_weights_and_trains_the_same(train_tiny):
    plain = train_tiny("digits_resnet8", "test_images=none", root="plain")
    averaged = train_tiny("digits_resnet8", "test_images=none", "ema_decay=0.99", root="averaged")
    assert_same(method_of(plain), method_of(averaged))
    errors = [[row["test_error"] for row in run.metric_rows()] for run in (plain, averaged)]
    assert errors[0] != errors[1]
    average = load_checkpoint(averaged.checkpoint)["average"]
    assert average["_extra_state"] == {"num_averaged": 12}


def test_an_average_that_forgets_at_once_changes_nothing(train_tiny):
    plain = train_tiny("digits_resnet8", root="plain")
    averaged = train_tiny("digits_resnet8", "ema_decay=0", root="averaged")
    assert without_times(plain.metric_rows()) == without_times(averaged.metric_rows())


def test_gradients_are_clipped_to_the_norm(train_tiny):
    plain = train_tiny("digits_resnet8", root="plain")
    loose = train_tiny("digits_resnet8", "clip_norm=1e6", root="loose")
    assert_same(method_of(plain), method_of(loose))
    options = ["momentum=0", "nesterov=false", "weight_decay=0", "epochs=1"]
    tight = train_tiny("digits_resnet8", *options, "lr=1", "clip_norm=1e-3", root="tight")
    tight = method_of(tight)
    free = method_of(train_tiny("digits_resnet8", *options, "lr=1e-30", root="free"))
    moved = sum(
        float((tight[name] - free[name]).square().sum())
        for name in tight
        if "running" not in name and tight[name].is_floating_point()
    )
    assert 0 < moved**0.5 <= 4 * 1e-3 * 1.001  # 4 steps, a cosine below lr=1


def test_clipped_training_that_diverges_ends_in_a_word(make_run, quiet):
    run = make_run("digits_resnet8", "clip_norm=1", "lr=1e30")
    with pytest.raises(FloatingPointError, match=r"expected .* a lower lr may help"):
        train(run, **quiet)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("DefaultCPUAllocator: can't allocate memory", "too little memory for batch_size=32"),
        (
            "DataLoader worker (pid 7) is killed by signal: Killed.",
            "a process that decodes .* killed",
        ),
        ("x does not have a deterministic implementation", "torch has no deterministic form"),
    ],
)
def test_what_torch_cannot_do_is_explained(make_run, quiet, monkeypatch, text, message):
    def fail(*arguments):
        raise RuntimeError(text)

    monkeypatch.setattr(Supervised, "loss", fail)
    with pytest.raises(UserError, match=message):
        train(make_run(), **quiet)


def test_warm_up_shows_in_the_rates(train_tiny):
    run = train_tiny("digits_resnet8", "warmup_epochs=2", "schedule=step", "lr=0.8")
    rates = [row["lr"] for row in run.metric_rows()]
    # Milestones at steps 6 and 9 of 12; 8 steps of warm-up.
    assert rates == pytest.approx([0.8 * 4 / 8, 0.08, 0.008])


def test_compiled_training_is_training(train_tiny, monkeypatch):
    compiled = []
    compile = torch.compile

    def compile_by_aot(function, *, dynamic):
        compiled.append((function.__name__, dynamic))
        return compile(function, backend="aot_eager", dynamic=dynamic)

    monkeypatch.setattr(torch, "compile", compile_by_aot)
    eager = train_tiny("digits_resnet8_isda", "epochs=1", root="eager")
    run = train_tiny("digits_resnet8_isda", "epochs=1", "compile=true", root="compiled")
    assert compiled == [("loss", False), ("predict_each", False)]
    (row,), (other,) = run.metric_rows(), eager.metric_rows()
    assert row["train_loss"] == pytest.approx(other["train_loss"], rel=1e-3)
    names = method_of(run).keys()
    assert names == method_of(eager).keys()


def test_deterministic_operators_are_for_the_run_alone(make_run, quiet, monkeypatch):
    seen = []
    loss = Supervised.loss

    def loss_and_note(self, batch):
        seen.append((torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark))
        return loss(self, batch)

    monkeypatch.setattr(Supervised, "loss", loss_and_note)
    before = torch.backends.cudnn.benchmark
    train(make_run("digits_resnet8", "epochs=1", "deterministic=true"), **quiet)
    assert set(seen) == {(True, False)}
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.backends.cudnn.benchmark == before


def test_mixing_reaches_isda_as_soft_targets(make_run, quiet, monkeypatch):
    shapes = []
    loss = Supervised.loss

    def loss_and_note(self, batch):
        shapes.append(batch.targets.shape)
        return loss(self, batch)

    monkeypatch.setattr(Supervised, "loss", loss_and_note)
    summary = train(make_run("digits_resnet8_isda", "mixup=0.4", "cutmix=1"), **quiet)
    assert summary["finished"]
    assert shapes == 3 * [(32, 10), (32, 10), (32, 10), (4, 10)]


def test_images_are_recorded_exactly(train_tiny):
    changes = ["train_per_class=none", "hold_out=100", "train_percent=20", "corrupt_percent=30"]
    run = train_tiny("digits_resnet8", *changes)
    told = json.loads((run.folder / "images.json").read_text())
    assert (told["held_out_images"], told["test_on"]) == (100, "hold_out")
    assert abs(told["train_images"] - 180) <= 10  # 20 % of each class
    selection = unpack_selection((run.folder / "images.npz").read_bytes())
    assert len(selection.indices) == told["train_images"]
    official = load_data("digits").train.labels
    assert torch.equal(official[selection.indices], selection.official_labels)
    drawn = round(0.3 * told["train_images"])
    assert 0 < (selection.labels != selection.official_labels).sum() <= drawn


def test_all_official_images_need_no_list(train_tiny):
    run = train_tiny("digits_resnet8", "train_per_class=none", "epochs=1")
    assert not (run.folder / "images.npz").exists()
    told = json.loads((run.folder / "images.json").read_text())
    assert (told["train_images"], told["official_images"]) == (1000, 1000)


def test_hold_out_is_what_is_tested(make_run, quiet, monkeypatch):
    sizes = []

    def count_wrong(predict, batches, wrong, stop):
        sizes.append(sum(len(batch.labels) for batch in batches))
        return wrong

    monkeypatch.setattr(loop, "count_wrong", count_wrong)
    train(make_run("digits_resnet8", "hold_out=50", "epochs=1", "test_images=none"), **quiet)
    assert sizes == [50]


def test_other_images_than_the_run_began_with_are_refused(train_tiny):
    run = train_tiny("digits_resnet8")
    (run.folder / "summary.json").unlink()
    told = json.loads((run.folder / "images.json").read_text())
    (run.folder / "images.json").write_text(json.dumps(told | {"train_images": 99}))
    with pytest.raises(UserError, match="began with other images: train_images 99 there and 100 n"):
        train_tiny("digits_resnet8", resume=True)
    (run.folder / "images.json").write_text("[1]")
    with pytest.raises(UserError, match=r"images.json: expected a description of images, .*delete"):
        train_tiny("digits_resnet8", resume=True)


@pytest.fixture
def photographs(tmp_path):
    """Three classes of photographs in a folder."""
    numbers = np.random.default_rng(0)
    for part, count in (("train", 7), ("val", 2)):
        for name in ("ant", "bee", "cow"):
            folder = tmp_path / "photographs" / part / name
            folder.mkdir(parents=True)
            for index in range(count):
                pixels = numbers.integers(256, size=(40, 50 + index, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{index}.jpg")
    return tmp_path / "photographs"


def test_a_folder_of_photographs_trains_and_resumes_in_the_middle_of_an_epoch(
    photographs, tmp_path, quiet, monkeypatch
):
    recipe = find_recipe("folder_resnet18_isda")
    recipe = replace(
        recipe,
        network="resnet8_cifar",
        epochs=2,
        warmup_epochs=0,
        batch_size=6,
        augment=replace(recipe.augment, image_size=32),
        subset=Subset(),
    )
    whole, stopped = (Run("run", recipe, root=tmp_path / name) for name in ("a", "b"))
    train(whole, data_root=photographs, workers=1, **quiet)
    stop_at_step(monkeypatch, 6)
    with pytest.raises(InterruptedRunError, match="epoch 2 of 2 after step 2 of 4"):
        train(stopped, data_root=photographs, workers=2, **quiet)
    monkeypatch.undo()
    summary = train(stopped, data_root=photographs, workers=0, resume=True, **quiet)
    assert summary["finished"]
    assert_same_runs(whole, stopped)
    assert method_of(whole)["criterion.estimator.count"].tolist() == 3 * [14]


def test_a_folder_whose_files_have_changed_is_refused(photographs, tmp_path, quiet):
    recipe = find_recipe("folder_resnet18")
    augment = replace(recipe.augment, image_size=32)
    recipe = replace(
        recipe, network="resnet8_cifar", epochs=1, warmup_epochs=0, augment=augment, batch_size=7
    )
    run = Run("run", recipe, root=tmp_path)
    train(run, data_root=photographs, workers=0, **quiet)
    (run.folder / "summary.json").unlink()
    (photographs / "train" / "bee" / "3.jpg").rename(photographs / "train" / "bee" / "x.jpg")
    with pytest.raises(UserError, match="other images: other sums of train_files; restore"):
        train(run, data_root=photographs, workers=0, resume=True, **quiet)


@pytest.mark.parametrize("changes", [[], ["epochs=1"], ["hold_out=5"], ["hold_out=500"]])
def test_quick_takes_a_small_folder_as_it_is(photographs, tmp_path, quiet, changes):
    recipe = override(
        make_quick(find_recipe("folder_resnet18")),
        split_overrides(["network=resnet8_cifar", "image_size=32", "batch_size=7", *changes]),
    )
    run = Run("run", recipe, quick=True, root=tmp_path)
    summary = train(run, data_root=photographs, workers=0, **quiet)
    assert summary["finished"]
    assert summary["test_on"] == ("hold_out" if "hold_out" in str(changes) else "test")


def test_a_part_of_the_test_images_is_evenly_spread(photographs, tmp_path):
    recipe = replace(find_recipe("folder_resnet18"), subset=Subset(test_images=3))
    data, _ = build_data(recipe, photographs, torch.device("cpu"))
    assert data.test.labels.tolist() == [0, 1, 2]
