"""Methods: what one training step does.

A :class:`Method` is an ``nn.Module`` that owns its networks and losses, so that one
``state_dict`` holds all it knows. ``loss(batch)`` returns a :class:`StepOutput`; what
``predictors()`` return is tested, and never sees a label.
"""

from semaug.methods.ait import AIT
from semaug.methods.batch import Batch, Samples, StepOutput, Stream, Term, View
from semaug.methods.fixmatch import FixMatch
from semaug.methods.mean_teacher import MeanTeacher
from semaug.methods.method import Method, apply_loss, diagnose
from semaug.methods.mutual import Mutual
from semaug.methods.pi_model import PiModel
from semaug.methods.segmentation import Segmentation
from semaug.methods.semi_supervised import SemiSupervised
from semaug.methods.supervised import Supervised
from semaug.methods.temporal_ensembling import TemporalEnsembling
from semaug.methods.vat import VAT

__all__ = [
    "AIT",
    "VAT",
    "Batch",
    "FixMatch",
    "MeanTeacher",
    "Method",
    "Mutual",
    "PiModel",
    "Samples",
    "Segmentation",
    "SemiSupervised",
    "StepOutput",
    "Stream",
    "Supervised",
    "TemporalEnsembling",
    "Term",
    "View",
    "apply_loss",
    "diagnose",
]
