"""Tests of semaug.detection.scores: equal to pycocotools, and by hand."""

import contextlib
import copy
import io
import sys
from math import isnan
from pathlib import Path

import numpy as np
import pytest
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from semaug.detection.boxes import Detections
from semaug.detection.outlines import pack_masks
from semaug.detection.scenes import Scene, SceneObject, Scenes
from semaug.detection.scores import Scores

NAMES = ["AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large"]
SIZE = (120, 150)


def filled(boxes):
    masks = torch.zeros(len(boxes), *SIZE, dtype=torch.bool)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes.round().int().tolist(), strict=True):
        mask[y1:y2, x1:x2] = True
        mask[y1, x1] = False  # the area of a box is not that of its outline
    return masks


def random_boxes(rng, count):
    first = rng.uniform(0, 70, (count, 2))
    return torch.tensor(np.concatenate([first, first + rng.uniform(3, 50, (count, 2))], axis=1))


@pytest.fixture(scope="module")
def problem():
    """Scenes with crowds, images without objects or detections, and a class without objects."""
    rng = np.random.default_rng(0)
    scenes, detections = [], {}
    for number in range(14):
        boxes = random_boxes(rng, 0 if number in (3, 9) else 6)
        labels = rng.integers(2, size=len(boxes)).tolist()
        masks = filled(boxes)
        outlines = pack_masks(masks)
        crowds = (rng.uniform(size=len(boxes)) < 0.2).tolist()
        objects = [
            SceneObject((x1, y1, x2 - x1, y2 - y1), label, float(mask.sum()), crowd, outline)
            for (x1, y1, x2, y2), label, mask, crowd, outline in zip(
                boxes.tolist(), labels, masks, crowds, outlines, strict=True
            )
        ]
        scenes.append(Scene(f"{number}.png", SIZE, 100 + number, objects))
        moved = (boxes + torch.tensor(rng.normal(0, 2, boxes.shape))).clamp(min=0)
        moved = torch.cat([moved, random_boxes(rng, 0 if number in (3, 5) else 3)]).float()
        kinds = torch.tensor([*labels, *rng.integers(3, size=len(moved) - len(labels))]).long()
        scores = torch.tensor(rng.uniform(size=len(moved))).float()
        detections[100 + number] = Detections(moved, scores, kinds, filled(moved))
    return Scenes.of(Path(), scenes, ("cat", "dog", "unicorn")), detections


def by_pycocotools(scenes, detections, kind):
    """Compute by the reference, whose files and console output we do without."""
    truth, results = COCO(), []
    for number, found in detections.items():
        boxes = found.boxes.double()
        boxes[:, 2:] -= boxes[:, :2]
        packed = pack_masks(found.masks)
        values = boxes.tolist() if kind == "bbox" else packed
        key = "bbox" if kind == "bbox" else "segmentation"
        results += [
            {"image_id": number, "category_id": label, "score": score, key: value}
            for label, score, value in zip(
                found.labels.tolist(), found.scores.tolist(), values, strict=True
            )
        ]
    truth.dataset = copy.deepcopy(scenes.annotations)
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(results), kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return 100 * evaluation.stats[:6], evaluation.eval["precision"][..., 0, -1]


def collected(scenes, detections, **options):
    scores = Scores(scenes, **options)
    for number, found in detections.items():
        scores.add(number, found)
    return scores


def test_scores_are_those_of_pycocotools(problem):
    scenes, detections = problem
    assert scenes.is_crowd.any()
    scores = collected(scenes, detections, masks=True)
    found = scores.compute()
    assert len(found) == 12
    for kind, prefix in (("bbox", ""), ("segm", "mask_")):
        wanted, precision = by_pycocotools(scenes, detections, kind)
        actual = [found[prefix + name] for name in NAMES]
        # The reference writes -1 where there is no object.
        assert actual == pytest.approx(np.where(wanted < 0, np.nan, wanted), abs=1e-6, nan_ok=True)
        assert 5 < actual[0] < 95
        for k, name in enumerate(scenes.classes[:2]):
            own = 100 * precision[:, :, k].mean()
            assert scores.by_class()[name][f"{prefix}AP"] == pytest.approx(own, abs=1e-6)
    assert isnan(scores.by_class()["unicorn"]["AP"])


def test_processes_together_score_as_one(problem):
    scenes, detections = problem
    halves = [
        collected(scenes, {i: x for i, x in detections.items() if i % 2 == k}) for k in range(2)
    ]
    halves[0].compute()
    halves[0].merge(halves[1].state())
    assert halves[0].compute() == pytest.approx(
        collected(scenes, detections).compute(), nan_ok=True
    )


def test_the_truth_scores_all_and_nothing_scores_none(problem):
    scenes, perfect = problem[0], {}
    for k, number in enumerate(scenes.image_ids):
        start, stop = scenes.starts[k : k + 2].tolist()
        single = ~scenes.is_crowd[start:stop]
        boxes, labels = scenes.boxes[start:stop][single], scenes.labels[start:stop][single]
        boxes = torch.cat([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], dim=1)
        perfect[number] = Detections(boxes, torch.ones(len(boxes)), labels)
    assert collected(scenes, perfect).compute()["AP"] == pytest.approx(100)
    assert Scores(scenes).compute()["AP"] == 0
    nothing = scenes.subset(torch.tensor([3]))
    empty = Detections(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0).long())
    assert isnan(collected(nothing, {103: empty}).compute()["AP"])


def test_what_cannot_be_scored_is_refused(problem, monkeypatch):
    scenes, detections = problem
    found = detections[100]
    with pytest.raises(ValueError, match="expected the number of an image, got 7"):
        Scores(scenes).add(7, found)
    scores = Scores(scenes, masks=True)
    with pytest.raises(ValueError, match=r"expected masks of \(120, 150\) pixels, got None"):
        scores.add(100, Detections(found.boxes, found.scores, found.labels))
    plain = Scenes.of(Path(), [Scene("a.png", SIZE, 1, [])], ("cat",))
    with pytest.raises(ValueError, match="to score masks, got boxes alone"):
        Scores(plain, masks=True)
    monkeypatch.setitem(sys.modules, "faster_coco_eval", None)
    with pytest.raises(ModuleNotFoundError, match="need faster-coco-eval; install it with"):
        Scores(scenes)
