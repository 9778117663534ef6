"""A network that classifies features in place of images."""

from functools import partial

from torch import Tensor, nn

__all__ = ["on_features"]


def on_features(network: nn.Module, classifier: nn.Module) -> None:
    """Let a network take features where it took images: its forward is that of its classifier.

    Its parameters and their names stay, so what is saved of it is the whole network.

    Args:
        network: Maps images to logits.
        classifier: ``nn.Linear`` or a 1x1 convolution inside, which does so last.

    >>> network = nn.Sequential(nn.Flatten(), nn.Linear(12, 4), nn.ReLU(), nn.Linear(4, 2))
    >>> on_features(network, network[-1])
    >>> import torch
    >>> network(torch.zeros(3, 4, 1, 1)).shape
    torch.Size([3, 2])
    """
    network.forward = partial(_classify, classifier)


def _classify(classifier: nn.Module, features: Tensor) -> Tensor:
    """Map ``(N, A, 1, 1)`` to ``(N, C)``."""
    inputs = features if isinstance(classifier, nn.Conv2d) else features.flatten(1)
    logits: Tensor = classifier(inputs)
    return logits.flatten(1)
