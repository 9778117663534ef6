"""How frameworks name the weights of a network, as renamings to the names of timm.

A layout is a table of regular expressions that are applied one after the other to each name.
Where another framework keeps apart what timm keeps as one tensor, the new name ends in ``[0]``,
``[1]`` and so on, and the parts are concatenated.

The names were read from: torchvision 0.29, transformers 5.24 (and the files that it writes, which
keep older names), ``tools/convert-torchvision-to-d2.py`` of detectron2, ``resnet.py`` of
MMPretrain and MMSegmentation, and the model of ``efficientnet_pytorch`` 0.7.
"""

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["LAYOUTS", "Layout", "State"]

State = Mapping[str, Tensor]
Rule = tuple[str, str | Callable[[re.Match[str]], str]]


def _numbered(template: str, change: Callable[[int], int]) -> Callable[[re.Match[str]], str]:
    """Return a replacement that fills a template; the first number in it is changed."""
    return lambda match: template.format(change(int(match[1])), *match.groups()[1:])


_HF_RESNET: list[Rule] = [
    (r"^embedder\.embedder\.convolution\.", "conv1."),
    (r"^embedder\.embedder\.normalization\.", "bn1."),
    (r"^encoder\.stages\.(\d+)\.layers\.", _numbered("layer{}.", lambda stage: stage + 1)),
    (r"\.layer\.(\d+)\.convolution\.", _numbered(".conv{}.", lambda conv: conv + 1)),
    (r"\.layer\.(\d+)\.normalization\.", _numbered(".bn{}.", lambda conv: conv + 1)),
    (r"\.shortcut\.convolution\.", ".downsample.0."),
    (r"\.shortcut\.normalization\.", ".downsample.1."),
    (r"^classifier\.1\.", "fc."),
]

_DETECTRON2: list[Rule] = [
    (r"^stem\.conv1\.norm\.", "bn1."),
    (r"^stem\.conv1\.", "conv1."),
    (r"^res(\d)\.", _numbered("layer{}.", lambda stage: stage - 1)),
    (r"\.conv(\d)\.norm\.", r".bn\1."),
    (r"\.shortcut\.norm\.", ".downsample.1."),
    (r"\.shortcut\.", ".downsample.0."),
    (r"^(stem\.fc|linear)\.", "fc."),
]

# Three convolutions of 3x3 instead of one of 7x7.
_STEM_IN_SEQUENCE: list[Rule] = [
    (r"^(?:stem|layer0)\.7\.", "bn1."),
    (r"^(?:stem|layer0)\.", "conv1."),
    (r"^head\.fc\.", "fc."),
]
_STEM_BY_NAME: list[Rule] = [
    (r"^conv1\.(\w+)$", r"conv1.0.\1"),
    (r"^bn1\.", "conv1.1."),
    (r"^conv2\.", "conv1.3."),
    (r"^bn2\.", "conv1.4."),
    (r"^conv3\.", "conv1.6."),
    (r"^bn3\.", "bn1."),
]

_TORCHVISION_CONVNEXT: list[Rule] = [
    (r"^features\.0\.", "stem."),
    (r"^features\.(\d*[13579])\.", _numbered("stages.{}.blocks.", lambda place: place // 2)),
    (r"^features\.(\d*[02468])\.", _numbered("stages.{}.downsample.", lambda place: place // 2)),
    (r"\.block\.0\.", ".conv_dw."),
    (r"\.block\.2\.", ".norm."),
    (r"\.block\.3\.", ".mlp.fc1."),
    (r"\.block\.5\.", ".mlp.fc2."),
    (r"\.layer_scale$", ".gamma"),
    (r"^classifier\.0\.", "head.norm."),
    (r"^classifier\.2\.", "head.fc."),
]

_HF_CONVNEXT: list[Rule] = [
    (r"^embeddings\.patch_embeddings\.", "stem.0."),
    (r"^embeddings\.layernorm\.", "stem.1."),
    (r"^encoder\.stages\.(\d+)\.layers\.", r"stages.\1.blocks."),
    (r"^encoder\.stages\.(\d+)\.downsampling_layer\.", r"stages.\1.downsample."),
    (r"\.dwconv\.", ".conv_dw."),
    (r"\.layernorm\.", ".norm."),
    (r"\.pwconv(\d)\.", r".mlp.fc\1."),
    (r"\.grn\.", ".mlp.grn."),
    (r"\.layer_scale_parameter$", ".gamma"),
    (r"^layernorm\.", "head.norm."),
    (r"^classifier\.", "head.fc."),
]

_TORCHVISION_VIT: list[Rule] = [
    (r"^class_token$", "cls_token"),
    (r"^conv_proj\.", "patch_embed.proj."),
    (r"^encoder\.pos_embedding$", "pos_embed"),
    (r"^encoder\.layers\.encoder_layer_(\d+)\.", r"blocks.\1."),
    (r"\.ln_(\d)\.", r".norm\1."),
    (r"\.self_attention\.in_proj_", ".attn.qkv."),
    (r"\.self_attention\.out_proj\.", ".attn.proj."),
    (r"\.mlp\.(?:0|linear_1)\.", ".mlp.fc1."),
    (r"\.mlp\.(?:3|linear_2)\.", ".mlp.fc2."),
    (r"^encoder\.ln\.", "norm."),
    (r"^heads\.head\.", "head."),
]

_TORCHVISION_SWIN: list[Rule] = [
    (r"^features\.0\.0\.", "patch_embed.proj."),
    (r"^features\.0\.2\.", "patch_embed.norm."),
    (r"^features\.(\d*[13579])\.", _numbered("layers.{}.blocks.", lambda place: place // 2)),
    (r"^features\.(\d*[02468])\.", _numbered("layers.{}.downsample.", lambda place: place // 2)),
    (r"\.mlp\.0\.", ".mlp.fc1."),
    (r"\.mlp\.3\.", ".mlp.fc2."),
    (r"^head\.", "head.fc."),
]

# The older names of transformers, which its files keep, and those of its version 5.
_HF_ATTENTION: list[Rule] = [
    (r"\.attention\.(?:attention\.|self\.)?(?:query|q_proj)\.(\w+)$", r".attn.qkv.\1[0]"),
    (r"\.attention\.(?:attention\.|self\.)?(?:key|k_proj)\.(\w+)$", r".attn.qkv.\1[1]"),
    (r"\.attention\.(?:attention\.|self\.)?(?:value|v_proj)\.(\w+)$", r".attn.qkv.\1[2]"),
    (r"\.attention\.(?:output\.dense|o_proj)\.", ".attn.proj."),
    (r"\.attention\.\w+\.(relative_position_\w+)$", r".attn.\1"),
    (r"\.layernorm_before\.", ".norm1."),
    (r"\.layernorm_after\.", ".norm2."),
    (r"\.intermediate\.dense\.", ".mlp.fc1."),
    (r"\.output\.dense\.", ".mlp.fc2."),
    (r"^layernorm\.", "norm."),
    (r"^embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
]

_HF_VIT: list[Rule] = [
    (r"^embeddings\.cls_token$", "cls_token"),
    (r"^embeddings\.distillation_token$", "dist_token"),
    (r"^embeddings\.position_embeddings$", "pos_embed"),
    (r"^(?:encoder\.layer|layers)\.(\d+)\.", r"blocks.\1."),
    *_HF_ATTENTION,
    (r"^(?:cls_)?classifier\.", "head."),
    (r"^distillation_classifier\.", "head_dist."),
]

_HF_SWIN: list[Rule] = [
    (r"^embeddings\.norm\.", "patch_embed.norm."),
    (r"^encoder\.layers\.(\d+)\.downsample\.", _numbered("layers.{}.downsample.", lambda i: i + 1)),
    (r"^encoder\.", ""),
    *_HF_ATTENTION,
    (r"^classifier\.", "head.fc."),
]

# The blocks of the first stage have no expansion, so that names shift by one.
_TORCHVISION_EFFICIENTNET: list[Rule] = [
    (r"^features\.(\d+)\.(\d+)\.block\.", _numbered("blocks.{}.{}.block.", lambda i: i - 1)),
    (r"^features\.0\.0\.", "conv_stem."),
    (r"^features\.0\.1\.", "bn1."),
    (r"^features\.\d+\.0\.", "conv_head."),
    (r"^features\.\d+\.1\.", "bn2."),
    (r"\.fc1\.", ".conv_reduce."),
    (r"\.fc2\.", ".conv_expand."),
    (r"^(blocks\.0\.\d+)\.block\.0\.0\.", r"\1.conv_dw."),
    (r"^(blocks\.0\.\d+)\.block\.0\.1\.", r"\1.bn1."),
    (r"^(blocks\.0\.\d+)\.block\.1\.conv_", r"\1.se.conv_"),
    (r"^(blocks\.0\.\d+)\.block\.2\.0\.", r"\1.conv_pw."),
    (r"^(blocks\.0\.\d+)\.block\.2\.1\.", r"\1.bn2."),
    (r"\.block\.0\.0\.", ".conv_pw."),
    (r"\.block\.0\.1\.", ".bn1."),
    (r"\.block\.1\.0\.", ".conv_dw."),
    (r"\.block\.1\.1\.", ".bn2."),
    (r"\.block\.2\.conv_", ".se.conv_"),
    (r"\.block\.3\.0\.", ".conv_pwl."),
    (r"\.block\.3\.1\.", ".bn3."),
    (r"^classifier\.1\.", "classifier."),
]

_EFFICIENTNET_PYTORCH: list[Rule] = [
    (r"^_conv_(stem|head)\.", r"conv_\1."),
    (r"^_bn0\.", "bn1."),
    (r"^_bn1\.", "bn2."),
    (r"^_fc\.", "classifier."),
    (r"\._se_(reduce|expand)\.", r".se.conv_\1."),
    (r"\._depthwise_conv\.", ".conv_dw."),
    (r"\._expand_conv\.", ".conv_pw."),
    (r"^(_blocks\.0\.\d+)\._project_conv\.", r"\1.conv_pw."),
    (r"^(_blocks\.0\.\d+)\._bn([12])\.", r"\1.bn\2."),
    (r"\._project_conv\.", ".conv_pwl."),
    (r"\._bn(\d)\.", _numbered(".bn{}.", lambda place: place + 1)),
    (r"^_blocks\.", "blocks."),
]

_HF_EFFICIENTNET: list[Rule] = [
    (r"^embeddings\.convolution\.", "conv_stem."),
    (r"^embeddings\.batchnorm\.", "bn1."),
    (r"^encoder\.top_conv\.", "conv_head."),
    (r"^encoder\.top_bn\.", "bn2."),
    (r"^encoder\.blocks\.", "blocks."),
    (r"\.squeeze_excite\.", ".se.conv_"),
    (r"\.expansion\.expand_conv\.", ".conv_pw."),
    (r"\.expansion\.expand_bn\.", ".bn1."),
    (r"\.depthwise_conv\.depthwise_conv\.", ".conv_dw."),
    (r"^(blocks\.0\.\d+)\.depthwise_conv\.depthwise_norm\.", r"\1.bn1."),
    (r"^(blocks\.0\.\d+)\.projection\.project_conv\.", r"\1.conv_pw."),
    (r"^(blocks\.0\.\d+)\.projection\.project_bn\.", r"\1.bn2."),
    (r"\.depthwise_conv\.depthwise_norm\.", ".bn2."),
    (r"\.projection\.project_conv\.", ".conv_pwl."),
    (r"\.projection\.project_bn\.", ".bn3."),
]


@dataclass(frozen=True)
class Layout:
    """The names that a framework gives to the weights of a family of networks.

    Args:
        name: For people.
        rules: Patterns and what replaces them, applied in order.
        blocks: Pattern of the beginning of names whose next part counts blocks through all
            stages, where timm counts stages and blocks in them; that is resolved before the rules.
        unfit: Says why the weights would compute something else in a network that has room for
            all of them; "" if they do not.
        note: What the names do not tell of the weights.
    """

    name: str
    rules: Sequence[Rule] = ()
    blocks: str | None = None
    unfit: Callable[[nn.Module], str] = lambda network: ""
    note: str = ""

    def converted(self, state: State, network: Any) -> dict[str, Tensor]:
        """Return the weights under the names of timm; names that no rule knows are kept."""
        rules = list(self.rules)
        stages = getattr(network, "blocks", None)
        if self.blocks is not None and isinstance(stages, nn.Sequential):
            places = [
                f"{i}.{j}" for i, stage in enumerate(stages) for j, _ in enumerate(stage.children())
            ]
            rules.insert(0, (self.blocks, _nested(places)))
        found: dict[str, Tensor] = {}
        parts: dict[str, dict[int, Tensor]] = {}
        for name, tensor in state.items():
            for pattern, replacement in rules:
                name = re.sub(pattern, replacement, name)
            whole, bracket, place = name.partition("[")
            if bracket:
                parts.setdefault(whole, {})[int(place[:-1])] = tensor
            else:
                found[name] = tensor
        return found | {
            name: torch.cat([ordered[place] for place in sorted(ordered)])
            for name, ordered in parts.items()
        }


def _nested(places: Sequence[str]) -> Callable[[re.Match[str]], str]:
    def replace(match: re.Match[str]) -> str:
        number = int(match[2])
        return match[1] + (places[number] if number < len(places) else f"x.{number}") + "."

    return replace


class _OwnLayout(Layout):
    """What timm converts itself when it fetches weights: files of a network's authors."""

    def converted(self, state: State, network: Any) -> dict[str, Tensor]:
        module = sys.modules[type(network).__module__]
        convert = getattr(module, "checkpoint_filter_fn", None)
        try:
            return dict(convert(dict(state), network)) if convert else {}
        except Exception:  # of a file that is in no layout that it knows
            return {}


def _has_large_epsilon(network: nn.Module) -> bool:
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    return all(norm.eps == 1e-3 for norm in norms)


def _unfit_for_tensorflow(network: nn.Module) -> str:
    if _has_large_epsilon(network):
        return ""
    return (
        "has weights of TensorFlow, with its padding and epsilon of batch norm; load them into a "
        "network of timm whose name begins with tf_"
    )


def _unfit_for_torchvision(network: Any) -> str:
    if network.conv_head.out_channels < 2048 or _has_large_epsilon(network):
        return ""
    return "has weights of B5 to B7; build the network with their epsilon, bn_eps=1e-3"


_STRIDE = (
    "detectron2's own weights of 'MSRA' want BGR images and a stride in the first 1x1 convolution, "
    "which timm's networks do not have; its weights of torchvision fit"
)

# The first one that has every weight of the network is taken, else the one that has most of them.
LAYOUTS = (
    Layout("timm or torchvision"),
    Layout("ResNet of MMPretrain", [(r"^head\.fc\.", "fc.")]),
    Layout("DenseNet of torchvision", [(r"(denselayer\d+\.\w+)\.([12])\.", r"\1\2.")]),
    Layout("ResNet of Hugging Face", _HF_RESNET),
    Layout("ResNet of detectron2", _DETECTRON2, note=_STRIDE),
    Layout("ResNet with the deep stem of MMSegmentation", _STEM_IN_SEQUENCE),
    Layout("ResNet with the deep stem of CSAILVision", _STEM_BY_NAME),
    Layout("ConvNeXt of torchvision", _TORCHVISION_CONVNEXT),
    Layout("ConvNeXt of Hugging Face", _HF_CONVNEXT),
    Layout("ViT of torchvision", _TORCHVISION_VIT),
    Layout("ViT or DeiT of Hugging Face", _HF_VIT),
    Layout("Swin of torchvision", _TORCHVISION_SWIN),
    Layout("Swin of Hugging Face", _HF_SWIN),
    Layout("EfficientNet of torchvision", _TORCHVISION_EFFICIENTNET, unfit=_unfit_for_torchvision),
    Layout(
        "EfficientNet of efficientnet_pytorch",
        _EFFICIENTNET_PYTORCH,
        blocks=r"^(_blocks\.)(\d+)\.",
        unfit=_unfit_for_tensorflow,
    ),
    Layout(
        "EfficientNet of Hugging Face",
        _HF_EFFICIENTNET,
        blocks=r"^(encoder\.blocks\.)(\d+)\.",
        unfit=_unfit_for_tensorflow,
    ),
    _OwnLayout("of the network's authors, converted by timm"),
)
