"""Semi-supervised learning: what its methods share.

    loss = L_labeled + eta2 * ramp(t) * L_host + eta1 * L_unlabeled                        (19)
    ramp(t) = exp(-5 (1 - t / T)^2) up to step T, 1 from then on

The host is a method such as mean teacher; L_labeled is cross-entropy or ISDA, L_unlabeled what
``unlabeled_loss`` names, such as ISDA without labels (Proposition 2). Every term is a mean over
the images of its stream; a squared difference of predictions is a mean over classes too.

Labeled and unlabeled images pass through the network together, so that features are normalized
alike where statistics are estimated and where they are used. Statistics of ISDA see the labeled
images of that pass only. What else a host passes through the network leaves the running
statistics of batch norm as they are.

Source: Wang et al., T-PAMI 2021, section 5, https://arxiv.org/abs/2007.10538; the ramp is that of
Laine and Aila, ICLR 2017, https://arxiv.org/abs/1610.02242
"""

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semaug._torch.draws import normal_draws, places_in_batch
from semaug.errors import as_recipe_error, check_option
from semaug.losses import isda_diagnostics
from semaug.losses._arguments import at_least_float32
from semaug.methods.batch import Batch, StepOutput, Stream, Term, View
from semaug.methods.supervised import Supervised
from semaug.registry import choice, unlabeled_losses

__all__ = ["Agreement", "SemiSupervised", "SemiSupervisedMethod", "Unlabeled", "sigmoid_ramp"]

# V views, N unlabeled images, C classes, A features; J views pass with the labeled images.


class Unlabeled(NamedTuple):
    """What a host sees of the unlabeled images of a step."""

    views: Tensor  # (V, N, 3, H, W)
    logits: Tensor  # (J, N, C) of the first views, at least float32
    positions: Tensor  # (N,)
    step: int | Tensor

    @property
    def probs(self) -> Tensor:
        """Predictions for the first view, ``(N, C)``."""
        return self.logits[0].softmax(dim=1)


class Agreement(NamedTuple):
    """What a host makes of it."""

    terms: Mapping[str, Tensor]  # scalars, means over the N images, weighted
    target: Tensor | None = None  # (N, C), what predictions are to agree with; zeros: not known
    mask: Tensor | None = None  # (N,), 1 for images that count in the unlabeled loss, else 0
    logs: Mapping[str, Tensor] = {}  # scalars, means over the N images
    kept: Any = None  # for `after_step`


class SemiSupervised(Supervised):
    """A network, its loss of labeled images, and what it learns from others.

    A host is a subclass with :meth:`agree`.

    Args:
        network: As of :class:`Supervised`.
        loss: Of labeled images, likewise.
        host_weight: Weight of the host's terms in its paper.
        ramp_steps: Steps in which it grows; 0 is none.
        eta2: Factor on the host.
        unlabeled_loss: Called as ``(logits, features, weight, target, mask)`` with what the labeled
            loss takes of the unlabeled images; None is none.
        input_noise: Standard deviation of noise added to each picture.
        seed: Of all draws by image.
        example_images: As of :class:`Supervised`.

    Raises:
        ValueError: If the loss needs features and the classifier cannot be found.
    """

    joint_views: ClassVar[int] = 1  # views that pass with the labeled images, J

    def __init__(
        self,
        network: nn.Module,
        loss: nn.Module,
        *,
        host_weight: float = 1.0,
        ramp_steps: int = 0,
        eta2: float = 1.0,
        unlabeled_loss: nn.Module | None = None,
        input_noise: float = 0.0,
        seed: int = 0,
        example_images: Tensor | None = None,
    ) -> None:
        super().__init__(network, loss, example_images)
        self.host_weight, self.ramp_steps, self.eta2 = host_weight, ramp_steps, eta2
        self.unlabeled_loss = unlabeled_loss
        self.input_noise, self.seed = input_noise, seed

    @abstractmethod
    def agree(self, seen: Unlabeled) -> Agreement:
        """Return the terms of the host, in training mode with all side effects."""

    def loss(self, batch: Batch) -> StepOutput:
        """Compute all terms of a step, in training mode with all side effects.

        Args:
            batch: Of streams ``labeled``, one view, and ``unlabeled``, of one or more views.
        """
        samples, unlabeled, step = batch.labeled, batch.unlabeled, batch.step
        views = unlabeled.images if unlabeled.images.ndim == 5 else unlabeled.images.unsqueeze(0)
        positions = places_in_batch(unlabeled.positions, views.shape[1], views.device)
        images = samples.images
        if self.input_noise:
            own_positions = places_in_batch(samples.positions, len(images), images.device)
            images = self._noisy(images, own_positions, step, purpose=1)
            noisy = [self._noisy(view, positions, step, k) for k, view in enumerate(views, 2)]
            views = torch.stack(noisy)

        own, others = self._forward(images, views[: self.joint_views])
        weight: list[Any] = [self.network.weight] if self.needs_features else []
        supervised = self.criterion(
            own[0], samples.wanted, *own[1:], *weight, **self.loss_arguments(samples)
        )
        seen = Unlabeled(views, at_least_float32(others[0]), positions, step)
        agreement = self.agree(seen)
        scale = self.eta2 * sigmoid_ramp(step, self.ramp_steps)
        terms = {"labeled": Term(supervised)}
        for name, value in agreement.terms.items():
            terms[name] = Term(scale.to(value.dtype) * value, "unlabeled")
        if self.unlabeled_loss is not None:
            # Of the last view, which learns from the others: the strong one of FixMatch.
            rest = [others[1][-1], *weight] if weight else [None, None]
            value = self.unlabeled_loss(seen.logits[-1], *rest, agreement.target, agreement.mask)
            terms["unlabeled"] = Term(value, "unlabeled")
        return StepOutput(
            terms,
            {"labeled": own[0], "unlabeled": seen.logits[0].detach()},
            {k: Term(v, "unlabeled") for k, v in {**_confidence(seen), **agreement.logs}.items()},
            agreement.kept,
        )

    def _forward(self, images: Tensor, views: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Pass labeled images and views of others together; return logits, and features if wanted.

        Those of the labeled images ``(L, C)`` and ``(L, A)``, and of the views ``(J, N, C)`` and
        ``(J, N, A)``.
        """
        outputs = self.network(torch.cat([images, *views]))
        parts = [
            output.split([len(images), len(output) - len(images)])
            for output in (outputs if self.needs_features else (outputs,))
        ]
        own, others = zip(*parts, strict=True)
        return [*own], [other.unflatten(0, (len(views), -1)) for other in others]

    def diagnostics(self, sample: Callable[[], Batch]) -> dict[str, Tensor]:
        """Return what ISDA does to labeled images, and to unlabeled ones by their predictions."""
        found = super().diagnostics(sample)
        if "mean_penalty" not in found:
            return found
        images = sample().unlabeled.images
        logits = self.predict(images[0] if images.ndim == 5 else images)
        weight, estimator = self.network.weight, self.criterion.estimator
        labels = logits.argmax(dim=1)
        told = isda_diagnostics(logits, labels, weight, estimator, found["strength"])  # type: ignore[arg-type]
        return {**found, "unlabeled_penalty": told["mean_penalty"]}

    def _noisy(self, images: Tensor, positions: Tensor, step: int | Tensor, purpose: int) -> Tensor:
        draws = normal_draws(images, positions, step, 1000 * self.seed + purpose)
        return images + self.input_noise * draws


@torch.no_grad()
def _confidence(seen: Unlabeled) -> dict[str, Tensor]:
    """Return mean confidence and entropy of predictions of unlabeled images."""
    probs, log_probs = seen.probs, F.log_softmax(seen.logits[0], dim=1)
    return {
        "confidence": probs.amax(dim=1).mean(),
        "entropy": -(probs * log_probs).sum(dim=1).mean(),
    }


def sigmoid_ramp(step: int | Tensor, num_steps: int) -> Tensor:
    """Rise from exp(-5) at step 0 to 1 at ``num_steps``; 1 throughout if that is 0.

    >>> [round(float(sigmoid_ramp(step, 10)), 4) for step in (0, 5, 10, 20)]
    [0.0067, 0.2865, 1.0, 1.0]
    """
    step = torch.as_tensor(step, dtype=torch.float64)
    missing = (1 - step / num_steps).clamp(min=0) if num_steps else torch.zeros_like(step)
    return torch.exp(-5 * missing**2)


def squared_difference(probs: Tensor, target: Tensor) -> Tensor:
    """Return the mean over classes of squared differences, ``(N,)``."""
    return (probs - target).square().mean(dim=1)


@dataclass(frozen=True, kw_only=True)
class SemiSupervisedMethod:
    """What the specs of all hosts share.

    Args:
        unlabeled_batch_size: Images without labels in a step, whose epochs the run counts; None is
            as many as labeled ones.
        host_weight: Weight of the host's terms in its paper, where terms are means over images,
            and squared differences over classes too.
        ramp_percent: Share of all steps in which it grows, in percent; 0 is none.
        eta2: Factor on the host, of Eq. (19) of ISDA.
        unlabeled_loss: Loss of unlabeled images beside the host: none or semantic_consistency.
        input_noise: Standard deviation of Gaussian noise added to each training picture.

    Raises:
        UserError: If a number is out of range.
    """

    unlabeled_batch_size: int | None = None
    host_weight: float = 1.0
    ramp_percent: float = 25.0  # of Verma et al., IJCAI 2019, whose settings the ISDA paper takes
    eta2: float = 1.0
    unlabeled_loss: Any = choice(unlabeled_losses, "none")
    input_noise: float = 0.0

    host: ClassVar[type[SemiSupervised]]
    passes: ClassVar[int | None] = None  # through the network, where it is not one a view

    def __post_init__(self) -> None:
        size = self.unlabeled_batch_size
        check_option("unlabeled_batch_size", size, size is None or size >= 1, ">= 1 or none")
        for name in ("host_weight", "eta2", "input_noise"):
            value = getattr(self, name)
            check_option(name, value, 0 <= value < math.inf, ">= 0")
        percent = self.ramp_percent
        check_option("ramp_percent", percent, 0 <= percent <= 100, "from 0 to 100")

    def views(self, recipe: Any) -> tuple[View, ...]:
        """Return how each unlabeled image is shown."""
        return (View(),)

    def streams(self, recipe: Any) -> dict[str, Stream]:
        """Return unlabeled images, whose epochs count, and labeled ones, which cycle."""
        size = self.unlabeled_batch_size
        unlabeled = Stream("unlabeled", size, self.views(recipe), self.passes)
        return {"unlabeled": unlabeled, "labeled": Stream()}

    def build(self, builder: Any) -> SemiSupervised:
        """Build the network of the recipe, its loss, and the host around them."""
        network, loss = builder.with_loss()
        with as_recipe_error():
            unlabeled_loss = self.unlabeled_loss.build(loss)
        return self.host(
            network,
            loss,
            host_weight=self.host_weight,
            ramp_steps=round(self.ramp_percent / 100 * builder.plan.total_steps),
            eta2=self.eta2,
            unlabeled_loss=unlabeled_loss,
            input_noise=self.input_noise,
            seed=builder.seed,
            **self.own_options(builder),
        )

    def own_options(self, builder: Any) -> dict[str, Any]:
        """Return what the host takes beside what all take."""
        return {}
