"""Generators of images: adversarial training, what they make, and how good it is.

A recipe of the kind ``generate`` trains one with a loop of its own, in which a critic and a
generator take turns. Whatever makes images of numbers and a class is a
:class:`~semaug.generation.generator.Generator`: of a run, of a ``torch.export`` file, or of a
file of yours. Images of it may be mixed into the batches of a classifier
(:mod:`semaug.generation.augment`), be its whole training set, and be compared with real ones
(:mod:`semaug.generation.quality`).
"""

from semaug.generation.acgan import ACGan, ACGanSpec
from semaug.generation.augment import Generated, GeneratedMethod, WithGenerated
from semaug.generation.cgan import CGan, CGanSpec
from semaug.generation.gan import Gan, GanSpec, Losses, Shown
from semaug.generation.infogan import InfoGan, InfoGanSpec
from semaug.generation.recipe import GenerationRecipe
from semaug.generation.wgan import WGan, WGanSpec
from semaug.generation.wgan_gp import WGanGP, WGanGPSpec

__all__ = [
    "ACGan",
    "ACGanSpec",
    "CGan",
    "CGanSpec",
    "Gan",
    "GanSpec",
    "Generated",
    "GeneratedMethod",
    "GenerationRecipe",
    "InfoGan",
    "InfoGanSpec",
    "Losses",
    "Shown",
    "WGan",
    "WGanGP",
    "WGanGPSpec",
    "WGanSpec",
    "WithGenerated",
]
