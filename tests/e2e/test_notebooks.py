"""Every notebook of the examples runs from top to bottom, in a folder of its own."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

EXAMPLES = Path(__file__).parents[2] / "examples"
NOTEBOOKS = sorted(EXAMPLES.rglob("*.ipynb"))


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.relative_to(EXAMPLES).as_posix())
def test_the_notebook_runs(notebook, tmp_path):
    document = nbformat.read(notebook, as_version=4)
    NotebookClient(document, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.relative_to(EXAMPLES).as_posix())
def test_the_notebook_is_kept_without_output(notebook):
    document = nbformat.read(notebook, as_version=4)
    nbformat.validate(document)
    code = [cell for cell in document.cells if cell.cell_type == "code"]
    assert code
    assert all(not cell.outputs and cell.execution_count is None for cell in code)
