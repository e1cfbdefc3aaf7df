"""The champion's own recipe trained with several seeds: how far apart its trainings lie by their seeds alone.

They are trained on the champion's own candidate sets and traces, by today's code, and rank its own test
queries as it serves. The promotion rule reads what came of it in the lake (`register.seeds_of`); so do other
studies' seeds count where the parameters are the champion's. Nothing is registered.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ranker.config import EvaluateParams, RegisterParams, RetrainParams, TrainParams, former, parse_params
from ranker.errors import BadConfig, StageMissing
from ranker.lake import Lake, lineage
from ranker.refs import Champion, Ref
from ranker.stages import register, registry
from ranker.stages.promotion import LEAST_FREEDOM, Seeds, least_gain
from ranker.studies import plots
from ranker.studies.design import REGISTER, Run, StudyParams, seeded
from ranker.studies.results import FOLDER, StudyResults, save
from ranker.types import JsonObject

NAME = "seeds"
QUESTION = "How far apart do trainings of the champion's recipe lie that differ by their seeds alone?"
HEAD = ("task", "MRR by seed", "seeds", "standard deviation", "95% interval", "a gain counts from")
SEEDS, QUICK = 5, 3
_ONE_ROW = {"models": ("rl",), "extra_model": "", "fusion_queries": 0, "mf_factors": 0, "dense_model": ""}
"""Of an evaluation no more is needed than what the policy gets as it serves."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The trainings of the champion's recipe, and what they read."""

    champion: Champion
    registered: RegisterParams
    sets: Ref
    traces: Ref
    runs: tuple[Run, ...]


def parameters(asked: StudyParams) -> RetrainParams:
    """What a caller says of data folder, lake and registry."""
    return parse_params({**asked.base, "home": asked.home, "lake": asked.lake})


def planned(lake: Lake, base: RetrainParams, asked: StudyParams) -> Plan:
    """The champion's recipe with each seed; number 0 are the champion's own.

    Raises:
        BadConfig: fewer than three seeds are asked for.
        StageMissing: there is no champion, or the lake no longer holds what it was made from.
    """
    count = asked.seeds or (QUICK if asked.quick else SEEDS)
    if count <= LEAST_FREEDOM:
        raise BadConfig(
            "a spread over seeds takes three of them or more", seen=str(count), remedy="--seeds 5"
        )
    champion = registry.present_champion(lake.home, base.register_, "comparing the seeds of its recipe")
    found = made_from(lake, base.register_, champion)
    trained, scores = found["train"], found["evaluate"]
    params = base.model_copy(
        update={
            "train": TrainParams.model_validate(former.recorded("train", trained.parameters)),
            "evaluate": as_served(scores.parameters, champion),
            "register_": RegisterParams.model_validate(REGISTER),
        }
    )
    return Plan(
        champion,
        base.register_,
        _finished(lake, found["candidates"]),
        _finished(lake, found["distill"]),
        tuple(Run("champion's recipe", number, seeded(params, number)) for number in range(count)),
    )


def made_from(lake: Lake, params: RegisterParams, champion: Champion) -> Mapping[str, lineage.Run]:
    """The evaluation behind a registered version and all that it was made from, by stage.

    Raises:
        StageMissing: the lake does not hold all of it.
    """
    asked = {"name": params.name, "version": champion.version}
    keys = lake.rows(
        "select evaluate_key from model_versions where name = $name and version = $version", asked
    )
    runs = {} if keys.is_empty() else {run.stage: run for run in lineage.of(lake, keys.item(0, 0))}
    missing = {"candidates", "distill", "train", "evaluate"} - set(runs)
    if missing:
        raise StageMissing(
            "the lake must hold what a version was made from",
            seen=f"of version {champion.version} of {params.name!r} no {', '.join(sorted(missing))}",
            remedy="run `ranker retrain` on this lake first",
        )
    return runs


def _finished(lake: Lake, run: lineage.Run) -> Ref:
    found = lake.finished(run.stage, run.key)
    assert found is not None, "it is among the lake's stage runs"
    return found


def as_served(recorded: JsonObject, champion: Champion) -> EvaluateParams:
    """Parameters of an evaluation of the trained policy alone, as it serves.

    Args:
        recorded: of the evaluation behind the version.
    """
    known = {
        name: value
        for name, value in former.recorded("evaluate", recorded).items()
        if name in EvaluateParams.model_fields
    }
    thinking = {} if champion.thinking is None else {"thinking": (champion.thinking,)}
    return EvaluateParams.model_validate(
        {**known, **_ONE_ROW, "strategies": (champion.strategy,), **thinking}
    )


def tell(lake: Lake, plan: Plan, scored: Sequence[Ref]) -> StudyResults:
    """Write table.md, plot.svg, plot.png and study.json, and give what a caller shows of them."""
    how = plan.runs[0].params.evaluate
    found = register.seeds_of(lake, plan.champion.train_key, plan.champion.strategy, how.thinking[0])
    points = [
        {**row, "benchmark": row["task"], "model": f"seed {run.seed}", "metric": "MRR"}
        for run, ref in zip(plan.runs, scored, strict=True)
        for row in lake.named("studies/policy", {"batch_id": ref.key}).iter_rows(named=True)
    ]
    results = StudyResults(
        name=NAME,
        question=QUESTION,
        folder=_folder(lake.home),
        head=HEAD,
        body=tuple(_cells(one, points, plan.registered, len(found)) for one in found),
        notes=_notes(found, len(scored)),
    )
    chart = plots.scores(points, f"{NAME}: version {plan.champion.version}")
    return save(
        results, chart, {"seeds": [asdict(one) for one in found], "runs": [ref.key for ref in scored]}
    )


def _folder(home: Path) -> Path:
    return home / FOLDER / NAME


def _cells(one: Seeds, points: Sequence[JsonObject], params: RegisterParams, tests: int) -> tuple[str, ...]:
    """As in HEAD."""
    lower, upper = one.interval
    return (
        one.task,
        " ".join(f"{point['value']:.3f}" for point in points if point["task"] == one.task),
        str(one.seeds),
        f"{one.spread:.4f}",
        f"{lower:.4f}…{upper:.4f}",
        f"{least_gain(one.task, params, [one], tests):.3f}",
    )


def _notes(found: Sequence[Seeds], trained: int) -> tuple[str, ...]:
    more = max((one.seeds for one in found), default=trained) - trained
    notes = ["a gain counts from what one seed lies above another in one of twenty verdicts at most"]
    if more > 0:
        notes.append(f"{more} earlier trainings of this recipe count, too, each beside those of its own data")
    return tuple(notes)
