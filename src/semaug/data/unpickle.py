"""Reading pickled arrays, of the CIFAR archives and of weights, without trusting them.

A pickle may name any function of any module and have it called. Arrays need three names,
those that rebuild them, and a dict may be an ordered one; every other name is refused
before it is looked up.
"""

import pickle
import struct
from collections import OrderedDict
from typing import Any, BinaryIO

import numpy as np

# The function itself, taken from an array: its module has been renamed by NumPy 2.
_RECONSTRUCT = np.empty(0).__reduce__()[0]

_ALLOWED = {
    ("collections", "OrderedDict"): OrderedDict,
    ("numpy", "dtype"): np.dtype,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
}

# What a malformed pickle makes the unpickler and NumPy raise.
_MALFORMED = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    TypeError,
    ValueError,
    pickle.UnpicklingError,
    struct.error,
)


class _ArrayUnpickler(pickle._Unpickler):  # in Python, which copies no array
    def find_class(self, module_name: str, global_name: str, /) -> Any:
        """Return one of the allowed names."""
        try:
            return _ALLOWED[module_name, global_name]
        except KeyError:
            raise pickle.UnpicklingError(
                f"expected arrays, strings, numbers, lists and dicts only, "
                f"got {module_name}.{global_name}"
            ) from None


def load_arrays(file: BinaryIO, name: str, encoding: str = "bytes") -> Any:
    """Unpickle arrays, strings, numbers, lists and dicts.

    Args:
        file: Holds the pickle.
        name: Of the file, for messages.
        encoding: What strings of Python 2 become: bytes, or text of an encoding.

    Returns:
        What was pickled.

    Raises:
        ValueError: If the pickle names anything else, or is malformed.
    """
    try:
        return _ArrayUnpickler(file, encoding=encoding).load()
    except _MALFORMED as error:
        reason = str(error) or type(error).__name__
        raise ValueError(f"load_arrays: cannot read {name!r}: {reason}") from error
