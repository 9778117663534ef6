"""Tests of semaug.detection.pictures."""

import torch

from semaug.detection.pictures import draw_objects

COLORS = [(200, 0, 0), (0, 100, 0)]


def test_boxes_have_the_color_of_their_class_and_masks_are_mixed():
    image = torch.full((3, 20, 30), 50, dtype=torch.uint8)
    boxes, labels = torch.tensor([[2.0, 3, 12, 13], [8, 3, 20, 18]]), torch.tensor([0, 1])
    masks = torch.zeros(2, 20, 30, dtype=torch.bool)
    masks[0, 5:9, 4:10] = masks[1, 15, 15] = True
    drawn = draw_objects(image, boxes, labels, COLORS, masks)
    assert (drawn.shape, drawn.dtype) == ((20, 30, 3), torch.uint8)
    assert drawn[3, 2].tolist() == drawn[12, 11].tolist() == [200, 0, 0]  # corners are inside
    assert drawn[17, 19].tolist() == [0, 100, 0]
    assert drawn[3, 9].tolist() == [200, 0, 0]  # the first object lies on top
    assert drawn[6, 5].tolist() == [118, 28, 28]  # 50 + 0.45 (200 - 50), 50 - 0.45 * 50, rounded
    assert drawn[15, 15].tolist() == [28, 72, 28]
    assert drawn[13, 2].tolist() == drawn[0, 0].tolist() == [50, 50, 50]


def test_names_stay_in_the_picture_and_nothing_is_drawn_of_no_objects():
    image = torch.full((3, 40, 60), 50, dtype=torch.uint8)
    none = torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64)
    assert torch.equal(draw_objects(image, *none, COLORS), image.movedim(0, -1))
    box = torch.tensor([[55.0, 1.0, 60.0, 39.0]])
    named = draw_objects(image, box, torch.tensor([0]), COLORS, names=["red 0.98"])
    assert (named[3:12, 20:50] != 50).any(2).float().mean() > 0.9  # moved left, below the edge
