"""What a predictor answers to the same images in several test sets, counted and compared.

Source: Chen et al., *Augmentation Invariant Training*, ICCV Workshops 2019, section 4.5
"""

from collections.abc import Mapping

from torch import Tensor

from semaug.transfer.result import PAIRS, Transfer
from semaug.transfer.sets import TEST_SETS

# N images, n of a batch, C classes, A features.

Answers = tuple[Tensor, Tensor | None]  # logits (n, C) and features (n, A)


class Sums:
    """The results of one predictor on the test sets, summed over images."""

    def __init__(self) -> None:
        self.num_images = 0
        self.correct = dict.fromkeys(TEST_SETS, 0)
        self.divergences = dict.fromkeys(PAIRS, 0.0)
        self.distances: dict[tuple[str, str], float] | None = dict.fromkeys(PAIRS, 0.0)

    def add(self, answers: Mapping[str, Answers], labels: Tensor) -> None:
        """Add a batch.

        Args:
            answers: For each test set, what the predictor makes of its images.
            labels: ``(n,)`` int64, on any device.
        """
        self.num_images += len(labels)
        for name, (logits, _) in answers.items():
            self.correct[name] += count_correct(logits, labels)
        for first, second in PAIRS:
            (logits, features), (other_logits, other_features) = answers[first], answers[second]
            both = symmetric_divergence(logits, other_logits)
            self.divergences[first, second] += float(both.sum())
            if features is None or other_features is None:
                self.distances = None
            elif self.distances is not None:
                distance = (features.double() - other_features.double()).flatten(1).norm(dim=1)
                self.distances[first, second] += float(distance.sum())

    def means(self) -> Transfer:
        """Return what that is for an image."""
        return Transfer(
            {name: 100 * count / self.num_images for name, count in self.correct.items()},
            _means(self.divergences, self.num_images),
            None if self.distances is None else _means(self.distances, self.num_images),
        )


def symmetric_divergence(first: Tensor, second: Tensor) -> Tensor:
    """Return ``KL(p1 || p2) + KL(p2 || p1)`` of the predictions for each image, Eq. (1) of AIT.

    Args:
        first: Logits ``(N, C)``.
        second: Logits ``(N, C)``.

    Returns:
        ``(N,)`` float64, never negative.

    >>> import torch
    >>> symmetric_divergence(torch.tensor([[0.0, 0.0]]), torch.tensor([[0.0, 0.0]])).item()
    0.0
    """
    log_first, log_second = first.double().log_softmax(1), second.double().log_softmax(1)
    # Both factors of a term have the same sign, so that nothing cancels.
    return ((log_first.exp() - log_second.exp()) * (log_first - log_second)).sum(1)


def count_correct(logits: Tensor, labels: Tensor) -> int:
    """Count the images whose highest logit is that of their class.

    Args:
        logits: ``(n, C)``.
        labels: ``(n,)`` int64, on any device.
    """
    return int((logits.argmax(dim=1) == labels.to(logits.device)).sum())


def _means(sums: Mapping[tuple[str, str], float], count: int) -> dict[str, float]:
    return {",".join(pair): total / count for pair, total in sums.items()}
