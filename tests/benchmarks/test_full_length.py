"""What `make bench` says of tests at full length is what pytest says of them."""

from __future__ import annotations

from pathlib import Path

from benchmarks import full_length

OWN = """
import os, pytest

@pytest.mark.full_length
@pytest.mark.parametrize("number", [1, 2])
def test_a_case(number):
    assert os.environ["RANKER_FULL_LENGTH"] == "1"

@pytest.mark.full_length
@pytest.mark.parametrize("number", [1, 2])
def test_another(number):
    assert number == 1

@pytest.mark.full_length
def test_left_out():
    pytest.skip("no reason")

def test_unmarked():
    raise AssertionError
"""


def test_a_row_holds_where_every_case_passed(tmp_path: Path) -> None:
    (tmp_path / "test_own.py").write_text(OWN)
    assert full_length.run(tmp_path / "report.xml", str(tmp_path)) == 1
    shown = {row.what: row for row in full_length.rows(tmp_path / "report.xml")}
    assert {what.rpartition(".")[2]: row.holds for what, row in shown.items()} == {
        "test_a_case": True,
        "test_another": False,
        "test_left_out": False,
    }
    assert [row.measured.partition(",")[0] for row in shown.values()] == ["2 cases", "2 cases", "1 case"]
