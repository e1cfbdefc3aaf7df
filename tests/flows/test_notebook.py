"""docs/notebook.ipynb runs from end to end on the lake of a real retraining."""

from __future__ import annotations

from pathlib import Path

import nbformat
from nbclient import NotebookClient

from flows.retrain import Outcome
from ranker.refs import PROJECT


def test_every_cell_runs_and_shows_something(home: Path, outcome: Outcome, tmp_path: Path) -> None:
    book = nbformat.read(PROJECT / "docs" / "notebook.ipynb", as_version=4)
    nbformat.validate(book)
    assert not [cell for cell in book.cells if cell.get("outputs")], "it is kept without outputs"
    NotebookClient(
        book, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    kinds = [
        {kind for output in cell.outputs for kind in output.get("data", {"stream": ""})}
        for cell in book.cells
        if cell.cell_type == "code"
    ]
    board, chart, worst, calls, ranked, _ = kinds
    assert all("text/html" in shown for shown in (board, worst, calls, ranked))
    assert any("vega" in kind or kind == "text/html" for kind in chart)
