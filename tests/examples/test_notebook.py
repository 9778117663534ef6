"""The notebook of the examples is executed from top to bottom."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[2] / "examples" / "digits.ipynb"


@pytest.mark.full  # seven short runs in a process of their own
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the Jupyter packages
def test_the_notebook_trains_compares_and_draws():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    found = {cell.id: cell.outputs for cell in notebook.cells if cell.cell_type == "code"}
    assert "ISDA - baseline: " in found["compare"][0].text
    assert " % after" in found["finetune"][0].text
    assert "image/png" in found["directions"][-1].data
