"""Streaming statistics of features for each class, and what losses make of them.

One kind of covariance per file, each with how it is kept and what losses can ask of it.
"""

from semaug.covariance.estimator import KINDS, ClassCovariance, Kind
from semaug.covariance.quadratic_form import quadratic_form

__all__ = ["KINDS", "ClassCovariance", "Kind", "quadratic_form"]
