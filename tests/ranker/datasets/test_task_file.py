"""Task files that are written from tables: they parse, and what they say reads the tables."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from ranker.config import Task, task_names
from ranker.datasets import readers
from ranker.datasets.guess import guess
from ranker.datasets.task_file import preset_file, task_file
from ranker.policy.likelihood import Template
from tests.ranker.datasets.test_guess import WHERE, written


def task_of(text: str) -> Task:
    return Task(**tomllib.loads(text))


@pytest.mark.parametrize("case", WHERE)
def test_a_written_task_reads_its_tables_and_says_how_the_model_is_asked(tmp_path: Path, case: str) -> None:
    scenario, files, _ = WHERE[case]
    found = guess(scenario, written(tmp_path, files), {})
    if case == "a shop":
        (tmp_path / "orders.csv").write_text(
            (tmp_path / "orders.csv").read_text().replace(";5;", ";2024-05-31;")
        )
    task = task_of(task_file("own", found).text)
    bundle = readers.read(task, tmp_path)
    assert bundle.items.height == 1 and bundle.rows_read == 1 and not bundle.left_out
    assert isinstance(task.likelihood, Template) and task.location == str(tmp_path)


def test_what_the_reader_would_refuse_is_left_out_by_an_option_and_said(tmp_path: Path) -> None:
    paths = written(
        tmp_path,
        {
            "p.csv": "user,item,time,rating\nu,1,2,80\nu,1,3,9\nu,2,4,1\nv,3,1717113600000,1\n",
            "i.csv": "item,title\n1,One\n2,Two\n",
        },
    )
    made = task_file("own", guess("recommendation", paths, {}), "Songs")
    task = task_of(made.text)
    assert task.options["repeats"] == task.options["unknown_items"] == "leave out"
    assert task.options["time_unit"] == "ms" and "rating" not in task.options["columns"]["interactions"]
    assert len(made.notes) == 3 and "Songs that one person liked" in made.text
    assert sum(readers.read(task, tmp_path).left_out.values()) == 2


def test_judgements_of_what_is_not_there_are_left_out_and_pools_are_given_where_each_query_has_several(
    tmp_path: Path,
) -> None:
    rows = "".join(f"q{q},d{d},{int(d == q)}\n" for q in range(3) for d in range(3))
    files = {
        "d.csv": "doc_id,text\n" + "".join(f"d{d},text {d}\n" for d in range(3)),
        "q.csv": "query_id,question\n" + "".join(f"q{q},why {q}\n" for q in range(3)),
        "j.csv": f"query_id,doc_id,label\n{rows}q0,d9,1\nq9,d0,1\n",
    }
    task = task_of(task_file("own", guess("passage", written(tmp_path, files), {})).text)
    assert task.options["unknown_documents"] == task.options["unknown_queries"] == "leave out"
    assert task.pools == "given" and task.pool_size == 3
    assert readers.read(task, tmp_path).qrels.height == 9


def test_any_name_and_text_is_quoted(tmp_path: Path) -> None:
    paths = written(tmp_path / 'a "b" \\ é', {"p.csv": 'user,"it""em\\"\nu,1\n'})
    found = guess("recommendation", paths, {"item_id": 'it"em\\'})
    task = task_of(task_file("own", found, 'Böö "ks"').text)
    assert readers.read(task, paths[0].parent).items["item_id"].to_list() == ["1"]
    assert task.location == str(paths[0].parent)


def test_the_preset_is_one_of_the_defaults_shortened() -> None:
    given = tomllib.loads(preset_file("own"))
    assert given["ingest"]["tasks"] == ["own"] and given["preset"] == "smollm2"
    assert "own" not in task_names()
