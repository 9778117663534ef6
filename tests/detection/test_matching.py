"""Tests of semaug.detection.matching and semaug.detection.anchors."""

import math

import pytest
import torch
from torch.testing import assert_close
from torchvision.models.detection._utils import BoxCoder, Matcher
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList

from semaug.detection.anchors import STRIDES, AnchorGrid
from semaug.detection.matching import Matching, decode_boxes, encode_boxes, sample
from semaug.detection.presets import CASCADE, MMDETECTION, TORCHVISION

SIZE = (100, 200)


def random_boxes(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    low = torch.rand(count, 2, generator=generator, dtype=torch.float64) * 50
    sides = torch.rand(count, 2, generator=generator, dtype=torch.float64) * 40 + 2
    return torch.cat([low, low + sides], dim=1)


@pytest.mark.parametrize("stds", [(1.0, 1.0, 1.0, 1.0), (0.033, 0.033, 0.067, 0.067)])
def test_boxes_come_back_and_are_torchvisions(stds):
    boxes, references = random_boxes(50), random_boxes(50, seed=1)
    deltas = encode_boxes(boxes, references, stds)
    assert_close(decode_boxes(deltas, references, stds, SIZE), boxes)
    coder = BoxCoder(tuple(1 / std for std in stds))
    assert_close(deltas, coder.encode_single(boxes, references))
    assert_close(
        decode_boxes(deltas, references, stds, SIZE), coder.decode_single(deltas, references)
    )


def test_decoded_boxes_stay_in_bounds():
    references = torch.tensor([[10.0, 20.0, 18.0, 28.0]])
    deltas = torch.tensor([[0.0, 0.0, 20.0, -20.0]])
    found = decode_boxes(deltas, references, (1, 1, 1, 1), (10_000, 10_000))
    assert_close(found, torch.tensor([[0.0, 24 - 8 * 0.016 / 2, 14 + 8 * 62.5 / 2, 24 + 0.064]]))
    found = decode_boxes(deltas, references, (1, 1, 1, 1), (22, 30))
    assert_close(found, torch.tensor([[0.0, 22.0, 30.0, 22.0]]))


def test_thresholds_and_background():
    ious = torch.tensor([[0.70, 0.69, 0.30, 0.29, 0.0], [0.10, 0.00, 0.20, 0.28, 0.8]])
    assert Matching(0.7, 0.3)(ious).tolist() == [0, -2, -2, -1, 1]
    assert Matching(0.5, 0.5)(ious).tolist() == [0, 0, -1, -1, 1]


def test_the_best_boxes_of_an_object_are_positive_in_a_tie_too():
    ious = torch.tensor([[0.4, 0.4, 0.35, 0.0]])
    assert Matching(0.7, 0.3, low_quality=0.3)(ious).tolist() == [0, 0, -2, -1]
    assert Matching(0.7, 0.3, low_quality=0.41)(ious).tolist() == [-2, -2, -2, -1]
    assert Matching(0.7, 0.3)(ious).tolist() == [-2, -2, -2, -1]


def test_a_low_quality_match_overwrites_a_better_one_as_in_mmdetection():
    ious = torch.tensor([[0.9, 0.1], [0.4, 0.2], [0.4, 0.0]])
    assert Matching(0.7, 0.3, low_quality=0.3)(ious).tolist() == [2, -1]
    assert Matching(0.7, 0.3, low_quality=0.3, overwrite=False)(ious).tolist() == [0, -1]


def test_without_overwriting_matches_are_torchvisions():
    generator = torch.Generator().manual_seed(0)
    ious = (torch.rand(5, 300, generator=generator) * 20).round() / 20  # ties
    ious[4] *= 0.2
    matching = Matching(0.7, 0.3, low_quality=0.0, overwrite=False)
    assert torch.equal(matching(ious), Matcher(0.7, 0.3, True)(ious.clone()))


def test_without_objects_all_is_background():
    assert Matching(0.7, 0.3, low_quality=0.3)(torch.zeros(0, 3)).tolist() == [-1, -1, -1]
    assert Matching(0.7, 0.3, low_quality=0.3)(torch.zeros(2, 0)).tolist() == []


def test_samples_are_drawn_to_number_and_part():
    matches = torch.tensor([-1] * 50 + [0] * 20 + [-2] * 30)
    positive, negative = sample(matches, 40, 0.25, torch.Generator().manual_seed(0))
    assert (len(positive), len(negative)) == (10, 30)
    assert (matches[positive] == 0).all()
    assert (matches[negative] == -1).all()
    assert len(set(positive.tolist())) == 10
    again, _ = sample(matches, 40, 0.25, torch.Generator().manual_seed(0))
    other, _ = sample(matches, 40, 0.25, torch.Generator().manual_seed(1))
    assert torch.equal(positive, again)
    assert not torch.equal(positive, other)
    positive, negative = sample(matches, 200, 0.25, None)
    assert (positive.tolist(), negative.tolist()) == (list(range(50, 70)), list(range(50)))


def maps_of(height, width):
    return [torch.zeros(1, 1, math.ceil(height / s), math.ceil(width / s)) for s in STRIDES]


def test_anchors_are_not_rounded_and_stand_at_multiples_of_the_stride():
    images = torch.zeros(1, 3, 800, 1088)
    levels = AnchorGrid([8], [0.5, 1, 2], MMDETECTION)(maps_of(800, 1088), images)
    assert_close(levels[0][0], torch.tensor([-22.6274, -11.3137, 22.6274, 11.3137]))
    assert_close(levels[0][1], torch.tensor([-16.0, -16, 16, 16]))
    assert_close(levels[0][2], torch.tensor([-11.3137, -22.6274, 11.3137, 22.6274]))
    last = levels[4][-2]  # the square one of the last cell: row 12, column 16
    assert_close((last[:2] + last[2:]) / 2, torch.tensor([16.0 * 64, 12.0 * 64]))


def test_anchors_of_torchvision_are_its_own():
    images = torch.zeros(1, 3, 800, 1088)
    maps = maps_of(800, 1088)
    theirs = AnchorGenerator(tuple((8 * s,) for s in STRIDES), ((0.5, 1.0, 2.0),) * 5)
    wanted = theirs(ImageList(images, [(800, 1088)]), maps)[0]
    found = torch.cat(AnchorGrid([8], [0.5, 1, 2], TORCHVISION)(maps, images))
    assert torch.equal(found, wanted)


def test_several_scales_stand_beside_each_other_in_each_ratio():
    theirs = AnchorGenerator(tuple((4 * s, 8 * s) for s in STRIDES), ((0.5, 1.0),) * 5)
    grid = AnchorGrid([4, 8], [0.5, 1], TORCHVISION)
    images = torch.zeros(1, 3, 64, 64)
    wanted = theirs(ImageList(images, [(64, 64)]), maps_of(64, 64))[0]
    assert torch.equal(torch.cat(grid(maps_of(64, 64), images)), wanted)
    assert len(grid) == 4


def test_anchors_on_the_padding_of_the_batch_are_not_trained():
    maps, images = maps_of(64, 96), torch.zeros(1, 3, 64, 96)
    for preset, inside in ((MMDETECTION, None), (CASCADE, (30, 50)), (TORCHVISION, None)):
        grid = AnchorGrid([2], [1.0], preset)
        levels = grid(maps, images)
        valid = grid.trained(levels, maps, (30, 50))  # padded alone: 32 x 64
        for (x1, y1, x2, y2), found in zip(torch.cat(levels).tolist(), valid.tolist(), strict=True):
            wanted = preset is TORCHVISION or ((y1 + y2) / 2 < 32 and (x1 + x2) / 2 < 64)
            if inside is not None:
                wanted = wanted and min(x1, y1) >= 0 and x2 < 50 and y2 < 30
            assert found == wanted
        assert valid.any()
