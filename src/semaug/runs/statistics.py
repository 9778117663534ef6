"""Mean, spread and the paired difference of a few runs."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Literal

FEWEST_PAIRS = 3  # for a verdict: the interval of two is far too wide, or narrow by chance


@dataclass(frozen=True)
class PairedDifference:
    """Mean of ``second - first`` over pairs, with its 95 % confidence interval.

    Args:
        mean: Of the differences.
        low: Lower end of the interval; None with one pair, or if all differences are equal.
        high: Upper end, likewise.
        pairs: How many.
        std: Standard deviation of the differences; None with one pair.
    """

    mean: float
    low: float | None
    high: float | None
    pairs: int
    std: float | None = None

    @property
    def shows(self) -> Literal["too few pairs", "no spread", "no difference", "a difference"]:
        """What can be said of it: a verdict takes :data:`FEWEST_PAIRS` pairs and an interval.

        >>> PairedDifference(-1.0, -1.2, -0.8, pairs=2).shows
        'too few pairs'
        """
        if self.pairs < FEWEST_PAIRS:
            return "too few pairs"
        if self.low is None or self.high is None:
            return "no spread"
        return "no difference" if self.low <= 0 <= self.high else "a difference"

    def __str__(self) -> str:
        if self.low is None or self.high is None:
            return f"{self.mean:+.2f}"
        return f"{self.mean:+.2f} ({self.low:+.2f} to {self.high:+.2f})"


def mean_and_spread(values: Sequence[float]) -> tuple[float, float | None]:
    """Return mean and standard deviation (of n - 1); None for the latter of one value.

    >>> mean_and_spread([1.0, 3.0])
    (2.0, 1.4142135623730951)
    """
    return mean(values), stdev(values) if len(values) > 1 else None


def mean_of_known(values: Iterable[float | None]) -> float | None:
    """Return the mean of the numbers that are not None; None if there are none.

    >>> mean_of_known([1.0, None, 3.0]), mean_of_known([None])
    (2.0, None)
    """
    known = [value for value in values if value is not None]
    return mean(known) if known else None


def with_spread(values: Sequence[float], digits: int = 2) -> str:
    """Write the mean of numbers and, of several, their standard deviation.

    Args:
        values: At least one.
        digits: Behind the point.

    >>> with_spread([1.0, 3.0]), with_spread([2.0])
    ('2.00 ± 1.41', '2.00')
    """
    center, spread = mean_and_spread(values)
    known = [number for number in (center, spread) if number is not None]
    return " ± ".join(f"{number:.{digits}f}" for number in known)


def paired_difference(
    first: Sequence[float], second: Sequence[float], overlap: float = 0.0
) -> PairedDifference:
    """Compare two arms that share their seeds, pair by pair.

    Args:
        first: One number for each seed.
        second: The same seeds in the same order.
        overlap: Test images over training images, if the pairs are folds: these share training
            images, and their plain interval would be too narrow (Nadeau and Bengio, 2003,
            https://doi.org/10.1023/A:1024068626366, section 5.1).

    Raises:
        ValueError: If the lengths differ, or there is no pair.

    >>> difference = paired_difference([2.0, 3.0, 4.0], [1.0, 2.0, 2.0])
    >>> round(difference.mean, 2), round(difference.low, 2), round(difference.high, 2)
    (-1.33, -2.77, 0.1)
    """
    if len(first) != len(second) or not first:
        raise ValueError(
            f"paired_difference: expected as many in `first` as in `second`, and at least one, "
            f"got {len(first)} and {len(second)}"
        )
    differences = [b - a for a, b in zip(first, second, strict=True)]
    center, spread = mean_and_spread(differences)
    pairs = len(differences)
    # Equal differences, but for rounding, tell nothing about their spread: an interval of
    # no width would claim certainty that a few runs cannot give.
    if spread is None or spread <= 1e-9 * max(map(abs, [*first, *second])):
        return PairedDifference(center, None, None, pairs, spread)
    from scipy.stats import t  # slow to import, and needed at the end of a comparison only

    half = float(t.ppf(0.975, pairs - 1)) * spread * math.sqrt(1 / pairs + overlap)
    return PairedDifference(center, center - half, center + half, pairs, spread)


def pairs_to_detect(size: float, std: float, overlap: float = 0.0) -> int | None:
    """Return how many pairs show a difference in four of five studies, at the level of 95 %.

    Args:
        size: Of the true difference.
        std: Standard deviation of the differences of pairs.
        overlap: As in :func:`paired_difference`. The interval never gets narrower than it says.

    Returns:
        None if no number of pairs does, or more than 10,000.

    Raises:
        ValueError: If a number is not positive.

    >>> pairs_to_detect(0.5, std=0.7), pairs_to_detect(0.5, std=0.7, overlap=0.25)
    (18, None)
    """
    if min(size, std) <= 0:
        raise ValueError(
            f"pairs_to_detect: expected `size` > 0 and `std` > 0, got {size} and {std}"
        )
    from scipy.stats import nct, t

    pairs = 2
    while pairs <= 10_000:
        # The interval is wider by this than for independent pairs, and the mean no less certain.
        wider = math.sqrt(1 + pairs * overlap)
        limit, shift = wider * float(t.ppf(0.975, pairs - 1)), size / std * math.sqrt(pairs)
        missed = nct.cdf(limit, pairs - 1, shift) - nct.cdf(-limit, pairs - 1, shift)
        if missed <= 0.2:
            return pairs
        pairs += 1 + pairs // 100
    return None
