"""Street View House Numbers, from the files in the format of MATLAB that torchvision fetches.

Each image shows a digit of 32 x 32 pixels, with what stands beside it. Every file is compared
with its official MD5 sum before it is read further.

Source: Netzer et al., 2011, http://ufldl.stanford.edu/housenumbers
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from semaug.data.image_set import DataSet, ImageSet
from semaug.data.official import Download, OfficialFiles, open_official

__all__ = ["SVHN", "SVHN_EXTRA", "load_svhn", "load_svhn_extra"]

_TRAIN, _TEST, _EXTRA = (f"{part}_32x32.mat" for part in ("train", "test", "extra"))

_MD5 = {
    _TRAIN: "e26dedcc434d2e4c54c9b2d4a06d8373",
    _TEST: "eb5a983be6a315427106f1b164d9cef3",
    _EXTRA: "a93ce644f1a588dc4d68dda5feec44a7",
}

# Of each channel over the training part (without the extra one), on a scale of 0 to 1.
_MEAN = (0.4376821, 0.4437697, 0.47280442)
_STD = (0.19803012, 0.20101562, 0.19703614)


def _describe(name: str, parts: Sequence[str]) -> OfficialFiles:
    address = "http://ufldl.stanford.edu/housenumbers/"
    return OfficialFiles(
        name=name,
        folder="svhn",
        md5={part: _MD5[part] for part in parts},
        downloads=tuple(Download(address + part, _MD5[part], (part,)) for part in parts),
    )


SVHN = _describe("svhn", (_TRAIN, _TEST))
SVHN_EXTRA = _describe("svhn_extra", (_TRAIN, _EXTRA, _TEST))


def load_svhn(root: Path) -> DataSet:
    """Read SVHN: 73,257 and 26,032 images of 32 x 32 pixels, 10 classes of uneven size.

    Args:
        root: Folder that holds ``svhn/train_32x32.mat`` and ``svhn/test_32x32.mat``.

    Raises:
        FileNotFoundError: If a file is missing; the message says how to fetch it.
        ModuleNotFoundError: If SciPy is not installed.
        ValueError: If a file is not the official one, byte for byte.
    """
    return _load(SVHN, root, (_TRAIN,))


def load_svhn_extra(root: Path) -> DataSet:
    """Read SVHN with its 531,131 simpler extra images after the training images: 604,388.

    They take 1.9 GB of memory, and twice that while they are read. The constants that normalize
    are those of :func:`load_svhn`.

    Args:
        root: Folder that holds ``svhn/extra_32x32.mat`` besides the files of SVHN.

    Raises:
        FileNotFoundError: If a file is missing; the message says how to fetch it.
        ModuleNotFoundError: If SciPy is not installed.
        ValueError: If a file is not the official one, byte for byte.
    """
    return _load(SVHN_EXTRA, root, (_TRAIN, _EXTRA))


def _load(files: OfficialFiles, root: Path, train: Sequence[str]) -> DataSet:
    return DataSet(
        files.name,
        _read_images(files, root, train),
        _read_images(files, root, (_TEST,)),
        _MEAN,
        _STD,
    )


def _read_images(files: OfficialFiles, root: Path, names: Sequence[str]) -> ImageSet:
    try:
        from scipy.io import loadmat  # slow to import, and only this data set needs it
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"load_data: {files.name!r} needs SciPy; install it with: pip install 'semaug[train]'",
            name="scipy",
        ) from error
    parts = []
    for name in names:
        with open_official(files, root, name) as file:
            parts.append(loadmat(file))
    labels = np.concatenate([part["y"].ravel() for part in parts]).astype(np.int64)
    images = np.empty((len(labels), 3, 32, 32), dtype=np.uint8)
    start = 0
    for part in parts:
        pixels = part.pop("X")  # (32, 32, 3, N); let go of it once it is copied
        images[start : start + pixels.shape[3]] = pixels.transpose(3, 2, 0, 1)
        start += pixels.shape[3]
    # In the files the digit 0 has the label 10.
    return ImageSet(
        torch.from_numpy(images),
        torch.from_numpy(labels % 10),
        tuple(str(digit) for digit in range(10)),
    )
