"""A run of a first stage, ranked again, as ir-measures reads it."""

from __future__ import annotations

from pathlib import Path

import ir_measures
import pytest

from ranker import Ranker
from ranker.adapters import trec
from ranker.errors import BadSource
from tests.ranker.serving.running import question

QUERIES = {f"q{seed}": question(5, seed)["query"] for seed in range(18)}
TEXTS = {
    f"{query}-d{i}": text
    for seed, query in enumerate(QUERIES)
    for i, text in enumerate(question(5, seed)["documents"])
}


def test_a_run_comes_back_in_the_rankers_order(ranker: Ranker, tmp_path: Path) -> None:
    first = [
        ir_measures.ScoredDoc(query, f"{query}-d{i}", float(9 - i)) for i in range(5) for query in QUERIES
    ]
    trec.write(tmp_path / "again.run", trec.rerank(ranker, first, QUERIES, TEXTS, depth=4), tag="mine")
    lines = [line.split() for line in (tmp_path / "again.run").read_text().splitlines()]
    assert len(lines) == 4 * len(QUERIES) and lines[0][1::2] == ["Q0", "1", "mine"]
    again = list(ir_measures.read_trec_run(str(tmp_path / "again.run")))
    for query, text in QUERIES.items():
        pool = [f"{query}-d{i}" for i in range(4)]
        found = ranker.rank(text, [TEXTS[one] for one in pool])
        order = sorted((one for one in again if one.query_id == query), key=lambda one: -one.score)
        assert [one.doc_id for one in order] == [pool[one.index] for one in found]
    best = [ir_measures.Qrel(query, lines[4 * i][2], 1) for i, query in enumerate(sorted(QUERIES))]
    assert ir_measures.calc_aggregate([ir_measures.RR], best, again)[ir_measures.RR] == pytest.approx(1)


def test_what_the_run_names_and_nobody_knows_is_named(ranker: Ranker) -> None:
    run = [ir_measures.ScoredDoc("q0", "q0-d0", 1.0), ir_measures.ScoredDoc("q0", "d99", 0.5)]
    with pytest.raises(BadSource, match="'d99'"):
        list(trec.rerank(ranker, run, QUERIES, TEXTS))
    with pytest.raises(BadSource, match="'q0'"):
        list(trec.rerank(ranker, run, {}, TEXTS))
