"""A model in this process: the server's ranking, and nothing of the pipeline imported."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ranker import Ranker, Results
from ranker.errors import BadConfig, BadModel, StageMissing
from ranker.serving.schema import Refusal
from ranker.serving.settings import Bounds, Settings
from tests.ranker.engines.models import tiny
from tests.ranker.serving.running import HOW, in_thread, question

NOT_FOR_RANKING = (
    *("prefect", "mlflow", "sqlalchemy", "duckdb", "fastapi", "flows", "contracts"),
    *("sklearn", "pandas", "datasets", "trl", "great_expectations", "ir_measures"),
)
NOR_OURS = ("ranker.lake", "ranker.stages", "ranker.studies", "ranker.train")
RANKS = """
import sys
from ranker import Ranker
found = Ranker.from_registry(home=sys.argv[1]).rank("a1 a2", ["a1 a3", "a1 a2"])
assert [one.rank for one in found] == [1, 2]
print("\\n".join(sys.modules))
"""


def asked(n: int = 6, seed: int = 0) -> tuple[str, list[str]]:
    given = question(n, seed)
    return given["query"], given["documents"]


def same(one: Results, other: Results) -> bool:
    """What else is in a batch moves a score by little, and no rank here."""
    return [r.id for r in one] == [r.id for r in other] and [r.score for r in one] == pytest.approx(
        [r.score for r in other], abs=1e-3
    )


def test_the_champion_ranks_as_the_server_ranks(champion_home: Path, ranker: Ranker) -> None:
    settings = Settings("models:/r1-ranker@champion", HOW, task="synthetic", bounds=Bounds(8, 2_000, 20_000))
    found = ranker.rank(*asked(), top_k=None)
    with in_thread(champion_home, settings) as server:
        answered = server.post(question(6)).json()
    assert [(one.index, one.score) for one in found] == [
        (result["index"], pytest.approx(result["relevance_score"], abs=1e-3))
        for result in answered["results"]
    ]
    assert (
        (found.model, found.kind, found.strategy)
        == (
            answered["model"],
            answered["meta"]["score"],
            answered["meta"]["strategy"],
        )
        == ("r1-ranker:2", "calibrated", "iterative")
    )
    assert [one.text for one in found] == [asked()[1][one.index] for one in found]


def test_ranking_imports_nothing_of_the_pipeline(champion_home: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", RANKS, str(champion_home)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert not done.returncode, done.stderr
    loaded = set(done.stdout.split())
    assert {"torch", "ranker.serving.schema"} <= loaded, "or nothing was ranked"
    assert not loaded & {*NOT_FOR_RANKING, *NOR_OURS}


def test_a_version_is_named_by_alias_or_number(champion_home: Path, ranker: Ranker) -> None:
    first = Ranker.from_registry(1, home=champion_home, strategy="direct")
    assert (first.name, str(first.how.way)) == ("r1-ranker:1", "direct")
    assert [one.score for one in first.rank(*asked())] != [one.score for one in ranker.rank(*asked())]
    with pytest.raises(StageMissing, match="'shadow'"):
        Ranker.from_registry("shadow", home=champion_home)
    with pytest.raises(BadConfig, match="tracking_uri"):
        Ranker.from_registry(home=champion_home, tracking_uri="file:/somewhere")
    with pytest.raises(BadConfig, match="nonsense"):
        Ranker.from_registry(home=champion_home, task="nonsense")


def test_a_version_whose_folder_is_gone_is_refused(champion_home: Path) -> None:
    folder = champion_home / "models" / "k1"
    folder.rename(folder.with_name("k0"))
    with pytest.raises(BadModel, match=r"config\.json"):
        Ranker.from_registry("challenger", home=champion_home)
    folder.with_name("k0").rename(folder)


def test_many_are_ranked_as_one_by_one(ranker: Ranker) -> None:
    requests = [asked(n, seed) for seed, n in enumerate((5, 1, 3, 8))]
    together = ranker.rank_many(requests, top_k=4)
    assert [len(found) for found in together] == [4, 1, 3, 4]
    assert all(same(found, ranker.rank(*one, top_k=4)) for found, one in zip(together, requests, strict=True))
    assert ranker.rank_many([]) == []


def test_waiting_for_a_ranking_holds_no_loop(ranker: Ranker) -> None:
    requests = [asked(5, seed) for seed in range(4)]

    async def all_of_them() -> tuple[list[Results], list[Results]]:
        apart = [ranker.arank(query, documents) for query, documents in requests]
        together, *single = await asyncio.gather(ranker.arank_many(requests), *apart)
        return together, single

    together, single = asyncio.run(all_of_them())
    for found, other, (query, documents) in zip(together, single, requests, strict=True):
        assert same(found, other) and same(found, ranker.rank(query, documents))


def test_a_folder_is_scored_by_likelihood_unless_it_was_trained_to_write(
    champion_home: Path, ranker: Ranker, tmp_path: Path
) -> None:
    scored = Ranker.from_pretrained(champion_home / "models" / "k2" / "rl")
    assert scored.name == "rl" and same(scored.rank(*asked()), ranker.rank(*asked()))
    assert scored.rank(*asked()).calls == 1
    writer = tiny(tmp_path / "writer", context=512)
    with pytest.raises(BadConfig, match="trained as compact"):
        Ranker.from_pretrained(writer)
    found = Ranker.from_pretrained(writer, strategy="iterative", task="synthetic").rank(*asked(3))
    assert found.kind == "place" and found.calls == 2 and found[2].reasons and not found[0].reasons
    with pytest.raises(BadModel):
        Ranker.from_pretrained(tmp_path / "none")


def test_a_threshold_is_for_probabilities(ranker: Ranker) -> None:
    whole = ranker.rank(*asked())
    between = (whole[1].score + whole[2].score) / 2
    kept = ranker.rank(*asked(), min_score=between)
    assert [one.id for one in kept] == [one.id for one in whole[:2]] and kept.left_out == 4
    with pytest.raises(Refusal, match="probabilities"):
        ranker.rank(*asked(), min_score=between, task="passage-pydoc")


def test_documents_have_ids_of_their_own_or_their_place(ranker: Ranker) -> None:
    found = ranker.rank("a1", [{"text": "a1 a2", "id": "x"}, "a3 a4", {"text": "a5", "id": 7}])
    assert {(one.id, one.index, one.text) for one in found} == {
        ("x", 0, "a1 a2"),
        ("1", 1, "a3 a4"),
        ("7", 2, "a5"),
    }


@pytest.mark.parametrize(
    ("query", "documents", "says"),
    [
        ("", ["a", "b"], "something to rank for"),
        ("a1", [], "documents"),
        ("a1", [{"title": "a"}], "with `text`"),
        ("a1", [{"text": "a", "id": 1}, {"text": "b", "id": 1}], "'1' 2 times"),
        ("a1", ["a"] * 703, "702"),
    ],
)
def test_what_is_no_request_is_refused(ranker: Ranker, query: str, documents: list, says: str) -> None:
    with pytest.raises(Refusal, match=says):
        ranker.rank(query, documents)


def test_the_task_is_the_callers_or_one_that_the_model_was_trained_for(
    ranker: Ranker, champion_home: Path
) -> None:
    assert ranker.rank(*asked()).task == "synthetic"
    assert ranker.rank(*asked(), task="passage-pydoc").task == "passage-pydoc"
    with pytest.raises(BadConfig, match="task of recommendation"):
        ranker.rank(documents=["a1", "a2"], history=["a3"])
    both = Ranker(ranker.engine, ranker.how, tasks=["rec-movie", "passage-pydoc"])
    assert both.rank(documents=["a1", "a2"], history=["a3 (1995)"]).task == "rec-movie"
    assert both.rank("a1", ["a1", "a2"]).task == "passage-pydoc"
    bare = Ranker(ranker.engine, ranker.how)
    assert bare.rank("a1", ["a1", "a2"]).task == "passage-7"
