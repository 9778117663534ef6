"""From photographs to probabilities: files become what the test of a run shows to its networks."""

import glob
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from semaug.data.class_folders import ClassFolder, note_of
from semaug.data.colors import png_of_classes, png_of_ids
from semaug.data.image_set import FilePaths
from semaug.data.views import Exactly, ResizeCenterCrop, View
from semaug.data.workers import FileReader, requests
from semaug.errors import UserError, as_user_error
from semaug.runs.words import counted

# N images, C classes, H and W pixels.

_MOST_CLASSES = 5  # that are told of a photograph
_FILES_OF_A_WORKER = 32  # fewer are decoded before a process has started


@dataclass(frozen=True, eq=False)
class Predictions:
    """What networks say of N images.

    >>> cat = Predictions(torch.tensor([[2.0, 0.0, 1.0]]), ("cat", "dog", "owl"))
    >>> cat.labels.tolist(), cat.top(2)
    ([0], [[('cat', 0.6652...), ('owl', 0.2447...)]])

    Args:
        logits: ``(N, C)`` on the CPU; over several passes, logarithms of mean probabilities.
        classes: Names of the C classes.
    """

    logits: Tensor
    classes: tuple[str, ...]

    @property
    def probs(self) -> Tensor:
        """Probabilities ``(N, C)``, float64."""
        return self.logits.double().softmax(dim=1)

    @property
    def labels(self) -> Tensor:
        """The most probable class of each image, ``(N,)`` int64."""
        return self.logits.argmax(dim=1)

    def top(self, k: int = 5) -> list[list[tuple[str, float]]]:
        """Return the k most probable classes of each image with their probabilities, best first."""
        probs, labels = self.probs.topk(min(k, len(self.classes)))
        return [
            [(self.classes[label], prob) for label, prob in zip(*rows, strict=True)]
            for rows in zip(labels.tolist(), probs.tolist(), strict=True)
        ]


class PredictedFiles(NamedTuple):
    """A batch of files."""

    paths: list[Path]  # those that could be read
    predictions: Predictions  # one row for each
    failures: dict[Path, Exception]  # what is wrong with the others


class MaskForm(NamedTuple):
    """How masks are written."""

    colors: Sequence[tuple[int, int, int]]  # of each class
    ids: Sequence[int]  # number of each class in files


class Answer(ABC):
    """What a trained network says of one photograph."""

    listed: ClassVar[str] = "top"  # what JSON calls the entries
    number: ClassVar[str] = "probability"  # and the number in each of them

    @abstractmethod
    def entries(self, most: int | None = None, least: float | None = None) -> list[dict[str, Any]]:
        """Return plain data of each class or object, best first: ``class``, number, and others.

        Args:
            most: How many at most; None leaves it to the answer.
            least: Leave out lower numbers; None likewise.
        """

    def text(self, most: int | None = None, least: float | None = None) -> str:
        """Say it in a line; see :meth:`entries`."""
        found = self.entries(most, least)
        told = (f"{one['class']} {100 * one[self.number]:.1f} %" for one in found)
        return ", ".join(told) or "nothing"

    def png(self, least: float | None = None, *, ids: bool = False) -> bytes:
        """Return it as a picture of the photograph's size, see :attr:`Answering.picture`.

        Args:
            least: Leave out lower numbers, see :meth:`entries`.
            ids: Whether pixels are numbers of the data set, see :attr:`Answering.has_ids`.
        """
        raise NotImplementedError


class Answering(ABC):
    """What answers about photographs; ``semaug predict`` asks it."""

    @property
    def picture(self) -> str:
        """What the pictures of its answers show, such as ``"mask"``; empty if there are none."""
        return ""

    @property
    def has_ids(self) -> bool:
        """Whether pictures can hold numbers of the data set."""
        return False

    @abstractmethod
    def answers(
        self, paths: Sequence[Path], predictor: str = ""
    ) -> Iterator[tuple[Path, Answer | Exception]]:
        """Answer about files; those that cannot be read stop no others.

        Args:
            paths: Of the files.
            predictor: Name of the predictor.

        Returns:
            Of each file an answer, or what is wrong with the file.

        Raises:
            LoadError: If a process that decodes was killed.
            UserError: If there is no such predictor, or no photographs are taken.
        """


class _Ranked(Answer):
    """Classes with a number each."""

    def entries(self, most: int | None = None, least: float | None = None) -> list[dict[str, Any]]:
        """Return the classes that come first; see :meth:`Answer.entries`."""
        best = self.ranked(most or _MOST_CLASSES)
        return [{"class": name, self.number: x} for name, x in best if x >= (least or 0)]

    @abstractmethod
    def ranked(self, most: int) -> Sequence[tuple[str, float]]:
        """Return classes with their numbers, best first."""


@dataclass(frozen=True, eq=False)
class _Classes(_Ranked):
    """The classes of one photograph by their probability."""

    predictions: Predictions

    def ranked(self, most: int) -> Sequence[tuple[str, float]]:
        """See :class:`_Ranked`."""
        return self.predictions.top(most)[0]


@dataclass(frozen=True, eq=False)
class _Mask(_Ranked):
    """The classes of the pixels ``(H, W)`` by their share of them."""

    number = "share"
    mask: Tensor
    classes: Sequence[str]
    form: MaskForm

    def ranked(self, most: int) -> Sequence[tuple[str, float]]:
        """See :class:`_Ranked`."""
        counts = torch.bincount(self.mask.flatten(), minlength=len(self.classes))
        shares = counts / counts.sum()
        order = shares.argsort(descending=True, stable=True)[:most].tolist()
        return [(self.classes[k], float(shares[k])) for k in order if shares[k] > 0]

    def png(self, least: float | None = None, *, ids: bool = False) -> bytes:
        """Return the mask; see :meth:`Answer.png`."""
        if ids:
            return png_of_ids(self.mask, self.form.ids)
        return png_of_classes(self.mask, self.form.colors)


class Networks(Answering):
    """Networks in evaluation mode that predict of photographs what the test of their run does."""

    workers: int

    @property
    def picture(self) -> str:
        """See :attr:`Answering.picture`."""
        return "" if self.masks is None else "mask"

    @property
    def has_ids(self) -> bool:
        """See :attr:`Answering.has_ids`."""
        return self.masks is not None

    def answers(
        self, paths: Sequence[Path], predictor: str = ""
    ) -> Iterator[tuple[Path, Answer | Exception]]:
        """Answer about files; see :meth:`Answering.answers`."""
        if (form := self.masks) is not None:
            named = self.classes, form
            for path, mask in self.predict_masks(paths, predictor):
                yield path, mask if isinstance(mask, Exception) else _Mask(mask, *named)
            return
        for batch in self.predict_files(paths, predictor):
            for path, logits in zip(batch.paths, batch.predictions.logits.split(1), strict=True):
                yield path, _Classes(Predictions(logits, self.classes))
            yield from batch.failures.items()

    @property
    def masks(self) -> MaskForm | None:
        """How masks of pixels are written; None of networks that classify images."""
        return None

    @property
    @abstractmethod
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the logits."""

    @property
    @abstractmethod
    def predictors(self) -> Mapping[str, Any]:
        """What can be asked, by name; ``""`` is the main one."""

    @property
    @abstractmethod
    def view(self) -> View:
        """What makes a picture of the right size of a decoded photograph.

        Raises:
            UserError: If the networks take no photographs.
        """

    @property
    @abstractmethod
    def batch_size(self) -> int:
        """Images of a batch in the test of the run."""

    @abstractmethod
    def answer(
        self, pictures: Tensor, predictor: str, size: tuple[int, int] | None = None
    ) -> Tensor:
        """Return what the test of the run sees of pictures.

        Args:
            pictures: ``(N, 3, H, W)`` uint8, as :attr:`view` returns them.
            predictor: Name of the predictor.
            size: Height and width of the masks that are wanted of networks that label each pixel.

        Returns:
            ``(N, C)``, or ``(N, C, *size)``.
        """

    def check_predictor(self, name: str) -> None:
        """Check that there is a predictor of a name.

        Raises:
            UserError: If there is none.
        """
        if name not in self.predictors:
            names = ", ".join(map(repr, self.predictors))
            wanted = f"`predictor` to be one of {names}"
            if len(self.predictors) == 1:
                wanted = "no `predictor`, for there is one network alone"
            raise UserError(f"semaug: expected {wanted}, got {name!r}")

    def predict(
        self,
        photographs: str | os.PathLike[str] | Tensor | Iterable[str | os.PathLike[str] | Tensor],
        predictor: str = "",
    ) -> Predictions:
        """Classify photographs, prepared as the test images of the run, in batches of its size.

        Args:
            photographs: Paths of files, or decoded images ``(3, H, W)`` uint8 of any size, several
                or one. A batch is ``(N, 3, H, W)``.
            predictor: Name of the predictor.

        Raises:
            TypeError: If a photograph is something else.
            UserError: If a file is missing, damaged or cannot be read, there is no such predictor,
                or the networks do not classify photographs.
        """
        self._check_classifies()
        self.check_predictor(predictor)
        path, given = str | os.PathLike, photographs
        is_single = isinstance(given, path) or getattr(given, "ndim", 0) == 3
        several: list[Any] = [given] if is_single or not isinstance(given, Iterable) else [*given]
        if all(isinstance(one, path) for one in several):
            found = []
            for batch in self.predict_files([Path(x).expanduser() for x in several], predictor):
                for name, error in batch.failures.items():
                    raise UserError(f"predict: {why_unread(name, error)}") from error
                found.append(batch.predictions)
        else:
            pictures = self._view_images(several)
            batches = (
                torch.stack(pictures[start : start + self.batch_size])
                for start in range(0, len(pictures), self.batch_size)
            )
            found = [self._classify(batch, predictor) for batch in batches]
        logits = torch.cat([one.logits for one in found or [self._no_predictions()]])
        return Predictions(logits, self.classes)

    def predict_files(self, paths: Sequence[Path], predictor: str = "") -> Iterator[PredictedFiles]:
        """Classify files batch by batch; those that cannot be read stop no others.

        Args:
            paths: Of the files.
            predictor: Name of the predictor.

        Raises:
            LoadError: If a process that decodes was killed.
            UserError: If there is no such predictor, or the networks do not classify photographs.
        """
        self._check_classifies()
        self.check_predictor(predictor)
        size, files = self.batch_size, FilePaths.of("", map(str, paths))
        workers = min(self.workers, len(paths) // _FILES_OF_A_WORKER)
        batches = [slice(k, min(k + size, len(paths))) for k in range(0, len(paths), size)]
        reader = FileReader(files, self.view, workers=workers, pin_memory=False)
        alone = FileReader(files, self.view, workers=0, pin_memory=False)

        def read(reader: FileReader, pieces: Sequence[slice]) -> Iterator[Any]:
            asked = requests(torch.arange(len(paths)), torch.empty(len(paths), 0), pieces)
            return reader.read(asked, keep_errors=True)

        try:
            for piece, pictures in zip(batches, read(reader, batches), strict=True):
                own, failures = list(paths[piece]), {}
                if isinstance(pictures, Exception):  # which of them?
                    ones = [slice(k, k + 1) for k in range(piece.start, piece.stop)]
                    answers = dict(zip(own, read(alone, ones), strict=True))
                    failures = {p: x for p, x in answers.items() if isinstance(x, Exception)}
                    own = [path for path in own if path not in failures]
                    pictures = torch.cat([answers[path] for path in own]) if own else None
                predictions = self._classify(pictures, predictor) if own else self._no_predictions()
                yield PredictedFiles(own, predictions, failures)
        finally:
            reader.close()

    def predict_masks(
        self, paths: Iterable[str | os.PathLike[str]], predictor: str = ""
    ) -> Iterator[tuple[Path, Tensor | Exception]]:
        """Label each pixel of photographs, one after the other.

        Args:
            paths: Of the files.
            predictor: Name of the predictor.

        Returns:
            Of each file the classes ``(H, W)`` int64 on the CPU, of the size of the photograph, or
            what is wrong with the file.

        Raises:
            UserError: If there is no such predictor, or the networks classify images.
        """
        from semaug.data.decode import decode_file  # torchvision is slow to import

        self.check_predictor(predictor)
        if self.masks is None:
            raise UserError("predict: expected networks that label pixels, got some for images")
        for path in map(Path, paths):
            try:
                image = decode_file(path)
            except (OSError, ValueError) as error:
                yield path, error
                continue
            picture = self.view(image, torch.empty(0)).unsqueeze(0)
            size = image.shape[1], image.shape[2]
            yield path, self.answer(picture, predictor, size).argmax(dim=1).squeeze(0).cpu()

    def _check_classifies(self) -> None:
        if self.masks is not None:
            raise UserError(
                "predict: expected networks that classify images, got some that label pixels; "
                "call predict_masks"
            )

    def _view_images(self, images: Sequence[Any]) -> list[Tensor]:
        for image in images:
            dtype, shape = (getattr(image, name, "") for name in ("dtype", "shape"))
            if dtype is not torch.uint8 or len(shape) != 3 or len(image) != 3:
                found = f"{type(image).__name__} {dtype} {tuple(shape) or ''}".strip()
                raise TypeError(
                    "predict: expected only paths, or only images (3, H, W) of dtype torch.uint8, "
                    f"got {found}; `logits` takes what `prepare` returns"
                )
        with as_user_error("", ValueError):
            return [self.view(image, torch.empty(0)) for image in images]

    def _no_predictions(self) -> Predictions:
        return Predictions(torch.empty(0, len(self.classes)), self.classes)

    def _classify(self, pictures: Tensor, predictor: str) -> Predictions:
        logits = self.answer(pictures, predictor)
        if logits.ndim != 2:
            raise UserError(
                "predict: expected networks that classify images, got some that label pixels: "
                f"{tuple(logits.shape)} for {counted(len(pictures), 'image')}"
            )
        return Predictions(logits.cpu(), self.classes)


def photographs_named(name: str) -> tuple[list[tuple[Path, str]], list[str]]:
    """Return the files that a name stands for, and notes on what is passed over among them.

    With each comes its name within the folder.

    Args:
        name: Of a file, which may be anything; of a folder, which stands for the images below it,
            by their endings; or a pattern such as ``new/*.jpg``.
    """
    path = Path(name).expanduser()
    matches = [path] if path.exists() else map(Path, sorted(glob.glob(str(path), recursive=True)))  # noqa: PTH207
    found: list[tuple[Path, str]] = []
    notes = []
    for match in matches:
        if not match.is_dir():
            found.append((match, match.name))
            continue
        below = ClassFolder.of(match, ".")
        found += [(match / image, image) for image in below.images]
        if note := note_of(match, below.others):
            notes.append(note)
    return found, notes


def why_none(name: str) -> str:
    """Say why a name stands for no photographs."""
    is_folder = Path(name).expanduser().is_dir()
    return "no images in this folder" if is_folder else "no such file or directory"


def why_unread(path: Path, error: Exception) -> str:
    """Say why a photograph could not be read, in words that name it once.

    >>> why_unread(Path("cat.jpg"), FileNotFoundError(2, "No such file or directory"))
    'cat.jpg: no such file or directory'
    """
    if reason := getattr(error, "strerror", None):
        return f"{path}: {reason[0].lower()}{reason[1:]}"
    return str(error) if str(path) in str(error) else f"{path}: {error}"


def view_of_size(height: int, width: int) -> View:
    """Return the view for networks that were tested on images in memory, of one size.

    Squares of another size are made of other photographs by resizing and cutting out the middle.
    """
    return ResizeCenterCrop(height, height) if height == width else Exactly(height, width)
