"""ResNet-18 on a folder of your own photographs.

Images lie in ROOT/train/CLASS/ and ROOT/val/CLASS/; the classes are found.

Run:     semaug compare folder_resnet18 folder_resnet18_isda --data-root ROOT
Result:  none, for it depends on your images
Smoke:   semaug train folder_resnet18 --quick --data-root ROOT   (CPU, a minute)
Source:  settings of He et al., arXiv:1512.03385, for ImageNet; differs from it in: 90 epochs,
         cosine schedule, warm-up, 128 images a step with a learning rate in proportion,
         Nesterov's momentum, random resized crops, no color augmentation, one crop of the
         center at test
"""

from semaug.augmentation import Augment
from semaug.engine.optimizers import SGD
from semaug.engine.schedules import Cosine
from semaug.recipe import Recipe
from semaug.recipes.row import Row

__all__ = ["RECIPES", "baseline"]


def baseline() -> Recipe:
    """Return the recipe with cross-entropy."""
    return Recipe(
        data="folder",
        network="resnet18",
        epochs=90,
        batch_size=128,
        optimizer=SGD(lr=0.1 * 128 / 256, weight_decay=1e-4),
        schedule=Cosine(warmup_percent=100 * 5 / 90),  # 5 of 90 epochs
        augment=Augment(image_size=224, padding=0),
        evaluation_batch_size=256,
    )


RECIPES = {
    "folder_resnet18": Row(
        baseline(),
        "ResNet-18 on a folder of your own photographs with cross-entropy.",
    )
}
