"""Errors of too little memory, and numbers of bytes in words."""

import torch


def is_out_of_memory(error: RuntimeError) -> bool:
    """Tell whether an error of torch is about too little memory, of a GPU or of the machine."""
    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)


def in_words(num_bytes: int) -> str:
    """Write a number of bytes.

    >>> in_words(5_033_164_800), in_words(2_457_600)
    ('5.0 GB', '2.5 MB')
    """
    return f"{num_bytes / 1e9:.1f} GB" if num_bytes >= 1e9 else f"{num_bytes / 1e6:.1f} MB"
