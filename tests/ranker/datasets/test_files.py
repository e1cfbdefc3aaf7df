"""Files as readers take them: every fault is one BadSource with file and row."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from ranker.config import Task
from ranker.datasets import files
from ranker.errors import BadConfig, BadSource

TASK = Task(name="own", scenario="passage", reader="trec", pool_size=2, wording="Rank.")


def written(folder: Path, data: bytes, name: str = "x.txt") -> Path:
    (folder / name).write_bytes(data)
    return folder / name


def test_a_table_counts_rows_as_an_editor_does(tmp_path: Path) -> None:
    table = files.table(written(tmp_path, b"a|b\r\n\n1|2\r\n3|4"), "|", header=["a"])
    assert table.rows() == [(3, "1", "2"), (4, "3", "4")] and table.columns == ["row", "a", "b"]


@pytest.mark.parametrize(
    ("data", "says"), [(b"a|c\n1|2", "row 1: a, c"), (b"a|b\n1|2\n3", "row 3: 3"), (b"a|b\n", "nothing else")]
)
def test_a_table_that_is_none_is_named(tmp_path: Path, data: bytes, says: str) -> None:
    with pytest.raises(BadSource) as caught:
        files.table(written(tmp_path, data), "|", header=["a", "b"])
    assert says in caught.value.seen


def test_lines_of_json_say_which_row_they_are(tmp_path: Path) -> None:
    lines = files.json_lines(written(tmp_path, b'{"a": 1.50}\n\n[2]\n'))
    assert next(lines) == (1, {"a": "1.50"})
    with pytest.raises(BadSource, match="row 3"):
        next(lines)


def test_the_first_wrong_row_is_shown_and_the_others_counted(tmp_path: Path) -> None:
    rows = pl.DataFrame({"row": [1, 2, 3], "grade": ["1", "x", "1e9"]})
    with pytest.raises(BadSource, match=r"row 2: x \(and 1 more rows: 3\)"):
        files.number(tmp_path / "f", rows, "grade", 0, 10, "mend it")
    numbers = files.number(tmp_path / "f", rows.head(1), "grade", 0, 10, "mend it")
    assert numbers["grade"].to_list() == [1.0]


def test_an_id_is_given_and_given_once(tmp_path: Path) -> None:
    rows = pl.DataFrame({"row": [1, 2, 3], "item_id": ["a", "b", "a"]})
    files.unique(tmp_path / "f", rows.head(2), "item_id")
    with pytest.raises(BadSource, match="row 3: a again, first in row 1"):
        files.unique(tmp_path / "f", rows, "item_id")
    with pytest.raises(BadSource, match="an empty field"):
        files.unique(tmp_path / "f", rows.with_columns(item_id=pl.lit(" ")), "item_id")


def test_queries_that_read_alike_are_one_group() -> None:
    queries = pl.DataFrame({"query_id": ["1", "2", "3"], "text": ["Why not?", "what", " why  NOT? "]})
    assert queries.select(files.one_group())["group_id"].to_list() == ["1", "2", "1"]


@pytest.mark.parametrize("value", [1, True, "2"])
def test_an_option_has_the_kind_of_its_default(value: object) -> None:
    task = TASK.model_copy(update={"options": {"weight": value}})
    if value is not True and isinstance(value, int):
        assert files.options(task, {"weight": 0.5}) == {"weight": 1}
    else:
        with pytest.raises(BadConfig, match="must be a float"):
            files.options(task, {"weight": 0.5})


def test_a_folder_holds_one_file_of_a_kind(tmp_path: Path) -> None:
    one = written(tmp_path, b"x")
    assert files.file_in(TASK, tmp_path, "*.txt") == files.file_in(TASK, one, "*.txt") == one
    written(tmp_path, b"y", "y.txt")
    with pytest.raises(BadSource, match=r"2 in .*: x\.txt, y\.txt"):
        files.file_in(TASK, tmp_path, "*.txt")


def test_the_digest_is_of_names_and_bytes_and_not_of_the_place(tmp_path: Path) -> None:
    here, there = tmp_path / "a", tmp_path / "b"
    here.mkdir()
    there.mkdir()
    one = files.files_digest([written(here, b"x")])
    assert one == files.files_digest([written(there, b"x")])
    assert one != files.files_digest([written(there, b"x", "y.txt")])
    assert one != files.files_digest([written(there, b"y")])


def test_a_packed_file_stands_for_the_plain_one_which_comes_first(tmp_path: Path) -> None:
    packed = written(tmp_path, b"x", "q[1].txt.gz")
    assert files.files_in(tmp_path, "*.txt") == files.files_in(tmp_path, "q[1].txt") == [packed]
    plain = written(tmp_path, b"x", "q[1].txt")
    assert files.file_in(TASK, tmp_path, "*.txt") == plain


@pytest.mark.parametrize("pattern", ["", "/*", "**x"])
def test_a_pattern_that_is_none_is_refused(tmp_path: Path, pattern: str) -> None:
    with pytest.raises((BadConfig, BadSource)) as caught:
        files.file_in(TASK, tmp_path, pattern)
    assert caught.value.remedy


def test_a_row_of_separators_is_no_blank_line(tmp_path: Path) -> None:
    assert files.table(written(tmp_path, b"a\tb\n\t\n \n1\t2"), "\t").rows() == [(2, "", ""), (4, "1", "2")]


def test_fields_may_be_quoted_where_the_format_has_it(tmp_path: Path) -> None:
    path = written(tmp_path, b'a\tb\r\n"x\ty"\t"1 ""2"""\r\nz"\t3\r\n')
    assert files.table(path, "\t", quoted=True).rows() == [(2, "x\ty", '1 "2"'), (3, 'z"', "3")]
    for broken, row in ((b'a\n"b\nc\n', 3), (b'a\n"b"c\n', 2)):
        with pytest.raises(BadSource, match=rf"must be CSV\n.*row {row}: "):
            files.table(written(tmp_path, broken), "\t", quoted=True)


def test_json_that_is_too_deep_is_refused_with_its_row(tmp_path: Path) -> None:
    deep = b"[" * 100_000
    with pytest.raises(BadSource, match="row 2"):
        list(files.json_lines(written(tmp_path, b"{}\n" + deep)))
    with pytest.raises(BadSource, match="nested too deep"):
        files.json_value(written(tmp_path, deep), "mend it")


@pytest.mark.parametrize("value", [[0], [5, 0], [0, 11], ["a", "b"], [0, True], []])
def test_a_range_of_ratings_is_one(value: list[object]) -> None:
    with pytest.raises(BadConfig, match="within 0 to 10"):
        files.rating_range(TASK.model_copy(update={"options": {"rating_range": value}}), (0, 5))


def test_an_option_to_refuse_may_leave_out_and_nothing_else() -> None:
    def chosen(value: str) -> object:
        return files.options(
            TASK.model_copy(update={"options": {"repeats": value}}), {"repeats": files.REFUSE}
        )

    assert chosen(files.LEAVE_OUT) == {"repeats": "leave out"}
    with pytest.raises(BadConfig, match="'refuse' or 'leave out'"):
        chosen("drop")
