"""Trace transfer: what a model that was never trained here gains from seeing how similar training queries
were answered.

For every test query the accepted traces of the most similar training queries of its task stand before it as
worked examples. Similar means BM25: over the queries' words, or, where a query is a history, over the items
that it shares (a rare shared item counts more). Nothing of a held-out group may be among them: `refuse_leaks`
looks, and raises.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby

import numpy as np
import polars as pl

from ranker.config import RetrainParams, task
from ranker.engines import Engine, load
from ranker.errors import Leaked
from ranker.lake import Lake
from ranker.lake.candidate_sets import load_sets
from ranker.policy.prompts import Mode, Prompt, Shot
from ranker.refs import Check, Ref
from ranker.retrieval.bm25 import Bm25
from ranker.stages import evaluate
from ranker.stages.run import run_cached
from ranker.stages.worked_examples import WithExamples
from ranker.strategies import strategy
from ranker.strategies.episodes import together
from ranker.studies.design import Claim, Study, StudyParams, base_params
from ranker.studies.prove import with_interval
from ranker.studies.replay import weights
from ranker.studies.results import FOLDER, StudyResults, write
from ranker.studies.scores import Pick, Results, read
from ranker.types import CandidateSet, Fields, JsonObject

NAME = "transfer"
ARM, PLAIN = "transfer", "pretrained"
QUESTION = (
    "What does an untrained model gain from the accepted traces of similar training queries in its prompt?"
)
CHAT: JsonObject = {
    "distill": {"traces": 400, "rank_share": 0.25, "nothink_share": 0.15, "reject": True},
    "train": {
        "policy": {"style": "chat", "num_trainable_layers": 0, "max_length": 2_048},
        "sft": {"max_steps": 60, "per_device_train_batch_size": 4, "learning_rate": 2e-5, "save_steps": 20},
        "grpo": {
            "max_steps": 8,
            "per_device_train_batch_size": 8,
            "num_generations": 4,
            "learning_rate": 1e-6,
            "max_completion_length": 96,
            "prompts": 200,
            "save_steps": 4,
        },
    },
    "evaluate": {
        "strategies": ["iterative", "direct"],
        "thinking": [True],
        "max_queries": 12,
        "max_completion_length": 96,
        "per_device_eval_batch_size": 12,
        "fusion_queries": 0,
    },
}
"""Traces with reasoning and exclusions to choose examples from, and as few queries as such a model has
time for.
"""
Kind = tuple[Mode, bool]
"""Mode and thinking: an example answers in the way in which the question asks."""
Examples = Mapping[tuple[str, Mode, bool], tuple[Shot, ...]]
"""By set_id and kind, the most similar last."""
_NO_WORD = re.compile(r"\W")


def parameters(asked: StudyParams) -> RetrainParams:
    """The preset `smollm2`, its model as a chat model that writes, with what the caller lays over it;
    `train.policy.model_name_or_path` is the model that is shown examples. Where users' choices would teach,
    which no prompt shows, the words of titles do.
    """
    found = base_params(Study(NAME, QUESTION, "smollm2", (), claims=lambda results: (), base=CHAT), asked)
    films = [name for name in found.ingest.tasks if task(name).scenario == "recommendation"]
    taught = dict.fromkeys(films, "idf-overlap") | found.distill.teachers
    return found.model_copy(update={"distill": found.distill.model_copy(update={"teachers": taught})})


def with_examples(shots: int) -> str:
    """What the model is called as a row where it is shown examples."""
    return f"{PLAIN} + {shots} example{'s' if shots > 1 else ''}"


def run(
    lake: Lake,
    params: RetrainParams,
    shots: int,
    *,
    sets: Ref,
    traces: Ref,
    check: Check,
    force: bool = False,
    log: Callable[[str], None] = lambda text: None,
) -> Ref:
    """Rank the same test queries without and with `shots` examples and store the episodes.

    Returns:
        Ref of the stage 'transfer', with details {"examples": mean per question, "without": questions that
        got none}.

    Raises:
        BadModel: the model's folder is missing.
        Leaked: an example is of a held-out group, or asks what a held-out query asks.
    """
    identity, folder, digest = weights(lake.home, str(lake.home / params.train.policy.model_name_or_path))

    def produce(_key: str) -> tuple[Mapping[str, pl.DataFrame], JsonObject]:
        engine = load(folder, device=params.evaluate.device, batch=params.evaluate.per_device_eval_batch_size)
        test = load_sets(lake, sets.key, split="test", limit=params.evaluate.max_queries)
        found = _examples(lake, params, shots, sets, traces, test)
        engines: dict[str, Engine] = {
            PLAIN: engine,
            with_examples(shots): WithExamples(engine, by_query(found)),
        }
        by_id = {given.set_id: given for given in test}
        how = params.evaluate.strategies, params.evaluate.thinking, params.evaluate.max_queries
        written = [
            part
            for name, own in engines.items()
            for part in evaluate.rankings(
                evaluate.Arm(name, identity, folder, *how), test, by_id, params.evaluate, log, "transfer", own
            )
        ]
        numbers = [len(given) for given in found.values()]
        return together(written), {"examples": round(float(np.mean(numbers)), 2), "without": numbers.count(0)}

    asked = [params.evaluate, identity, digest, shots]
    return run_cached(
        lake,
        "transfer",
        parameters=asked,
        inputs=[sets, traces],
        roots=[__name__],
        check=check,
        force=force,
        produce=produce,
    )


def _examples(
    lake: Lake, params: RetrainParams, shots: int, sets: Ref, traces: Ref, test: Sequence[CandidateSet]
) -> Examples:
    train = load_sets(lake, sets.key, split="train")
    accepted = lake.named("studies/traces", {"batch_id": traces.key})
    modes: dict[Mode, None] = dict.fromkeys(
        mode for name in params.evaluate.strategies for mode in sorted(strategy(name).modes)
    )
    kinds: list[Kind] = [(mode, thinking) for mode in modes for thinking in params.evaluate.thinking]
    found = similar(test, train, accepted, kinds, shots)
    held_out = [given for split in ("test", "valid") for given in load_sets(lake, sets.key, split=split)]
    refuse_leaks(held_out, (shot for given in found.values() for shot in given))
    return found


# --- which examples ---


def similar(
    test: Sequence[CandidateSet],
    train: Sequence[CandidateSet],
    accepted: pl.DataFrame,
    kinds: Sequence[Kind],
    shots: int,
) -> Examples:
    """For each test query and kind the `shots` most similar training queries of its task, each with its
    accepted trace.

    Args:
        accepted: set_id, mode, thinking, pool, completion; one row a training set and kind.

    Returns:
        Fewer examples, or none, where no more training queries share anything with the query.
    """
    by_id = {given.set_id: given for given in train}
    found: dict[tuple[str, Mode, bool], tuple[Shot, ...]] = {}
    for name, group in groupby(sorted(test, key=lambda given: given.task), key=lambda given: given.task):
        asked = list(group)
        for mode, thinking in kinds:
            known = [
                _shot(row, by_id)
                for row in accepted.filter(mode=mode, thinking=thinking).iter_rows(named=True)
                if row["set_id"] in by_id
            ]
            own = [shot for shot in known if shot.prompt.set.task == name]
            nearest = (
                _nearest(
                    [_key(given) for given in asked],
                    [_key(by_id[shot.prompt.set.set_id]) for shot in own],
                    shots,
                )
                if own
                else [[]] * len(asked)
            )
            found |= {
                (given.set_id, mode, thinking): tuple(own[at] for at in places)
                for given, places in zip(asked, nearest, strict=True)
            }
    return found


def _shot(row: Fields, by_id: Mapping[str, CandidateSet]) -> Shot:
    return Shot(
        Prompt(row["mode"], row["thinking"], by_id[row["set_id"]].keep(row["pool"])), row["completion"]
    )


def _nearest(asked: Sequence[str], known: Sequence[str], most: int) -> list[list[int]]:
    """Places in `known` of what shares most with each asked text, the nearest last; nothing that shares
    nothing.
    """
    scores = Bm25(known).scores(asked)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :most]
    return [[int(at) for at in reversed(row) if scores[i, at] > 0] for i, row in enumerate(order)]


def _key(given: CandidateSet) -> str:
    """What two queries are compared by: the items of a history, else the words."""
    return (
        " ".join(f"item_{_NO_WORD.sub('_', item)}" for item in given.query_items)
        if given.query_items
        else given.query
    )


def refuse_leaks(held_out: Iterable[CandidateSet], shots: Iterable[Shot]) -> None:
    """Refuse examples that give a held-out query away.

    Raises:
        Leaked: an example is not of the training split, is of a held-out group (user, source), or asks what a
        held-out query asks.
    """
    groups, queries = {}, {}
    for given in held_out:
        groups[given.task, given.group_id] = queries[given.task, _plain(given.query)] = given.set_id
    for shot in shots:
        given = shot.prompt.set
        same_group, same_query = (
            groups.get((given.task, given.group_id)),
            queries.get((given.task, _plain(given.query))),
        )
        fault = (
            f"its split is {given.split!r}"
            if given.split != "train"
            else (
                f"its group {given.group_id!r} is that of {same_group}"
                if same_group
                else f"its query is that of {same_query}"
                if same_query
                else ""
            )
        )
        if fault:
            raise Leaked(
                "worked examples come from training queries alone",
                seen=f"example {given.set_id} ({given.task}): {fault}",
                remedy=(
                    "split by group before anything is derived (`ranker run candidates`), and let queries"
                    " that read alike be one group"
                ),
            )


def _plain(query: str) -> str:
    return " ".join(query.lower().split())


def by_query(examples: Examples) -> Callable[[Prompt], tuple[Shot, ...]]:
    """The examples of a prompt's own query and kind."""
    return lambda prompt: examples.get((prompt.set.set_id, prompt.mode, prompt.thinking), ())


# --- what came of it ---


def tell(lake: Lake, params: RetrainParams, shots: int, sets: Ref, traces: Ref, shown: Ref) -> StudyResults:
    """Write the study's table, plot and claims."""
    values = read(lake, sets.key, traces.key, shown.key, params.evaluate.max_queries)
    results = Results(
        values.with_columns(arm=pl.lit(ARM), seed=pl.lit(0), pools=pl.lit(sets.key)),
        params.evaluate.bootstrap,
        params.evaluate.seed,
    )
    study = Study(NAME, QUESTION, params.preset, (), claims=lambda found: claims(found, shots))
    facts = {
        "runs": [{ref.stage: ref.key for ref in (sets, traces, shown)}],
        "model": params.train.policy.model_name_or_path,
        **shown.details,
    }
    return write(lake.home / FOLDER / NAME, study, results, {}, facts)


def claims(results: Results, shots: int) -> list[Claim]:
    """For each way of ranking: examples raise MRR."""
    plain = [pick for pick in results.picks if pick.model == PLAIN]
    return [
        _gain(results, pick, Pick(ARM, with_examples(shots), pick.strategy, pick.thinking)) for pick in plain
    ]


def _gain(results: Results, plain: Pick, shown: Pick) -> Claim:
    gap = results.difference(shown, plain)
    text = f"{plain.how}: examples of similar training queries raise MRR"
    return (
        Claim(text, None, "not evaluated") if gap is None else Claim(text, gap.lower > 0, with_interval(gap))
    )
