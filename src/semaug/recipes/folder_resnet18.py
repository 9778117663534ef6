"""ResNet-18 on a folder of your own photographs with cross-entropy.

Images lie in ROOT/train/CLASS/ and ROOT/val/CLASS/; the classes are found.

Run:     semaug train folder_resnet18 seed=0 --data-root ROOT
Result:  none, for it depends on your images; compare with folder_resnet18_isda
Smoke:   semaug train folder_resnet18 --quick --data-root ROOT   (CPU, a minute)
Source:  settings of He et al., arXiv:1512.03385, for ImageNet; differs from it in: 90 epochs,
         cosine schedule, warm-up, 128 images a step with a learning rate in proportion,
         Nesterov's momentum, random resized crops, no color augmentation, one crop of the
         center at test
"""

from semaug.recipes import Augment, Recipe

__all__ = ["recipe"]


def recipe() -> Recipe:
    """Return the recipe."""
    return Recipe(
        data="folder",
        network="resnet18",
        epochs=90,
        batch_size=128,
        lr=0.1 * 128 / 256,
        schedule="cosine",
        warmup_epochs=5,
        weight_decay=1e-4,
        augment=Augment(image_size=224, padding=0),
        evaluation_batch_size=256,
    )
