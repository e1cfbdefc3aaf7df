"""Files that travel with the package."""

from __future__ import annotations

from ranker.resources import shipped, sql_folder


def test_what_is_shipped_is_there() -> None:
    assert shipped("presets", "tiny.toml").is_file() and shipped("tasks", "synthetic.toml").is_file()
    assert not shipped("presets", "none.toml").exists()


def test_sql_lies_inside_the_package_or_beside_it() -> None:
    assert sql_folder() in (shipped("sql"), shipped().parent / "sql")
    assert list((sql_folder() / "migrations").glob("*.sql"))
