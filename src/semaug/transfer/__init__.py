"""How trained networks do on test sets with other augmentations than they were trained with.

:func:`measure_transfer` tests the network of a run folder and keeps what it finds there,
:func:`transfer_accuracies` reads that, and :mod:`semaug.transfer.plots` draws it.

Source: Chen et al., *Augmentation Invariant Training*, ICCV Workshops 2019, sections 4.4 and 4.5
"""

from semaug.transfer.corruptions import CorruptionSet, find_corruptions
from semaug.transfer.measure import measure_transfer, transfer_accuracies
from semaug.transfer.result import PAIRS, Corrupted, Transfer
from semaug.transfer.sets import TEST_SETS, make_test_sets

__all__ = [
    "PAIRS",
    "TEST_SETS",
    "Corrupted",
    "CorruptionSet",
    "Transfer",
    "find_corruptions",
    "make_test_sets",
    "measure_transfer",
    "transfer_accuracies",
]
