"""Detectors of MMDetection and torchvision: reading their files, and naming ours as they do.

The names were read from ``mmdet/models`` of MMDetection 3.3 and ``torchvision.models.detection``
0.29. Their anchors have the same order as ours.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from semaug.detection.detector import Detector
from semaug.detection.presets import TORCHVISION
from semaug.export.backbone import AVERAGED, BackboneReport, load_backbone
from semaug.export.weights import find_file, read_weights

__all__ = ["DETECTOR_LAYOUTS", "load_detector", "named_as"]


@dataclass(frozen=True)
class DetectorLayout:
    """The names that a framework gives to the weights of a detector.

    Args:
        name: For people.
        sign: Pattern of the name of a weight that every such detector has, to find what stands
            before all names.
        pairs: Beginnings of names, theirs and ours; # is a number.
        older: Patterns of older names and what replaces them.
        background_first: Whether the background is class 0, and has a box and a mask of its own.
    """

    name: str
    sign: str
    pairs: tuple[tuple[str, str], ...]
    older: tuple[tuple[str, str], ...] = ()
    background_first: bool = False

    def ours(self, name: str) -> str:
        """Return our name of a weight; one without a rule stays."""
        for pattern, new in self.older:
            name = re.sub(pattern, new, name)
        return _renamed(name, self.pairs)

    def theirs(self, name: str) -> str:
        """Return their name of a weight."""
        return _renamed(name, [(new, old) for old, new in self.pairs])


def _renamed(name: str, pairs: Any) -> str:
    for old, new in pairs:
        pattern = re.escape(old).replace(r"\#", r"(\d+)")
        if found := re.match(pattern, name):
            return new.replace("#", found[1] if found.groups() else "") + name[found.end() :]
    return name


_HEADS = [
    ("shared_fcs.0.", "fc6."),
    ("shared_fcs.1.", "fc7."),
    ("fc_cls.", "cls_score."),
    ("fc_reg.", "bbox_pred."),
]
_MMDETECTION = (
    ("backbone.", "backbone.body."),
    ("neck.lateral_convs.#.conv.", "fpn.inner_blocks.#.0."),
    ("neck.fpn_convs.#.conv.", "fpn.layer_blocks.#.0."),
    ("rpn_head.rpn_conv.", "rpn.head.conv.0.0."),
    ("rpn_head.rpn_cls.", "rpn.head.cls_logits."),
    ("rpn_head.rpn_reg.", "rpn.head.bbox_pred."),
    ("roi_head.mask_head.convs.#.conv.", "mask_head.convs.#.0."),
    ("roi_head.mask_head.upsample.", "mask_head.predictor.conv5_mask."),
    ("roi_head.mask_head.conv_logits.", "mask_head.predictor.mask_fcn_logits."),
)
_TORCHVISION = (
    ("backbone.body.", "backbone.body."),
    ("backbone.fpn.", "fpn."),
    ("roi_heads.box_head.fc#.", "box_heads.0.fc#."),
    ("roi_heads.box_predictor.cls_score.", "box_heads.0.cls_score."),
    ("roi_heads.box_predictor.bbox_pred.", "box_heads.0.bbox_pred."),
    ("roi_heads.mask_predictor.", "mask_head.predictor."),
    ("roi_heads.mask_head.", "mask_head.convs."),
)
_BEFORE_VERSION_2 = (
    (r"((?:inner|layer)_blocks\.\d+)\.(\w+)$", r"\1.0.\2"),
    (r"(rpn\.head\.conv)\.(\w+)$", r"\1.0.0.\2"),
    *((rf"mask_head\.mask_fcn{i + 1}\.", f"mask_head.{i}.0.") for i in range(4)),
)
_PYRAMID = r"fpn\.inner_blocks\.0\.(0\.)?weight$"

# By the name that `named_as` takes.
DETECTOR_LAYOUTS = {
    "mmdet": DetectorLayout(
        "MMDetection",
        r"neck\.lateral_convs\.0\.conv\.weight$",
        (*_MMDETECTION, *((f"roi_head.bbox_head.{a}", f"box_heads.0.{b}") for a, b in _HEADS)),
    ),
    "mmdet_cascade": DetectorLayout(
        "MMDetection, several box heads",
        r"neck\.lateral_convs\.0\.conv\.weight$",
        (*_MMDETECTION, *((f"roi_head.bbox_head.#.{a}", f"box_heads.#.{b}") for a, b in _HEADS)),
    ),
    "torchvision": DetectorLayout(
        "torchvision", rf"backbone\.{_PYRAMID}", _TORCHVISION, _BEFORE_VERSION_2, True
    ),
    "semaug": DetectorLayout("semaug", _PYRAMID, ()),
}
HEADS_OF_OTHER_CLASSES = "left at its initial weights: of another number of classes"
_OF_CLASSES = re.compile(r"(cls_score|bbox_pred|mask_fcn_logits)\.\w+$")


def load_detector(detector: Detector, file: str | Path) -> BackboneReport:
    """Load a detector of MMDetection, torchvision or this package; nothing in it is executed.

    Files that torchvision trained on COCO have 90 classes, since they count by COCO's numbers, and
    batch norms with an epsilon of 0, where ours have 1e-5.

    Args:
        detector: Its weights are replaced in place.
        file: Weights of ``torch.save`` or safetensors, or the folder of a run.

    Returns:
        What was loaded and what was not. Layers whose size depends on the number of classes keep
        their initial weights if it is another one.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is damaged or no detector, weights of the backbone are missing, or a
            weight is of another shape.
    """
    state = read_weights(find_file(file))
    own = detector.state_dict()
    layout, prefix, found = _closest(state, own)
    if layout is None:
        raise ValueError(
            f"load_detector: expected a detector of MMDetection or torchvision in {file}, got "
            f"weights such as {', '.join(list(state)[:3])}"
        )
    heads = {name: x for name, x in found.items() if name in own and not _of_backbone(name)}
    if layout.background_first:
        heads = {name: _background_moved(name, tensor) for name, tensor in heads.items()}
    wrong = [name for name, tensor in heads.items() if tensor.shape != own[name].shape]
    if bad := [name for name in wrong if not _other_classes(name, heads[name], own[name])]:
        raise ValueError(
            f"load_detector: {file}: expected {bad[0]} of shape {tuple(own[bad[0]].shape)}, got "
            f"{tuple(heads[bad[0]].shape)}"
        )
    inside = "backbone.body." if layout.background_first or not layout.pairs else "backbone."
    body: Any = detector.backbone.body
    report = load_backbone(body, file, prefix=prefix + inside)
    heads = {name: tensor for name, tensor in heads.items() if name not in wrong}
    detector.load_state_dict(heads, strict=False)
    missing = [name for name in own if not _of_backbone(name) and name not in heads]
    notes = report.notes
    if layout.background_first != (detector.preset == TORCHVISION) and layout.pairs:
        notes += (f"weights of {layout.name} want the preset of the same name",)
    return replace(
        report,
        layout=f"detector of {layout.name}",
        prefix=prefix,
        converted=(*(f"backbone.body.{name}" for name in report.converted), *heads),
        unused=tuple(name for name in found if name not in own),
        missing=(*(f"backbone.body.{name}" for name in report.missing), *missing),
        head=HEADS_OF_OTHER_CLASSES if wrong else "loaded",
        notes=notes,
    )


def named_as(detector: Detector, layout: str) -> dict[str, Tensor]:
    """Return the weights of a detector under the names of another framework.

    Args:
        detector: Whose backbone has the names of that framework, as ResNets of timm do.
        layout: ``mmdet`` or ``torchvision``.

    Raises:
        ValueError: If the layout is unknown.
    """
    several = layout == "mmdet" and len(detector.box_heads) > 1
    chosen = DETECTOR_LAYOUTS.get("mmdet_cascade" if several else layout)
    if chosen is None:
        raise ValueError(f"named_as: expected `layout` mmdet or torchvision, got {layout!r}")
    state: Mapping[str, Tensor] = detector.state_dict()
    if chosen.background_first:
        state = {name: _background_moved(name, x, back=True) for name, x in state.items()}
    return {chosen.theirs(name): tensor for name, tensor in state.items()}


def _closest(
    state: Mapping[str, Tensor], own: Mapping[str, Tensor]
) -> tuple[DetectorLayout | None, str, dict[str, Tensor]]:
    """Return the layout, the prefix and the weights under our names that fit most; averages win."""
    best: tuple[int, DetectorLayout | None, str, dict[str, Tensor]] = (0, None, "", {})
    for layout in DETECTOR_LAYOUTS.values():
        signs = filter(None, (re.search(layout.sign, name) for name in state))
        for prefix in sorted(
            (sign.string[: sign.start()] for sign in signs), key=lambda x: not AVERAGED.search(x)
        ):
            found = {
                layout.ours(name.removeprefix(prefix)): x
                for name, x in state.items()
                if name.startswith(prefix)
            }
            if (score := len(own.keys() & found.keys())) > best[0]:
                best = score, layout, prefix, found
    return best[1:]


def _of_backbone(name: str) -> bool:
    return name.startswith("backbone.")


def _background_moved(name: str, tensor: Tensor, *, back: bool = False) -> Tensor:
    """Move the background behind the classes, and drop its box and mask; or back, as zeros."""
    if "cls_score" in name:
        return tensor.roll(1 if back else -1, 0)
    rows = 4 * name.startswith("box_heads") if "bbox_pred" in name else int("fcn_logits" in name)
    if back:
        return torch.cat([tensor.new_zeros(rows, *tensor.shape[1:]), tensor]) if rows else tensor
    return tensor[rows:]


def _other_classes(name: str, tensor: Tensor, own: Tensor) -> bool:
    """Tell whether a weight has another shape for its number of classes alone."""
    fits = name.startswith(("box_heads", "mask_head")) and tensor.shape[1:] == own.shape[1:]
    return fits and _OF_CLASSES.search(name) is not None
