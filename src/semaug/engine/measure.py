"""Measure predictions on test images. Predictors see images here and never a label."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from semaug.engine.evaluation import Evaluator, Predict
from semaug.keepers import Keeper
from semaug.methods import Samples
from semaug.metrics import Metric


@dataclass(frozen=True)
class Tested:
    """What was counted of each predictor.

    Args:
        metrics: By name of the predictor, the main metric first.
    """

    metrics: Mapping[str, Sequence[Metric]]

    def merged(
        self, sum_over_processes: Callable[[Tensor], Tensor], classes: Sequence[str]
    ) -> tuple[dict[str, dict[str, float]], dict[str, float] | None]:
        """Return the values of all metrics, and the main one by class. All processes must call it.

        Args:
            sum_over_processes: Sums a tensor over processes.
            classes: Their names.
        """
        results = {}
        for predictor, metrics in self.metrics.items():
            for metric in metrics:
                metric.merge(sum_over_processes)
            results[predictor] = {metric.name: metric.compute() for metric in metrics}
        values = self.metrics[""][0].by_class()
        if values is None:
            return results, None
        named = zip(classes, values, strict=True)
        return results, {name: value for name, value in named if value is not None}


@torch.no_grad()
def measure(
    predict: Predict,
    evaluator: Evaluator,
    batches: Iterable[Samples],
    make_metrics: Callable[[], Sequence[Metric]],
    predictors: Iterable[str],
    stop: Callable[[], bool] = lambda: False,
    keeper: Keeper | None = None,
) -> Tested:
    """Measure the predictions of each predictor. No accelerator is waited for.

    Args:
        predict: Maps images ``(N, 3, H, W)`` to outputs by name of the predictor, in evaluation
            mode.
        evaluator: How images are shown to it, such as :class:`semaug.engine.evaluation.Whole`.
        batches: Images as the networks take them, with their labels.
        make_metrics: Makes what is measured of one predictor, on the device.
        predictors: Their names.
        stop: Asked after each batch; if it says so, the count so far is returned.
        keeper: Keeps something of single images, of what the main predictor says.
    """
    metrics = {name: make_metrics() for name in predictors}
    for samples in batches:
        labels = samples.wanted
        size = (labels.shape[1], labels.shape[2]) if labels.ndim > 1 else None
        for name, outputs in evaluator(predict, samples.images, size).items():
            for metric in metrics[name]:
                metric.update(outputs, labels)
            if keeper is not None and name == "":
                assert samples.positions is not None, "images of a test have places"
                keeper.update(outputs, labels, samples.positions)
        if stop():
            break
    return Tested(metrics)
