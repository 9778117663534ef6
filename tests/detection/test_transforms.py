"""Tests of semaug.detection.transforms: boxes stay on what masks show."""

import pytest
import torch
from torch.testing import assert_close
from torchvision.ops import masks_to_boxes

from semaug.detection.boxes import Target
from semaug.detection.transforms import collate, flip, normalize, resize, resized_size


@pytest.fixture
def scene():
    """An image of 30 x 45 pixels with two bright rectangles and a crowd."""
    boxes = torch.tensor([[4.0, 6, 20, 15], [30, 2, 45, 30]])
    image = torch.zeros(3, 30, 45, dtype=torch.uint8)
    masks = torch.zeros(2, 30, 45, dtype=torch.bool)
    for (x1, y1, x2, y2), mask in zip(boxes.int().tolist(), masks, strict=True):
        mask[y1:y2, x1:x2] = True
        image[:, y1:y2, x1:x2] = 200
    return image, Target(boxes, torch.tensor([1, 0]), masks, torch.tensor([[0.0, 0, 10, 30]]))


def boxes_of(masks):
    """Corners without rounding: torchvision's are of the last pixel."""
    return masks_to_boxes(masks) + torch.tensor([0, 0, 1, 1])


def test_boxes_are_where_masks_and_pixels_are_after_a_flip(scene):
    image, target = flip(*scene)
    assert target.boxes.tolist() == [[25, 6, 41, 15], [0, 2, 15, 30]]
    assert target.crowds.tolist() == [[35, 0, 45, 30]]
    assert_close(boxes_of(target.masks), target.boxes)
    assert ((image[0] > 0) == target.masks.any(0)).all()
    again = flip(image, target)
    assert (again[0] == scene[0]).all()
    assert_close(again[1].boxes, scene[1].boxes)


@pytest.mark.parametrize(("short", "long", "size"), [(60, 200, (60, 90)), (40, 70, (40, 60))])
def test_boxes_are_where_masks_and_pixels_are_after_resizing(scene, short, long, size):
    image, target = resize(*scene, short, long)
    assert (image.dtype, image.shape, target.masks.shape[1:]) == (torch.uint8, (3, *size), size)
    assert_close(target.boxes, scene[1].boxes * size[0] / 30)
    assert (boxes_of(target.masks) - target.boxes).abs().max() <= 0.5
    assert ((image[0] > 100) == target.masks.any(0)).float().mean() > 0.97
    assert_close(target.crowds, scene[1].crowds * size[0] / 30)


def test_sizes_are_rounded_half_up_as_in_mmdetection():
    assert resized_size((427, 640), 800, 1333) == (800, 1199)
    assert resized_size((480, 640), 800, 1333) == (800, 1067)
    assert resized_size((200, 640), 800, 1333) == (417, 1333)
    assert resized_size((5, 10), 1, 100) == (1, 2)


def test_a_fitting_image_and_an_empty_target_stay(scene):
    image, target = resize(*scene, 30, 100)
    assert image is scene[0]
    assert target is scene[1]
    empty = Target(torch.zeros(0, 4), torch.zeros(0).long(), torch.zeros(0, 30, 45).bool())
    _, resized = resize(scene[0], empty, 60, 90)
    assert (resized.boxes.shape, resized.masks.shape) == ((0, 4), (0, 60, 90))
    assert flip(scene[0], Target(empty.boxes, empty.labels))[1].masks is None


def test_images_are_padded_with_zeros_at_the_right_and_bottom(scene):
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.1, 0.3)
    image = normalize(scene[0], mean, std)
    assert_close(image[1, 7, 5], torch.tensor((200 / 255 - 0.4) / 0.1))
    wide = torch.ones(3, 20, 70)
    images, sizes, targets = collate([(image, scene[1]), (wide, scene[1])])
    assert images.shape == (2, 3, 32, 96)
    assert sizes == [(30, 45), (20, 70)]
    assert targets == [scene[1], scene[1]]
    assert (images[0, :, :30, :45] == image).all()
    assert images[1].sum() == wide.sum()
