"""Auxiliary classifier GAN: the critic names the class of images, real and made.

    critic:     mean softplus(-f(real)) + mean softplus(f(made)) + CE(g(real)) + CE(g(made))
    generator:  mean softplus(-f(made)) + CE(g(made))

f and g are two heads of one network, six convolutions with dropout.

Source: Odena et al., ICML 2017, https://arxiv.org/abs/1610.09585, Eq. (2) and (3), Appendix A for
the network of CIFAR-10; the generator has one more doubling, as a public copy (clvrai)
"""

from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from semaug.errors import check_option
from semaug.generation.dcgan import FromVector, doublings, normal_weights
from semaug.generation.gan import Conditional, Gan, GanSpec, Losses, Shown, entropy_losses
from semaug.registry import Sizes, generators

__all__ = ["ACGan", "ACGanSpec", "Trunk", "acgan_layers"]


class Trunk(nn.Sequential):
    """Pairs of 3 x 3 convolutions of strides 2 and 1: ``(N, 3, H, W)`` to ``(N, A)``.

    Args:
        channels: Of an image.
        side: Of an image.
        width: Channels after the first convolution; each has twice those of the one before it.
        drop_rate: Of dropout after each.
    """

    def __init__(self, channels: int, side: int, width: int, drop_rate: float) -> None:
        layers: list[nn.Module] = []
        inputs = channels
        for place in range(2 * doublings(side)):
            outputs = width * 2**place
            norm = [nn.BatchNorm2d(outputs)] if place else []
            stride = 1 + (place + 1) % 2
            layers += [nn.Conv2d(inputs, outputs, 3, stride, 1, bias=not norm), *norm]
            layers += [nn.LeakyReLU(0.2), nn.Dropout(drop_rate)]
            inputs = outputs
        super().__init__(*layers, nn.Flatten())
        self.num_features = 16 * inputs


class ACGan(Gan):
    """A generator of all classes, and a critic with two heads.

    Args:
        generator: Of all classes.
        trunk: Of the critic.
        num_classes: C.
    """

    critic: nn.ModuleDict

    def __init__(self, generator: Conditional, trunk: Trunk, num_classes: int) -> None:
        heads = {
            "score": nn.Linear(trunk.num_features, 1),
            "classes": nn.Linear(trunk.num_features, num_classes),
        }
        super().__init__(generator, nn.ModuleDict({"trunk": trunk, **heads}))

    def judge(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map images (N, 3, H, W) to features (N, A), scores (N, 1) and logits (N, C)."""
        features = self.critic["trunk"](images)
        return features, self.critic["score"](features), self.critic["classes"](features)

    def critic_losses(self, shown: Shown) -> Losses:
        """Return the sum of both heads' losses, unweighted, of real and of generated images."""
        _, real, logits = self.judge(shown.real)
        made, scores, others = self.judge(self.constant(shown))
        right = (logits.argmax(dim=1) == shown.real_labels).double().mean()
        loss = entropy_losses(real, scores) + F.cross_entropy(logits, shown.real_labels)
        loss = loss + F.cross_entropy(others, shown.labels) + self.code_losses(made, shown.z)
        return Losses(loss, {"class_accuracy": 100 * right})

    def generator_losses(self, shown: Shown) -> Losses:
        """Return the sum of both heads' losses."""
        made, scores, logits = self.judge(self.generator(shown.z, shown.labels))
        loss = entropy_losses(None, scores) + F.cross_entropy(logits, shown.labels)
        return Losses(loss + self.code_losses(made, shown.z))

    def code_losses(self, features: Tensor, z: Tensor) -> Tensor | float:
        """Return the loss of the codes that a head reads in generated images; none here."""
        return 0.0


def acgan_layers(num_inputs: int, channels: int, side: int, width: int) -> nn.Sequential:
    """Return a generator: a linear layer, 1 to 4 pixels, then doublings.

    Args:
        num_inputs: Z, with classes and codes.
        channels: Of an image.
        side: Of an image.
        width: Channels before the last layer; the linear layer of 32 pixels has eight times these.
    """
    sizes = [width * 2**power for power in reversed(range(doublings(side) + 1))]
    layers: list[nn.Module] = [nn.Linear(num_inputs, sizes[0]), FromVector()]
    for place, (inputs, outputs) in enumerate(zip(sizes, [*sizes[1:], channels], strict=True)):
        way: dict[str, Any] = {"stride": 2, "padding": 1} if place else {}
        layers.append(nn.ConvTranspose2d(inputs, outputs, 4, bias=outputs == channels, **way))
        layers += [nn.BatchNorm2d(outputs), nn.ReLU()] if place < len(sizes) - 1 else []
    return nn.Sequential(*layers, nn.Tanh())


@generators.register("acgan")
@dataclass(frozen=True, kw_only=True)
class ACGanSpec(GanSpec):
    """Auxiliary classifier GAN: the critic also names the class.

    Args:
        drop_rate: Of dropout in the critic.
    """

    width: int = 48
    critic_width: int = 16
    lr: float = 2e-4
    critic_lr: float = 2e-4
    drop_rate: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_option("drop_rate", self.drop_rate, 0 <= self.drop_rate < 1, "from 0 to below 1")

    def build(self, sizes: Sizes) -> ACGan:
        """Build the networks, with weights from N(0, 0.02^2)."""
        assert sizes.image is not None
        channels, side, _ = sizes.image
        inputs = self.z_size + self.num_codes + sizes.num_classes
        layers = acgan_layers(inputs, channels, side, self.width)
        trunk = Trunk(channels, side, self.critic_width, self.drop_rate)
        gan = self.gan(Conditional(layers, sizes.num_classes), trunk, sizes.num_classes)
        normal_weights(gan)
        return gan

    def gan(self, generator: Conditional, trunk: Trunk, num_classes: int) -> ACGan:
        """Put the parts together."""
        return ACGan(generator, trunk, num_classes)
