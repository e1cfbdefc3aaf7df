"""Tables in Markdown."""

from __future__ import annotations

from ranker.reports.markdown import table


def test_a_table_has_a_head_and_numbers_one_can_read() -> None:
    text = table(["what", "n"], [("rows", 12345), ("share", 0.5), ("holds", True)])
    assert text.splitlines() == [
        "| what | n |",
        "| --- | --- |",
        "| rows | 12,345 |",
        "| share | 0.5 |",
        "| holds | True |",
    ]


def test_no_cell_breaks_its_table() -> None:
    (_, _, row) = table(["a"], [["x|y\nz"]]).splitlines()
    assert row == "| x\\|y z |"
