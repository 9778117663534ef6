"""ResNet-20 on 5,000 images of CIFAR-10 with cross-entropy: real evidence on two CPU cores.

Trains on the first 500 images of each class and tests on all 10,000 test images.

Run:     semaug train cifar10_5k_resnet20 seed=0
Smoke:   semaug train cifar10_5k_resnet20 --quick   (CPU, under a minute)
Source:  settings of arXiv:2007.10538, Table 9; differs from it in: network, number of
         images and of epochs, and zero padding, see cifar10_resnet32
"""

from semaug.recipes import Recipe

__all__ = ["recipe"]


def recipe() -> Recipe:
    """Return the recipe."""
    return Recipe(
        data="cifar10",
        train_per_class=500,
        network="resnet20_cifar",
        epochs=100,
        batch_size=128,
        lr=0.1,
        schedule="step",
        milestones_percent=(50.0, 75.0),
        lr_factor=0.1,
        momentum=0.9,
        nesterov=True,
        weight_decay=1e-4,
        padding=4,
        flip=True,
        evaluate_every_epochs=20,  # testing costs as much time as half an epoch of training
    )
