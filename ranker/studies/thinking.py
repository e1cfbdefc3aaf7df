"""Thinking length: the same model on the same queries with budgets of reasoning, quality and cost against the
tokens that it thought.

Each budget is an arm of the strategy think-then-score: the reasoning is written up to the budget and the
labels are scored behind it, so that a thought that is cut still has an answer, and what differs is the
thinking alone. One more arm has the largest budget and stops where the ranking no longer changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

import polars as pl

from ranker.config import RetrainParams
from ranker.engines import load
from ranker.lake import Lake
from ranker.lake.candidate_sets import load_sets
from ranker.metrics.significance import Interval, bootstrap_mean
from ranker.refs import Check, Ref
from ranker.stages import evaluate
from ranker.stages.run import run_cached
from ranker.strategies.episodes import together
from ranker.studies import plots
from ranker.studies.design import Claim, Study, StudyParams, base_params
from ranker.studies.replay import weights
from ranker.studies.results import FOLDER, StudyResults, save
from ranker.studies.transfer import CHAT
from ranker.types import JsonObject

NAME = "thinking"
QUESTION = "What does a longer thought add, and what does it cost?"
ARM = "pretrained"
PATIENCE = 2
"""Pieces that leave the ranking as it was before thinking stops."""
PIECES = 8
"""Of the largest budget where thinking may stop."""
CLOSE = 0.02
"""MRR that stopping early may lose."""
HEAD = (
    "task",
    "thinking",
    "tokens thought",
    "MRR",
    "nDCG@10",
    "− least thinking, paired",
    "ms a query",
    "queries",
)


def parameters(asked: StudyParams) -> RetrainParams:
    """The preset `smollm2`, its model as a chat model that writes, with what the caller lays over it;
    `train.policy.model_name_or_path` is the model that thinks.
    """
    return base_params(Study(NAME, QUESTION, "smollm2", (), claims=lambda results: (), base=CHAT), asked)


def ways(budgets: Sequence[int]) -> dict[str, str]:
    """Name → strategy of each arm, the shortest thought first. The order shown is named from the best on, as
    an untrained model is used to.
    """
    sizes = sorted(set(budgets))
    found = {f"{size} tokens": f"think-then-score:mode=rank,tokens={size}" for size in sizes}
    piece = -(-sizes[-1] // PIECES)
    if piece:
        most = f"tokens={piece * PIECES},every={piece},stop={PATIENCE}"
        found[f"{sizes[-1]}, stops where nothing changes"] = f"think-then-score:mode=rank,{most}"
    return found


def run(
    lake: Lake,
    params: RetrainParams,
    budgets: Sequence[int],
    *,
    sets: Ref,
    check: Check,
    force: bool = False,
    log: Callable[[str], None] = lambda text: None,
) -> Ref:
    """Rank the same test queries with every budget and store the episodes: the stage 'thinking'.

    Raises:
        BadModel: the model's folder is missing.
        PromptTooLong: prompt and thought do not fit the model's context.
    """
    identity, folder, digest = weights(lake.home, str(lake.home / params.train.policy.model_name_or_path))
    own = params.evaluate

    def produce(_key: str) -> tuple[Mapping[str, pl.DataFrame], JsonObject]:
        engine = load(folder, device=own.device, batch=own.per_device_eval_batch_size)
        test = load_sets(lake, sets.key, split="test", limit=own.max_queries)
        arm = evaluate.Arm(ARM, identity, folder, tuple(ways(budgets).values()), (True,), own.max_queries)
        by_id = {given.set_id: given for given in test}
        written = together(evaluate.rankings(arm, test, by_id, own, log, NAME, engine))
        return written, {"queries": len(test)}

    return run_cached(
        lake,
        NAME,
        parameters=[own, identity, digest, list(budgets)],
        inputs=[sets],
        roots=[__name__],
        check=check,
        force=force,
        produce=produce,
    )


@dataclass(frozen=True, slots=True)
class Row:
    """One arm on one task; intervals are bootstraps over groups, 95%."""

    task: str
    arm: str
    thought: Interval
    """Tokens."""
    rr: Interval
    ndcg: Interval
    gain: Interval | None
    """MRR minus that of the least thinking, on the same queries."""
    milliseconds: float

    @property
    def cells(self) -> tuple[str, ...]:
        """As in HEAD."""
        return (
            self.task,
            self.arm,
            f"{self.thought.value:.1f}",
            _between(self.rr),
            _between(self.ndcg),
            self.gain.signed if self.gain else "",
            f"{self.milliseconds:,.0f}",
            str(self.rr.queries),
        )


def _between(found: Interval) -> str:
    return f"{found.value:.3f} [{found.lower:.3f}, {found.upper:.3f}]"


def measured(episodes: pl.DataFrame, budgets: Sequence[int], resamples: int, seed: int) -> list[Row]:
    """A row a task and arm.

    Args:
        episodes: set_id, group_id, task, strategy, completion_tokens, milliseconds, rr, ndcg_10; every arm on
            the same sets.
    """
    return [
        row
        for name in sorted(set(episodes["task"]))
        for row in _rows(name, episodes.filter(task=name).sort("set_id"), budgets, resamples, seed)
    ]


def _rows(
    name: str, episodes: pl.DataFrame, budgets: Sequence[int], resamples: int, seed: int
) -> Iterator[Row]:
    least: pl.DataFrame | None = None
    for arm, strategy in ways(budgets).items():
        own = episodes.filter(strategy=strategy)
        groups = own["group_id"].to_list()

        def mean(values: pl.Series, groups: Sequence[str] = groups) -> Interval:
            return bootstrap_mean(values.to_numpy(), groups, resamples=resamples, seed=seed)

        yield Row(
            name,
            arm,
            mean(own["completion_tokens"]),
            mean(own["rr"]),
            mean(own["ndcg_10"]),
            None if least is None else mean(own["rr"] - least["rr"]),
            float(own["milliseconds"].to_numpy().mean()),
        )
        least = own if least is None else least


def tell(lake: Lake, params: RetrainParams, budgets: Sequence[int], sets: Ref, thought: Ref) -> StudyResults:
    """Write the study's table, plot and claims."""
    found = lake.named("studies/thinking", {"batch_id": thought.key, "sets": sets.key})
    rows = measured(found, budgets, params.evaluate.bootstrap, params.evaluate.seed)
    results = StudyResults(
        name=NAME,
        question=QUESTION,
        folder=lake.home / FOLDER / NAME,
        head=HEAD,
        body=tuple(row.cells for row in rows),
        claims=tuple(claims(rows)),
        notes=(
            f"model: {params.train.policy.model_name_or_path}; greedy; labels scored behind the thought, so"
            " that no answer is invalid",
            " no answer is invalid",
            f"the last arm of a task looks {PIECES} times and stops once {PATIENCE} looks in a row left the"
            " ranking as it was",
        ),
    )
    points = [
        {"task": row.task, "arm": row.arm, "tokens": row.thought.value, "mrr": row.rr.value}
        | {"lower": row.rr.lower, "upper": row.rr.upper}
        for row in rows
    ]
    facts = {"runs": [{ref.stage: ref.key for ref in (sets, thought)}], "rows": [asdict(row) for row in rows]}
    return save(results, plots.against_tokens(points, QUESTION), facts)


def claims(rows: Sequence[Row]) -> Iterator[Claim]:
    """Longer thoughts raise MRR; who stops early thinks less and loses little."""
    for task in dict.fromkeys(row.task for row in rows):
        *plain, early = [row for row in rows if row.task == task]
        for row in plain[1:]:
            assert row.gain is not None, "all arms but the first are held against it"
            text = f"{task}: {row.arm} raise MRR over {plain[0].arm}"
            yield Claim(text, row.gain.lower > 0, row.gain.signed)
        longest = plain[-1]
        less = early.thought.value < longest.thought.value
        loss = longest.rr.value - early.rr.value
        yield Claim(
            f"{task}: stopping where nothing changes thinks less and loses at most {CLOSE} MRR",
            less and loss <= CLOSE,
            f"{early.thought.value:.0f} of {longest.thought.value:.0f} tokens, MRR {-loss:+.3f}",
        )
