"""One training step of each detector is that of loops over anchors and boxes."""

import pytest
import torch
from torch.testing import assert_close

from semaug.detection import detector as detector_module
from semaug.detection import rpn as rpn_module
from tests.detection.toys import rectangles, toy_detector
from tests.references.detection import SETTINGS, step_by_loops

ANCHORS, REGIONS = 32, 14


@pytest.mark.parametrize("name", SETTINGS)
def test_losses_and_gradients_are_those_of_loops(name, monkeypatch):
    monkeypatch.setattr(rpn_module, "_SAMPLED", ANCHORS)
    monkeypatch.setattr(detector_module, "_SAMPLED", REGIONS)
    detector = toy_detector(name, anchor_scales=(3.0,)).double()
    for part, scale in ((detector.rpn.head, 20.0), (detector.box_heads, 4.0)):
        for parameter in part.parameters():
            parameter.data.mul_(scale)
    generator = torch.Generator().manual_seed(2)
    sizes = [(64, 32), (30, 32)]
    images = torch.randn(2, 3, 64, 32, generator=generator, dtype=torch.float64)  # no ties
    targets = []
    for image, size in zip(images, sizes, strict=True):
        picture, target = rectangles(generator, size, count=3)
        image[:, : size[0], : size[1]] += picture
        targets.append(target)
    found = detector(images, sizes, targets, torch.Generator().manual_seed(3))
    sum(found.values()).backward()
    gradients = {key: p.grad.clone() for key, p in detector.named_parameters() if p.requires_grad}
    detector.zero_grad()
    wanted = step_by_loops(
        detector,
        name,
        images,
        sizes,
        targets,
        torch.Generator().manual_seed(3),
        scale=3.0,
        ratios=(0.5, 1.0, 2.0),
        anchors=ANCHORS,
        regions=REGIONS,
    )
    assert_close(found, wanted, atol=1e-9, rtol=1e-7)
    assert all(loss > 0 for loss in found.values())
    sum(wanted.values()).backward()
    for key, gradient in gradients.items():
        other = detector.get_parameter(key).grad  # none where no box is on a level
        assert_close(
            gradient, torch.zeros_like(gradient) if other is None else other, atol=1e-9, rtol=1e-5
        )
