"""What networks predict wrongly: classes that are confused, labels in doubt, the worst images."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from semaug.errors import as_user_error
from semaug.keepers import Answers, ClassificationKeeper, MaskKeeper, PictureKeeper
from semaug.report.masks import PicturedImages, masked_images, pictured_images
from semaug.runs.files import read_json
from semaug.runs.kept import read_kept
from semaug.runs.words import printable

MOST_CLASSES = 30  # in the picture of a confusion matrix
_MOST_PAIRS, _MOST_SHOWN = 10, 24

# N test images, n of them, C classes, h and w pixels.


@dataclass(frozen=True, eq=False)
class AnsweredImages:
    """What a run of classification keeps of its last test.

    Args:
        names: Of the N images.
        classes: Names of the classes.
        answers: What was predicted of them.
        pictures: ``(h, w, 3)`` uint8 of some images, by name.
    """

    names: tuple[str, ...]
    classes: tuple[str, ...]
    answers: Answers
    pictures: dict[str, Tensor]


@dataclass(frozen=True, eq=False)
class ShownImage:
    """A test image for people to look at.

    Args:
        name: Of the image.
        label: Its class.
        label_prob: Probability of the label, mean over runs.
        prediction: The class that most runs predict.
        prediction_prob: Its probability, mean over the runs that predict it.
        loss: In nats, mean over runs.
        picture: ``(h, w, 3)`` uint8; None if no run kept it.
    """

    name: str
    label: str
    label_prob: float
    prediction: str
    prediction_prob: float
    loss: float
    picture: Tensor | None


@dataclass(frozen=True, eq=False)
class Confused:
    """Images of a class that are predicted as another one.

    Args:
        label: Their class.
        prediction: The other one.
        count: Summed over runs.
        percent: Of the images of the class.
    """

    label: str
    prediction: str
    count: int
    percent: float


@dataclass(frozen=True, eq=False)
class Mistakes:
    """What the runs of a recipe predict wrongly.

    Args:
        classes: Names of the C classes.
        confusion: ``(C, C)`` int64, images of each class (row) by prediction (column), summed over
            runs.
        num_runs: That tell it.
        num_images: Different ones that they test.
        num_doubted: Images whose label is doubted, of :meth:`semaug.keepers.Answers.doubts`.
        doubtful: Those whose label is doubted most, mean over runs.
        worst: Those with the highest loss among all others, mean over runs.
    """

    classes: tuple[str, ...]
    confusion: Tensor
    num_runs: int
    num_images: int
    num_doubted: int
    doubtful: tuple[ShownImage, ...]
    worst: tuple[ShownImage, ...]

    def confused(self) -> list[Confused]:
        """Return the pairs of classes that are confused most often, at most 10."""
        wrong = self.confusion.clone().fill_diagonal_(0)
        sizes = self.confusion.sum(1).tolist()
        order = wrong.flatten().argsort(descending=True, stable=True)[:_MOST_PAIRS].tolist()
        pairs = [divmod(place, len(self.classes)) for place in order]
        return [
            Confused(self.classes[a], self.classes[b], count, 100 * count / sizes[a])
            for a, b in pairs
            if (count := int(wrong[a, b]))
        ]


_PICTURED = {MaskKeeper.kind: masked_images, PictureKeeper.kind: pictured_images}


def read_tested(path: Path) -> AnsweredImages | PicturedImages | None:
    """Read ``tested.npz`` of a run; None if it holds nothing that a report knows.

    Raises:
        OSError: If it cannot be read.
        UserError: If it is damaged.
    """
    kept = read_kept(path)
    names, classes = printable(kept.names), printable(kept.classes)
    if make := _PICTURED.get(kept.kind):
        with as_user_error(
            f"{path}: left out, for its arrays do not fit: ", LookupError, TypeError, ValueError
        ):
            return make(names, classes, kept.arrays, _colors_beside(path))
    if kept.kind != ClassificationKeeper.kind:
        return None
    found, wanted = kept.arrays, Answers.__dataclass_fields__
    with as_user_error(
        f"{path}: left out, for its arrays do not fit: ", LookupError, TypeError, ValueError
    ):
        table = [found[name] for name in wanted]
        if any(len(own) != len(names) or own.ndim != 1 for own in table) or not names:
            raise ValueError(f"expected one number for each of {len(names)} images")
        answers = Answers(table[0].long(), table[1].long(), table[2].float(), table[3].float())
        ids = torch.cat([answers.labels, answers.predictions])
        if ids.min() < 0 or ids.max() >= len(classes):
            raise ValueError(f"expected classes below {len(classes)}")
        shown, pictures = found.get("shown", torch.zeros(0)), found.get("pictures", torch.zeros(0))
        if len(pictures) and (pictures.ndim, pictures.dtype) != (4, torch.uint8):
            raise ValueError("expected pictures of bytes")
        by_name = {names[k]: own for k, own in zip(shown.tolist(), pictures, strict=True)}
    return AnsweredImages(tuple(names), tuple(classes), answers, by_name)


def _colors_beside(path: Path) -> Any:
    """Return the colors of classes that a run recorded; None if it recorded none."""
    images = path.with_name("images.json")
    facts = read_json(images, "") if images.exists() else {}
    return facts.get("input", {}).get("masks", {}).get("colors")


def gather(runs: Sequence[AnsweredImages]) -> Mistakes | None:
    """Put runs of one recipe together: other seeds, or folds that test other images.

    Args:
        runs: Those of other classes than the first are left out.
    """
    runs = [run for run in runs if run.classes == runs[0].classes]
    if not runs:
        return None
    classes = runs[0].classes
    answers = Answers.joined([run.answers for run in runs])
    places: dict[str, int] = {}
    images = torch.tensor([places.setdefault(x, len(places)) for run in runs for x in run.names])
    names = list(places)
    pictures = {name: picture for run in runs for name, picture in run.pictures.items()}
    losses = _means(-answers.label_log_probs, images)
    doubts = _means(answers.doubts(), images)

    def shown(image: int) -> ShownImage:
        rows = images == image
        told = Answers(*(own[rows] for own in vars(answers).values()))
        prediction = Counter(told.predictions.tolist()).most_common(1)[0][0]
        best = told.prediction_log_probs[told.predictions == prediction]
        return ShownImage(
            names[image],
            classes[int(told.labels[0])],
            float(told.label_log_probs.exp().mean()),
            classes[prediction],
            float(best.exp().mean()),
            float(losses[image]),
            pictures.get(names[image]),
        )

    doubtful, worst = (tuple(map(shown, own.tolist())) for own in _choose_shown(doubts, losses))
    count = len(classes)
    confusion = torch.bincount(answers.labels * count + answers.predictions, minlength=count**2)
    return Mistakes(
        classes=classes,
        confusion=confusion.view(count, count),
        num_runs=len(runs),
        num_images=len(names),
        num_doubted=int((doubts > 0).sum()),
        doubtful=doubtful,
        worst=worst,
    )


def _means(values: Tensor, images: Tensor) -> Tensor:
    """Return the mean of the values of each image, float64."""
    counts = torch.bincount(images)
    totals = torch.zeros(len(counts), dtype=torch.float64)
    return totals.index_add_(0, images, values.double()) / counts


def _choose_shown(doubts: Tensor, losses: Tensor) -> tuple[Tensor, Tensor]:
    """Choose images for people to look at.

    Args:
        doubts: ``(N,)``, see :meth:`semaug.keepers.Answers.doubts`.
        losses: ``(N,)``.

    Returns:
        Places of those whose labels are doubted most, and of those with the highest losses among
        all others; at most 24 each.
    """
    doubtful = doubts.argsort(descending=True, stable=True)[:_MOST_SHOWN]
    doubtful = doubtful[doubts[doubtful] > 0]
    worst = losses.argsort(descending=True, stable=True)
    return doubtful, worst[~torch.isin(worst, doubtful)][:_MOST_SHOWN]
