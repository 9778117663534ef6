"""Mean teacher: a student agrees, on images without labels, with the average of its own weights.

    loss = loss of labeled images + w(t) * mean over unlabeled images and classes of (p' - p)^2
    w(t) = strength * exp(-5 (1 - t / T)^2) up to step T, strength from then on

p is the student's prediction of one view, p' the teacher's of another. After step t, counted from
1, the teacher keeps a share min(decay, 1 - 1 / t) of its weights; its batch norm has statistics of
its own.

Source: Tarvainen and Valpola, NeurIPS 2017, https://arxiv.org/abs/1703.01780
"""

import math
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semaug.engine.build import Builder
from semaug.errors import check_option
from semaug.methods import Batch, Method, StepOutput, Stream, Supervised, Term, View
from semaug.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class MeanTeacher:
    """A student learns to agree with the average of its weights on images without labels.

    Args:
        strength: Weight of the disagreement after the ramp.
        ramp_percent: Share of all steps in which the weight rises to that, in percent.
        decay: Share of itself that the teacher keeps at each step.
        unlabeled_batch_size: Images without labels in a step.
    """

    strength: float = 10.0
    ramp_percent: float = 40.0
    decay: float = 0.99
    unlabeled_batch_size: int = 64

    def __post_init__(self) -> None:
        check_option("strength", self.strength, self.strength >= 0, ">= 0")
        percent = self.ramp_percent
        check_option("ramp_percent", percent, 0 < percent <= 100, "above 0 and at most 100")
        check_option("decay", self.decay, 0 <= self.decay < 1, "from 0 to below 1")

    def streams(self, recipe: Recipe) -> dict[str, Stream]:
        two_views = (View(), View())
        unlabeled = Stream("unlabeled", batch_size=self.unlabeled_batch_size, views=two_views)
        return {"labeled": Stream(), "unlabeled": unlabeled}

    def build(self, builder: Builder) -> Method:
        ramp_steps = round(self.ramp_percent / 100 * builder.plan.total_steps)
        return StudentAndTeacher(
            *builder.with_loss(), strength=self.strength, ramp_steps=ramp_steps, decay=self.decay
        )


class StudentAndTeacher(Method):
    """A student, trained as by :class:`Supervised`, and the teacher that follows it."""

    def __init__(
        self,
        network: nn.Module,
        loss: nn.Module,
        *,
        strength: float,
        ramp_steps: int,
        decay: float,
    ) -> None:
        super().__init__()
        self.student = Supervised(network, loss)
        self.teacher = deepcopy(network).requires_grad_(False)
        self.strength, self.ramp_steps, self.decay = strength, ramp_steps, decay

    def loss(self, batch: Batch) -> StepOutput:
        output = self.student.loss(batch)
        first, second = batch.unlabeled.images  # views
        probs = self.student.predict(first).softmax(dim=1)
        with torch.no_grad():
            wanted = self.teach(second).softmax(dim=1)
        weight = self.strength * sigmoid_ramp(batch.step, self.ramp_steps)
        disagreement = Term(weight * F.mse_loss(probs, wanted), stream="unlabeled")
        return output._replace(terms={**output.terms, "disagreement": disagreement})

    @torch.no_grad()
    def after_step(self, batch: Batch, output: StepOutput) -> None:
        kept = min(self.decay, 1 - 1 / (batch.step + 1))
        average, weights = self.teacher.parameters(), self.student.network.parameters()
        torch._foreach_lerp_(list(average), list(weights), 1 - kept)

    def teach(self, images: Tensor) -> Tensor:
        """Return the teacher's logits."""
        outputs = self.teacher(images)
        return outputs[0] if isinstance(outputs, tuple) else outputs  # beside its features

    def predictors(self) -> dict[str, Callable[[Tensor], Tensor]]:
        return {"": self.student.predict, "teacher": self.teach}

    def networks(self) -> list[nn.Module]:
        return [self.student.network, self.teacher]


def sigmoid_ramp(step: int, ramp_steps: int) -> float:
    """Rise from exp(-5) at step 0 to 1 at ``ramp_steps``."""
    missing = max(0.0, 1 - step / max(1, ramp_steps))
    return math.exp(-5 * missing**2)
