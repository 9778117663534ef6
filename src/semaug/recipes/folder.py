"""Networks on a folder of your own photographs: a pretrained one, and ResNet-18 from scratch.

Images lie in ROOT/train/CLASS/ and ROOT/val/CLASS/; the classes are found. Without a test part,
in ROOT/CLASS/, compare with --folds 5.

Run:     semaug compare folder_finetune folder_finetune_isda --data-root ROOT
Result:  none, for it depends on your images
Smoke:   semaug train folder_finetune --quick --data-root ROOT   (CPU, a minute)
Source:  of folder_finetune none: AdamW at rates that are usual for fine-tuning. The strength of its
         twin with ISDA is the one that held-out images chose for 10 classes, see results/README.md.
         Of folder_resnet18: settings of He et al., arXiv:1512.03385, for ImageNet; differs from it
         in: 90 epochs, cosine schedule, warm-up, 128 images a step with a learning rate in
         proportion, Nesterov's momentum, random resized crops, no color augmentation, one crop of
         the center at test
"""

from semaug.augmentation import Augment
from semaug.engine.optimizers import SGD
from semaug.engine.schedules import Cosine
from semaug.recipe import Recipe
from semaug.recipes.finetune import ISDA, fine_tuning
from semaug.recipes.row import Row

__all__ = ["RECIPES", "baseline", "finetuned"]


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


def finetuned() -> Recipe:
    """Return a recipe that trains a pretrained network on, with cross-entropy."""
    return fine_tuning(
        data="folder",
        augment=Augment(padding=0),
        metrics=("error", "balanced_accuracy", "nll", "calibration_error"),
    )


RECIPES = {
    "folder_finetune": Row(
        finetuned(),
        "A pretrained EfficientNet-Lite0, trained on with your own photographs and cross-entropy.",
        isda={**ISDA, "strength": "1"},  # as chosen for 20 and 100 images of 10 classes
    ),
    "folder_resnet18": Row(
        baseline(),
        "ResNet-18 on a folder of your own photographs with cross-entropy.",
    ),
}
