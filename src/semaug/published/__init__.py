"""Numbers that the papers publish, to set measured ones beside."""

from semaug.published.numbers import PublishedNumber, find_published, load_published
from semaug.published.vocabulary import METHODS, METRICS, PAPERS

__all__ = [
    "METHODS",
    "METRICS",
    "PAPERS",
    "PublishedNumber",
    "find_published",
    "load_published",
]
