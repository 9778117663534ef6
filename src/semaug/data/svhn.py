"""Street View House Numbers, from the files in the format of MATLAB that torchvision fetches.

Each image shows a digit of 32 x 32 pixels, with what stands beside it. Every file is compared
with its official MD5 sum before it is read further.

Source: Netzer et al., 2011, http://ufldl.stanford.edu/housenumbers
"""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from semaug.data.image_set import DataSet, ImageSet
from semaug.data.source import DataSource, Download, OfficialFiles, open_official
from semaug.errors import how_to_install
from semaug.registry import data_sets

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


@data_sets.register("svhn")
class SVHN(DataSource):
    """99,289 house numbers of 32 x 32 pixels, 10 classes; 0.2 GB."""

    num_classes: ClassVar[int] = 10
    side: ClassVar[int] = 32
    files: ClassVar[OfficialFiles] = _describe("svhn", (_TRAIN, _TEST))

    def load(self, root: Path, workers: int | None = None) -> DataSet:
        """Read the training images, of one file after the other, and the 26,032 test images.

        The constants that normalize are those of the 73,257 training images without extra ones.

        Args:
            root: Folder that holds ``svhn/train_32x32.mat`` and the other files.
            workers: Not needed.

        Raises:
            FileNotFoundError: If a file is missing; the message says how to fetch it.
            ModuleNotFoundError: If SciPy is not installed.
            ValueError: If a file is not the official one, byte for byte.
        """
        train = [name for name in self.files.md5 if name != _TEST]
        both = [_read_images(self.files, root, names) for names in (train, [_TEST])]
        return DataSet(self.files.name, both[0], both[1], _MEAN, _STD)


@data_sets.register("svhn_extra")
class SVHNExtra(SVHN):
    """The same and 531,131 simpler ones to train on; 1.6 GB, 4 GB of memory."""

    files: ClassVar[OfficialFiles] = _describe("svhn_extra", (_TRAIN, _EXTRA, _TEST))


def _read_images(files: OfficialFiles, root: Path, names: Sequence[str]) -> ImageSet:
    try:
        from scipy.io import loadmat  # slow to import, and only this data set needs it
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"data: {files.name!r} needs SciPy; install it with: {how_to_install('train')}",
            name="scipy",
        ) from error
    parts = []
    for name in names:
        with open_official(files, root, name) as file:
            parts.append(loadmat(file))
    labels = np.concatenate([part["y"].ravel() for part in parts]).astype(np.int64)
    images = np.empty((len(labels), 3, 32, 32), dtype=np.uint8)
    np.concatenate([part["X"].transpose(3, 2, 0, 1) for part in parts], out=images)
    # In the files the digit 0 has the label 10.
    return ImageSet(
        torch.from_numpy(images),
        torch.from_numpy(labels % 10),
        tuple(str(digit) for digit in range(10)),
    )
