"""Conditional GAN: generator and critic are told the class.

    critic:     mean softplus(-f(real, class)) + mean softplus(f(made, class))
    generator:  mean softplus(-f(made, class))

The class is C more inputs of the generator and C more channels of the critic's images, one of
which is 1 everywhere. The source has fully connected networks for MNIST and none for CIFAR; these
are DCGAN's, a choice of ours.

Source: Mirza and Osindero, 2014, https://arxiv.org/abs/1411.1784, Eq. (2); networks and Adam:
Radford et al., ICLR 2016, https://arxiv.org/abs/1511.06434
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semaug.generation.dcgan import critic_layers, generator_layers, normal_weights
from semaug.generation.gan import Conditional, Gan, GanSpec, Losses, Shown, entropy_losses
from semaug.registry import Sizes, generators

__all__ = ["CGan", "CGanSpec"]


class CGan(Gan):
    """A generator and a critic of all classes.

    Args:
        generator: Of all classes.
        critic: Maps images with C more channels to scores.
    """

    generator: Conditional

    def __init__(self, generator: Conditional, critic: nn.Module) -> None:
        super().__init__(generator, critic)

    def scores(self, images: Tensor, labels: Tensor) -> Tensor:
        """Map images (N, 3, H, W) and labels to scores (N, 1)."""
        one_hot = F.one_hot(labels, self.generator.num_classes).to(images.dtype)
        planes = one_hot[:, :, None, None].expand(-1, -1, *images.shape[2:])
        scores: Tensor = self.critic(torch.cat([images, planes], dim=1))
        return scores

    def critic_losses(self, shown: Shown) -> Losses:
        """Return the loss of real and generated images, each shown in a batch of their own."""
        real = self.scores(shown.real, shown.real_labels)
        made = self.scores(self.constant(shown), shown.labels)
        return Losses(
            entropy_losses(real, made),
            {"critic_error": ((real < 0).double().mean() + (made > 0).double().mean()) / 2},
        )

    def generator_losses(self, shown: Shown) -> Losses:
        """Return the loss that does not saturate."""
        made = self.scores(self.generator(shown.z, shown.labels), shown.labels)
        return Losses(entropy_losses(None, made))


@generators.register("cgan")
@dataclass(frozen=True, kw_only=True)
class CGanSpec(GanSpec):
    """Conditional GAN: one generator and one critic are told the class."""

    lr: float = 2e-4
    critic_lr: float = 2e-4

    def build(self, sizes: Sizes) -> CGan:
        """Build the networks of DCGAN's shape, with weights from N(0, 0.02^2)."""
        assert sizes.image is not None
        channels, side, _ = sizes.image
        layers = generator_layers(self.z_size + sizes.num_classes, channels, side, self.width)
        critic = critic_layers(channels + sizes.num_classes, side, self.critic_width)
        gan = CGan(Conditional(layers, sizes.num_classes), critic)
        normal_weights(gan)
        return gan
