"""What was found about trained networks, and the file of their run that keeps it."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from semaug.errors import UserError
from semaug.runs.files import read_json, write_json
from semaug.transfer.corruptions import fingerprint
from semaug.transfer.sets import TEST_SETS

__all__ = ["PAIRS", "Corrupted", "Notes", "Transfer"]

PAIRS = tuple(combinations(TEST_SETS, 2))  # as the axis of Fig. 5 has them

_FILE = "transfer.json"
_OF_TEST_SETS = ("accuracies", "divergences", "distances")  # what is kept of each predictor
_OF_CORRUPTED = ("accuracies", "mean")
_REMEDY = "delete it, and semaug transfer writes it anew"


@dataclass(frozen=True)
class Corrupted:
    """Accuracies on corrupted images.

    Args:
        accuracies: In percent, for each corruption one for each severity, the mildest first.
        mean: Over severities and corruptions.
    """

    accuracies: Mapping[str, list[float]]
    mean: float


@dataclass(frozen=True)
class Transfer:
    """How a predictor does on the four test sets.

    Args:
        accuracies: In percent, for each name in :data:`semaug.transfer.TEST_SETS`.
        divergences: Symmetric KL divergence of the predictions for an image in two sets, mean
            over images, for each of ``PAIRS`` under ``"FIRST,SECOND"``.
        distances: Euclidean distance of the features, likewise; None where predictions are
            those of no single classifier.
        corrupted: On the user's corrupted images, if there are any.
    """

    accuracies: Mapping[str, float]
    divergences: Mapping[str, float]
    distances: Mapping[str, float] | None
    corrupted: Corrupted | None = None


class Notes:
    """What ``transfer.json`` holds of the weights that lie beside it.

    Args:
        folder: Of the run.

    Raises:
        UserError: If the file is damaged, here and when something is read.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / _FILE
        self._weights = _sum_of_file(folder / "checkpoint.pt")
        self._content: dict[str, Any] = {}
        if self.path.exists():
            content = read_json(self.path, _REMEDY)
            with self._naming_damage():
                if self._weights is None or content["weights"] == self._weights:
                    self._content = content

    def test_sets(self, seed: int, hue: float) -> dict[str, Transfer] | None:
        """Return what was found on the test sets of this seed and hue, by name of the predictor."""
        with self._naming_damage():
            found = self._content.get("test_sets", {}).get(_key(seed, hue))
            if found is None:
                return None
            return {
                predictor: Transfer(*(one[name] for name in _OF_TEST_SETS))
                for predictor, one in found["predictors"].items()
            }

    def add_test_sets(
        self, seed: int, hue: float, found: Mapping[str, Transfer], images: str
    ) -> None:
        """Keep what was found on them, with the sum of the original images."""
        plain = {"images": images, "predictors": _plain(found, _OF_TEST_SETS)}
        self._content.setdefault("test_sets", {})[_key(seed, hue)] = plain
        self._write()

    def corrupted(self, folder: Path) -> dict[str, Corrupted] | None:
        """Return what was found on corrupted images, if they have not changed since."""
        with self._naming_damage():
            found = self._content.get("corrupted", {}).get(str(folder.resolve()))
            if found is None or not folder.is_dir() or found["files"] != fingerprint(folder):
                return None
            return {
                predictor: Corrupted(*(one[name] for name in _OF_CORRUPTED))
                for predictor, one in found["predictors"].items()
            }

    def add_corrupted(self, folder: Path, found: Mapping[str, Corrupted]) -> None:
        """Keep what was found on them."""
        plain = {"files": fingerprint(folder), "predictors": _plain(found, _OF_CORRUPTED)}
        self._content.setdefault("corrupted", {})[str(folder.resolve())] = plain
        self._write()

    def _write(self) -> None:
        write_json(self.path, {"weights": self._weights, **self._content})

    @contextmanager
    def _naming_damage(self) -> Iterator[None]:
        try:
            yield
        except (AttributeError, KeyError, TypeError) as error:
            raise UserError(
                f"{self.path}: expected what semaug transfer writes, got a damaged file ({error}); "
                f"{_REMEDY}"
            ) from error


def _plain(found: Mapping[str, object], names: Sequence[str]) -> dict[str, Any]:
    return {key: {name: getattr(one, name) for name in names} for key, one in found.items()}


def _key(seed: int, hue: float) -> str:
    return f"seed={seed},hue={float(hue)!r}"


def _sum_of_file(path: Path) -> str | None:
    if not path.exists():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
