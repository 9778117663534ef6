"""Mean teacher: a student is to agree with the average of its own weights.

    L_host = host_weight * mean over images and classes of (p_student - p_teacher)^2
    w_teacher <- a w_teacher + (1 - a) w_student    with a = min(decay, 1 - 1 / (t + 1))

after step t, counted from 1. Student and teacher see views of their own, both with dropout and in
training mode: the teacher's batch norm has running statistics of its own, from its own passes. It
begins as a copy of the student, takes no gradient, and is the main network of the test.

Source: Tarvainen and Valpola, NeurIPS 2017, https://arxiv.org/abs/1703.01780
"""

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from semaug.errors import check_option
from semaug.losses._arguments import at_least_float32
from semaug.methods.batch import Batch, StepOutput, View
from semaug.methods.semi_supervised import (
    Agreement,
    SemiSupervised,
    SemiSupervisedMethod,
    Unlabeled,
    squared_difference,
)
from semaug.registry import methods

__all__ = ["MeanTeacher", "MeanTeacherMethod"]


class MeanTeacher(SemiSupervised):
    """A student, and a teacher that follows it.

    Args:
        network: The student, as of :class:`SemiSupervised`.
        loss: Likewise.
        teacher_decay: Share of itself that the teacher keeps at each step.
        decay_in_ramp: The same while the ramp rises; None is ``teacher_decay``.
        **options: Of :class:`SemiSupervised`.
    """

    def __init__(
        self,
        network: nn.Module,
        loss: nn.Module,
        *,
        teacher_decay: float = 0.999,
        decay_in_ramp: float | None = None,
        **options: Any,
    ) -> None:
        super().__init__(network, loss, **options)
        self.teacher = deepcopy(self.network).requires_grad_(False)
        self.teacher_decay = teacher_decay
        self.decay_in_ramp = teacher_decay if decay_in_ramp is None else decay_in_ramp

    def agree(self, seen: Unlabeled) -> Agreement:
        """Compare the student's prediction of one view with the teacher's of another."""
        with torch.no_grad():
            target = at_least_float32(self.teach(seen.views[1])).softmax(dim=1)
        value = self.host_weight * squared_difference(seen.probs, target).mean()
        return Agreement({"consistency": value}, target=target)

    @torch.no_grad()
    def after_step(self, batch: Batch, output: StepOutput) -> None:
        """Move the teacher's weights towards the student's."""
        decay = self.decay_in_ramp if batch.step < self.ramp_steps else self.teacher_decay
        kept = min(decay, 1 - 1 / (int(batch.step) + 2))
        average, weights = self.teacher.parameters(), self.network.parameters()
        torch._foreach_lerp_(list(average), list(weights), 1 - kept)

    def teach(self, images: Tensor) -> Tensor:
        """Return the teacher's logits ``(N, C)``."""
        outputs = self.teacher(images)
        logits: Tensor = outputs[0] if self.needs_features else outputs
        return logits

    def predictors(self) -> dict[str, Callable[[Tensor], Tensor]]:
        """Return the teacher, and the student beside it."""
        return {"": self.teach, "student": self.predict}

    def networks(self) -> Sequence[nn.Module]:
        """Return both."""
        return [self.network, self.teacher]


@methods.register("mean_teacher")
@dataclass(frozen=True, kw_only=True)
class MeanTeacherMethod(SemiSupervisedMethod):
    """Mean teacher: a student is to agree with the average of its weights, which is tested.

    Args:
        teacher_decay: Share of itself that the teacher keeps at each step.
        decay_in_ramp: The same while the ramp rises; None is ``teacher_decay``.
    """

    host_weight: float = 100.0
    teacher_decay: float = 0.999
    decay_in_ramp: float | None = None

    host = MeanTeacher

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("teacher_decay", "decay_in_ramp"):
            value = getattr(self, name)
            check_option(name, value, value is None or 0 <= value < 1, "from 0 to below 1")

    def views(self, recipe: Any) -> tuple[View, ...]:
        """Return a view for the student and one for the teacher."""
        return (View(), View())

    def own_options(self, builder: Any) -> dict[str, Any]:
        """Return what else the host takes."""
        return {"teacher_decay": self.teacher_decay, "decay_in_ramp": self.decay_in_ramp}
