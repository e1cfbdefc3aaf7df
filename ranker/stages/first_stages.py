"""First stages as baseline rows of an evaluation, beside those that candidates carry along: an encoder on
passages, as it is and fine-tuned on the same labels, and matrix factorisation on recommendation.

Each is a row only where a parameter asks for it. Their scores go to `teacher_scores` under the evaluation's
key, so that studies and `ranker lake reproduce` find them without the encoder.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import polars as pl

from ranker import config
from ranker.config import EvaluateParams
from ranker.engines import load_encoder, manifest, require_encoder
from ranker.errors import Leaked
from ranker.lake import Lake, training_side
from ranker.refs import Ref, file_digest
from ranker.retrieval.dense import dense
from ranker.retrieval.factorisation import factorisation
from ranker.types import CandidateSet, JsonObject

DENSE, TUNED, FACTORS = "dense", "dense-tuned", "mf"
"""Names of the rows."""
ROWS = (DENSE, TUNED, FACTORS)
SCORES = {"set_id": pl.String, "label": pl.String, "teacher": pl.String, "score": pl.Float64}
WEIGHTS = "model.safetensors"


def require(home: Path, params: EvaluateParams, tasks: Sequence[str]) -> None:
    """Refuse an encoder that is not there before hours are spent on what comes first. (One that is fine-tuned
    on sets that are yet to be drawn is looked for in its turn.)

    Raises:
        BadModel: there is no config.json in its folder.
    """
    if params.dense_model and _of(tasks, "passage"):
        require_encoder(home / params.dense_model, "evaluate.dense_model")


def identity(home: Path, params: EvaluateParams, sets: Ref) -> JsonObject:
    """Row → digest of the weights that make it, for the stage's key.

    Raises:
        BadModel: an encoder is missing.
        Leaked: the encoder was fine-tuned on other candidate sets, whose training queries may be test queries
        here.
    """
    return {row: file_digest(folder / WEIGHTS) for row, folder in _encoders(home, params, sets)}


def scores(
    lake: Lake, params: EvaluateParams, sets: Ref, test: Sequence[CandidateSet], log: Callable[[str], None]
) -> pl.DataFrame:
    """Every row's score of every candidate that it can score: SCORES, whole pools."""
    parts = [pl.DataFrame(schema=SCORES)]
    passages = _pools(test, "passage")
    for row, folder in _encoders(lake.home, params, sets) if passages.height else ():
        log(f"{row}: {passages.height} candidates by {folder}")
        encode = load_encoder(folder, device=params.device)
        parts.append(_scored(passages, row, pl.Series(dense(passages, encode))))
    if params.mf_factors:
        for name in _of(sets.details["tasks"], "recommendation"):
            pools = _pools([given for given in test if given.task == name], "recommendation")
            visits = training_side.visits(lake, sets, name)
            found = factorisation(pools, visits, params.mf_factors, seed=params.seed)
            parts.append(_scored(pools, FACTORS, pl.Series(found)))
    return pl.concat(parts)


def by_pool(scored: pl.DataFrame) -> dict[tuple[str, str], dict[str, float]]:
    """(first stage, set_id) → score by label, of rows with teacher, set_id, label and score."""
    pools: dict[tuple[str, str], dict[str, float]] = {}
    for name, set_id, label, score in scored.select("teacher", "set_id", "label", "score").iter_rows():
        pools.setdefault((name, set_id), {})[label] = score
    return pools


def _encoders(home: Path, params: EvaluateParams, sets: Ref) -> Iterator[tuple[str, Path]]:
    if not _of(sets.details["tasks"], "passage"):
        return
    if params.dense_model:
        folder = home / params.dense_model
        require_encoder(folder, "evaluate.dense_model")
        yield DENSE, folder
    if params.dense_tuned:
        folder = home / params.dense_tuned / sets.key
        require_encoder(folder, "evaluate.dense_tuned")
        trained_on = manifest(folder).get("sets")
        if trained_on != sets.key:
            raise Leaked(
                "an encoder is compared on the candidate sets whose training queries it was fine-tuned on",
                seen=f"{folder}: fine-tuned on {trained_on}, evaluated on {sets.key}",
                remedy="run `python -m benchmarks.dense_tuned` on these sets",
            )
        yield TUNED, folder


def _of(tasks: Sequence[str], scenario: str) -> list[str]:
    return [name for name in tasks if config.task(name).scenario == scenario]


def _pools(test: Sequence[CandidateSet], scenario: str) -> pl.DataFrame:
    """One row a candidate of the scenario's sets."""
    rows = [
        (given.set_id, c.label, given.query, c.text, c.item_id, list(given.query_items))
        for given in test
        if config.task(given.task).scenario == scenario
        for c in given.candidates
    ]
    schema = {name: pl.String for name in ("set_id", "label", "query", "text", "item_id")}
    return pl.DataFrame(rows, schema={**schema, "query_items": pl.List(pl.String)}, orient="row")


def _scored(pools: pl.DataFrame, row: str, found: pl.Series) -> pl.DataFrame:
    return pools.select("set_id", "label", pl.lit(row).alias("teacher"), found.alias("score"))
