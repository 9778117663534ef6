"""Methods: what one training step does.

A method is an ``nn.Module`` that owns its networks and losses, so that one ``state_dict``
holds all it knows, and has two functions: ``loss(batch)`` returns a :class:`StepOutput`,
``predict(images)`` returns logits and never sees a label.
"""

from semaug.methods.batch import Batch, StepOutput
from semaug.methods.supervised import Supervised

__all__ = ["Batch", "StepOutput", "Supervised"]
