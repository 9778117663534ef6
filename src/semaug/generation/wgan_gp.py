"""Wasserstein GAN with a penalty on the norm of the critic's gradient, one for each class.

    critic:     mean f(made) - mean f(real) + penalty * mean (|grad f(x)| - 1)^2
    with x = e * real + (1 - e) * made, e ~ U(0, 1) for each image
    generator:  -mean f(made)

The gradient is that of single images, so the critic has no batch norm, which would mix them. It is
the robust choice of the two: nothing is clipped, and the critic may be trained to its optimum.

Source: Gulrajani et al., NeurIPS 2017, https://arxiv.org/abs/1704.00028, Algorithm 1, and the
DCGAN-like networks of its code for CIFAR-10, ``gan_cifar.py``: 5 x 5 kernels, a width of 64
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from semaug.errors import check_option
from semaug.generation.dcgan import critic_layers, generator_layers, he_weights
from semaug.generation.gan import Losses, PerClass, Shown
from semaug.generation.wgan import Wasserstein, WGan
from semaug.registry import Sizes, generators

__all__ = ["WGanGP", "WGanGPSpec", "gradient_norms"]


class WGanGP(WGan):
    """Generators and critics of all classes, side by side.

    Args:
        generator: Of all classes.
        critic: Likewise, without batch norm.
        num_classes: C.
        penalty: Weight of the penalty.
    """

    def __init__(
        self, generator: PerClass, critic: nn.Module, num_classes: int, penalty: float
    ) -> None:
        super().__init__(generator, critic, num_classes, clip=None)
        self.penalty = penalty

    def critic_losses(self, shown: Shown) -> Losses:
        """Return the sum over classes, whose networks have nothing in common."""
        made = self.constant(shown)
        estimates = self.scores(shown.real).mean(0) - self.scores(made).mean(0)
        share = torch.rand(len(made), 1, 1, 1, dtype=made.dtype, device=made.device)
        norms = gradient_norms(self.scores, torch.lerp(made, shown.real, share))
        penalties = (norms - 1).square().view(-1, self.num_classes).mean(0)
        loss = self.penalty * penalties.sum() - estimates.sum()
        return Losses(loss, {"critic_estimate": estimates.mean(), "gradient_norm": norms.mean()})


def gradient_norms(scores: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """Return the norm of the gradient of the score of each image by its pixels, ``(N,)``.

    It can be differentiated. Scores of an image must not depend on other images.

    Args:
        scores: Maps images to one score for each.
        images: ``(N, 3, H, W)``.
    """
    images = images.detach().requires_grad_()
    total = scores(images).sum()
    (gradients,) = torch.autograd.grad(total, images, create_graph=True)
    return gradients.flatten(1).norm(dim=1)


@generators.register("wgan_gp")
@dataclass(frozen=True, kw_only=True)
class WGanGPSpec(Wasserstein):
    """Wasserstein GAN with a penalty on the critic's gradient, one for each class.

    Args:
        penalty: Weight of the penalty.
    """

    lr: float = 1e-4
    critic_lr: float = 1e-4
    penalty: float = 10.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_option("penalty", self.penalty, 0 <= self.penalty < float("inf"), ">= 0")

    def build(self, sizes: Sizes) -> WGanGP:
        """Build the networks, with uniform weights after He."""
        assert sizes.image is not None
        channels, side, _ = sizes.image
        z, width = self.z_size, self.width

        def make(groups: int) -> nn.Module:
            return generator_layers(z, channels, side, width, kernel=5, groups=groups)

        classes = sizes.num_classes
        critic = critic_layers(
            channels, side, self.critic_width, kernel=5, groups=classes, norm=False
        )
        gan = WGanGP(PerClass(make, classes), critic, classes, self.penalty)
        he_weights(gan)
        return gan

    def optimizer(self, parameters: list[nn.Parameter], lr: float) -> torch.optim.Optimizer:
        """Build Adam with the momentum of the source."""
        return torch.optim.Adam(parameters, lr, betas=(0.5, 0.9), fused=True)
