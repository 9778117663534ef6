"""Tests of semaug.export.backbone: networks of both sides compute the same."""

import pickle
import re
import warnings

import numpy as np
import pytest
import timm
import torch
import torchvision
import transformers
from safetensors.torch import save_file
from torch import nn
from torch.testing import assert_close
from torchvision.models.densenet import DenseNet
from torchvision.models.resnet import ResNet

from semaug.export import load_backbone
from semaug.export.layouts import LAYOUTS
from semaug.networks.segmentation import build_segmentation_network

CLASSES = 7
THIN = {"layers": (1, 2, 1, 1), "channels": (4, 8, 8, 8)}


def randomized(network):
    """Give every weight and statistic a random value, so that none of them can be forgotten."""
    generator = torch.Generator().manual_seed(0)
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point():
            noise = torch.rand(tensor.shape, generator=generator)
            if tensor.ndim > 1 and "pos" not in name:
                tensor.copy_((noise - 0.5) * (12 / tensor[0].numel()) ** 0.5)
            else:
                tensor.copy_(noise + 0.5)  # variances must not be negative
    return network.eval()


def thin_resnet(name="resnet50", **options):
    return randomized(timm.create_model(name, num_classes=CLASSES, **THIN, **options))


def blank(name="resnet50", num_classes=CLASSES, **options):
    torch.manual_seed(1)
    return timm.create_model(name, num_classes=num_classes, **THIN, **options).eval()


def saved(state, folder, name="weights.pth"):
    path = folder / name
    torch.save(state, path)
    return path


def renamed(state, *rules):
    """Apply renamings of the test's own hand."""
    found = {}
    for name, tensor in state.items():
        for pattern, replacement in rules:
            name = re.sub(pattern, replacement, name)
        found[name] = tensor
    return found


@torch.no_grad()
def assert_same(network, other, size=64):
    images = torch.randn(2, 3, size, size, dtype=torch.float64)
    expected = other.double()(images)
    expected = getattr(expected, "logits", expected)
    assert expected.std() > 1e-3
    assert_close(network.double().eval()(images), expected, rtol=1e-5, atol=1e-5)


# torchvision


def test_resnet_of_torchvision(tmp_path):
    torchvisions = torchvision.models.resnet.Bottleneck
    other = randomized(ResNet(torchvisions, [1, 2, 1, 1], num_classes=CLASSES))
    network = timm.create_model("resnet50", layers=(1, 2, 1, 1), num_classes=CLASSES)
    report = load_backbone(network, saved(other.state_dict(), tmp_path))
    assert_same(network, other)
    assert report.layout == "timm or torchvision"
    assert (report.prefix, report.head, report.unused) == ("", "loaded", ())
    assert len(report.converted) == len(network.state_dict())


def test_densenet_of_torchvision_by_its_older_names(tmp_path):
    options = {"growth_rate": 4, "block_config": (1, 2, 1, 1)}
    other = randomized(DenseNet(**options, num_init_features=8, num_classes=CLASSES))
    older = renamed(other.state_dict(), (r"(denselayer\d+\.(?:norm|conv))(\d)", r"\1.\2"))
    network = timm.create_model("densenet264", num_classes=CLASSES, **options)
    report = load_backbone(network, saved(older, tmp_path))
    assert_same(network, other)
    assert report.layout == "DenseNet of torchvision"


def test_convnext_of_torchvision(tmp_path):
    setting = torchvision.models.convnext.CNBlockConfig
    blocks = [setting(8, 16, 1), setting(16, 24, 2), setting(24, 32, 1), setting(32, None, 1)]
    other = randomized(torchvision.models.ConvNeXt(blocks, num_classes=CLASSES))
    network = timm.create_model(
        "convnext_tiny", dims=(8, 16, 24, 32), depths=(1, 2, 1, 1), num_classes=CLASSES
    )
    report = load_backbone(network, saved(other.state_dict(), tmp_path))
    assert_same(network, other)
    assert report.layout == "ConvNeXt of torchvision"


def test_vit_of_torchvision(tmp_path):
    other = randomized(
        torchvision.models.VisionTransformer(32, 8, 2, 2, 16, 32, num_classes=CLASSES)
    )
    network = vit()
    report = load_backbone(network, saved(other.state_dict(), tmp_path))
    assert_same(network, other, size=32)
    assert report.layout == "ViT of torchvision"


def vit(**options):
    sizes = {"img_size": 32, "patch_size": 8, "embed_dim": 16, "depth": 2, "num_heads": 2}
    options = {**sizes, "mlp_ratio": 2, "num_classes": CLASSES, **options}
    return timm.create_model("vit_tiny_patch16_224", **options)


def swin():
    return timm.create_model(
        "swin_tiny_patch4_window7_224",
        img_size=32,
        patch_size=2,
        window_size=4,
        embed_dim=8,
        depths=(2, 2),
        num_heads=(2, 4),
        num_classes=CLASSES,
    )


def test_swin_of_torchvision(tmp_path):
    other = randomized(
        torchvision.models.SwinTransformer(
            [2, 2], 8, [2, 2], [2, 4], [4, 4], stochastic_depth_prob=0, num_classes=CLASSES
        )
    )
    network = swin()
    report = load_backbone(network, saved(other.state_dict(), tmp_path))
    assert_same(network, other, size=32)
    assert report.layout == "Swin of torchvision"


def test_efficientnet_of_torchvision(tmp_path):
    other = randomized(torchvision.models.efficientnet_b0(num_classes=CLASSES))
    network = timm.create_model("efficientnet_b0", num_classes=CLASSES)
    report = load_backbone(network, saved(other.state_dict(), tmp_path))
    assert_same(network, other, size=32)
    assert report.layout == "EfficientNet of torchvision"


def test_larger_efficientnets_of_torchvision_need_their_epsilon():
    layout = next(one for one in LAYOUTS if one.name == "EfficientNet of torchvision")
    with torch.device("meta"):
        b4, b5 = timm.create_model("efficientnet_b4"), timm.create_model("efficientnet_b5")
        other = timm.create_model("efficientnet_b5", bn_eps=1e-3)
    assert layout.unfit(b4) == layout.unfit(other) == ""
    assert "epsilon, bn_eps=1e-3" in layout.unfit(b5)


# Hugging Face: names in memory, and in the files that it writes, where those differ.


@pytest.fixture(params=["in memory", "in a file"])
def saved_by_hugging_face(request, tmp_path):
    def save(network):
        if request.param == "in memory":
            return saved(network.state_dict(), tmp_path)
        network.save_pretrained(tmp_path)
        return tmp_path

    return save


def test_resnet_of_hugging_face(tmp_path):
    config = transformers.ResNetConfig(
        embedding_size=64, hidden_sizes=[16, 32, 32, 32], depths=[1, 2, 1, 1], num_labels=CLASSES
    )
    other = randomized(transformers.ResNetForImageClassification(config))
    network = blank()
    report = load_backbone(network, saved(other.state_dict(), tmp_path))
    assert_same(network, other)
    assert (report.layout, report.prefix) == ("ResNet of Hugging Face", "resnet.")


@pytest.mark.parametrize("kind", ["ConvNext", "ConvNextV2"])
def test_convnext_of_hugging_face(kind, tmp_path):
    config = getattr(transformers, f"{kind}Config")(
        hidden_sizes=[8, 16, 24, 32],
        depths=[1, 2, 1, 1],
        num_labels=CLASSES,
        layer_norm_eps=1e-6,
    )
    other = randomized(getattr(transformers, f"{kind}ForImageClassification")(config))
    name = {"ConvNext": "convnext_tiny", "ConvNextV2": "convnextv2_tiny"}[kind]
    network = timm.create_model(
        name, dims=(8, 16, 24, 32), depths=(1, 2, 1, 1), num_classes=CLASSES
    )
    report = load_backbone(network, saved(other.state_dict(), tmp_path))
    norm_eps = {module.eps for module in other.modules() if isinstance(module, nn.LayerNorm)}
    assert norm_eps == {1e-6}
    assert_same(network, other)
    assert report.layout == "ConvNeXt of Hugging Face"


@pytest.mark.parametrize("kind", ["ViT", "DeiT"])
def test_vit_of_hugging_face(kind, saved_by_hugging_face):
    config = getattr(transformers, f"{kind}Config")(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=32,
        patch_size=8,
        num_labels=CLASSES,
        layer_norm_eps=1e-6,
    )
    if kind == "ViT":
        network = vit()
        other = transformers.ViTForImageClassification(config)
    else:
        sizes = {"img_size": 32, "patch_size": 8, "embed_dim": 16, "depth": 2, "num_heads": 2}
        network = timm.create_model(
            "deit_tiny_distilled_patch16_224", **sizes, mlp_ratio=2, num_classes=CLASSES
        )
        other = transformers.DeiTForImageClassificationWithTeacher(config)
    other = randomized(other)
    report = load_backbone(network, saved_by_hugging_face(other))
    assert_same(network, other, size=32)
    assert (report.layout, report.head) == ("ViT or DeiT of Hugging Face", "loaded")


def test_swin_of_hugging_face(saved_by_hugging_face):
    config = transformers.SwinConfig(
        image_size=32,
        patch_size=2,
        embed_dim=8,
        depths=[2, 2],
        num_heads=[2, 4],
        window_size=4,
        num_labels=CLASSES,
    )
    other = randomized(transformers.SwinForImageClassification(config))
    network = swin()
    report = load_backbone(network, saved_by_hugging_face(other))
    assert_same(network, other, size=32)
    assert report.layout == "Swin of Hugging Face"


def test_efficientnet_of_hugging_face(tmp_path):
    config = transformers.EfficientNetConfig(
        width_coefficient=1.0,
        depth_coefficient=1.0,
        hidden_dim=1280,
        image_size=64,
        num_labels=CLASSES,
        depthwise_padding=[],
    )
    other = randomized(transformers.EfficientNetForImageClassification(config))
    network = timm.create_model("tf_efficientnet_b0", num_classes=CLASSES)
    path = saved(other.state_dict(), tmp_path)
    report = load_backbone(network, path)
    assert_same(network, other)
    assert report.layout == "EfficientNet of Hugging Face"
    with pytest.raises(ValueError, match=r"weights of TensorFlow, .* name begins with tf_"):
        load_backbone(timm.create_model("efficientnet_b0", num_classes=CLASSES), path)


# Layouts whose packages cannot be installed: renamed by hand, from what they document.


def test_backbone_of_mmdetection_with_neck_and_head(tmp_path):
    other = thin_resnet()
    theirs = {f"backbone.{name}": x for name, x in other.state_dict().items() if "fc" not in name}
    theirs["neck.lateral_convs.0.conv.weight"] = torch.zeros(2, 2, 1, 1)
    theirs["bbox_head.fc_cls.weight"] = torch.zeros(3, 4)
    path = saved({"meta": {"epoch": 12, "CLASSES": ("cat",)}, "state_dict": theirs}, tmp_path)
    network = blank()
    fresh = network.fc.weight.clone()
    report = load_backbone(network, path)
    other.fc = network.fc
    assert_same(network, other)
    assert torch.equal(network.fc.weight, fresh.double())
    assert report.prefix == "state_dict/backbone."
    assert report.unused == ("neck.lateral_convs.0.conv.weight", "bbox_head.fc_cls.weight")
    assert report.missing == ("fc.weight", "fc.bias")
    assert str(report) == (
        f"weights of {path}, layout timm or torchvision after 'state_dict/backbone.': "
        f"{len(report.converted)} loaded, 2 unused (neck.*, bbox_head.*), 2 missing; "
        "classifier left at its initial weights: the file has none"
    )


def test_classifier_of_mmpretrain(tmp_path):
    other = thin_resnet()
    theirs = renamed(other.state_dict(), (r"^fc", "head.fc"), (r"^(?!head)", "backbone."))
    network = blank()
    report = load_backbone(network, saved({"state_dict": theirs}, tmp_path))
    assert_same(network, other)
    assert (report.layout, report.head) == ("ResNet of MMPretrain", "loaded")


def test_backbone_of_caffe_style_is_refused(tmp_path):
    theirs = {"state_dict": blank().state_dict(), "meta": {"cfg": "backbone=dict(style='caffe')"}}
    with pytest.raises(ValueError, match=r"a backbone of style='caffe', which wants BGR images"):
        load_backbone(blank(), saved(theirs, tmp_path))


@pytest.mark.parametrize("name", ["resnet50c", "resnet50d"])
@pytest.mark.parametrize("stem", ["stem", "layer0", "by name"])
def test_deep_stems(name, stem, tmp_path):
    by_name = {
        "conv1.0": "conv1",
        "conv1.1": "bn1",
        "conv1.3": "conv2",
        "conv1.4": "bn2",
        "conv1.6": "conv3",
        "bn1": "bn3",
    }
    in_sequence = {place: place.replace("conv1", stem) for place in by_name} | {"bn1": f"{stem}.7"}
    theirs = by_name if stem == "by name" else in_sequence
    other = thin_resnet(name)
    state = {}
    for own, tensor in other.state_dict().items():
        module, _, kind = own.rpartition(".")
        state[f"{theirs.get(module, module)}.{kind}"] = tensor
    network = blank(name)
    report = load_backbone(network, saved(state, tmp_path))
    assert_same(network, other)
    assert "deep stem" in report.layout


def as_detectron2(state):
    return renamed(
        state,
        (r"^conv1\.", "stem.conv1."),
        (r"^bn1\.", "stem.conv1.norm."),
        (r"^fc\.", "stem.fc."),
        (r"^layer1\.", "res2."),
        (r"^layer2\.", "res3."),
        (r"^layer3\.", "res4."),
        (r"^layer4\.", "res5."),
        (r"\.bn(\d)\.", r".conv\1.norm."),
        (r"\.downsample\.0\.", ".shortcut."),
        (r"\.downsample\.1\.", ".shortcut.norm."),
    )


def test_pickle_of_arrays_of_detectron2(tmp_path):
    other = thin_resnet()
    arrays = {name: x.numpy() for name, x in as_detectron2(other.state_dict()).items()}
    path = tmp_path / "R-50.pkl"
    content = {"model": arrays, "__author__": "torchvision", "matching_heuristics": True}
    path.write_bytes(pickle.dumps(content))
    network = blank()
    report = load_backbone(network, path)
    assert_same(network, other)
    assert (report.layout, report.prefix) == ("ResNet of detectron2", "model/")
    assert "BGR images and a stride in the first 1x1" in str(report)


def test_detector_of_detectron2(tmp_path):
    other = thin_resnet()
    theirs = as_detectron2(other.state_dict())
    theirs = {f"backbone.bottom_up.{name}": x for name, x in theirs.items() if "track" not in name}
    theirs["backbone.fpn_lateral2.weight"] = torch.zeros(4, 16, 1, 1)
    theirs["pixel_mean"] = torch.zeros(3, 1, 1)
    network = blank()
    report = load_backbone(network, saved({"model": theirs, "iteration": 9}, tmp_path))
    assert_same(network, other)
    assert report.prefix == "model/backbone.bottom_up."
    assert report.unused == ("pixel_mean", "fpn_lateral2.weight")
    assert all("num_batches_tracked" in name for name in report.missing)


def test_convnext_of_its_authors_by_the_converter_of_timm(tmp_path):
    sizes = {"dims": (8, 16, 24, 32), "depths": (1, 1, 1, 1), "num_classes": CLASSES}
    other = randomized(timm.create_model("convnext_tiny", **sizes))
    theirs = renamed(
        other.state_dict(),
        (r"^stem\.", "downsample_layers.0."),
        (r"^stages\.(\d)\.downsample\.", r"downsample_layers.\1."),
        (r"\.blocks\.", "."),
        (r"\.conv_dw\.", ".dwconv."),
        (r"\.mlp\.fc", ".pwconv"),
        (r"^head\.norm\.", "norm."),
        (r"^head\.fc\.", "head."),
    )
    network = timm.create_model("convnext_tiny", **sizes)
    report = load_backbone(network, saved({"model": theirs}, tmp_path))
    assert_same(network, other)
    assert report.layout == "of the network's authors, converted by timm"


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "tf_efficientnet_b0"])
def test_efficientnet_pytorch_counts_blocks_through_all_stages(name, tmp_path):
    other = randomized(timm.create_model(name, num_classes=CLASSES))
    places = [f"{i}.{j}" for i, stage in enumerate(other.blocks) for j in range(len(stage))]
    state = {}
    for own, tensor in other.state_dict().items():
        theirs = own
        for number, place in enumerate(places):
            first = place.startswith("0.")
            parts = {
                "conv_dw": "_depthwise_conv",
                "conv_pw": "_project_conv" if first else "_expand_conv",
                "conv_pwl": "_project_conv",
                "bn1": "_bn1" if first else "_bn0",
                "bn2": "_bn2" if first else "_bn1",
                "bn3": "_bn2",
                "se.conv_reduce": "_se_reduce",
                "se.conv_expand": "_se_expand",
            }
            for part, their_part in parts.items():
                if own.startswith(f"blocks.{place}.{part}."):
                    kind = own.rpartition(".")[2]
                    theirs = f"_blocks.{number}.{their_part}.{kind}"
        whole = {"conv_stem": "_conv_stem", "bn1": "_bn0", "conv_head": "_conv_head"}
        whole |= {"bn2": "_bn1", "classifier": "_fc"}
        module, _, kind = theirs.partition(".")
        state[f"{whole.get(module, module)}.{kind}"] = tensor
    path = saved(state, tmp_path)
    network = timm.create_model(name, num_classes=CLASSES)
    report = load_backbone(network, path)
    assert_same(network, other, size=32)
    assert report.layout == "EfficientNet of efficientnet_pytorch"
    with pytest.raises(ValueError, match="of TensorFlow"):
        load_backbone(timm.create_model(name.removeprefix("tf_"), num_classes=CLASSES), path)


# Wrappers, and files of training scripts.


class Criterion(nn.Module):
    """Of a script that is not there when the file is read."""

    def __init__(self):
        super().__init__()
        self.register_buffer("covariance", torch.zeros(3))


@pytest.mark.parametrize(
    ("wrap", "prefix"),
    [
        (lambda state: {f"module.{name}": x for name, x in state.items()}, "module."),
        (lambda state: {f"_orig_mod.{name}": x for name, x in state.items()}, ""),
        (
            lambda state: {f"model._orig_mod.module.{name}": x for name, x in state.items()},
            "model.module.",
        ),
        (lambda state: {"model": {"state_dict": state}}, "model/state_dict/"),
        (lambda state: {f"own_name.{name}": x for name, x in state.items()}, "own_name."),
        (
            lambda state: {"state_dict": {f"net.{name}": x for name, x in state.items()}},
            "state_dict/net.",
        ),
    ],
)
def test_wrappers(wrap, prefix, tmp_path):
    other, network = thin_resnet(), blank()
    report = load_backbone(network, saved(wrap(other.state_dict()), tmp_path))
    assert report.prefix == prefix
    assert_same(network, other)


def test_name_of_a_compiled_part_in_the_middle(tmp_path):
    other, network = thin_resnet(), blank()
    state = renamed(other.state_dict(), (r"^layer2\.", "layer2._orig_mod."))
    load_backbone(network, saved(state, tmp_path))
    assert_same(network, other)


def test_checkpoint_of_isda_has_a_criterion_that_is_left_out(tmp_path):
    other, network = thin_resnet(), blank()
    state = {f"module.{name}": tensor for name, tensor in other.state_dict().items()}
    checkpoint = {"epoch": 90, "state_dict": state, "criterion": Criterion(), "best": np.float64(1)}
    path = saved(checkpoint, tmp_path)
    report = load_backbone(network, path)
    assert_same(network, other)
    assert report.prefix == "state_dict/module."
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch keeps the source of the class, and may not find it
        torch.save(checkpoint, path, _use_new_zipfile_serialization=False)
    with pytest.raises(ValueError, match="Only persistent_load of storage is allowed"):
        load_backbone(network, path)


@pytest.mark.parametrize("average", ["ema", "state_dict_ema", "teacher", "model_ema"])
def test_averages_are_preferred_and_prefix_chooses(average, tmp_path):
    other = thin_resnet()
    plain = {name: torch.zeros_like(tensor) for name, tensor in other.state_dict().items()}
    path = saved({"model": plain, average: other.state_dict(), "optimizer": {0: plain}}, tmp_path)
    network = blank()
    assert load_backbone(network, path).prefix == f"{average}/"
    assert_same(network, other)
    load_backbone(network, path, prefix="model/")
    assert not network.conv1.weight.any()
    with pytest.raises(ValueError, match="no known layout"):
        load_backbone(network, path, prefix="student/")


def test_safetensors(tmp_path):
    other, network = thin_resnet(), blank()
    save_file(other.state_dict(), tmp_path / "model.safetensors")
    by_file = load_backbone(network, tmp_path / "model.safetensors")
    assert_same(network, other)
    assert load_backbone(network, tmp_path).sha256 == by_file.sha256


# Sizes.


def test_classifier_of_another_size_is_left(tmp_path):
    other, network = thin_resnet(), blank(num_classes=3)
    fresh = network.fc.weight.clone()
    report = load_backbone(network, saved(other.state_dict(), tmp_path))
    assert torch.equal(network.fc.weight, fresh)
    assert torch.equal(network.layer4[0].conv3.weight, other.layer4[0].conv3.weight)
    expected = f"left at its initial weights: pretrained on {CLASSES} classes, the network has 3"
    assert (report.head, report.missing) == (expected, ("fc.weight", "fc.bias"))


def test_network_without_a_classifier_needs_none(tmp_path):
    network = blank(num_classes=0)
    report = load_backbone(network, saved(thin_resnet().state_dict(), tmp_path))
    assert report.unused == ("fc.weight", "fc.bias")
    assert report.head == "none in the network"


@pytest.mark.parametrize("channels", [1, 4])
def test_first_convolution_is_adapted_to_other_channels(channels, tmp_path):
    other, network = thin_resnet(), blank(in_chans=channels)
    report = load_backbone(network, saved(other.state_dict(), tmp_path))
    three = other.conv1.weight
    expected = {1: three.sum(1, keepdim=True), 4: three[:, [0, 1, 2, 0]] * 0.75}[channels]
    assert_close(network.conv1.weight, expected)
    assert report.notes == (f"conv1.weight adapted from 3 to {channels} channels",)


def test_first_convolution_of_one_channel_cannot_become_three(tmp_path):
    path = saved(thin_resnet(in_chans=1).state_dict(), tmp_path)
    message = r"conv1.weight: expected \(64, 3, 7, 7\), got \(64, 1, 7, 7\)"
    with pytest.raises(ValueError, match=message):
        load_backbone(blank(), path)


def test_other_shapes_are_named(tmp_path):
    state = thin_resnet().state_dict()
    state["layer2.1.conv2.weight"] = torch.zeros(8, 8, 5, 5)
    message = r"do not fit: layer2.1.conv2.weight: expected \(8, 8, 3, 3\), got \(8, 8, 5, 5\)"
    with pytest.raises(ValueError, match=message):
        load_backbone(blank(), saved(state, tmp_path))


def test_missing_weights_are_named_and_nothing_is_loaded(tmp_path):
    state = thin_resnet().state_dict()
    del state["layer2.1.conv2.weight"], state["bn1.running_var"]
    network = blank()
    before = network.conv1.weight.clone()
    message = r"got none of bn1.running_var, layer2.1.conv2.weight$"
    with pytest.raises(ValueError, match=message):
        load_backbone(network, saved(state, tmp_path))
    assert torch.equal(network.conv1.weight, before)


def test_a_deeper_network_is_refused(tmp_path):
    deeper = timm.create_model("resnet50", num_classes=CLASSES, **{**THIN, "layers": (1, 3, 1, 1)})
    message = r"has layers that the network lacks: layer2.2.conv1.weight, .* and \d+ more"
    with pytest.raises(ValueError, match=message):
        load_backbone(blank(), saved(deeper.state_dict(), tmp_path))


def test_a_stem_that_timm_has_otherwise_is_refused(tmp_path):
    with pytest.raises(ValueError, match="got none of"):
        load_backbone(blank("resnet50d"), saved(thin_resnet("resnet50c").state_dict(), tmp_path))


def test_unknown_layouts_show_names_of_both_sides(tmp_path):
    path = saved({"alpha.weight": torch.zeros(3), "beta.weight": torch.zeros(3)}, tmp_path)
    message = "no known layout .* such as conv1.weight, .*, got alpha.weight, beta.weight"
    with pytest.raises(ValueError, match=message):
        load_backbone(blank(), path)


# Networks with heads.


def segmentation(num_classes=CLASSES):
    torch.manual_seed(1)
    return build_segmentation_network("pspnet", "test_resnet", num_classes)


def test_weights_go_into_the_backbone_of_a_network_with_heads(tmp_path):
    source = randomized(timm.create_model("test_resnet", num_classes=9, output_stride=8))
    network, fresh = segmentation().eval(), segmentation()
    report = load_backbone(network, saved(source.state_dict(), tmp_path))
    assert report.head == "left at its initial weights, as all heads"
    assert report.unused == ("fc.weight", "fc.bias")
    own = dict(network.backbone.named_parameters())
    assert_close(own, {name: x for name, x in source.named_parameters() if name in own})
    for one, other in zip(network.get_heads(), fresh.get_heads(), strict=True):
        assert_close(dict(one.state_dict()), dict(other.state_dict()), rtol=0, atol=0)


def test_a_missing_weight_of_a_backbone_is_an_error(tmp_path):
    state = timm.create_model("test_resnet", num_classes=9).state_dict()
    del state["layer4.0.conv1.weight"]
    message = "as timm or torchvision: expected all weights, got none of layer4.0.conv1.weight"
    with pytest.raises(ValueError, match=message):
        load_backbone(segmentation(), saved(state, tmp_path))


@pytest.mark.parametrize("num_classes", [CLASSES, 3])
def test_a_network_with_heads_begins_with_all_of_another(tmp_path, num_classes):
    source = randomized(segmentation())
    state = {f"method.network.{name}": x for name, x in source.state_dict().items()}
    network = segmentation(num_classes=num_classes).eval()
    report = load_backbone(network, saved(state, tmp_path))
    same = num_classes == CLASSES
    assert ("loaded" in report.head) == same
    assert ("pretrained on 7 classes" in report.head) != same
    images = torch.randn(1, 3, 33, 33)
    for one, other in zip(network.forward_heads(images), source.forward_heads(images), strict=True):
        assert_close(one.features, other.features)
        if same:
            assert_close(one.logits, other.logits)
