"""A decoder: a network that turns features of another one into images, without a generator.

It is trained on the images of a run and the features that the network of the run sees in them, by
the objective of step I of reverse mapping, Eq. (20), with the decoder d in place of the search:

    |f(d(a)) - a|^2 / A + eta |d(a) - x|^2 / P

It answers at once, and alike for equal features. Its images are blurred: what the features do not
tell is averaged. How far the network sees in them what was asked for is its re-encoding error,
``|f(d(a)) - a| / |a|`` of images that it was not trained on.
"""

import hashlib
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semaug._torch.checks import check_at_least, check_positive_int
from semaug.engine.seeding import derive_seed, make_generator
from semaug.generation.dcgan import generator_layers, he_weights
from semaug.insight.files import Kept

__all__ = ["Decoder", "DecoderInverter", "DecoderTraining", "train_decoder"]

# N images, A features.


@dataclass(frozen=True, kw_only=True)
class DecoderTraining:
    """How a decoder is trained, by Adam with a learning rate that falls along half a cosine.

    Args:
        steps: Of training.
        batch_size: Images of a step.
        lr: Learning rate at first.
        pixel_weight: Weight eta of pixels. With little of it, the decoder reaches features by
            patterns that the network sees and people do not.
        width: Channels before the last layer.

    Raises:
        TypeError: If a number is of another type.
        ValueError: If a number is out of range.
    """

    steps: int = 2000
    batch_size: int = 128
    lr: float = 2e-3
    pixel_weight: float = 10.0
    width: int = 64

    def __post_init__(self) -> None:
        counts = {name: getattr(self, name) for name in ("steps", "batch_size", "width")}
        check_positive_int("DecoderTraining", **counts)
        for name in ("lr", "pixel_weight"):
            check_at_least("DecoderTraining", name, getattr(self, name), 0)


class Decoder(nn.Module):
    """Layers of DCGAN's shape, from features ``(N, A)`` to images ``(N, C, H, W)`` from -1 to 1.

    Args:
        features: ``(N, A)``, whose mean and deviation are taken out.
        image: C, H and W; other sizes than squares of 8, 16, 32, ... are resized to.
        width: Channels before the last layer.
    """

    mean: Tensor  # (A,)
    std: Tensor  # (A,)

    def __init__(self, features: Tensor, image: tuple[int, int, int], width: int = 64) -> None:
        super().__init__()
        self.size = image[1:]
        std, mean = torch.std_mean(features, dim=0, correction=0)
        self.register_buffer("mean", mean)
        self.register_buffer("std", std.clamp(min=1e-3 * float(std.mean()) + 1e-8))
        side = 2 ** max(3, math.ceil(math.log2(max(self.size))))
        self.layers = generator_layers(features.shape[1], image[0], side, width)
        he_weights(self.layers)

    def forward(self, features: Tensor) -> Tensor:
        """Map ``(N, A)`` to ``(N, C, H, W)``."""
        made: Tensor = self.layers((features - self.mean) / self.std)
        if made.shape[2:] == self.size:
            return made
        return F.interpolate(made, self.size, mode="bilinear", antialias=True)


def train_decoder(
    see: Callable[[Tensor], Tensor],
    pixels: Tensor,
    features: Tensor,
    training: DecoderTraining | None = None,
    *,
    seed: int = 0,
    kept: Kept | None = None,
    advance: Callable[[float], None] = lambda count: None,
) -> Decoder:
    """Train a decoder; a training that was stopped goes on where it is kept.

    Args:
        see: Maps images ``(N, C, H, W)`` from -1 to 1 to features ``(N, A)``, with gradients.
        pixels: ``(N, C, H, W)`` uint8.
        features: ``(N, A)``, what is seen of these.
        training: How.
        seed: Of weights and batches.
        kept: Where the training is found again.
        advance: Called with the number of steps that were made.

    Returns:
        The decoder in evaluation mode, on the device of the features.
    """
    how, kept = training or DecoderTraining(), kept or Kept()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "decoder"))
        image = (pixels.shape[1], pixels.shape[2], pixels.shape[3])
        decoder = Decoder(features, image, how.width).to(features.device)
    parameters = [*decoder.parameters()]
    optimizer = torch.optim.Adam(parameters, how.lr)
    content = pixels.cpu().contiguous().numpy().tobytes()
    content += features.cpu().numpy().tobytes() + repr((seed, asdict(how))).encode()
    name = hashlib.sha256(content).hexdigest()
    begun: dict[str, Any] | None = kept.get(name)
    if begun is not None:
        decoder.load_state_dict(begun["decoder"])
        optimizer.load_state_dict(begun["optimizer"])
    first = begun["step"] if begun else 0
    advance(first)

    def state(step: int) -> dict[str, Any]:
        parts = {"decoder": decoder.state_dict(), "optimizer": optimizer.state_dict()}
        return {"step": step, **parts}

    for step in range(first, how.steps):
        for group in optimizer.param_groups:
            group["lr"] = how.lr * 0.5 * (1 + math.cos(math.pi * step / how.steps))
        random = make_generator(seed, "batches of the decoder", step)
        places = torch.randint(len(pixels), (how.batch_size,), generator=random)
        wanted = features[places.to(features.device)]
        images = pixels[places.to(pixels.device)].to(wanted) / 127.5 - 1
        made = decoder(wanted)
        loss = F.mse_loss(see(made), wanted) + how.pixel_weight * F.mse_loss(made, images)
        for parameter, gradient in zip(
            parameters, torch.autograd.grad(loss, parameters), strict=True
        ):
            parameter.grad = gradient
        optimizer.step()
        kept.put(name, state(step + 1))
        advance(1)
    kept.put(name, state(how.steps), now=True)
    return decoder.requires_grad_(False).eval()


class DecoderInverter:
    """A decoder as an inverter: the codes of images are their features.

    Args:
        decoder: In evaluation mode.
    """

    name: ClassVar[str] = "decoder"  # for a person

    def __init__(self, decoder: Decoder) -> None:
        self.decoder = decoder

    def reconstruct(self, images: Tensor, features: Tensor, labels: Tensor) -> Tensor:
        """Return the features."""
        return features

    def augment(self, codes: Tensor, targets: Tensor, labels: Tensor) -> Tensor:
        """Return the features that are wanted."""
        return targets

    def make(self, codes: Tensor, labels: Tensor) -> Tensor:
        """Decode features ``(N, A)``."""
        with torch.no_grad():
            images: Tensor = self.decoder(codes)
        return images

    def random(self, labels: Tensor, generator: torch.Generator) -> None:
        """Return None: a decoder makes no images of nothing."""
