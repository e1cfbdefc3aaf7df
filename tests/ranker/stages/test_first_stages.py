"""First stages of an evaluation: rows where a parameter asks for them, scores kept whole, and encoders that
must not be compared.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from contracts.gate import validate_batch
from ranker.config import CandidateParams, DistillParams, EvaluateParams, IngestParams, PolicyParams
from ranker.engines import MANIFEST
from ranker.engines.scripted import ScriptedEngine
from ranker.errors import BadModel, Leaked
from ranker.lake import Lake, open_lake
from ranker.lake.candidate_sets import load_sets
from ranker.refs import Ref
from ranker.stages import candidates, distill, evaluate, first_stages, ingest
from ranker.studies.scores import read
from tests.contracts.road import sources
from tests.contracts.road import train as trained_on
from tests.ranker.engines.models import sentence_encoder
from tests.ranker.factories import adversary
from tests.ranker.material import passes

ENCODER = "models/encoder"
PARAMS = EvaluateParams(
    models=("rl",), strategies=("direct",), thinking=(False,), max_queries=8, bootstrap=100
)
FIRST = PARAMS.model_copy(update={"dense_model": ENCODER, "mf_factors": 4})


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Lake, Ref]]:
    """A lake with candidate sets of passages and films, and an encoder beside it."""
    with open_lake(tmp_path_factory.mktemp("home")) as lake:
        where = sources(tmp_path_factory.mktemp("files"))
        tasks = ("passage-pydoc", "rec-movie")
        given = IngestParams(tasks=tasks, locations={name: where[name] for name in tasks})
        source = ingest.run(lake, given, check=passes)
        sentence_encoder(lake.home / ENCODER)
        yield lake, candidates.run(lake, CandidateParams(history=4), source=source, check=passes)


def scores(lake: Lake, params: EvaluateParams, sets: Ref) -> pl.DataFrame:
    test = load_sets(lake, sets.key, split="test", limit=params.max_queries)
    return first_stages.scores(lake, params, sets, test, print)


def test_an_evaluation_has_their_rows_and_keeps_their_scores(
    ready: tuple[Lake, Ref], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate, "load", lambda *_, **__: ScriptedEngine(adversary))
    lake, sets = ready
    traces = distill.run(lake, DistillParams(traces=60), sets=sets, policy=PolicyParams(), check=passes)
    done = evaluate.run(
        lake,
        FIRST,
        sets=sets,
        traces=traces,
        trained=trained_on(lake, sets, traces),
        champion=None,
        check=validate_batch,
    )
    rows = lake.rows(
        "select task, arm, value, queries from evaluations where batch_id = $key and metric = 'RR' and arm in"
        " ('dense', 'mf') order by task",
        {"key": done.key},
    )
    assert rows.select("task", "arm", "queries").rows() == [
        ("passage-pydoc", "dense", 8),
        ("rec-movie", "mf", 8),
    ]
    pairs = lake.rows(
        "select distinct task, against from comparisons where batch_id = $key and arm = 'rl'",
        {"key": done.key},
    )
    assert {("passage-pydoc", "dense"), ("rec-movie", "mf")} <= set(pairs.rows())
    monkeypatch.delattr(first_stages, "load_encoder")
    again = read(lake, sets.key, traces.key, done.key, FIRST.max_queries)
    means = dict(again.group_by("model").agg(pl.col("rr").mean()).iter_rows())
    for arm, value in rows.select("arm", "value").iter_rows():
        assert means[arm] == pytest.approx(value), "a study reads the scores, and asks no encoder"


def test_scores_are_of_whole_pools_of_the_scenario_and_none_where_nothing_is_asked(
    ready: tuple[Lake, Ref],
) -> None:
    lake, sets = ready
    found = scores(lake, FIRST, sets)
    test = load_sets(lake, sets.key, split="test", limit=FIRST.max_queries)
    assert found.height == sum(len(given) for given in test)
    assert set(found["teacher"]) == {"dense", "mf"} and np.isfinite(found["score"].to_numpy()).all()
    assert scores(lake, PARAMS, sets).is_empty() and first_stages.identity(lake.home, PARAMS, sets) == {}


def test_other_weights_are_another_evaluation(ready: tuple[Lake, Ref], tmp_path: Path) -> None:
    _, sets = ready
    sentence_encoder(tmp_path / ENCODER)
    before = first_stages.identity(tmp_path, FIRST, sets)
    weights = sentence_encoder(tmp_path / "other", seed=14) / "model.safetensors"
    weights.replace(tmp_path / ENCODER / "model.safetensors")
    after = first_stages.identity(tmp_path, FIRST, sets)
    assert before.keys() == after.keys() == {"dense"} and before != after


def test_a_missing_encoder_is_refused_only_where_passages_are_ranked(
    ready: tuple[Lake, Ref], tmp_path: Path
) -> None:
    with pytest.raises(BadModel, match=r"evaluate\.dense_model: .*models/encoder(.|\n)*ranker fetch"):
        first_stages.require(tmp_path, FIRST, ["passage-pydoc", "rec-movie"])
    first_stages.require(tmp_path, FIRST, ["rec-movie"])
    with pytest.raises(BadModel, match=r"evaluate\.dense_model"):
        first_stages.identity(tmp_path, FIRST, ready[1])


def test_an_encoder_tuned_on_other_sets_is_refused(ready: tuple[Lake, Ref]) -> None:
    lake, sets = ready
    params = PARAMS.model_copy(update={"dense_tuned": "models/tuned"})
    with pytest.raises(BadModel, match=r"evaluate\.dense_tuned"):
        first_stages.identity(lake.home, params, sets)
    folder = sentence_encoder(lake.home / "models" / "tuned" / sets.key)
    (folder / MANIFEST).write_text(json.dumps({"sets": "another"}))
    with pytest.raises(Leaked, match="fine-tuned on another"):
        scores(lake, params, sets)
    (folder / MANIFEST).write_text(json.dumps({"sets": sets.key}))
    assert set(scores(lake, params, sets)["teacher"]) == {"dense-tuned"}
