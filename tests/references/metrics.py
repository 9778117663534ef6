"""Metrics, one label at a time; labels that are no class are passed over."""

import math

from torch import Tensor


def pairs_of(outputs: Tensor, labels: Tensor, ignore_index: int | None = None):
    """List scores (C,) and label of everything that counts."""
    num_classes = outputs.shape[1]
    rows = outputs.movedim(1, -1).reshape(-1, num_classes).tolist()
    return [
        (scores, label)
        for scores, label in zip(rows, labels.flatten().tolist(), strict=True)
        if 0 <= label < num_classes and label != ignore_index
    ]


def top_k_error_by_loops(outputs: Tensor, labels: Tensor, k: int = 1) -> float:
    """Percent of the labels with k or more classes of higher scores."""
    wrong = total = 0
    for scores, label in pairs_of(outputs, labels):
        wrong += sum(score > scores[label] for score in scores) >= k
        total += 1
    return 100 * wrong / total


def errors_by_loops(outputs: Tensor, labels: Tensor) -> list[float | None]:
    """Percent of the labels of each class that are predicted as another one."""
    errors: list[float | None] = []
    for wanted in range(outputs.shape[1]):
        of_class = [scores for scores, label in pairs_of(outputs, labels) if label == wanted]
        wrong = sum(scores.index(max(scores)) != wanted for scores in of_class)
        errors.append(100 * wrong / len(of_class) if of_class else None)
    return errors


def ious_by_loops(
    outputs: Tensor, labels: Tensor, ignore_index: int | None = 255
) -> list[float | None]:
    """Percent that the true and the predicted pixels of each class have in common."""
    pairs = pairs_of(outputs, labels, ignore_index)
    ious: list[float | None] = []
    for wanted in range(outputs.shape[1]):
        true = {n for n, (_, label) in enumerate(pairs) if label == wanted}
        guessed = {n for n, (s, _) in enumerate(pairs) if s.index(max(s)) == wanted}
        ious.append(100 * len(true & guessed) / len(true | guessed) if true | guessed else None)
    return ious


def probabilities(scores: list[float]) -> list[float]:
    """Softmax of one list."""
    terms = [math.exp(score - max(scores)) for score in scores]
    return [term / sum(terms) for term in terms]


def nll_by_loops(outputs: Tensor, labels: Tensor) -> float:
    """Mean of minus the logarithm of the probability of the label."""
    losses = [
        -math.log(probabilities(scores)[label]) for scores, label in pairs_of(outputs, labels)
    ]
    return sum(losses) / len(losses)


def calibration_error_by_loops(outputs: Tensor, labels: Tensor, num_bins: int = 15) -> float:
    """Percent between confidence and accuracy, bin by bin; bins are (b / B, (b + 1) / B]."""
    pairs = [(probabilities(scores), label) for scores, label in pairs_of(outputs, labels)]
    error = 0.0
    for b in range(num_bins):
        inside = [(p, y) for p, y in pairs if b / num_bins < max(p) <= (b + 1) / num_bins]
        right = sum(p.index(max(p)) == y for p, y in inside)
        error += abs(right - sum(max(p) for p, _ in inside))
    return 100 * error / len(pairs)
