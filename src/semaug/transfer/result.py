"""What was found about trained networks, and the file of their run that keeps it."""

import hashlib
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, TypeVar

from semaug.errors import as_user_error
from semaug.runs.files import read_json, write_json
from semaug.transfer.sets import TEST_SETS

T = TypeVar("T")

PAIRS = tuple(combinations(TEST_SETS, 2))  # as the axis of Fig. 5 has them

_FILE = "transfer.json"
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

    def read(self, part: str, key: str, kind: type[T], **of: str) -> dict[str, T] | None:
        """Return what was found, by name of the predictor; None if it was not looked for.

        Args:
            part: ``"test_sets"`` or ``"corrupted"``.
            key: Which of them.
            kind: What was found of a predictor.
            **of: What must be as it was.
        """
        with self._naming_damage():
            found = self._content.get(part, {}).get(key)
            if found is None or any(found[name] != value for name, value in of.items()):
                return None
            return {name: kind(**one) for name, one in found["predictors"].items()}

    def add(self, part: str, key: str, found: Mapping[str, object], **of: str) -> None:
        """Keep what was found; see :meth:`read`."""
        plain = {
            predictor: {name: value for name, value in vars(one).items() if name != "corrupted"}
            for predictor, one in found.items()
        }
        self._content.setdefault(part, {})[key] = {**of, "predictors": plain}
        write_json(self.path, {"weights": self._weights, **self._content})

    def _naming_damage(self) -> AbstractContextManager[None]:
        context = f"{self.path}: expected what semaug transfer writes; {_REMEDY}: "
        return as_user_error(context, AttributeError, KeyError, TypeError)


def _sum_of_file(path: Path) -> str | None:
    if not path.exists():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
