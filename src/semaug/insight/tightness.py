"""How tight the bound of ISDA is over the training: the expected loss, and what bounds it.

    cross-entropy <= expected loss <= bound

The expected loss over augmented features is estimated by :func:`semaug.expected_loss`, the bound is
:func:`semaug.isda_loss`. At each moment that the run kept, all three are of the same training
images, augmented alike, with equal standard normal draws. Statistics and strength are those of that
moment, and nothing changes them. As a control, the bound is computed once more with covariances
that are 1.5 times too large: what cannot tell that gap from the true one tells nothing.

Source: Wang et al., T-PAMI 2021, https://arxiv.org/abs/2007.10538, section 6.5.2, Fig. 9
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from semaug._torch.batch_norm import running_statistics_kept
from semaug.engine.trained import Trained
from semaug.errors import UserError
from semaug.insight.features import STRENGTH, Statistics, compute_batch, loss_of, statistics_of
from semaug.losses import expected_loss, isda_loss
from semaug.transfer.plots import choose_samples

# N images, C classes.

Mode = Literal["train", "eval"]
CONTROL = 1.5  # factor on the covariances in the bound of the control
ERRORS = 3.0  # standard errors that an order may be violated by


@dataclass(frozen=True)
class Values:
    """Three losses in nats, means over some images.

    Args:
        images: How many.
        cross_entropy: Without augmentation.
        expected: Over augmented features, by Monte Carlo.
        standard_error: Of ``expected``.
        bound: The loss of ISDA.
        control: The same with covariances 1.5 times as large.
    """

    images: int
    cross_entropy: float
    expected: float
    standard_error: float
    bound: float
    control: float

    @property
    def gap(self) -> float:
        """What the bound lies above the expected loss."""
        return self.bound - self.expected

    @property
    def relative_gap(self) -> float | None:
        """The gap over the expected loss; None where that is 0."""
        return self.gap / self.expected if self.expected > 0 else None

    @property
    def holds(self) -> bool:
        """Whether the three are in order, within three standard errors and rounding."""
        error = ERRORS * self.standard_error + 1e-9 * abs(self.bound)
        return self.cross_entropy <= self.expected + error and self.expected <= self.bound + error

    def plain(self) -> dict[str, Any]:
        """Return plain data."""
        gaps = {name: getattr(self, name) for name in ("gap", "relative_gap", "holds")}
        return {**asdict(self), **gaps, "control_gap": self.control - self.expected}


@dataclass(frozen=True)
class Moment:
    """A moment of training.

    Args:
        epoch: Epochs done.
        strength: lambda then.
        values: Of all images.
        by_class: Of those of each class, by its name.
    """

    epoch: int
    strength: float
    values: Values
    by_class: Mapping[str, Values]


@dataclass(frozen=True)
class Tightness:
    """What was measured of a run.

    Args:
        label: Of the run.
        mode: Of the network: ``"train"``, with the batch norm and dropout of training, or
            ``"eval"``.
        num_samples: Draws for each image.
        origin: Where statistics are from, in words.
        moments: In order.
    """

    label: str
    mode: Mode
    num_samples: int
    origin: str
    moments: tuple[Moment, ...]

    def plain(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "run": self.label,
            "mode": self.mode,
            "draws": self.num_samples,
            "statistics": self.origin,
            "control_factor": CONTROL,
            "moments": [
                {
                    "epoch": one.epoch,
                    "strength": one.strength,
                    **one.values.plain(),
                    "by_class": {name: own.plain() for name, own in one.by_class.items()},
                }
                for one in self.moments
            ],
        }


def measure_tightness(
    trained: Trained,
    *,
    num_images: int = 1000,
    num_samples: int = 1000,
    mode: Mode = "train",
    predictor: str = "",
    strength: float | None = None,
    estimate: bool = False,
    seed: int = 0,
    advance: Callable[[int], None] = lambda count: None,
) -> Tightness:
    """Measure the three losses at each moment that a run kept, and at its end.

    Args:
        trained: The run; ``keep_checkpoints`` in training keeps moments.
        num_images: N, of the labeled training images, evenly from all classes.
        num_samples: M, draws for each image, even and at least 4.
        mode: Of the network. In ``"train"`` the batches are of the size that the run trained with.
        predictor: Name of the predictor.
        strength: At the end of the training, from where it falls in proportion to the epochs
            before; None is what the loss had at each moment, or for a loss without, 0.5.
        estimate: See :func:`semaug.insight.statistics_of`; then it is done anew at each moment.
        seed: Chooses images and draws.
        advance: Called with the number of images of each batch.

    Raises:
        OSError: If a file cannot be read.
        UserError: If a checkpoint or a file is damaged, the images have no labels, or the
            predictor has no features.
        ValueError: If a number is out of range, or the mode unknown.
    """
    if mode not in get_args(Mode):
        raise ValueError(f"measure_tightness: expected `mode` train or eval, got {mode!r}")
    train, last = trained.data.train, trained.builder.plan.epochs
    stream = trained.streams.streams.get("labeled")
    if stream is None or train.labels.ndim > 1:
        raise UserError(f"tightness: {trained.folder}: expected a label for each training image")
    places = choose_samples(train.labels, seed, num_images)
    places = places[torch.randperm(len(places), generator=torch.Generator().manual_seed(seed))]
    moments, origin = [], ""
    kept = trained.run.kept_epochs
    for epoch in [*kept, *([] if last in kept else [last])]:
        moment = trained.after_epoch(epoch if epoch in kept else None)
        whole = strength
        if whole is None and loss_of(moment, predictor) is None:
            whole = STRENGTH
        given = None if whole is None else whole * epoch / last
        found = statistics_of(
            moment, predictor, strength=given, estimate=estimate, seed=seed, advance=advance
        )
        origin = found.origin
        parts = []
        with _in_mode(moment, mode, seed):
            for number, own in enumerate(places.chunk(-(-len(places) // stream.plan.batch_size))):
                samples = stream.at_once(trained.run.seed, [(0, own)])
                images = samples.images[0] if samples.images.ndim == 5 else samples.images
                logits, _ = compute_batch(moment, images, predictor)
                weight = moment.classifier_weight(predictor)
                generator = torch.Generator(weight.device).manual_seed(1000 * seed + number)
                parts.append(_losses(logits, samples.labels, weight, found, num_samples, generator))
                advance(len(own))
        labels = train.labels[places.to(train.labels.device)].cpu()
        moments.append(_summed(epoch, found.strength, torch.cat(parts, 1), labels, train.classes))
    return Tightness(trained.label, mode, num_samples, origin, tuple(moments))


@contextmanager
def _in_mode(trained: Trained, mode: Mode, seed: int) -> Iterator[None]:
    """Let passes be those of a mode, and leave no trace."""
    method = trained.method
    with torch.random.fork_rng(), running_statistics_kept(method):
        torch.manual_seed(seed)  # of dropout
        method.train(mode == "train")
        try:
            yield
        finally:
            method.eval()


def _losses(
    logits: Tensor,
    labels: Any,
    weight: Tensor,
    statistics: Statistics,
    num_samples: int,
    generator: torch.Generator,
) -> Tensor:
    """Return the numbers of :class:`Values` for each image, ``(5, n)`` float64 on the CPU."""
    logits, weight = logits.double(), weight.double()
    arguments = logits, labels, weight, statistics.estimator
    told = expected_loss(
        *arguments,
        strength=statistics.strength,
        num_samples=num_samples,
        reduction="none",
        generator=generator,
    )
    bound, control = (
        isda_loss(*arguments, strength=factor * statistics.strength, reduction="none")
        for factor in (1, CONTROL)
    )
    clean = F.cross_entropy(logits, labels, reduction="none")
    rows = clean, told.mean, told.standard_error, bound.detach(), control.detach()
    return torch.stack(rows).cpu()


def _summed(
    epoch: int, strength: float, losses: Tensor, labels: Tensor, classes: tuple[str, ...]
) -> Moment:
    def values(own: Tensor) -> Values:
        means = own.mean(dim=1).tolist()
        means[2] = float(own[2].norm()) / own.shape[1]  # draws of images are independent
        return Values(own.shape[1], *means)

    present = labels.unique().tolist()
    by_class = {classes[label]: values(losses[:, labels == label]) for label in present}
    return Moment(epoch, strength, values(losses), by_class)
