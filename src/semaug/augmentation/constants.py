"""Tables that are computed once and then kept, by the compiler too."""

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Any, TypeVar

import torch

Function = TypeVar("Function", bound=Callable[..., Any])


def computed_once(function: Function) -> Function:
    """Keep the last results of a function; while compiling, take them for constants.

    ``torch.compile`` would look into the function and compute tables in every step anew. It
    must not see the cache itself, which it goes around with a warning.

    Args:
        function: Of hashable arguments. While compiling they must be constants as well:
            sizes of images go through :func:`operator.index` first.

    Returns:
        The same function.
    """
    cached = lru_cache(maxsize=16)(function)

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        return cached(*args, **kwargs)

    return torch.compiler.assume_constant_result(call)
