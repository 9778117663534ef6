"""Methods: what one training step does.

A :class:`Method` is an ``nn.Module`` that owns its networks and losses, so that one
``state_dict`` holds all it knows. ``loss(batch)`` returns a :class:`StepOutput`; what
``predictors()`` return is tested, and never sees a label.
"""

from semaug.methods.ait import AIT
from semaug.methods.batch import Batch, Samples, StepOutput, Stream, Term, View
from semaug.methods.method import Method, apply_loss, diagnose
from semaug.methods.mutual import Mutual
from semaug.methods.supervised import Supervised

__all__ = [
    "AIT",
    "Batch",
    "Method",
    "Mutual",
    "Samples",
    "StepOutput",
    "Stream",
    "Supervised",
    "Term",
    "View",
    "apply_loss",
    "diagnose",
]
