"""A pretrained EfficientNet-Lite0 on a few images of CIFAR: evidence for fine-tuning.

Trains on images drawn by the seed of the run, resized to 112 pixels, and tests on all 10,000 test
images. The table ``finetune`` has changes of the recipe of CIFAR-100 as rows:

>>> from semaug.recipes import find_recipe
>>> recipe = find_recipe("cifar100_10_finetune_isda,covariance=diagonal,strength=10")
>>> recipe.subset.labeled_per_class, recipe.subset.subset_seed, recipe.loss.covariance
(10, 'run', 'diagonal')

Run:     semaug compare cifar100_10_finetune cifar100_10_finetune_isda --seeds 10
         network.pretrained=false network.weights=FILE, where timm can fetch nothing
Result:  see results/README.md
Smoke:   semaug train cifar100_10_finetune_isda --quick   (CPU, a minute)
Source:  none: AdamW at rates that are usual for fine-tuning; the strengths of the twins with
         ISDA were chosen on held-out images, see results/README.md
"""

from typing import Any

from semaug.augmentation import Augment
from semaug.data import Subset
from semaug.engine.optimizers import AdamW
from semaug.engine.schedules import Cosine
from semaug.recipe import Recipe
from semaug.recipes.row import CIFAR, Row, describe
from semaug.registry import networks

__all__ = ["ISDA", "RECIPES", "baseline", "fine_tuning"]

ISDA = {"covariance": "shared"}  # the strength goes with the data


def fine_tuning(**own: Any) -> Recipe:
    """Return the recipe that trains a pretrained network on, with data and options of its own."""
    return Recipe(
        network=networks.make("tf_efficientnet_lite0", pretrained=True, norm_eval=True),
        epochs=20,
        batch_size=32,
        optimizer=AdamW(lr=2e-4, head_lr_scale=10.0, decay_norms=False),
        schedule=Cosine(warmup_percent=10),
        **own,
    )


def baseline(data: str, per_class: int) -> Recipe:
    """Return the recipe with cross-entropy.

    Args:
        data: ``"cifar10"`` or ``"cifar100"``.
        per_class: Training images of each class.
    """
    return fine_tuning(
        data=data,
        subset=Subset(labeled_per_class=per_class, subset_seed="run"),
        augment=Augment(image_size=112),
        precision="bf16",
        evaluate_every_epochs=20,
        evaluation_batch_size=50,  # fits in the caches of a CPU
    )


RECIPES = {
    f"{data}_{per_class}_finetune": Row(
        baseline(data, per_class),
        describe(
            "Pretrained EfficientNet-Lite0",
            f"{per_class} images a class of {CIFAR[data]}",
            "cross-entropy",
        ),
        isda={**ISDA, "strength": strength},
    )
    for data, per_class, strength in (
        ("cifar100", 10, "10"),
        ("cifar10", 20, "1"),
        ("cifar10", 100, "1"),
    )
}
