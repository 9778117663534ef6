"""Tests of semaug.data.image_set: sets in memory."""

import pytest
import torch
from torch.testing import assert_close

from semaug.data import DataSet, ImageSet

CLASSES = ("cat", "dog")


@pytest.fixture
def images():
    """Five images of 2 x 2 pixels, each filled with its place."""
    return torch.arange(5, dtype=torch.uint8).view(5, 1, 1, 1).expand(5, 3, 2, 2)


@pytest.fixture
def labels():
    return torch.tensor([0, 1, 1, 0, 1])


def test_a_subset_has_the_order_of_its_indices(images, labels):
    part = ImageSet(images, labels, CLASSES).subset(torch.tensor([4, 0]))
    assert part.images[:, 0, 0, 0].tolist() == [4, 0]
    assert part.labels.tolist() == [1, 0]
    assert len(part) == 2


def test_a_subset_by_mask_keeps_the_order(images, labels):
    part = ImageSet(images, labels, CLASSES).subset(labels == 1)
    assert part.images[:, 0, 0, 0].tolist() == [1, 2, 4]


def test_other_labels_leave_the_images_and_the_old_set_as_they_were(images, labels):
    before = ImageSet(images, labels, CLASSES)
    after = before.with_labels(1 - labels)
    assert after.labels.tolist() == [1, 0, 0, 1, 0]
    assert before.labels.tolist() == [0, 1, 1, 0, 1]
    assert after.images is before.images
    assert after.classes == CLASSES
    with pytest.raises(ValueError, match=r"`labels` in 0\.\.1, got values in 2\.\.3"):
        before.with_labels(labels + 2)


def test_images_may_be_numbers_that_need_no_constants(images, labels):
    part = ImageSet(images.float() / 7, labels, CLASSES)
    data = DataSet("toy", part, part, mean=None, std=None)
    assert not data.has_bytes
    assert data.mean_color == 0
    assert data.to("cpu").train.images.dtype == torch.float32
    part = ImageSet(images, labels, CLASSES)
    data = DataSet("toy", part, part, (0.5, 0.1, 1.0), (0.2,) * 3)
    assert data.has_bytes
    assert data.mean_color == (128, 26, 255)
    with pytest.raises(ValueError, match="DataSet: expected `mean` and `std` to normalize bytes"):
        DataSet("toy", part, part, mean=None, std=None)


@pytest.fixture
def masks():
    """Of the five images; 255 is no class."""
    return torch.tensor([0, 1, 1, 255]).repeat(5, 1).view(5, 2, 2)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64])
def test_masks_are_labels_too(images, masks, dtype):
    masks[4] = 0
    part = ImageSet(images, masks.to(dtype), CLASSES)
    assert len(part) == 5
    assert part.subset(torch.tensor([4, 0])).labels.tolist() == masks[[4, 0]].tolist()
    assert part.with_labels(masks.flip(0)).labels.tolist() == masks.flip(0).tolist()
    assert part.to("cpu").labels.dtype == dtype
    data = DataSet("toy", part, part, (0.5,) * 3, (0.2,) * 3)
    assert data.has_masks


def test_255_is_a_class_of_masks_with_so_many(images, masks):
    ImageSet(images, masks, tuple(map(str, range(256))))


def test_masks_that_do_not_fit_are_refused(images, masks):
    with pytest.raises(ValueError, match=r"`labels` of shape \(N=5, H=2, W=2\), got \(5, 1, 2\)"):
        ImageSet(images, masks[:, :1], CLASSES)
    with pytest.raises(TypeError, match=r"`labels` of dtype torch\.int64, got torch\.int32"):
        ImageSet(images, masks.int(), CLASSES)
    masks[3, 0, 0] = 2
    with pytest.raises(ValueError, match=r"ImageSet: expected `labels` in 0\.\.1, got values"):
        ImageSet(images, masks.byte(), CLASSES)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_moving_takes_images_and_labels_along(images, labels):
    part = ImageSet(images, labels, CLASSES)
    moved = DataSet("toy", part, part, (0.5,) * 3, (0.2,) * 3, part).to("cuda")
    assert moved.train.images.is_cuda
    assert moved.test.labels.is_cuda
    assert moved.unlabeled.images.is_cuda


def test_moving_changes_no_value(images, labels):
    part = ImageSet(images, labels, CLASSES)
    moved = DataSet("toy", part, part, (0.5,) * 3, (0.2,) * 3, part.subset(labels == 1)).to("cpu")
    assert_close(moved.train.images, images)
    assert_close(moved.unlabeled.images, images[labels == 1])
    assert not moved.has_masks
    assert_close(moved.test.labels, labels)
    assert (moved.name, moved.mean, moved.std) == ("toy", (0.5,) * 3, (0.2,) * 3)


def test_a_data_set_knows_its_sizes(images, labels):
    part = ImageSet(images, labels, CLASSES)
    data = DataSet("toy", part, part, (0.5,) * 3, (0.2,) * 3)
    assert data.num_classes == 2


def test_an_empty_set_is_allowed(images, labels):
    assert len(ImageSet(images[:0], labels[:0], CLASSES)) == 0


def test_labels_that_are_no_class_are_refused(images, labels):
    with pytest.raises(ValueError, match=r"`labels` in 0\.\.1, got values in 0\.\.2"):
        ImageSet(images, labels + (labels == 1), CLASSES)
    with pytest.raises(ValueError, match=r"got values in -1\.\.1"):
        ImageSet(images, labels - (labels == 0).long(), CLASSES)


def test_images_that_are_not_bytes_are_refused(images, labels):
    with pytest.raises(TypeError, match=r"torch\.uint8 or torch\.float32, got torch\.float64"):
        ImageSet(images.double(), labels, CLASSES)


def test_labels_of_another_dtype_are_refused(images, labels):
    with pytest.raises(TypeError, match=r"`labels` of dtype torch\.int64, got torch\.int32"):
        ImageSet(images, labels.int(), CLASSES)


def test_a_missing_label_is_refused(images, labels):
    with pytest.raises(ValueError, match=r"`labels` of shape \(N=5,\), got \(4,\)"):
        ImageSet(images, labels[1:], CLASSES)


def test_labels_on_another_device_are_refused(images, labels):
    with pytest.raises(ValueError, match=r"`labels` on the device of `images` \(cpu\), got meta"):
        ImageSet(images, labels.to("meta"), CLASSES)
