"""Train the classifier of a frozen backbone on its features, which are computed once.

The backbone is in evaluation mode, so what it makes of an image depends on the image and its
augmentation alone. A run that freezes it draws ``passes`` augmentations of each training image,
computes their features, or finds them where an earlier run has left them, and trains on these:
each epoch shows one of the passes of each image, drawn by the seed. Features are images of one
pixel, so losses, methods, metrics and checkpoints are those of any run, and the network that it
leaves is whole: it takes images.
"""

from semaug.frozen.network import on_features
from semaug.frozen.passes import Passes
from semaug.frozen.store import FeatureStore, digest_images

__all__ = ["FeatureStore", "Passes", "digest_images", "on_features"]
