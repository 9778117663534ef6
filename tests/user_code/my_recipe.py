"""Recipes that use what lies beside this file.

Run:     semaug train my_recipe.py:center seed=0
Check:   semaug check my_recipe.py:center
"""

from adversarial import GAN
from calibration import Calibration
from center_loss import Center
from frozen_features import FrozenFeatures, Linear
from mean_teacher import MeanTeacher
from roll import Roll
from segmentation import AuxiliaryHead, QuarterTurns, Shapes, TwoHeads
from stripes import StripeNet, Stripes
from training import Lion, Shifts, Triangle

from semaug.augmentation import Augment
from semaug.data import Subset
from semaug.engine.evaluation import SlidingWindow
from semaug.engine.optimizers import SGD, AdamW
from semaug.engine.schedules import Poly
from semaug.losses import ISDA
from semaug.recipe import Recipe


def center() -> Recipe:
    """ResNet-8 on digits with center loss."""
    return Recipe(
        data="digits",
        network="resnet8_cifar",
        loss=Center(strength=0.01, lr=0.5),
        augment=Augment(padding=1, flip=False),
        metrics=("error", Calibration(bins=10)),
        epochs=10,
        batch_size=64,
        schedule="cosine",
    )


def teacher() -> Recipe:
    """Mean teacher on digits, with five labels of each class."""
    return Recipe(
        data="digits",
        network="resnet8_cifar",
        method=MeanTeacher(strength=10.0, unlabeled_batch_size=64),
        augment=Augment(padding=1, flip=False),
        subset=Subset(labeled_per_class=5),
        steps=300,
        batch_size=25,
        optimizer=SGD(lr=0.05),
        evaluate_every_steps=100,
    )


def segment() -> Recipe:
    """Segmentation of shapes, each head with ISDA, tested by sliding windows."""
    return Recipe(
        data=Shapes(),
        network=TwoHeads(width=16),
        method=AuxiliaryHead(auxiliary_weight=0.4),
        loss=ISDA(strength=0.5),
        augment=QuarterTurns(),
        evaluation=SlidingWindow(window=24, stride_percent=50.0),
        schedule=Poly(power=0.9),
        epochs=20,
        batch_size=16,
    )


def stripes() -> Recipe:
    """A data set, a network, an augmentation and a metric that are not semaug's."""
    return Recipe(
        data=Stripes(noise=0.5),
        network=StripeNet(width=16),
        augment=Roll(),
        metrics=("error", "calibration.py:Calibration"),  # by name, as on the command line
        epochs=10,
        batch_size=50,
    )


def lion() -> Recipe:
    """An optimizer, a schedule and an evaluation that are not semaug's."""
    return Recipe(
        data=Stripes(),
        network=StripeNet(),
        optimizer=Lion(lr=1e-3, weight_decay=0.1),
        schedule=Triangle(peak_percent=30.0),
        evaluation=Shifts(pixels=1),
        epochs=10,
        batch_size=50,
    )


def frozen() -> Recipe:
    """A linear classifier with ISDA on cached features of a network that is not trained."""
    return Recipe(
        data=FrozenFeatures(backbone="resnet20_cifar"),
        network=Linear(),
        loss=ISDA(strength=0.5),
        augment=Augment(padding=0, flip=False),
        epochs=10,
        batch_size=64,
    )


def gan() -> GAN:
    """A small generative adversarial network on digits."""
    adam = AdamW(lr=1e-3, weight_decay=0.0)
    return GAN(
        data="digits",
        generator_optimizer=adam,
        discriminator_optimizer=adam,
        epochs=20,
        batch_size=50,
    )
