"""Reading files of weights: tensors by name, whatever wrote them, and nothing executed."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from semaug._torch.load import load_tensors
from semaug.data.unpickle import load_arrays

__all__ = ["find_file", "read_weights"]

# Of folders: a run of ours, and what Hugging Face saves.
_IN_FOLDERS = ("checkpoint.pt", "model.safetensors", "pytorch_model.bin")

_CAFFE = re.compile(r"""style['"]?\s*[=:]\s*['"]caffe['"]""")


def find_file(path: str | Path) -> Path:
    """Return the file of weights that is meant by a file or by a folder.

    Raises:
        FileNotFoundError: If there is none.
    """
    path = Path(path).expanduser()
    for place in [path / name for name in _IN_FOLDERS] if path.is_dir() else [path]:
        if place.is_file():
            return place
    wanted = f"a folder with {', '.join(_IN_FOLDERS)}" if path.is_dir() else "a file of weights"
    raise FileNotFoundError(f"{path}: expected {wanted}, got none")


def read_weights(file: Path) -> dict[str, Tensor]:
    """Return the tensors of a file by name.

    What lies in a dict inside of another has the names of both, with a slash between them, such
    as ``state_dict/conv1.weight``.

    Args:
        file: Of safetensors, of ``torch.save``, or, as ``.pkl``, of detectron2.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is damaged, holds no tensors, or would have to execute something.
    """
    try:
        if file.suffix == ".safetensors":
            content: Any = load_file(file)
        elif file.suffix == ".pkl":
            with file.open("rb") as opened:
                content = load_arrays(opened, file.name, encoding="latin1")
        else:
            content = load_tensors(file, leave_objects=True)
    except (SafetensorError, ValueError) as error:
        raise ValueError(
            f"expected weights in {file}, got a file that is damaged or would execute something: "
            f"{error}"
        ) from error
    found: dict[str, Tensor] = {}
    for name, value in _leaves(content):
        if isinstance(value, str) and _CAFFE.search(value):
            raise ValueError(
                f"{file}: its configuration has a backbone of style='caffe', which wants BGR "
                "images and a stride in the first 1x1 convolution; timm has no such network"
            )
        if isinstance(value, Tensor):
            found[name] = value.detach()
        elif isinstance(value, np.ndarray) and value.dtype.kind in "fiu":
            found[name] = torch.from_numpy(value)
    if not found:
        raise ValueError(
            f"expected weights in {file}, got no tensors by name; save the state_dict() of the "
            "network, not the network"
        )
    return found


def _leaves(content: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(content, Mapping):
        for key, value in content.items():
            yield from _leaves(value, f"{name}/{key}" if name else str(key))
    else:
        yield name, content
