"""Features of any images in a trained network, and the statistics that augmentation draws from."""

import re
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from semaug.covariance import ClassCovariance
from semaug.data import FileSet, ImageSet
from semaug.data.image_set import FilePaths
from semaug.engine.predict import photographs_named
from semaug.engine.trained import Trained
from semaug.errors import UserError
from semaug.losses._strength import Ramped
from semaug.transfer.plots import choose_samples

# N images, C classes, A features.

STRENGTH = 0.5  # of runs whose loss has none; the paper's recommendation
_PLACES = re.compile(r"\d+(-\d+)?(,\d+(-\d+)?)*")
_MOST_ELEMENTS = 2**28  # of full covariances; beyond, the strongest directions are kept


class Outputs(NamedTuple):
    """What a network makes of N images, on its device."""

    logits: Tensor  # (N, C)
    features: Tensor  # (N, A), at least float32
    labels: Tensor  # (N,)


class Statistics(NamedTuple):
    """The normal distributions N(0, strength S_c) of augmentation."""

    estimator: ClassCovariance
    strength: float
    origin: str  # in words


def compute_outputs(
    trained: Trained,
    images: ImageSet | FileSet,
    places: Tensor | None = None,
    predictor: str = "",
    advance: Callable[[int], None] = lambda count: None,
) -> Outputs:
    """Return logits and features of images as the test of the run sees them.

    Args:
        trained: The network.
        images: Of the run, or anybody's photographs.
        places: ``(N,)`` int64, which of them; None is all.
        predictor: Name of the predictor.
        advance: Called with the number of images of each batch.

    Raises:
        OSError: If a file cannot be read.
        UserError: If a file is damaged, there are no images, or the predictor has no features.
    """
    parts = []
    for batch in trained.pixels(images, places):
        parts.append(
            (*compute_batch(trained, trained.prepare(batch.pixels), predictor), batch.labels)
        )
        advance(len(batch.labels))
    if not parts:
        raise UserError(f"{trained.folder}: expected images to look at, got none")
    return Outputs(*(torch.cat(part) for part in zip(*parts, strict=True)))


def compute_batch(trained: Trained, images: Tensor, predictor: str) -> tuple[Tensor, Tensor]:
    """Return logits and features of prepared images.

    Raises:
        UserError: If the predictor has no features of whole images.
    """
    trained.check_predictor(predictor)
    logits, features = trained.predict_with_features(images, predictor)
    if features is None or logits.ndim != 2:
        got = "labels for pixels" if logits.ndim != 2 else "those of several networks together"
        raise UserError(
            f"{trained.folder}: expected predictions of one classifier for whole images to look "
            f"at its features, got {got}"
        )
    return logits, features.to(torch.promote_types(features.dtype, torch.float32))


def images_named(trained: Trained, text: str) -> ImageSet | FileSet:
    """Return the images that a person means.

    Args:
        trained: Of the run.
        text: A photograph, a folder of photographs, a pattern such as ``new/*.jpg``, or places of
            training images of the run, such as ``3,17,40-49``.

    Raises:
        UserError: If there are none.
    """
    if _PLACES.fullmatch(text):
        ends = [part.partition("-") for part in text.split(",")]
        spans = [range(int(first), int(last or first) + 1) for first, _, last in ends]
        places, train = [place for span in spans for place in span], trained.data.train
        if not places or max(places) >= len(train):
            raise UserError(
                f"expected places of training images from 0 to {len(train) - 1}, got {text}"
            )
        return train.subset(torch.tensor(places))
    named, _ = photographs_named(text)
    paths = [path for path, _ in named]
    if not paths:
        raise UserError(
            "expected a photograph, a folder or pattern of photographs, or places of training "
            f"images such as 3,17,40-49, got {text!r}"
        )
    labels = torch.zeros(len(paths), dtype=torch.int64, device=trained.device)
    return FileSet(FilePaths.of("", map(str, paths)), labels, trained.classes)


def name_of_image(trained: Trained, place: int) -> str:
    """Name a training image of a run by its file, or by its place among those of the run."""
    train = trained.data.train
    return str(train.paths[place]) if isinstance(train, FileSet) else f"train {place}"


def loss_of(trained: Trained, predictor: str = "") -> Ramped | None:
    """Return the loss that augments the features of a predictor in training, if one does.

    Of networks that are trained together, each has its own.
    """
    found = [
        module
        for module in trained.method.modules()
        if isinstance(module, Ramped)
        and isinstance(getattr(module, "estimator", None), ClassCovariance)
    ]
    place = [*trained.predictors].index(predictor)
    return found[min(place, len(found) - 1)] if found else None


def statistics_of(
    trained: Trained,
    predictor: str = "",
    *,
    strength: float | None = None,
    estimate: bool = False,
    num_images: int = 5000,
    seed: int = 0,
    advance: Callable[[int], None] = lambda count: None,
) -> Statistics:
    """Return the statistics of the run's loss, or estimate them from features of its images.

    Args:
        trained: The network.
        predictor: Name of the predictor.
        strength: lambda; None is that of the loss now, or 0.5 for a loss without.
        estimate: Whether to estimate though the loss has statistics. Those are of features of the
            whole training, while the network changed; estimated ones are of the network now.
        num_images: Of the training images, evenly from all classes, to estimate from.
        seed: Chooses among the images.
        advance: Called with the number of images of each batch.

    Raises:
        OSError: If a file cannot be read.
        UserError: If a file is damaged, or the predictor has no features.
    """
    trained.check_predictor(predictor)
    loss = loss_of(trained, predictor)
    if strength is None:
        strength = STRENGTH if loss is None else float(loss.current_strength())
    if loss is not None and not estimate:
        return Statistics(loss.estimator, strength, "of the loss of the run")  # type: ignore[arg-type]
    train = trained.data.train
    places = choose_samples(train.labels, seed, num_images)
    seen = compute_outputs(trained, train, places, predictor, advance)
    num_classes, num_features = seen.logits.shape[1], seen.features.shape[1]
    kind = "full" if num_classes * num_features**2 <= _MOST_ELEMENTS else "low_rank"
    estimator = ClassCovariance(num_classes, num_features, kind).to(trained.device)  # type: ignore[arg-type]
    estimator.to(seen.features.dtype).update(seen.features, seen.labels)
    origin = f"estimated from the features of {len(places):,} training images"
    return Statistics(estimator, strength, origin)


def covariance_of(estimator: ClassCovariance, label: int) -> Tensor:
    """Return the covariance ``(A, A)`` of a class in float64, whatever kind it is kept as."""
    form = estimator.form().to(torch.float64)
    basis = torch.eye(estimator.num_features, dtype=torch.float64, device=estimator.mean.device)
    place = torch.tensor([label], device=basis.device)
    with torch.no_grad():
        return form.gram(basis, place, basis)[0]
