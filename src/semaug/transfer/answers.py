"""The predictions of a network on the images of several test sets, counted and compared.

Source: Chen et al., *Augmentation Invariant Training*, ICCV Workshops 2019, section 4.5
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from semaug.transfer.result import PAIRS, Transfer
from semaug.transfer.sets import TEST_SETS

# N images, n of a batch, C classes, A features.

Answers = tuple[Tensor, Tensor | None]  # logits (n, C) and features (n, A)

_NAMES = list(TEST_SETS)
_FIRST, _SECOND = ([_NAMES.index(pair[k]) for pair in PAIRS] for k in (0, 1))


class Sums:
    """The results of one predictor on the test sets, summed over images."""

    def __init__(self) -> None:
        self.num_images = 0
        self.correct = torch.zeros(len(_NAMES), dtype=torch.int64)
        self.divergences = torch.zeros(len(PAIRS), dtype=torch.float64)
        self.distances: Tensor | None = torch.zeros(len(PAIRS), dtype=torch.float64)

    def add(self, answers: Mapping[str, Answers], labels: Tensor) -> None:
        """Add a batch.

        Args:
            answers: For each test set, what the predictor makes of its images.
            labels: ``(n,)`` int64, on any device.
        """
        self.num_images += len(labels)
        logits = torch.stack([answers[name][0] for name in _NAMES])
        self.correct += count_correct(logits, labels).cpu()
        self.divergences += symmetric_divergence(logits[_FIRST], logits[_SECOND]).sum(1).cpu()
        known = [own for name in _NAMES if (own := answers[name][1]) is not None]
        if self.distances is None or len(known) < len(_NAMES):
            self.distances = None
            return
        features = torch.stack(known).double().flatten(2)
        self.distances += (features[_FIRST] - features[_SECOND]).norm(dim=2).sum(1).cpu()

    def means(self) -> Transfer:
        """Return what that is for an image."""
        names = [",".join(pair) for pair in PAIRS]

        def mean(keys: list[str], sums: Tensor) -> dict[str, float]:
            return dict(zip(keys, (sums.double() / self.num_images).tolist(), strict=True))

        return Transfer(
            mean(_NAMES, 100 * self.correct),
            mean(names, self.divergences),
            None if self.distances is None else mean(names, self.distances),
        )


def symmetric_divergence(first: Tensor, second: Tensor) -> Tensor:
    """Return ``KL(p1 || p2) + KL(p2 || p1)`` of the predictions for each image, Eq. (1) of AIT.

    Args:
        first: Logits ``(..., N, C)``.
        second: Logits ``(..., N, C)``.

    Returns:
        ``(..., N)`` float64, never negative.

    >>> import torch
    >>> symmetric_divergence(torch.tensor([[0.0, 0.0]]), torch.tensor([[0.0, 0.0]])).item()
    0.0
    """
    log_first, log_second = first.double().log_softmax(-1), second.double().log_softmax(-1)
    # Both factors of a term have the same sign, so that nothing cancels.
    return ((log_first.exp() - log_second.exp()) * (log_first - log_second)).sum(-1)


def count_correct(logits: Tensor, labels: Tensor) -> Tensor:
    """Count the images whose highest logit is that of their class.

    Args:
        logits: ``(..., n, C)``.
        labels: ``(n,)`` int64, on any device.

    Returns:
        ``(...)`` int64.
    """
    return (logits.argmax(dim=-1) == labels.to(logits.device)).sum(-1)
