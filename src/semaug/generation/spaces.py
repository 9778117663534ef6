"""Feature spaces that images are compared in, each with the name that its numbers are told with.

- ``pixels``: images averaged to 8 x 8 pixels, :func:`semaug.generation.quality.small_pixels`;
- ``runs/cifar10_resnet32/seed0``: what the classifier of a run receives;
- ``tf_efficientnet_lite0=lite0.pth``: the same of a network of timm with weights of a file.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from semaug.augmentation import normalize
from semaug.engine.device import choose_device
from semaug.engine.options import TrainOptions
from semaug.engine.pretrained import load_pretrained
from semaug.engine.trained import load_trained
from semaug.errors import UserError, as_user_error
from semaug.generation.quality import small_pixels
from semaug.registry import Sizes, networks

__all__ = ["FeatureSpace", "find_space"]

_AT_ONCE = 250  # images

# N images of C classes, A features.


@dataclass(frozen=True, eq=False)
class FeatureSpace:
    """What images are compared by.

    Args:
        name: Told with each number.
        function: Maps ``(N, 3, H, W)`` uint8 to features ``(N, A)``, and to logits ``(N, C)`` where
            the network classifies what the images are of, else None.
    """

    name: str
    function: Callable[[Tensor], tuple[Tensor, Tensor | None]]

    @torch.no_grad()
    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return features and logits, float32 or better, on the CPU."""
        pairs = [self.function(own) for own in images.split(_AT_ONCE)]
        logits = [own.cpu() for _, own in pairs if own is not None]
        features = torch.cat([own.cpu() for own, _ in pairs])
        return features, torch.cat(logits) if logits else None


def find_space(name: str, options: TrainOptions | None = None) -> FeatureSpace:
    """Return a feature space.

    Args:
        name: ``pixels``, the folder of a finished run, or ``NETWORK=FILE`` of timm and its weights.
        options: Device, and the data root of runs that whiten images.

    Raises:
        OSError: If a file cannot be read.
        UserError: If there is no such run or network, or weights do not fit.
    """
    options = options or TrainOptions()
    if name == "pixels":
        return FeatureSpace("pixels averaged to 8 x 8", lambda images: (small_pixels(images), None))
    network, equals, file = name.partition("=")
    if equals and not Path(name).exists():
        return _of_timm(network, file, options)
    trained = load_trained(name, options)

    def features(images: Tensor) -> tuple[Tensor, Tensor | None]:
        logits, found = trained.predict_with_features(trained.prepare(images))
        if found is None:
            raise UserError(f"{name}: expected a network with features, got several networks")
        return found, logits

    return FeatureSpace(f"features of {name}", features)


def _of_timm(name: str, file: str, options: TrainOptions) -> FeatureSpace:
    spec: Any = networks.make(name, weights=str(Path(file).expanduser()))
    with as_user_error(f"{name}={file}: ", OSError, RuntimeError, TypeError, ValueError):
        network = spec.build(Sizes(num_classes=1000, image=(3, 224, 224)))
        load_pretrained(network, spec, Sizes(num_classes=1000), SimpleNamespace(mean=(), std=()))  # type: ignore[arg-type]
    wanted, device = spec.preprocessing, choose_device(options.device)
    network.to(device).eval()

    def features(images: Tensor) -> tuple[Tensor, None]:
        side = wanted.image_size
        resized = F.interpolate(
            images.to(device).float(), (side, side), mode="bicubic", antialias=True
        )
        pixels = normalize(resized.round().clamp(0, 255).byte(), wanted.mean, wanted.std)
        return network.forward_head(network.forward_features(pixels), pre_logits=True), None

    return FeatureSpace(f"features of {name}={file}", features)
