"""Photographs with a text file of boxes each, as YOLO reads them.

    root/train/images/1.jpg   root/train/labels/1.txt     or   root/images/train, root/labels/train
    root/val/images/2.jpg     root/val/labels/2.txt            root/classes.txt or data.yaml

A line of a text file is ``CLASS X Y WIDTH HEIGHT``, the middle and the size of a box as shares of
the width and height of the image; or ``CLASS X1 Y1 X2 Y2 X3 Y3 ...``, the corners of a polygon. A
photograph without a text file holds no object.
"""

import ast
import os
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch

from semaug.data.class_folders import ClassFolder, listed
from semaug.data.folder import IMAGENET_MEAN, IMAGENET_STD
from semaug.data.source import DataSource
from semaug.detection.scenes import Scene, SceneData, SceneObject, Scenes, image_size
from semaug.registry import data_sets

__all__ = ["Yolo"]

_TESTS = ("val", "valid", "validation", "test")
_ROUNDING = 1e-3  # of shares in text
_ITEM = re.compile(r"\s*(?:-|(?P<number>\d+)\s*:)\s*(?P<name>.+?)\s*")  # a line of names in YAML


@data_sets.register("yolo")
@dataclass(frozen=True, kw_only=True)
class Yolo(DataSource):
    """Your own photographs with boxes in the text files of YOLO, below the data root.

    Args:
        test: Part to test on; None takes the first of ``val``, ``valid``, ``validation`` and
            ``test``.
    """

    in_files: ClassVar[bool] = True
    is_users_own: ClassVar[bool] = True
    how_to_get: ClassVar[str] = (
        "it is made of your own files: {root}/train/images/*.jpg, {root}/train/labels/*.txt, the "
        "same in {root}/val, and {root}/classes.txt"
    )

    test: str | None = None

    def load(self, root: Path, workers: int | None = None) -> SceneData:
        """Read all text files, and the sizes of all images.

        Raises:
            FileNotFoundError: If there is no such folder, or there are no names of classes.
            ValueError: If a line is no box, or a text file has no image; each line of the message
                is one problem.
        """
        train, classes = self._training_folders(root), _read_names(root)
        trained = _read(*train, classes)
        parts = (self.test,) if self.test else _TESTS
        tests = [found for part in parts if (found := self._folders(root, part))]
        if self.test and not tests:
            raise FileNotFoundError(
                f"data: expected a part {self.test!r} in {str(root)!r}, got none"
            )
        tested = _read(*tests[0], classes) if tests else trained.subset(torch.arange(0))
        return SceneData("yolo", trained, tested, IMAGENET_MEAN, IMAGENET_STD)

    def check_there(self, root: Path) -> None:
        """Find the folders of images to train on."""
        self._training_folders(root)

    def _training_folders(self, root: Path) -> tuple[Path, Path]:
        found = self._folders(root, "train") or self._folders(root, "")
        if found is None:
            raise FileNotFoundError(
                f"data: expected folders images/ and labels/ in {str(root)!r}, or in train/ of it, "
                "got none; name the folder that holds them with --data-root"
            )
        return found

    def _folders(self, root: Path, part: str) -> tuple[Path, Path] | None:
        """Return the folders of images and of text files of a part, if it is there."""
        names = "images", "labels"
        for images, labels in ([root / part / x for x in names], [root / x / part for x in names]):
            if images.is_dir() and labels.is_dir():
                return images, labels
        return None


def _read_names(root: Path) -> tuple[str, ...]:
    """Read the names of classes: lines of ``classes.txt``, or ``names`` of ``data.yaml``.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If numbers in YAML are not 0, 1, 2 and so on.
    """
    for place in (root, root / "labels", root / "train" / "labels"):
        if (path := place / "classes.txt").is_file():
            return tuple(filter(None, map(str.strip, path.read_text("utf-8").splitlines())))
    for path in (*sorted(root.glob("*.yaml")), *sorted(root.glob("*.yml"))):
        found = re.search(r"^names[ \t]*:[ \t]*(.*)$", path.read_text("utf-8"), re.MULTILINE)
        if found:
            return _names_of_yaml(path, found[1], found.string[found.end() :])
    raise FileNotFoundError(
        f"data: expected classes.txt in {str(root)!r} with a name in each line, or data.yaml with "
        "`names`, got neither"
    )


def _names_of_yaml(path: Path, inline: str, rest: str) -> tuple[str, ...]:
    """Read ``[a, b]`` or ``{0: a, 1: b}`` behind ``names:``, or the items in the lines below."""
    whole = (
        re.match(r"[\[{](.*?)[\]}]", inline + rest, re.DOTALL) if inline[:1] in ("[", "{") else None
    )
    if whole:
        lines = [item if inline[0] == "{" else f"- {item}" for item in whole[1].split(",")]
        rows = [_ITEM.fullmatch(line) for line in lines if line.strip(" -\n")]
    else:
        rows = []
        for line in filter(str.strip, rest.splitlines()):
            row = _ITEM.fullmatch(line.partition(" #")[0])
            if row is None:
                break
            rows.append(row)
    numbered = [(int(row["number"] or k), _plain(row["name"])) for k, row in enumerate(rows) if row]
    if not numbered or sorted(k for k, _ in numbered) != list(range(len(rows))):
        raise ValueError(
            f"data: {str(path)!r}: expected `names` with the numbers 0, 1, 2 and so on, or a list, "
            f"got {[k for k, _ in numbered] or 'none'}"
        )
    return tuple(name for _, name in sorted(numbered))


def _plain(text: str) -> str:
    """Take quotes off."""
    return str(ast.literal_eval(text)) if re.fullmatch(r"'[^']*'|\"[^\"]*\"", text) else text


def _read(images: Path, labels: Path, classes: Sequence[str]) -> Scenes:
    names = sorted(map(os.path.normpath, ClassFolder.of(images, ".").images))
    stems = {_stem(name) for name in names}
    texts = {str(path.relative_to(labels).with_suffix("")): path for path in labels.rglob("*.txt")}
    alone = sorted(name for name in texts.keys() - stems if name != "classes")
    problems = [
        f"expected an image in {str(images)!r} for each text file, got none for {listed(alone)}"
    ] * bool(alone)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        sizes = list(pool.map(image_size, [images / name for name in names]))
    scenes = []
    for k, (name, size) in enumerate(zip(names, sizes, strict=True)):
        objects: list[SceneObject] = []
        if path := texts.get(_stem(name)):
            for found in _objects(path, size, len(classes)):
                if isinstance(found, str):
                    problems.append(f"{str(path)!r}, {found}")
                else:
                    objects.append(found)
        scenes.append(Scene(name, size, k, objects))
    if problems:
        raise ValueError("\n".join(f"data: {problem}" for problem in problems))
    empty = sum(_stem(name) not in texts for name in names)
    notes = (f"{empty:,} of {len(names):,} images without a text file, taken for empty",) * bool(
        empty
    )
    return Scenes.of(images, scenes, tuple(classes), notes=notes)


def _stem(name: str) -> str:
    return str(Path(name).with_suffix(""))


def _objects(path: Path, size: tuple[int, int], num_classes: int) -> Iterator[SceneObject | str]:
    """Read the lines of a text file; yields text for a line that is no box."""
    height, width = size
    for k, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        try:
            first, *shares = [float(word) for word in line.split()] or [-1.0]
        except ValueError:
            yield f"line {k}: expected numbers, got {line!r}"
            continue
        if not line.strip():
            continue
        if first not in range(num_classes):
            yield f"line {k}: expected a class from 0 to {num_classes - 1}, got {line.split()[0]}"
        elif len(shares) != 4 and (len(shares) < 6 or len(shares) % 2):
            yield (
                f"line {k}: expected four shares behind the class, or a polygon of three corners "
                f"or more, got {len(shares)} numbers"
            )
        elif not all(-_ROUNDING <= share <= 1 + _ROUNDING for share in shares):
            yield (
                f"line {k}: expected shares of the width and height, from 0 to 1, got "
                f"{line.split()[1:]}; divide pixels by the size of the image, {width} x {height}"
            )
        elif len(shares) == 4:
            x, y, w, h = (a * b for a, b in zip(shares, (width, height) * 2, strict=True))
            yield SceneObject((x - w / 2, y - h / 2, w, h), int(first), w * h)
        else:
            xs, ys = [a * width for a in shares[::2]], [a * height for a in shares[1::2]]
            corners = list(zip(xs, ys, strict=True))
            around = zip(corners, [*corners[1:], corners[0]], strict=True)
            area = abs(sum(a * d - b * c for (a, b), (c, d) in around)) / 2
            box = (min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys))
            outline = [[value for corner in corners for value in corner]]
            yield SceneObject(box, int(first), area, outline=outline)
