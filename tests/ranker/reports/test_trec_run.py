"""A run that came with the data goes in, is reranked, and comes out as a run file that trec_eval reads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random

import ir_measures
import pytest

from ranker.config import TASKS, CandidateParams, EvaluateParams, IngestParams
from ranker.engines.scripted import ScriptedEngine
from ranker.errors import BadConfig, StageMissing
from ranker.lake import Lake, open_lake
from ranker.policy.prompts import Prompt
from ranker.refs import Ref
from ranker.reports import trec_run
from ranker.stages import candidates, evaluate, ingest
from tests.ranker.evaluated import trained
from tests.ranker.material import passes

TOWERS = """
name = "towers"
scenario = "passage"
reader = "trec"
pool_size = 30
pools = "given"
wording = "Rank passages."
options = { collection = "docs.tsv", topics = "topics.tsv", qrels = "qrels", run = "run", depth = 30 }
"""
DEPTH = 30


@pytest.fixture(scope="module")
def reranked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Lake, Ref, Path]]:
    """Twelve queries, the first 30 of a run each, reranked by a model that writes half of an order."""
    folder, draw = tmp_path_factory.mktemp("towers"), Random(3)
    (folder / "towers.toml").write_text(TOWERS)
    names = [f"d{n}" for n in range(60)]
    _lines(folder / "docs.tsv", [f"{name}\ttext {name}" for name in names])
    _lines(folder / "topics.tsv", [f"q{n}\tquestion {n}" for n in range(12)])
    ranked = {f"q{n}": draw.sample(names, 40) for n in range(12)}
    _lines(
        folder / "qrels",
        [f"{q} 0 {d} {draw.choice([0, 0, 1, 2])}" for q, own in ranked.items() for d in own[:20]],
    )
    rows = [(q, d, place) for q, own in ranked.items() for place, d in enumerate(own, 1)]
    _lines(folder / "run", [f"{q} Q0 {d} {place} {50.5 - place} bm25" for q, d, place in rows])
    with pytest.MonkeyPatch.context() as patched, open_lake(tmp_path_factory.mktemp("home")) as lake:
        patched.setenv(TASKS, str(folder))
        patched.setattr(evaluate, "load", lambda *_, **__: ScriptedEngine(_untidy))
        source = ingest.run(
            lake, IngestParams(tasks=("towers",), locations={"towers": str(folder)}), check=passes
        )
        params = CandidateParams(test_share=0.5, valid_share=0.0)
        sets = candidates.run(lake, params, source=source, check=passes)
        asked = EvaluateParams(
            bootstrap=100,
            models=("untrained",),
            thinking=(False,),
            strategies=("window:start=retrieved", "direct"),
            parsing="tolerant",
        )
        of = trained(lake, "towers", inputs=(sets.key,))
        done = evaluate.run(lake, asked, sets=sets, traces=of, trained=of, champion=None, check=passes)
        yield lake, done, folder


def _lines(path: Path, lines: list[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines))


def _untidy(prompt: Prompt) -> str:
    best = sorted(prompt.set.candidates, key=lambda one: -one.relevance)[: len(prompt.set) // 2]
    return "<answer> " + " > ".join(one.label for one in best)


WINDOW = trec_run.Chosen(strategy="window:start=retrieved")


def test_the_run_is_the_first_stage_and_its_row_says_so(reranked: tuple[Lake, Ref, Path]) -> None:
    lake, done, folder = reranked
    given = {tuple(line.split()[::2][:2]): float(line.split()[4]) for line in (folder / "run").open()}
    priors = lake.rows(
        "select s.query_id, c.item_id, c.prior from candidates c join candidate_sets s using (set_id)"
    )
    assert priors.height == 12 * DEPTH
    assert all(given[query, item] == prior for query, item, prior in priors.rows())
    arms = lake.rows("select distinct arm from evaluations where batch_id = $key", {"key": done.key})
    assert "first-stage" in arms["arm"].to_list() and "bm25" not in arms["arm"].to_list()


def test_windows_over_the_run_are_counted_and_every_repair_with_them(
    reranked: tuple[Lake, Ref, Path],
) -> None:
    lake, done, _ = reranked
    spent = lake.rows(
        "select calls, prompt_tokens > 0 as read, completion_tokens > 0 as written, invalid_calls"
        " from episodes where batch_id = $key and strategy like 'window%'",
        {"key": done.key},
    )
    assert set(spent.rows()) == {(2, True, True, 0)}, "30 candidates are two windows of 20"
    repairs = lake.rows(
        "select distinct unnest(repairs) as kind from steps where batch_id = $key", {"key": done.key}
    )
    assert set(repairs["kind"]) == {"no_tags", "missing"}


def test_a_run_file_has_six_columns_and_gives_the_lakes_ndcg(
    reranked: tuple[Lake, Ref, Path], tmp_path: Path
) -> None:
    lake, done, folder = reranked
    facts = trec_run.write(lake, done.key, WINDOW, tmp_path / "run.txt")
    rows = [line.split(" ") for line in (tmp_path / "run.txt").read_text().splitlines()]
    assert all(len(row) == 6 and row[1] == "Q0" for row in rows)
    assert facts["rows"] == len(rows) == facts["queries"] * DEPTH
    for query in {row[0] for row in rows}:
        own = [row for row in rows if row[0] == query]
        assert [int(row[3]) for row in own] == list(range(1, DEPTH + 1))
        assert [float(row[4]) for row in own] == sorted((float(row[4]) for row in own), reverse=True)
    pooled = {(row[0], row[2]) for row in rows}
    qrels = [
        one
        for one in ir_measures.read_trec_qrels(str(folder / "qrels"))
        if (one.query_id, one.doc_id) in pooled
    ]
    run = list(ir_measures.read_trec_run(str(tmp_path / "run.txt")))
    found = ir_measures.calc_aggregate([ir_measures.nDCG @ 10], qrels, run)[ir_measures.nDCG @ 10]
    means = lake.rows(
        "select value from evaluations where batch_id = $key and metric = 'nDCG@10' and arm = 'untrained' and"
        " strategy = $how",
        {"key": done.key, "how": WINDOW.strategy},
    )
    assert found == pytest.approx(means["value"].item()) and found > 0.9


def test_a_run_file_holds_one_way_alone(reranked: tuple[Lake, Ref, Path], tmp_path: Path) -> None:
    lake, done, _ = reranked
    with pytest.raises(BadConfig, match=r"2 of .* fit: .*direct no-think; .*window"):
        trec_run.write(lake, done.key, trec_run.Chosen(), tmp_path / "run.txt")
    with pytest.raises(BadConfig, match=r"0 of .* fit: .*direct"):
        trec_run.write(lake, done.key, trec_run.Chosen(arm="rl"), tmp_path / "run.txt")
    with pytest.raises(StageMissing, match="no episode of 'abc'"):
        trec_run.write(lake, "abc", WINDOW, tmp_path / "run.txt")
    assert not list(tmp_path.iterdir())
