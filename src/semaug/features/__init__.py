"""Reach the features and the classifier of any model: :func:`with_features`, :func:`attach`."""

from semaug.features.reach import WithFeatures, attach, with_features

__all__ = ["WithFeatures", "attach", "with_features"]
