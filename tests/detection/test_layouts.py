"""Files of MMDetection are read, and ours are named as it names them."""

import re

import pytest
import timm
import torch

from semaug.detection.backbone import Backbone
from semaug.detection.layouts import load_detector, named_as
from semaug.registry import detectors
from tests.detection.toys import toy_detector

# Of faster-rcnn_r50_fpn.py, mask-rcnn_r50_fpn.py and cascade-rcnn_r50_fpn.py, without the backbone.
PARTS = [
    *(f"neck.{one}.{i}.conv" for one in ("lateral_convs", "fpn_convs") for i in range(4)),
    *(f"rpn_head.rpn_{one}" for one in ("conv", "cls", "reg")),
]
BOX_HEAD = ["shared_fcs.0", "shared_fcs.1", "fc_cls", "fc_reg"]
MASK_HEAD = [*(f"convs.{i}.conv" for i in range(4)), "upsample", "conv_logits"]
FASTER = [*PARTS, *(f"roi_head.bbox_head.{one}" for one in BOX_HEAD)]
NAMES = {
    "faster_rcnn": FASTER,
    "mask_rcnn": [*FASTER, *(f"roi_head.mask_head.{one}" for one in MASK_HEAD)],
    "cascade_rcnn": [
        *PARTS,
        *(f"roi_head.bbox_head.{i}.{one}" for i in range(3) for one in BOX_HEAD),
    ],
}


def on_resnet(name, seed=0, num_classes=3, **options):
    torch.manual_seed(seed)
    body = timm.create_model("test_resnet", num_classes=0)
    options = {"width": 8, "head_width": 8, **options}
    return detectors.make(name, **options).build(Backbone(body), num_classes)


def saved(state, tmp_path, **more):
    torch.save({"meta": {"epoch": 12}, "state_dict": state, **more}, tmp_path / "epoch_12.pth")
    return tmp_path / "epoch_12.pth"


@pytest.mark.parametrize("name", NAMES)
def test_a_file_of_mmdetection_goes_round(name, tmp_path):
    detector, other = on_resnet(name), on_resnet(name, seed=1)
    state = named_as(detector, "mmdet")
    heads = {one.rpartition(".")[0] for one in state if not one.startswith("backbone.")}
    assert heads == set(NAMES[name])
    assert {one for one in state if one.startswith("backbone.")} == {
        f"backbone.{one}" for one in detector.backbone.body.state_dict()
    }
    report = load_detector(other, saved(state, tmp_path))
    assert (report.unused, report.missing, report.prefix) == ((), (), "state_dict/")
    assert report.layout.startswith("detector of MMDetection")
    for key, tensor in detector.state_dict().items():
        assert torch.equal(other.state_dict()[key], tensor), key


def test_its_background_is_last_and_its_boxes_are_of_classes_alone():
    state = named_as(on_resnet("mask_rcnn"), "mmdet")
    assert state["roi_head.bbox_head.fc_cls.weight"].shape == (4, 8)
    assert state["roi_head.bbox_head.fc_reg.weight"].shape == (12, 8)
    assert state["roi_head.mask_head.conv_logits.weight"].shape == (3, 8, 1, 1)
    assert named_as(on_resnet("cascade_rcnn"), "mmdet")[
        "roi_head.bbox_head.2.fc_reg.weight"
    ].shape == (4, 8)


def test_other_classes_leave_the_last_layers_alone(tmp_path):
    detector, other = on_resnet("mask_rcnn"), on_resnet("mask_rcnn", seed=1, num_classes=5)
    before = {key: x.clone() for key, x in other.state_dict().items()}
    report = load_detector(other, saved(named_as(detector, "mmdet"), tmp_path))
    assert report.head == "left at its initial weights: of another number of classes"
    kept = [key for key in before if re.search("cls_score|0.bbox_pred|fcn_logits", key)]
    assert sorted(report.missing) == sorted(kept)
    assert all(torch.equal(other.state_dict()[key], before[key]) for key in kept)
    assert torch.equal(other.box_heads[0].fc7.weight, detector.box_heads[0].fc7.weight)


def test_what_is_not_in_the_file_is_said(tmp_path):
    file = saved(named_as(on_resnet("faster_rcnn"), "mmdet"), tmp_path)
    report = load_detector(on_resnet("mask_rcnn"), file)
    assert {name.partition(".")[0] for name in report.missing} == {"mask_head"}
    file = saved(named_as(on_resnet("mask_rcnn"), "mmdet"), tmp_path)
    report = load_detector(on_resnet("faster_rcnn"), file)
    assert {name.partition(".")[0] for name in report.unused} == {"mask_head"}


def test_an_average_of_weights_wins_and_our_own_names_are_read(tmp_path):
    averaged, detector, other = (on_resnet("faster_rcnn", seed=i) for i in range(3))
    state = {f"detector.{key}": x for key, x in detector.state_dict().items()}
    state |= {f"ema.{key}": x for key, x in averaged.state_dict().items()}
    report = load_detector(other, saved(state, tmp_path))
    assert (report.layout, report.prefix) == ("detector of semaug", "state_dict/ema.")
    assert torch.equal(other.rpn.head.cls_logits.weight, averaged.rpn.head.cls_logits.weight)
    mine, theirs = (one.backbone.body.conv1[0].weight for one in (other, averaged))
    assert torch.equal(mine, theirs)


def test_the_wrong_preset_is_said(tmp_path):
    file = saved(named_as(on_resnet("faster_rcnn"), "mmdet"), tmp_path)
    report = load_detector(on_resnet("faster_rcnn", preset="torchvision"), file)
    assert report.notes == ("weights of MMDetection want the preset of the same name",)


def test_other_files_are_refused(tmp_path):
    detector = on_resnet("faster_rcnn")
    with pytest.raises(ValueError, match="expected a detector of MMDetection or torchvision"):
        load_detector(detector, saved({"conv1.weight": torch.zeros(2)}, tmp_path))
    wide = named_as(on_resnet("faster_rcnn", width=16), "mmdet")
    with pytest.raises(ValueError, match=r"expected fpn\S+ of shape \(8, \d+, 1, 1\), got \(16"):
        load_detector(detector, saved(wide, tmp_path))
    lacking = {x: y for x, y in named_as(detector, "mmdet").items() if "layer3" not in x}
    with pytest.raises(ValueError, match=r"expected all weights, got none of layer3"):
        load_detector(detector, saved(lacking, tmp_path))
    caffe = saved(named_as(detector, "mmdet"), tmp_path, cfg="backbone=dict(style='caffe')")
    with pytest.raises(ValueError, match="stride in the first 1x1"):
        load_detector(detector, caffe)
    with pytest.raises(ValueError, match="expected `layout` mmdet or torchvision, got 'coco'"):
        named_as(toy_detector(), "coco")
