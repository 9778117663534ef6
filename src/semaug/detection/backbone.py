"""Networks of timm as backbones of detectors."""

import re
from pathlib import Path
from typing import Any

import timm
from timm.models import FeatureInfo
from torch import Tensor, nn

from semaug.detection.anchors import STRIDES
from semaug.errors import UserError
from semaug.export.backbone import BackboneReport, load_backbone

__all__ = ["Backbone", "backbone_of", "first_modules"]


class Backbone(nn.Module):
    """The feature maps of a network with strides 4, 8, 16 and 32.

    Args:
        body: A network of timm, with ``forward_intermediates``; it loses what comes after the last
            of these maps.

    Attributes:
        feature_info: Strides, channels and names of the modules that the four maps come from.

    Raises:
        UserError: If it does not have these maps.
    """

    def __init__(self, body: Any) -> None:
        super().__init__()
        infos = getattr(body, "feature_info", None) or []
        strides = [one["reduction"] for one in infos]
        name = type(body).__name__
        if not hasattr(body, "prune_intermediate_layers") or not set(STRIDES[:4]) <= set(strides):
            raise UserError(
                f"{name}: expected a network with feature maps of strides {STRIDES[:4]}, got "
                f"{tuple(strides) or 'none'}"
            )
        # of equal strides the last one
        self._indices = [len(strides) - 1 - strides[::-1].index(one) for one in STRIDES[:4]]
        self.feature_info = FeatureInfo(infos, tuple(self._indices))
        body.prune_intermediate_layers(self._indices, prune_norm=True, prune_head=True)
        self.body = body

    def forward(self, images: Tensor) -> list[Tensor]:
        """Map images ``(B, 3, H, W)`` to four maps ``(B, D, h, w)``, the finest first."""
        found: list[Tensor] = self.body.forward_intermediates(
            images, indices=self._indices, intermediates_only=True
        )
        return found


def backbone_of(
    name: str, weights: str | Path | None = None, *, pretrained: bool = False, **kwargs: Any
) -> tuple[Backbone, BackboneReport | None]:
    """Build the backbone of a detector.

    Args:
        name: That timm knows, such as ``resnet50``; or one of ours.
        weights: A run, or a file that :func:`semaug.export.backbone.load_backbone` reads, that of a
            detector too.
        pretrained: Whether it begins with weights that timm fetches.
        **kwargs: Of the network.

    Returns:
        The backbone, and what was loaded; None without ``weights``.

    Raises:
        OSError: If the weights cannot be read.
        UserError: If timm has no such network, or it has no maps of strides 4, 8, 16 and 32.
        ValueError: If the weights are of another network.
    """
    if not timm.is_model(name):
        raise UserError(f"backbone: expected a name that timm knows, got {name}")
    body = timm.create_model(name, pretrained, num_classes=0, **kwargs)
    report = None if weights is None else load_backbone(body, weights)
    return Backbone(body), report


def first_modules(backbone: nn.Module, levels: int) -> list[nn.Module]:
    """Return the modules of the first levels of a backbone, those before the first one too.

    Args:
        backbone: With timm's ``feature_info``.
        levels: How many.
    """
    if not levels:
        return []
    info: Any = backbone.feature_info
    last = info.module_name()[levels - 1]
    inside = re.compile(rf"(^|\.){re.escape(last)}(\.|$)")
    names, modules = zip(*backbone.named_modules(), strict=True)
    end = max(i for i, name in enumerate(names) if inside.search(name))
    return list(modules[: end + 1])
