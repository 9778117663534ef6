"""Tests of semaug.detection.backbone."""

import pytest
import timm
import torch

from semaug.detection.backbone import Backbone, backbone_of, first_modules
from semaug.detection.layouts import named_as
from semaug.registry import detectors


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "test_convnext"])
def test_networks_of_timm_give_four_maps(name):
    backbone, report = backbone_of(name)
    maps = backbone(torch.zeros(1, 3, 64, 96))
    assert report is None
    assert [tuple(one.shape[2:]) for one in maps] == [(16, 24), (8, 12), (4, 6), (2, 3)]
    assert [one.shape[1] for one in maps] == backbone.feature_info.channels()


def test_weights_of_a_classifier_are_loaded_and_said(tmp_path):
    classifier = timm.create_model("test_resnet", num_classes=10)
    torch.save({"state_dict": classifier.state_dict()}, tmp_path / "best.pt")
    backbone, report = backbone_of("test_resnet", tmp_path / "best.pt")
    for name, tensor in backbone.body.state_dict().items():
        assert torch.equal(tensor, classifier.state_dict()[name])
    assert set(report.unused) == {"fc.weight", "fc.bias"}
    assert report.missing == ()


def test_a_resnet_freezes_its_stem_and_first_stage():
    detector = detectors.make("faster_rcnn", width=8, head_width=8).build(
        backbone_of("test_resnet")[0], 2
    )
    frozen = {name for name, x in detector.named_parameters() if not x.requires_grad}
    assert frozen == {
        name
        for name, _ in detector.named_parameters()
        if name.startswith(tuple(f"backbone.body.{part}" for part in ("conv1", "bn1", "layer1")))
    }
    assert detector.backbone.body.layer2[0].bn1.weight.requires_grad
    assert not first_modules(detector.backbone, 0)


def test_networks_without_the_maps_are_refused():
    with pytest.raises(ValueError, match="a name that timm knows, got resnet5000"):
        backbone_of("resnet5000")
    with pytest.raises(ValueError, match=r"maps of strides \(4, 8, 16, 32\), got \(16, .*\)"):
        backbone_of("test_vit")
    with pytest.raises(ValueError, match=r"Linear: expected .* got none"):
        Backbone(torch.nn.Linear(2, 2))


def test_weights_of_a_detector_are_loaded(tmp_path):
    built, _ = backbone_of("test_resnet")
    detector = detectors.make("faster_rcnn", width=8, head_width=8).build(built, 2)
    states = {"detector": detector.state_dict(), "state_dict": named_as(detector, "mmdet")}
    for key, state in states.items():
        torch.save({key: state}, tmp_path / "detector.pth")
        backbone, report = backbone_of("test_resnet", tmp_path / "detector.pth")
        for name, tensor in backbone.body.state_dict().items():
            assert torch.equal(tensor, built.body.state_dict()[name])
        assert report.missing == ()
