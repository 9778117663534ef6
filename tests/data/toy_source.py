"""A data set of a test, under a name."""

from semaug.data import DataSource
from semaug.registry import data_sets


def register(monkeypatch, name, data=None, description="a few images", **facts):
    """Register a set until the end of the test.

    Args:
        monkeypatch: Of pytest.
        name: Name of the set.
        data: What is loaded, or a function of root and workers.
        description: First line of the docstring.
        **facts: Attributes of the class.

    Returns:
        The spec class.
    """

    def load(self, root, workers=None):
        return data(root, workers) if callable(data) else data

    source = type("Toy", (DataSource,), {"__doc__": description, "load": load, **facts})
    monkeypatch.setitem(data_sets._members, name, source)
    return source
