"""Reading the pickles of the CIFAR archives without trusting them.

A pickle may name any function of any module and have it called. The archives need
three names, those that rebuild an array of NumPy; every other name is refused before
it is looked up.
"""

import io
import pickle
from typing import Any

import numpy as np

__all__ = ["load_arrays"]

# The function itself, taken from an array: its module has been renamed by NumPy 2.
_RECONSTRUCT = np.empty(0).__reduce__()[0]

_ALLOWED = {
    ("numpy", "dtype"): np.dtype,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
}


class _ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str, /) -> Any:
        """Return one of the allowed names."""
        try:
            return _ALLOWED[module_name, global_name]
        except KeyError:
            raise pickle.UnpicklingError(
                f"load_arrays: expected arrays, strings, numbers, lists and dicts only, "
                f"got {module_name}.{global_name}"
            ) from None


def load_arrays(content: bytes) -> Any:
    """Unpickle arrays, strings, numbers, lists and dicts; strings of Python 2 become bytes.

    Args:
        content: The pickle.

    Returns:
        What was pickled.

    Raises:
        pickle.UnpicklingError: If the pickle names anything else, or is malformed.
    """
    return _ArrayUnpickler(io.BytesIO(content), encoding="bytes").load()
