"""Reverse mapping of images, one at a time and term by term."""

import torch


def reverse_mapping_objective(generate, see, z, features, image=None, eta=0.0):
    """Return Eq. (20) of arXiv:2007.10538 with an image, Eq. (21) without, with means for norms.

    Args:
        generate: Maps z (1, Z) to an image (1, C, H, W).
        see: Maps it to features (1, A).
        z: (Z,).
        features: (A,), those wanted.
        image: (C, H, W).
        eta: Weight of pixels.
    """
    mean = sum(z) / len(z)
    std = (sum((one - mean) ** 2 for one in z) / (len(z) - 1)) ** 0.5
    made = generate(torch.stack([(one - mean) / std for one in z]).unsqueeze(0))
    seen = see(made)[0]
    loss = sum((one - wanted) ** 2 for one, wanted in zip(seen, features, strict=True)) / len(seen)
    if image is not None:
        pairs = list(zip(made.flatten(), image.flatten(), strict=True))
        loss = loss + eta * sum((one - wanted) ** 2 for one, wanted in pairs) / len(pairs)
    return loss
