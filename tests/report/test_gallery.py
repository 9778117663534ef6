"""Tests of semaug.report.gallery."""

import pytest
import torch
from PIL import Image

from semaug.data import load_data
from semaug.engine.pipeline import Pipeline
from semaug.errors import UserError
from semaug.recipe.overrides import override, split_overrides
from semaug.recipes import find_recipe
from semaug.report.gallery import augmented_images, draw_gallery


def recipe(*changes):
    return override(find_recipe("digits_resnet8"), split_overrides(changes))


def test_images_are_those_that_training_sees():
    pipeline = Pipeline(recipe("policy=randaugment", "cutout=2"), load_data("digits"))
    images = augmented_images(pipeline, seed=3, places=torch.arange(4), num_epochs=2)
    assert images.shape == (4, 2, 3, 8, 8)
    for epoch in range(2):
        order = torch.arange(len(pipeline.data.train))
        batches = pipeline.train_batches(3, epoch, order=order)
        seen = torch.cat([batch.images for batch in batches])[:4]
        mean, std = (
            torch.tensor(values).view(-1, 1, 1)
            for values in (pipeline.data.mean, pipeline.data.std)
        )
        assert torch.equal(images[:, epoch].float(), ((seen * std + mean) * 255).round())


def test_views_of_an_epoch_lie_side_by_side(tmp_path):
    views = recipe("method=ait", "views=3", "padding=2")
    pipeline = Pipeline(views, load_data("digits"))
    places = torch.tensor([0, 40, 80])
    images = augmented_images(pipeline, seed=1, places=places, num_epochs=2)
    assert images.shape == (3, 6, 3, 8, 8)
    alone = Pipeline(recipe("padding=2"), load_data("digits"))
    first = augmented_images(alone, seed=1, places=places, num_epochs=2)
    assert torch.equal(images[:, [0, 3]], first)
    draw_gallery(tmp_path / "a.png", views, num_images=2, num_epochs=2)
    assert (tmp_path / "a.png").stat().st_size > 1000


def test_images_without_augmentation_come_back_exactly():
    pipeline = Pipeline(recipe("padding=0"), load_data("digits"))
    images = augmented_images(pipeline, seed=0, places=torch.arange(50), num_epochs=1)
    assert torch.equal(images[:, 0], pipeline.data.train.images[:50])


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
