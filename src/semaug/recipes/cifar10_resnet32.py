"""ResNet-32 on CIFAR-10 with cross-entropy, the baseline of the ISDA papers.

Run:     semaug train cifar10_resnet32 seed=0
Result:  see results/README.md
Smoke:   semaug train cifar10_resnet32 --quick   (CPU, under a minute)
Source:  arXiv:2007.10538, Table 9; differs from it in: zero padding, as in the papers it
         cites for its augmentation, where the released code has padding_mode=reflect
"""

from semaug.recipes import Augment, Recipe

__all__ = ["recipe"]


def recipe() -> Recipe:
    """Return the recipe."""
    return Recipe(
        data="cifar10",
        network="resnet32_cifar",
        epochs=160,
        batch_size=128,
        lr=0.1,
        schedule="step",
        milestones_percent=(50.0, 75.0),  # epochs 80 and 120
        lr_factor=0.1,
        momentum=0.9,
        nesterov=True,
        weight_decay=1e-4,
        augment=Augment(padding=4, flip=True),
    )
