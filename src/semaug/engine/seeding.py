"""Random numbers that depend on the seed, the epoch and their purpose, and on nothing else.

No generator is carried from epoch to epoch, so a resumed run draws what an uninterrupted one
draws, and two runs with the same seed see the same batches whatever their losses draw.
"""

import hashlib

import torch


def derive_seed(seed: int, purpose: str, epoch: int = 0) -> int:
    """Mix a seed, a purpose and an epoch into an integer from 0 to below 2**63.

    >>> derive_seed(0, "order", 1) == derive_seed(0, "order", 1)
    True
    >>> derive_seed(0, "order", 1) == derive_seed(0, "order", 2)
    False
    """
    digest = hashlib.sha256(f"{seed} {purpose} {epoch}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def make_generator(seed: int, purpose: str, epoch: int = 0) -> torch.Generator:
    """Return a CPU generator seeded by :func:`derive_seed`."""
    return torch.Generator().manual_seed(derive_seed(seed, purpose, epoch))
