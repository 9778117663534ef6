"""Tests of semaug.networks.segmentation."""

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from semaug.analysis import multiply_adds
from semaug.errors import UserError
from semaug.networks import SegmentationNetwork
from semaug.networks.segmentation import build_segmentation_network
from semaug.registry import Sizes, networks

SIZES = Sizes(num_classes=5)


def build(name, num_classes=19, **options):
    with torch.device("meta"):
        return networks.make(name, **options).build(Sizes(num_classes=num_classes)).eval()


def parameters(module):
    return sum(one.numel() for one in module.parameters())


# What the toolbox's have with 19 classes, and their multiply-adds for 769 x 769 pixels.


@pytest.mark.parametrize(
    ("family", "head", "giga"), [("pspnet", 23_083_539, 601), ("deeplabv3", 15_873_043, 567)]
)
def test_sizes_are_those_of_the_toolbox(family, head, giga):
    network = build(f"{family}_resnet101")
    assert parameters(network.backbone) == 42_623_936
    assert parameters(network.head) == head
    assert parameters(network.auxiliary) == 4_729_875
    assert network.num_features == 512
    assert round(multiply_adds(network, 769) / 1e9) == giga


def test_the_backbone_costs_what_that_of_the_toolbox_does():
    network = build("pspnet_resnet101")
    image = torch.zeros(1, 3, 769, 769, device="meta")
    middle, last = network._maps(image)
    assert middle.shape == (1, 1024, 97, 97)
    assert last.shape == (1, 2048, 97, 97)
    total = multiply_adds(network, 769) - sum(_costs_of_the_head(network))
    assert round(total / 1e9) == 423


def _costs_of_the_head(network):
    """Multiply-adds of the pyramid, of which the bins have few."""
    pixels = 97 * 97
    yield pixels * (9 * 4096 * 512 + 512 * 19)
    yield from (size**2 * 2048 * 512 for size in (1, 2, 3, 6))


def test_every_block_of_the_late_stages_is_dilated_alike():
    backbone = build("pspnet_resnet101").backbone

    def dilations(backbone):
        return {
            stage: [block.conv2.dilation[0] for block in getattr(backbone, stage)]
            for stage in ("layer2", "layer3", "layer4")
        }

    assert dilations(backbone) == {"layer2": [1] * 4, "layer3": [2] * 23, "layer4": [4] * 3}
    assert backbone.maxpool.ceil_mode
    assert backbone.layer2[0].conv2.stride == (2, 2)  # in the 3x3
    stem = [m.out_channels for m in backbone.conv1 if isinstance(m, nn.Conv2d)]
    assert stem == [64, 64, 128]
    plain = build("pspnet_resnet50", dilate_first=False, ceil_mode=False).backbone
    assert dilations(plain)["layer4"] == [2, 4, 4]
    assert not plain.maxpool.ceil_mode
    wide = build("pspnet_resnet50", output_stride=16).backbone
    assert dilations(wide)["layer3"] == [1] * 6
    assert dilations(wide)["layer4"] == [2] * 3


@pytest.mark.parametrize(
    ("name", "num_features"),
    [("resnet18", 128), ("resnet34", 128), ("resnet50", 512), ("tf_efficientnet_lite0", 80)],
)
def test_heads_scale_with_the_backbone(name, num_features):
    for family in ("pspnet", "deeplabv3"):
        network = build(f"{family}_{name}", num_classes=11)
        assert network.num_features == num_features
        logits = network(torch.zeros(1, 3, 177, 241, device="meta"))
        assert logits.shape == (1, 11, 23, 31)


def test_a_head_is_what_its_description_says():
    torch.manual_seed(0)
    maps = torch.randn(2, 96, 9, 13)
    network = build_segmentation_network("pspnet", "test_resnet", 5).eval()
    x, body = maps, network.head.body
    parts = []
    for size, (_, conv, norm, act) in zip((1, 2, 3, 6), body.bins, strict=True):
        y = act(norm(conv(F.adaptive_avg_pool2d(x, size))))
        parts.append(F.interpolate(y, (9, 13), mode="bilinear", align_corners=True))
    conv, norm, act = body.fuse
    assert_close(body(maps), act(norm(conv(torch.cat([*parts, x], dim=1)))))
    assert act.negative_slope == 0.01
    deeplab = build_segmentation_network("deeplabv3", "test_resnet", 5).eval().head.body
    dilations = [branch[-3].dilation[0] for branch in deeplab.branches]
    assert dilations == [1, 1, 12, 24, 36]
    pooled = deeplab.branches[0](maps).expand(-1, -1, 9, 13)
    others = [branch(maps) for branch in deeplab.branches[1:]]
    assert_close(deeplab(maps), deeplab.fuse(torch.cat([pooled, *others], dim=1)))


def test_forward_is_the_main_head_and_features_times_weight():
    torch.manual_seed(0)
    network = build_segmentation_network("deeplabv3", "test_efficientnet", 5).eval()
    images = torch.randn(2, 3, 33, 49)
    main, auxiliary = network.forward_heads(images)
    assert_close(network(images), main.logits, rtol=0, atol=0)
    for head, output in zip(network.get_heads(), (main, auxiliary), strict=True):
        logits = torch.einsum("nahw,ca->nchw", output.features, head.weight)
        assert_close(logits + head.classifier.bias.view(-1, 1, 1), output.logits)
        assert_close(output.features, output.undropped, rtol=0, atol=0)
    network.train()
    dropped = network.forward_heads(images)[0]
    whole = (dropped.features == 0).flatten(2).all(dim=2)
    assert_close(dropped.features[~whole], dropped.undropped[~whole] / 0.9)
    assert network.align_corners
    assert [one.out_channels for one in network.get_classifier()] == [5, 5]
    alone = build_segmentation_network("pspnet", "test_resnet", 5, auxiliary=False)
    assert len(alone.forward_heads(images)) == len(alone.get_heads()) == 1


def test_any_backbone_of_timm_is_found_by_its_name():
    spec = networks.make("pspnet_test_convnext", output_stride=16)
    assert networks.name_of(spec) == "pspnet_test_convnext"
    assert networks.get("pspnet_test_convnext") is type(spec)
    network = spec.build(SIZES).eval()
    assert isinstance(network, SegmentationNetwork)
    assert network(torch.zeros(1, 3, 64, 64)).shape == (1, 5, 4, 4)
    again = timm.create_model("pspnet_test_convnext", **spec.arguments(SIZES))
    assert again.state_dict().keys() == network.state_dict().keys()
    other = build("pspnet_resnet101", backbone="resnet101")
    assert other.backbone.conv1.kernel_size == (7, 7)


def test_what_cannot_be_built_is_named():
    with pytest.raises(UserError, match="unknown network 'pspnet_resnet1o1'"):
        networks.make("pspnet_resnet1o1")
    with pytest.raises(UserError, match=r"network=pspnet_swin_tiny_p.*output_stride=8, got swin_t"):
        build("pspnet_swin_tiny_patch4_window7_224")
    with pytest.raises(ValueError, match="output_stride=8, got resnet20_cifar"):
        build_segmentation_network("pspnet", "resnet20_cifar", 5)
    with pytest.raises(UserError, match="`backbone` a name that timm knows, got resnet1"):
        networks.make("pspnet_resnet18", backbone="resnet1")
    with pytest.raises(UserError, match="`negative_slope` from 0 to below 1, got 1"):
        networks.make("pspnet_resnet18", negative_slope=1.0)
    with pytest.raises(UserError, match="`passes` none with a label for each pixel, got 3"):
        networks.make("pspnet_resnet18", passes=3, freeze=("backbone",))


def test_a_frozen_backbone_leaves_the_heads_alone():
    spec = networks.make("pspnet_test_resnet", freeze=("backbone",))
    network = spec.build(SIZES)
    spec.freeze_parts(network)
    assert not any(one.requires_grad for one in network.backbone.parameters())
    for head in network.get_heads():
        assert all(one.requires_grad for one in head.parameters())
        assert any(isinstance(one, nn.BatchNorm2d) for one in head.modules())
    assert spec.passes_kept == 0
    spec = networks.make("pspnet_test_resnet", pretrained=True, norm_eval=True)
    spec.freeze_parts(network := spec.build(SIZES))
    network.train()
    assert not network.backbone.bn1.training
    assert network.head.body.fuse[1].training
