"""Metrics of predictions: errors and accuracies, probabilities, intersections over unions.

A metric counts on the device of the predictions and waits for nothing until its value is wanted.
Counts are integers in buffers, so that the counts of several processes add up exactly; sums of
probabilities and losses are float64.
"""

from semaug.metrics.accuracy import (
    Accuracy,
    AccuracySpec,
    BalancedAccuracy,
    BalancedAccuracySpec,
    Error,
    ErrorSpec,
    Top5ErrorSpec,
    TopKError,
)
from semaug.metrics.metric import ClassMetric, Metric
from semaug.metrics.probabilities import (
    CalibrationError,
    CalibrationErrorSpec,
    NegativeLogLikelihood,
    NegativeLogLikelihoodSpec,
)
from semaug.metrics.segmentation import (
    BoundaryIoU,
    BoundaryIoUSpec,
    ClassAccuracy,
    ClassAccuracySpec,
    MeanIoU,
    MeanIoUSpec,
    PixelAccuracy,
    PixelAccuracySpec,
)

__all__ = [
    "Accuracy",
    "AccuracySpec",
    "BalancedAccuracy",
    "BalancedAccuracySpec",
    "BoundaryIoU",
    "BoundaryIoUSpec",
    "CalibrationError",
    "CalibrationErrorSpec",
    "ClassAccuracy",
    "ClassAccuracySpec",
    "ClassMetric",
    "Error",
    "ErrorSpec",
    "MeanIoU",
    "MeanIoUSpec",
    "Metric",
    "NegativeLogLikelihood",
    "NegativeLogLikelihoodSpec",
    "PixelAccuracy",
    "PixelAccuracySpec",
    "Top5ErrorSpec",
    "TopKError",
]
