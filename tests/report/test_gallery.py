"""Tests of semaug.report.gallery."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from PIL import Image

from semaug.augmentation import Augment
from semaug.data import IGNORED, DataSet, ImageSet
from semaug.engine.data import load_data
from semaug.engine.options import TrainOptions
from semaug.engine.streams import Streams
from semaug.errors import UserError
from semaug.recipe import BaseRecipe, Recipe
from semaug.recipe.overrides import override, split_overrides
from semaug.recipes import find_recipe
from semaug.report.gallery import augmented_images, draw_gallery
from semaug.runs.run import Run


def recipe(*changes):
    return override(find_recipe("digits_resnet8"), split_overrides(changes))


def streams_of(recipe):
    return Streams(recipe, load_data(Run("a", recipe), TrainOptions(), torch.device("cpu"))[0])


def test_images_are_those_that_training_sees():
    streams = streams_of(recipe("policy=randaugment", "cutout=2"))
    images = augmented_images(streams, seed=3, places=torch.arange(4), num_epochs=2)
    assert images.shape == (4, 2, 3, 8, 8)
    mean, std = (
        torch.tensor(values).view(-1, 1, 1) for values in (streams.data.mean, streams.data.std)
    )
    for epoch in range(2):
        seen = {}
        for batch, _ in streams.train_batches(3, epoch):
            positions = batch.labeled.positions.tolist()
            seen |= dict(zip(positions, batch.labeled.images, strict=True))
        for place in range(4):
            wanted = ((seen[place] * std + mean) * 255).round()
            assert torch.equal(images[place, epoch].float(), wanted)


def test_views_of_an_epoch_lie_side_by_side(tmp_path):
    views = recipe("method=ait", "views=3", "padding=2")
    places = torch.tensor([0, 40, 80])
    images = augmented_images(streams_of(views), seed=1, places=places, num_epochs=2)
    assert images.shape == (3, 6, 3, 8, 8)
    alone = streams_of(recipe("padding=2"))
    first = augmented_images(alone, seed=1, places=places, num_epochs=2)
    assert torch.equal(images[:, [0, 3]], first)
    draw_gallery(tmp_path / "a.png", views, num_images=2, num_epochs=2)
    assert (tmp_path / "a.png").stat().st_size > 1000


def test_images_without_augmentation_come_back_exactly():
    streams = streams_of(recipe("padding=0"))
    images = augmented_images(streams, seed=0, places=torch.arange(50), num_epochs=1)
    assert torch.equal(images[:, 0], streams.data.train.images[:50])


@dataclass(frozen=True, kw_only=True)
class Halves:
    """Images that are dark on the left and bright on the right, and masks that say so."""

    dtype: str = "uint8"

    def load(self, root, workers):
        labels = torch.zeros(5, 8, 8, dtype=torch.uint8)
        labels[:, :, 5:] = 1
        pixels = (50 + 150 * labels).unsqueeze(1).repeat(1, 3, 1, 1).to(getattr(torch, self.dtype))
        labels[:, 6:] = IGNORED
        images = ImageSet(pixels, labels, ("sky", "_road, " + 20 * "which has a long name "))
        return DataSet("halves", images, images, mean=(0.5,) * 3, std=(0.25,) * 3)


def halves(**options):
    return Recipe(
        data=Halves(**options),
        network="resnet8_cifar",
        augment=Augment(padding=0, flip=True),
        epochs=1,
        batch_size=2,
    )


def test_masks_are_drawn_over_images_and_move_with_them(tmp_path):
    images = augmented_images(streams_of(halves()), seed=0, places=torch.arange(5), num_epochs=4)
    assert images.shape == (5, 4, 3, 8, 8)
    flipped = images[..., 0, 0, 0] > images[..., 0, 0, 7]
    assert 0 < int(flipped.sum()) < 20
    images[flipped] = images[flipped].flip(-1)
    dark, bright, plain = images[..., :6, :5], images[..., :6, 5:], images[..., 6:, :]
    red, green = (128, 0, 0), (0, 128, 0)
    for region, shade, color in ((dark, 50, red), (bright, 200, green)):
        wanted = torch.tensor([round((shade + own) / 2) for own in color]).view(3, 1, 1)
        assert (region.int() - wanted).abs().max() <= 1
    assert set(plain.unique().tolist()) == {50, 200}
    draw_gallery(tmp_path / "a.png", halves(), num_images=2, num_epochs=2)
    edges = np.asarray(Image.open(tmp_path / "a.png").convert("L"))
    assert min(edges[0].min(), edges[-1].min(), edges[:, 0].min(), edges[:, -1].min()) == 255


def test_images_that_are_no_bytes_are_stretched(tmp_path):
    numbers = halves(dtype="float32")
    images = augmented_images(streams_of(numbers), seed=0, places=torch.arange(5), num_epochs=1)
    assert set(images[..., 6:, :].unique().tolist()) == {0, 255}
    draw_gallery(tmp_path / "a.png", numbers, num_images=2, num_epochs=2)


def test_what_is_no_picture_is_refused(tmp_path, monkeypatch):
    other = Other(data="digits", epochs=1)
    with pytest.raises(
        UserError, match="expected a recipe that augments images, got one of a generator"
    ):
        draw_gallery(tmp_path / "a.png", other)
    load = Halves.load

    def features(self, root, workers):
        data = load(self, root, workers)
        images = ImageSet(torch.zeros(5, 64, 1, 1), torch.arange(5) % 2, data.train.classes)
        return DataSet("features", images, images, None, None)

    monkeypatch.setattr(Halves, "load", features)
    plain = replace(halves(), augment=Augment(padding=0, flip=False))
    with pytest.raises(UserError, match="show: expected images of 1 or 3 channels, got 64"):
        draw_gallery(tmp_path / "a.png", plain)


@dataclass(frozen=True, kw_only=True)
class Other(BaseRecipe):
    """A recipe of another kind."""


@pytest.mark.parametrize("changes", [["whitening=true", "cutout=2"], ["mixup=1"]])
def test_every_kind_of_image_is_drawn(tmp_path, changes):
    path = tmp_path / "gallery.png"
    draw_gallery(path, recipe(*changes), num_images=2, num_epochs=3)
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        assert len(picture.convert("RGB").getcolors(10**6)) > 20


def test_a_longer_list_makes_a_larger_picture(tmp_path):
    sizes = []
    for num_images, num_epochs in ((2, 3), (4, 3), (2, 6)):
        path = tmp_path / "gallery.png"
        draw_gallery(path, recipe(), num_images=num_images, num_epochs=num_epochs)
        with Image.open(path) as picture:
            sizes.append(picture.size)
    assert sizes[1][1] > sizes[0][1]
    assert sizes[2][0] > sizes[0][0]


def test_mistakes_leave_no_picture(tmp_path):
    path = tmp_path / "gallery.png"
    with pytest.raises(UserError, match="unknown data set 'digit'; did you mean 'digits'"):
        draw_gallery(path, recipe("data=digit"))
    assert not path.exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [("a.txt", "expected the name of a PNG file"), ("b/a.png", "expected a folder that exists")],
)
def test_a_picture_that_cannot_be_written_is_named_before_work(tmp_path, name, message):
    with pytest.raises(UserError, match=f"show: {message}, .*{name[0]}"):
        draw_gallery(tmp_path / name, recipe())
