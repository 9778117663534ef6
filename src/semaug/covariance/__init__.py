"""Streaming statistics of features for each class, and what losses make of them.

One kind of covariance per file, each with how it is kept and what losses ask of it. The words
that all files share:

- Kind: what is assumed of the covariance of a class, by name: ``"full"``, ``"diagonal"``, ...
- State: the tensors of an estimator by name: means, and what the kind keeps. Buffers, all but the
  factors of ``"learned"``.
- KindState: how a kind creates its part of the state, adds a batch to it, and merges two states.
- Form: the covariances as a loss sees them: tensors of the state with functions of the weight of
  a classifier, such as the variance of each logit difference. A view, valid until the next update.
- Rows: the classes that a batch needs, as the rows of a small table, and the row of each sample.
  What depends on the class alone is computed for each row, not for each sample.
- Samples: the features of a batch that count, of all processes: finite, and of no ignored label.
- Scatter: what samples add to the covariances: features less their class mean, scaled such that
  one product X^T X for each class is the whole update.
- Drift: the part of a scatter that is due to the move of the class mean.
"""

from semaug.covariance.estimator import KINDS, ClassCovariance, Kind
from semaug.covariance.quadratic_form import quadratic_form

__all__ = ["KINDS", "ClassCovariance", "Kind", "quadratic_form"]
