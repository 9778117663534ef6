"""Small networks that the tests of features share."""

import torch
from torch import nn

NUM_CLASSES, NUM_FEATURES = 4, 8


def small_network(seed=0):
    """Convolution, normalization without batch statistics, pooling, classifier ``5``."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, NUM_FEATURES, 3, padding=1),
        nn.GroupNorm(2, NUM_FEATURES),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(NUM_FEATURES, NUM_CLASSES),
    )


def small_batch(num_images=6, seed=1):
    """Images ``(N, 3, 8, 8)`` and labels ``(N,)``."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(num_images, 3, 8, 8, generator=generator)
    return images, torch.arange(num_images) % NUM_CLASSES


class Hidden(nn.Module):
    """A network that declares nothing; ``middle`` makes features, ``head`` logits."""

    def __init__(self, head=None, after=None):
        super().__init__()
        torch.manual_seed(0)
        self.middle = nn.Linear(12, NUM_FEATURES)
        self.norm = nn.BatchNorm1d(NUM_FEATURES)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(NUM_FEATURES, NUM_CLASSES) if head is None else head
        self.after = nn.Identity() if after is None else after

    def forward(self, images):
        features = self.drop(self.norm(self.middle(images.flatten(1)).relu()))
        return self.after(self.head(features))
