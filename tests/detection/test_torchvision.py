"""With the preset of torchvision our detectors are torchvision's, whose files they read."""

import re

import pytest
import torch
from timm.models.resnet import BasicBlock, ResNet
from torch.testing import assert_close
from torchvision.models import resnet
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNN, MaskRCNNHeads, MaskRCNNPredictor
from torchvision.ops import FrozenBatchNorm2d

from semaug.detection import detector as detector_module
from semaug.detection import rpn as rpn_module
from semaug.detection.backbone import Backbone
from semaug.detection.layouts import load_detector, named_as
from semaug.detection.specs import MaskRCNN as MaskRCNNSpec
from tests.detection.toys import rectangles

WIDTH, HIDDEN, CLASSES = 16, 32, 3
ALL = 10**6  # boxes are sampled: no draw is left


def torchvision_detector():
    channels = [64, 128, 256, 512]
    body = resnet.ResNet(resnet.BasicBlock, [1] * 4, norm_layer=FrozenBatchNorm2d)
    backbone = BackboneWithFPN(body, {f"layer{i + 1}": str(i) for i in range(4)}, channels, WIDTH)
    options = {
        "box_head": TwoMLPHead(WIDTH * 49, HIDDEN),
        "box_predictor": FastRCNNPredictor(HIDDEN, CLASSES + 1),
        "mask_head": MaskRCNNHeads(WIDTH, [WIDTH] * 4, 1),
        "mask_predictor": MaskRCNNPredictor(WIDTH, WIDTH, CLASSES + 1),
        "min_size": 64,
        "max_size": 64,
        "image_mean": [0, 0, 0],
        "image_std": [1, 1, 1],
        "rpn_batch_size_per_image": ALL,
        "rpn_positive_fraction": 1.0,
        "box_batch_size_per_image": ALL,
        "box_positive_fraction": 1.0,
    }
    return MaskRCNN(backbone, **options)


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """A random detector of torchvision, and ours with its weights from a file."""
    torch.manual_seed(0)
    theirs = torchvision_detector()
    for name, tensor in theirs.state_dict().items():
        if "bn" in name or "downsample.1" in name:
            tensor.copy_(
                torch.rand_like(tensor) * 0.2 + (0.9 if name.endswith(("weight", "var")) else -0.1)
            )
        elif "predictor" in name or "rpn.head" in name:
            tensor.copy_(torch.randn_like(tensor) * 0.1)
    file = tmp_path_factory.mktemp("torchvision") / "detector.pth"
    torch.save(theirs.state_dict(), file)
    spec = MaskRCNNSpec(preset="torchvision", width=WIDTH, head_width=HIDDEN)
    ours = spec.build(Backbone(ResNet(BasicBlock, [1] * 4, num_classes=0)), CLASSES)
    report = load_detector(ours, file)
    return theirs.double(), ours.double(), report


@pytest.fixture
def batch():
    """Two images of different sizes, side by side in a batch and apart."""
    generator = torch.Generator().manual_seed(1)
    sizes = [(64, 64), (64, 50)]
    pictures, targets = zip(*[rectangles(generator, size, CLASSES) for size in sizes], strict=True)
    pictures = [picture.double() for picture in pictures]
    images = torch.zeros(2, 3, 64, 64, dtype=torch.float64)
    for i, picture in enumerate(pictures):
        images[i, :, :, : picture.shape[2]] = picture
    return images, sizes, pictures, targets


def test_everything_is_read(both):
    theirs, _, report = both
    assert report.unused == ()
    assert all(name.endswith("num_batches_tracked") for name in report.missing)
    assert len(report.converted) == len(theirs.state_dict())
    assert (report.layout, report.head) == ("detector of torchvision", "loaded")


def test_detections_are_equal(both, batch):
    theirs, ours, _ = both
    images, sizes, pictures, _ = batch
    with torch.no_grad():
        wanted = theirs.eval()(pictures)
        found = ours.eval()(images, sizes)
    for ours_one, theirs_one in zip(found, wanted, strict=True):
        assert len(ours_one.boxes) > 10
        assert_close(ours_one.boxes, theirs_one["boxes"], atol=1e-5, rtol=0)
        assert_close(ours_one.scores, theirs_one["scores"])
        assert torch.equal(ours_one.labels, theirs_one["labels"] - 1)
        assert torch.equal(ours_one.masks, theirs_one["masks"][:, 0] > 0.5)


def test_losses_and_gradients_are_equal(both, batch, monkeypatch):
    theirs, ours, _ = both
    images, sizes, pictures, targets = batch
    for module in (rpn_module, detector_module):
        monkeypatch.setattr(module, "_SAMPLED", ALL)
        monkeypatch.setattr(module, "_POSITIVE", 1.0)
    told = [
        {"boxes": x.boxes.double(), "labels": x.labels + 1, "masks": x.masks.to(torch.uint8)}
        for x in targets
    ]
    wanted = theirs.train()(pictures, told)
    found = ours.train()(images, sizes, list(targets))
    named = {
        "rpn_objectness": "loss_objectness",
        "rpn_box": "loss_rpn_box_reg",
        "class": "loss_classifier",
        "box": "loss_box_reg",
        "mask": "loss_mask",
    }
    for name, loss in found.items():
        assert_close(loss, wanted[named[name]], atol=1e-5, rtol=1e-5, check_dtype=False)
    for network, losses in ((theirs, wanted), (ours, found)):
        network.zero_grad()
        sum(losses.values()).backward()
    gradients = {name: p.grad for name, p in theirs.named_parameters() if "body" not in name}
    renamed = named_as(ours, "torchvision").keys()
    for theirs_name, name in zip(renamed, ours.state_dict(), strict=True):
        if theirs_name in gradients and "predictor" not in theirs_name:
            gradient = ours.get_parameter(name).grad
            assert_close(gradient, gradients[theirs_name], atol=1e-5, rtol=1e-4)


def test_names_and_values_go_back(both):
    theirs, ours, _ = both
    back = named_as(ours, "torchvision")
    for name, tensor in theirs.state_dict().items():
        if "bbox_pred" in name and "roi_heads" in name:
            assert torch.equal(back[name][4:], tensor[4:])
        elif "mask_fcn_logits" in name:
            assert torch.equal(back[name][1:], tensor[1:])
        else:
            assert torch.equal(back[name], tensor), name


def test_names_of_older_files_are_read(both, tmp_path):
    theirs, ours, _ = both
    state = {
        re.sub(r"(blocks\.\d|rpn\.head\.conv\.0|mask_head\.\d)\.0\.", r"\1.", name): tensor
        for name, tensor in theirs.state_dict().items()
    }
    for i in range(4):
        state = {
            x.replace(f"mask_head.{i}.", f"mask_head.mask_fcn{i + 1}."): state[x] for x in state
        }
    state = {name.replace("head.conv.0.", "head.conv."): x for name, x in state.items()}
    assert "rpn.head.conv.weight" in state
    torch.save(state, tmp_path / "older.pth")
    report = load_detector(ours, tmp_path / "older.pth")
    assert report.unused == ()
    assert len(report.converted) == len(state)
