"""The folder of a run is enough to predict: images are read where they are asked for."""

import shutil

import pytest
import torch
from PIL import Image

import semaug
from semaug.recipe.overrides import override
from semaug.recipes import find_recipe

SMALL = {"image_size": "16", "epochs": "1", "batch_size": "4", "network": "resnet8_cifar"}


@pytest.fixture
def photographs(tmp_path):
    for part in ("train", "val"):
        for color, name in enumerate(("cat", "dog")):
            folder = tmp_path / "photos" / part / name
            folder.mkdir(parents=True)
            for number in range(3):
                Image.new("RGB", (24, 24), (60 * number, 99 * color, 9)).save(
                    folder / f"{number}.png"
                )
    return tmp_path / "photos"


def test_networks_come_back_where_the_images_are_gone(photographs, tmp_path):
    recipe = override(find_recipe("folder_resnet18_isda"), SMALL | {"warmup_epochs": "0"})
    options = {"data_root": photographs, "device": "cpu", "workers": 0}
    run = semaug.train(recipe, runs=tmp_path / "runs", progress=False, **options)
    trained = semaug.load(run, **options)
    images = torch.cat([batch.pixels for batch in trained.test_pixels()])
    logits, features = trained.predict_with_features(trained.prepare(images))

    shutil.rmtree(photographs / "train")
    alone = semaug.load(run.folder, device="cpu")
    assert alone.classes == ("cat", "dog")
    found, found_features = alone.predict_with_features(alone.prepare(images))
    assert torch.equal(found, logits)
    assert torch.equal(found_features, features)
    for ask in (alone.test, lambda: alone.data.test):  # these need the images
        with pytest.raises(FileNotFoundError, match="expected a folder of images"):
            ask()


@pytest.mark.parametrize("changes", [["digits_resnet8", "ema_decay=0.9"], ["digits_resnet8_isda"]])
def test_images_in_memory_are_not_read_to_predict(train_tiny, monkeypatch, changes):
    run = train_tiny(*changes, "epochs=1")
    whole = semaug.load(run, device="cpu")
    images = whole.data.test.images
    logits = whole.logits(whole.prepare(images))

    def fail(*arguments):
        raise AssertionError("the images were read")

    monkeypatch.setattr("semaug.data.digits.Digits.load", fail)
    trained = semaug.load(run, device="cpu")
    assert torch.equal(trained.logits(trained.prepare(images)), logits)
