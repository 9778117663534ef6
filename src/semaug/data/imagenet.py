"""ImageNet: the 1,000 classes of the ILSVRC 2012 challenge, as files.

    root/imagenet/train/n01440764/n01440764_10026.JPEG    1,281,167 files
    root/imagenet/val/n01440764/ILSVRC2012_val_00000293.JPEG    50,000 files

Source: Russakovsky et al., 2015, https://arxiv.org/abs/1409.0575
"""

from pathlib import Path
from typing import ClassVar

from semaug.data.class_folders import check_counts, explained, find_classes, find_images
from semaug.data.folder import IMAGENET_MEAN, IMAGENET_STD
from semaug.data.image_set import DataSet, FileSet
from semaug.data.source import DataSource
from semaug.registry import data_sets

_FOLDER = "imagenet"
_NUM_CLASSES = 1000
NUM_IMAGES = {"train": 1_281_167, "val": 50_000}  # of the official parts


@data_sets.register("imagenet")
class ImageNet(DataSource):
    """1,331,167 photographs, 1,000 classes, decoded in training; 160 GB, not to be fetched."""

    num_classes: ClassVar[int] = _NUM_CLASSES
    in_files: ClassVar[bool] = True
    how_to_get: ClassVar[str] = (
        "only image-net.org hands it out, to people it knows; put ILSVRC2012_img_train.tar, "
        "ILSVRC2012_img_val.tar and ILSVRC2012_devkit_t12.tar.gz into {root}/imagenet and unpack "
        'them with: python -c "from torchvision.datasets import ImageNet as D; '
        "[D('{root}/imagenet', part) for part in ('train', 'val')]\""
    )

    def load(self, root: Path, workers: int | None = None) -> DataSet:
        """Find the files; the validation images are the test part, as in the papers.

        The classes are named by their WordNet ids, such as ``n01440764``.

        Args:
            root: Folder that holds ``imagenet``.
            workers: Not needed.

        Raises:
            FileNotFoundError: If a folder is missing, or the validation images are not sorted into
                folders; the message says how to unpack them.
            ValueError: If classes or images are missing or too many.
        """
        folder = root / _FOLDER
        train = _find_part(folder, "train", None)
        return DataSet(
            "imagenet", train, _find_part(folder, "val", train), IMAGENET_MEAN, IMAGENET_STD
        )

    def check_there(self, root: Path) -> None:
        """Look for the folders of all classes.

        Raises:
            FileNotFoundError: If there are none; the message says how to unpack them.
        """
        for part in NUM_IMAGES:
            with explained(_remedy(root / _FOLDER, part), FileNotFoundError):
                find_classes(root / _FOLDER / part)


def _find_part(folder: Path, part: str, train: FileSet | None) -> FileSet:
    remedy = _remedy(folder, part)
    with explained(remedy, FileNotFoundError):
        images = find_images(folder / part, None if train is None else train.classes)
    remedy += "; a part of ImageNet can be read as the data set 'folder'"
    with explained(remedy, ValueError):
        check_counts(folder / part, images, NUM_IMAGES[part], _NUM_CLASSES)
    return images


def _remedy(folder: Path, part: str) -> str:
    code = f"from torchvision.datasets import ImageNet as D; D({str(folder)!r}, {part!r})"
    return (
        f"put ILSVRC2012_img_{part}.tar and ILSVRC2012_devkit_t12.tar.gz of image-net.org into "
        f"{str(folder)!r}, remove its folder {part}, and unpack and sort the images with: "
        f'python -c "{code}"; or name the folder that holds {_FOLDER}/ with --data-root or '
        "SEMAUG_DATA"
    )
