"""The notebook runs from top to bottom, and its agent has learned."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

NOTEBOOK = Path(__file__).resolve().parent.parent / "examples" / "quick_start.ipynb"


def executed() -> Any:
    """Return the notebook after a run with fewer steps, without the cell that installs packages."""
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    is_install = [cell.metadata.get("tags") == ["install"] for cell in notebook.cells]
    assert is_install.count(True) == 1
    notebook.cells.pop(is_install.index(True))
    for cell in notebook.cells:
        cell.source = cell.source.replace("agent.learn(12_000)", "agent.learn(2_000)")
    client = nbclient.NotebookClient(notebook, timeout=900)
    # a test may have chosen another backend, which shows no pictures
    environment = {name: value for name, value in os.environ.items() if name != "MPLBACKEND"}
    return client.execute(env=environment)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_notebook_trains_an_agent() -> None:
    notebook = executed()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(pictures) == 2
    text = "".join(output.get("text", "") for output in outputs)
    score = re.search(r"return in the simulator: (-?\d+\.\d+)", text)
    assert score is not None
    assert float(score.group(1)) > 1.0, "a random policy earns about 0.1"


def test_the_notebook_is_stored_without_output() -> None:
    nbformat = pytest.importorskip("nbformat")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(not cell.outputs for cell in code)
    assert all(cell.execution_count is None for cell in code)
