"""Features of a frozen backbone as data: computed once, kept in a file, and learned from."""

import math
import os
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn

import semaug.networks  # noqa: F401 (registers the networks of the papers with timm)
from semaug.augmentation import normalize
from semaug.data import DataSet, ImageSet
from semaug.registry import Sizes, choice, data_sets


@dataclass(frozen=True, kw_only=True)
class FrozenFeatures:
    """What a network that is not trained says of the images of another data set.

    Args:
        images: Data set whose images the backbone sees, as they are.
        backbone: Any network of timm.
        pretrained: Whether timm downloads its weights; else they are those of seed 0.
    """

    images: Any = choice(data_sets, default="digits")
    backbone: str = "resnet20_cifar"
    pretrained: bool = False

    def load(self, root: Path, workers: int | None) -> DataSet:
        images = self.images.load(root, workers)
        name = sha256(repr(self).encode()).hexdigest()[:16]
        path = root / "frozen_features" / f"{name}.pt"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_suffix(f".{os.getpid()}")  # another run may do the same now
            torch.save(self.compute(images), partial)
            partial.replace(path)
        both = torch.load(path, weights_only=True)
        train, test = (
            ImageSet(features[:, :, None, None], part.labels, part.classes)
            for features, part in zip(both, (images.train, images.test), strict=True)
        )
        return DataSet("frozen_features", train, test, mean=None, std=None)

    @torch.no_grad()
    def compute(self, images: DataSet) -> list[Tensor]:
        """Return features (N, A) of both parts, standardized by those to train on."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            backbone = timm.create_model(self.backbone, pretrained=self.pretrained, num_classes=0)
        backbone.eval()
        train, test = (
            torch.cat(
                [
                    backbone(normalize(pixels, images.mean, images.std))
                    for pixels in part.images.split(1000)
                ]
            )
            for part in (images.train, images.test)
        )
        mean, std = train.mean(dim=0), train.std(dim=0).clamp(min=1e-6)
        return [(train - mean) / std, (test - mean) / std]


@dataclass(frozen=True, kw_only=True)
class Linear:
    """A linear classifier of features."""

    def build(self, sizes: Sizes) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(sizes.image), sizes.num_classes))
