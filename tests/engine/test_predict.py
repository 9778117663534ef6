"""Tests of semaug.engine.predict."""

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from torch.testing import assert_close

from semaug.data import DataSet, ImageSet
from semaug.data.decode import decode_file
from semaug.data.digits import Digits
from semaug.engine.exported import load_exported
from semaug.engine.options import TrainOptions
from semaug.engine.predict import Predictions
from semaug.engine.trained import load_trained
from semaug.errors import UserError
from semaug.export import export_run
from semaug.runs.read import value_of
from tests.data.image_files import write_image
from tests.engine import toys
from tests.tiny import tiny_run, train_quietly

CPU = TrainOptions(device="cpu", workers=0)
SMALL = ["network=resnet8_cifar", "image_size=16", "epochs=1", "train_per_class=none"]
SMALL += ["test_images=none", "batch_size=8", "evaluation_batch_size=7"]


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """Return a folder data set: 2 classes, 8 images to train on and 36 to test on."""
    root = tmp_path_factory.mktemp("photos")
    for part, count in (("train", 4), ("val", 18)):
        for label, name in enumerate(("cat", "dog")):
            for k in range(count):
                ending = "jpg" if k % 3 else "png"
                path = root / part / name / f"{k:02}.{ending}"
                write_image(path, 20 + k, 30 - k % 5, seed=100 * label + k)
    return root


@pytest.fixture(scope="module")
def of_photographs(photographs, tmp_path_factory):
    """Return a run on these, trained for one epoch."""
    run = tiny_run(tmp_path_factory.mktemp("runs"), "folder_resnet18_isda", *SMALL)
    train_quietly(run, data_root=photographs, workers=0)
    return run


@pytest.fixture(scope="module")
def of_digits(tmp_path_factory):
    """Return the networks of a run on digits."""
    run = tiny_run(tmp_path_factory.mktemp("digits"), "digits_resnet8_isda", "epochs=1")
    train_quietly(run)
    return load_trained(run.folder, CPU)


@pytest.mark.parametrize("workers", [0, 1])
def test_photographs_are_seen_as_in_the_test_of_the_run(of_photographs, photographs, workers):
    options = replace(CPU, workers=workers)
    trained = load_trained(of_photographs.folder, options)
    paths = sorted((photographs / "val").rglob("*.*"))
    predictions = trained.predict(paths)

    whole = load_trained(of_photographs.folder, replace(options, data_root=photographs))
    tested = [whole.logits(whole.prepare(batch.pixels)) for batch in whole.test_pixels()]
    assert torch.equal(predictions.logits, torch.cat(tested))
    truth = torch.tensor([trained.classes.index(path.parent.name) for path in paths])
    error = 100 * float((predictions.labels != truth).double().mean())
    assert error == pytest.approx(value_of(of_photographs.summary(), report="last"), abs=1e-9)

    decoded = trained.predict([decode_file(path) for path in paths])
    assert torch.equal(decoded.logits, predictions.logits)
    one = trained.predict(str(paths[3]))
    assert_close(one.logits, predictions.logits[3:4])


def test_what_is_tested_several_ways_is_predicted_so(photographs, tmp_path):
    changes = [*SMALL, "evaluation.mirror=true", "evaluation.scales=1,1.5"]
    run = tiny_run(tmp_path, "folder_resnet18", *changes)
    train_quietly(run, data_root=photographs, workers=0)
    trained = load_trained(run.folder, CPU)
    paths = sorted((photographs / "val").rglob("*.*"))
    wrong = sum(
        best[0][0] != path.parent.name
        for path, best in zip(paths, trained.predict(paths).top(1), strict=True)
    )
    recorded = value_of(run.summary(), report="last")
    assert 100 * wrong / len(paths) == pytest.approx(recorded, abs=1e-9)


@pytest.mark.parametrize("workers", [0, 1])
def test_damaged_files_stop_no_others(of_photographs, photographs, tmp_path, workers):
    trained = load_trained(of_photographs.folder, replace(CPU, workers=workers))
    good = sorted((photographs / "val").rglob("*.*"))
    bad = [tmp_path / name for name in ("empty.png", "missing.jpg", "text.jpg")]
    bad[0].touch()
    bad[2].write_text("no photograph")
    paths = [bad[0], *good[:16], bad[1], *good[16:], bad[2]]
    batches = list(trained.predict_files(paths))
    assert [len(batch.paths) + len(batch.failures) for batch in batches] == [7] * 5 + [4]
    assert [path for batch in batches for path in batch.paths] == good
    failures = {path: error for batch in batches for path, error in batch.failures.items()}
    assert list(failures) == bad
    assert "empty.png" in str(failures[bad[0]])
    assert isinstance(failures[bad[1]], FileNotFoundError)
    found = torch.cat([batch.predictions.logits for batch in batches])
    assert_close(found, trained.predict(good).logits)

    (alone,) = trained.predict_files([bad[2]])
    assert (alone.paths, alone.predictions.logits.shape) == ([], (0, 2))
    with pytest.raises(UserError, match=r"cannot read '.*text\.jpg'"):
        trained.predict(bad[2])
    for missing in (bad[1], good[0] / "x", tmp_path):
        told = rf"^predict: .*{missing.name}'?: (no such file|not a directory|a folder)"
        with pytest.raises(UserError, match=told):
            trained.predict([good[0], missing])


def test_images_in_memory_have_the_size_of_the_run_or_become_it(of_digits, tmp_path):
    images = of_digits.data.test.images
    predictions = of_digits.predict(images)
    assert torch.equal(predictions.logits, of_digits.logits(of_digits.prepare(images)))
    error = 100 * float((predictions.labels != of_digits.data.test.labels).double().mean())
    assert error == pytest.approx(of_digits.test()[""]["error"], abs=1e-9)
    assert_close(of_digits.predict(images[5]).logits, predictions.logits[5:6])
    write_image(tmp_path / "large.png", 40, 64)
    assert of_digits.predict(tmp_path / "large.png").logits.shape == (1, 10)
    assert of_digits.predict([]).logits.shape == (0, 10)


def test_images_in_memory_are_resized_as_in_the_run(train_tiny):
    run = train_tiny("digits_resnet8", "image_size=12", "epochs=1")
    trained = load_trained(run.folder, CPU)
    images = trained.data.test.images
    assert images.shape[2:] == (8, 8)
    wanted = trained.logits(trained.prepare(images))
    assert torch.equal(trained.predict(images).logits, wanted)
    export_run(trained, run.folder / "net")
    assert torch.equal(load_exported(run.folder / "net", CPU).predict(images).logits, wanted)
    assert "At last they are resized" in (run.folder / "net" / "README.md").read_text()


def test_photographs_are_prepared_as_pretrained_weights_want(photographs, tmp_path):
    torch.save(timm.create_model("test_resnet").state_dict(), tmp_path / "weights.pth")
    changes = [*SMALL[1:], "network=test_resnet", f"network.weights={tmp_path / 'weights.pth'}"]
    run = tiny_run(tmp_path, "folder_resnet18", *changes)
    train_quietly(run, data_root=photographs, workers=0)
    trained = load_trained(run.folder, CPU)
    told = timm.models.get_pretrained_cfg("test_resnet")
    assert trained.view.resize == round(16 / told.crop_pct)
    paths = sorted((photographs / "val").rglob("*.*"))
    found = trained.predict(paths)
    wrong = sum(
        best[0][0] != path.parent.name for path, best in zip(paths, found.top(1), strict=True)
    )
    recorded = value_of(run.summary(), report="last")
    assert 100 * wrong / len(paths) == pytest.approx(recorded, abs=1e-9)
    about = export_run(trained, tmp_path / "net")
    assert about["mean"] == list(told.mean)
    (tmp_path / "weights.pth").unlink()
    exported = load_exported(tmp_path / "net", CPU)
    assert torch.equal(exported.predict(paths).logits, found.logits)


def test_the_best_classes_come_first(of_digits):
    predictions = of_digits.predict(of_digits.data.test.images[:3])
    assert_close(predictions.probs.sum(dim=1), torch.ones(3, dtype=torch.float64))
    assert predictions.probs.dtype == torch.float64
    for row, best in zip(predictions.probs, predictions.top(3), strict=True):
        order = row.argsort(descending=True)[:3].tolist()
        assert best == [(str(label), float(row[label])) for label in order]
    assert [len(best) for best in predictions.top(99)] == [10] * 3
    assert Predictions(torch.empty(0, 2), ("a", "b")).top() == []


def test_each_of_several_networks_can_be_asked(train_tiny):
    run = train_tiny("digits_resnet8", "method=dml", "peers=resnet8_cifar", "epochs=1")
    trained = load_trained(run.folder, CPU)
    images = trained.data.test.images[:5]
    second = trained.predict(images, "network 2")
    wanted = trained.logits(trained.prepare(images), "network 2")
    assert torch.equal(second.logits, wanted)
    assert not torch.equal(trained.predict(images).logits, wanted)
    for ask in (trained.predict, lambda *names: next(trained.predict_files(*names))):
        with pytest.raises(UserError, match=r"`predictor` to be one of '', 'network 2', got 'x'"):
            ask([], "x")


@pytest.mark.parametrize(
    ("wrong", "got"),
    [
        ([torch.zeros(3, 8, 8)], r"Tensor torch\.float32 \(3, 8, 8\)"),
        (torch.zeros(2, 3, 4, 4, 4, dtype=torch.uint8), r"Tensor torch\.uint8 \(3, 4, 4, 4\)"),
        (torch.zeros(8, 8, 3, dtype=torch.uint8), r"Tensor torch\.uint8 \(8, 8, 3\)"),
        (np.zeros((3, 8, 8), np.uint8), r"ndarray uint8 \(3, 8, 8\)"),
        (["photo.jpg", torch.zeros(3, 8, 8, dtype=torch.uint8)], "str"),
        ([Image.new("RGB", (8, 8))], "Image"),
        (Image.new("RGB", (8, 8)), "Image"),
        (None, "NoneType"),
        ([3], "int"),
    ],
)
def test_what_is_no_photograph_is_refused(of_digits, wrong, got):
    with pytest.raises(TypeError, match=rf"of dtype torch\.uint8, got {got}; `logits` takes"):
        of_digits.predict(wrong)
    with pytest.raises(UserError, match="an image with pixels"):
        of_digits.predict(torch.zeros(3, 0, 8, dtype=torch.uint8))


def test_networks_that_label_pixels_are_refused(make_run):
    run = make_run("digits_resnet8", "epochs=1", "batch_size=4")
    subset = replace(run.recipe.subset, train_per_class=None, test_images=None)
    specs = {"data": toys.Squares(), "network": toys.Pixelwise(), "subset": subset}
    specs["augment"] = replace(run.recipe.augment, padding=0)
    run = replace(run, recipe=replace(run.recipe, **specs))
    train_quietly(run)
    trained = load_trained(run.folder, CPU)
    with pytest.raises(UserError, match="classify images, got some that label pixels; call"):
        trained.predict(torch.zeros(3, 8, 8, dtype=torch.uint8))


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """Digits as numbers that are not bytes, or of another shape."""

    wide: bool = False

    def load(self, root, workers):
        data = Digits().load(root)

        def changed(part):
            images = part.images.repeat(1, 1, 1, 2) if self.wide else part.images / 255
            return ImageSet(images, part.labels, part.classes)

        constants = (data.mean, data.std) if self.wide else (None, None)
        return DataSet("numbers", changed(data.train), changed(data.test), *constants)


@pytest.mark.parametrize("wide", [False, True])
def test_a_run_on_other_images_says_what_it_takes(make_run, wide, tmp_path):
    run = make_run("digits_resnet8", "epochs=1", "padding=0", "flip=false")
    run = replace(run, recipe=replace(run.recipe, data=Numbers(wide=wide)))
    train_quietly(run)
    trained = load_trained(run.folder, CPU)
    write_image(tmp_path / "photo.png")
    message = "expected an image of 8 x 16 pixels, got 8 x 8"
    if not wide:
        message = "expected a run on photographs, got one on data=numbers"
    for photograph in (tmp_path / "photo.png", decode_file(tmp_path / "photo.png")):
        with pytest.raises(UserError, match=message):
            trained.predict(photograph)
    if wide:
        images = trained.data.test.images[:3]
        assert torch.equal(trained.predict(images).logits, trained.logits(trained.prepare(images)))


@pytest.mark.parametrize("size", ["image_size=12", "image_size=none"])
def test_images_of_a_data_set_from_outside_are_resized_as_in_the_run(make_run, tmp_path, size):
    run = make_run("digits_resnet8", "epochs=1", "padding=0", "flip=false", size)
    run = replace(run, recipe=replace(run.recipe, data=Numbers(wide=True)))
    train_quietly(run)
    trained = load_trained(run.folder, CPU)
    images = trained.data.test.images
    assert images.shape[2:] == (8, 16)
    wanted = trained.logits(trained.prepare(images))
    assert torch.equal(trained.predict(images).logits, wanted)
    assert export_run(trained, tmp_path / "net")["view"] == {"height": 8, "width": 16}
    assert torch.equal(load_exported(tmp_path / "net", CPU).predict(images).logits, wanted)
    card = (tmp_path / "net" / "README.md").read_text()
    assert "Photographs must have 8 x 16 pixels." in card
    assert ("antialiased) to 12 x 12." in card) == (size == "image_size=12")


def test_the_training_images_are_not_needed(of_photographs, photographs, tmp_path):
    folder = shutil.copytree(of_photographs.folder, tmp_path / "seed0")
    assert json.loads((folder / "images.json").read_text())["input"]["classes"] == ["cat", "dog"]
    trained = load_trained(folder, replace(CPU, data_root=Path("nowhere")))
    assert len(trained.predict(photographs / "val" / "cat" / "00.png").top(1)) == 1
