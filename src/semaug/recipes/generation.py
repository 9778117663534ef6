"""Generators of images, for classifiers that learn from their images too.

The rows of the paper's Table 5 are changes of other recipes, which take the generator from the
folder of all runs, seed 0:

>>> from semaug.recipes import find_recipe
>>> recipe = find_recipe("cifar10_resnet110,method=generated,generator=cifar10_wgan")
>>> recipe.method.num_generated(recipe.batch_size), recipe.batch_size
(21, 128)

Run:     semaug train cifar10_wgan
Result:  none yet, see results/README.md
Smoke:   semaug train cifar10_wgan --quick
Source:  arXiv:2007.10538, Table 5 and Appendix C, which leave networks, steps and batch sizes of
         generators open: they are those of the sources that each method names, where these have
         some for 32 x 32 pixels; see docs/generation.md
"""

from typing import Any

from semaug.generation.recipe import GenerationRecipe
from semaug.recipes.row import CIFAR, Row
from semaug.registry import generators

__all__ = ["GENERATORS", "SMALL"]

# By name: what a person reads, steps of the generator, and images in a step.
_METHODS = {
    "wgan": ("WGAN", 20_000, 64),
    "wgan_gp": ("WGAN-GP", 20_000, 64),
    "cgan": ("CGAN", 100_000, 64),
    "acgan": ("ACGAN", 100_000, 100),
    "infogan": ("infoGAN", 100_000, 128),
}
_PER_CLASS = ("wgan", "wgan_gp")  # the paper has them on CIFAR-10 alone


def _generator(data: str, name: str, steps: int, batch_size: int, **options: Any) -> Row:
    called = CIFAR.get(data, "scikit-learn's digits")
    recipe = GenerationRecipe(
        data=data,
        generator=generators.make(name, **options),
        steps=steps,
        batch_size=batch_size,
        evaluate_every_steps=max(1, steps // 20),
    )
    return Row(recipe, f"{_METHODS[name][0]} that makes images of {called}.", isda=None)


GENERATORS = {
    f"{data}_{name}": _generator(data, name, steps, batch_size)
    for data in CIFAR
    for name, (_, steps, batch_size) in _METHODS.items()
    if data == "cifar10" or name not in _PER_CLASS
}

# Small images need small networks and few steps, at higher rates: about two minutes of a core.
_DIGITS: dict[str, tuple[int, dict[str, Any]]] = {
    "wgan": (500, {"lr": 2e-4, "critic_lr": 2e-4, "warmup_critic_steps": 20}),
    "wgan_gp": (500, {"lr": 1e-3, "critic_lr": 1e-3, "width": 32, "critic_width": 32}),
    "cgan": (4_000, {}),
    "acgan": (4_000, {"critic_width": 64}),
    "infogan": (4_000, {"critic_width": 64}),
}

SMALL = {
    f"digits_{name}": _generator("digits", name, steps, 32, **options)
    for name, (steps, options) in _DIGITS.items()
}
