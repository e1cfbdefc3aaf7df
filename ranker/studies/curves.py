"""Learning curves: MRR on the validation split against examples and against minutes, for two ways to spend
training.

One policy after its cold start goes on with SFT or with GRPO; the trainer
keeps the model every so many steps (`train.snapshots`), and those folders are evaluated by what
`ranker.stages.evaluate` evaluates with. An
example is what one step counts in its batch: a trace (SFT) or a completion (GRPO).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import polars as pl

from ranker.config import EvaluateParams, RetrainParams, TrainParams
from ranker.engines import manifest
from ranker.lake import Lake
from ranker.lake.candidate_sets import load_sets
from ranker.metrics.significance import bootstrap_mean
from ranker.refs import Check, Ref
from ranker.stages import evaluate
from ranker.stages.run import run_cached
from ranker.strategies.episodes import together
from ranker.studies import plots
from ranker.studies.design import Arm, Plan, Study, StudyParams, base_params, plan
from ranker.studies.results import StudyResults, save
from ranker.train import parallel
from ranker.types import Fields, JsonObject

NAME, PRESET = "learning-curves", "prove-real"
QUESTION = "What training buys: validation MRR against examples and minutes, for SFT continued and for RL."
POINTS = 5
"""Snapshots of a phase that goes on after the cold start."""
HEAD = ("task", "phase", "step", "examples", "minutes", "MRR", "95% interval", "invalid", "queries")


@dataclass(frozen=True, slots=True)
class Point:
    """One snapshot on one task: what its training cost, cold start included, and how well it ranks."""

    task: str
    phase: str
    step: int
    examples: int
    minutes: float
    mrr: float
    lower: float
    upper: float
    malformed: float
    queries: int

    @property
    def cells(self) -> tuple[str, ...]:
        """As in HEAD."""
        interval = f"{self.lower:.3f}…{self.upper:.3f}"
        return (
            self.task,
            self.phase,
            str(self.step),
            f"{self.examples:,}",
            f"{self.minutes:.1f}",
            f"{self.mrr:.3f}",
            interval,
            f"{self.malformed:.1%}",
            str(self.queries),
        )


def planned(asked: StudyParams) -> Plan:
    """SFT that goes on for as many steps as RL has, and RL; one seed each."""
    draft = Study(NAME, QUESTION, PRESET, (), claims=lambda results: ())
    base = base_params(draft, asked).train
    cold, more = base.sft.max_steps, base.of("rl").max_steps
    kept = sorted(
        {cold * part // POINTS for part in range(1, POINTS + 1)}
        | {more * part // POINTS for part in range(1, POINTS + 1)}
    )
    later = [cold + step for step in kept if step <= more]
    arms = (
        Arm(
            "sft",
            {
                "train": {
                    "sft": {"max_steps": cold + more},
                    "likelihood": {"max_steps": 0},
                    "snapshots": [*kept, *later],
                }
            },
        ),
        Arm("rl", {"train": {"snapshots": kept}}),
    )
    return plan(replace(draft, arms=arms), asked.model_copy(update={"seeds": 1}))


def validate(
    lake: Lake,
    params: EvaluateParams,
    phase: str,
    *,
    sets: Ref,
    trained: Ref,
    check: Check,
    force: bool = False,
    log: Callable[[str], None] = lambda text: None,
) -> Ref:
    """Rank the validation queries of `sets` with the snapshots of a training (iterative) and
    store the episodes.

    Args:
        phase: whose curve it is, see `snapshots`.

    Returns:
        Ref of the stage 'validate', with details {"snapshots": [name, …]}.
    """
    folder = lake.home / trained.details["model"]
    names = snapshots(folder, phase)
    return run_cached(
        lake,
        "validate",
        parameters=[params, names],
        inputs=[sets, trained],
        roots=[__name__],
        check=check,
        force=force,
        produce=lambda key: _produce(lake, params, sets, trained, folder, names, log),
    )


def snapshots(folder: Path, phase: str) -> list[str]:
    """Names of the model folders that make a phase's curve: where it starts, then every `<phase>@<step>`.

    SFT starts from the untrained policy, the others from the end of the cold start.
    """
    kept = [
        path.name
        for path in folder.glob(f"{phase}@*")
        if re.fullmatch(r"\w+@\d+", path.name) and manifest(path)
    ]
    return ["untrained" if phase == "sft" else "sft", *sorted(kept, key=_step)]


def _step(name: str) -> int:
    return int(name.partition("@")[2] or 0)


def _produce(
    lake: Lake,
    params: EvaluateParams,
    sets: Ref,
    trained: Ref,
    folder: Path,
    names: Sequence[str],
    log: Callable[[str], None],
) -> tuple[Mapping[str, pl.DataFrame], JsonObject]:
    queries = load_sets(lake, sets.key, split="valid", limit=params.max_queries)
    by_id = {given.set_id: given for given in queries}
    arms = [
        evaluate.Arm(
            name,
            f"{trained.key}/{name}",
            folder / name,
            ("iterative",),
            params.thinking[:1],
            params.max_queries,
        )
        for name in names
    ]
    written = [
        part for arm in arms for part in evaluate.rankings(arm, queries, by_id, params, log, "validate")
    ]
    return together(written), {"snapshots": list(names)}


def points(lake: Lake, params: RetrainParams, sets: Ref, trained: Ref, validated: Ref) -> Iterator[Point]:
    """The points of one training, snapshot by snapshot and task by task."""
    values = lake.named("studies/points", {"batch_id": validated.key, "sets": sets.key})
    folder = lake.home / trained.details["model"]
    cold = manifest(folder / "sft")["facts"]
    for (task, name), part in values.group_by("task", "arm", maintain_order=True):
        mean = bootstrap_mean(
            part["rr"].to_list(),
            part["group_id"].to_list(),
            resamples=params.evaluate.bootstrap,
            seed=params.evaluate.seed,
        )
        phase, step = str(name).partition("@")[0], _step(str(name))
        examples, seconds = _spent(params.train, phase, step, manifest(folder / str(name))["facts"], cold)
        malformed = float(part["malformed"].mean())  # type: ignore[arg-type]
        yield Point(
            str(task),
            phase,
            step,
            examples,
            seconds / 60,
            mean.value,
            mean.lower,
            mean.upper,
            malformed,
            mean.queries,
        )


def _spent(train: TrainParams, phase: str, step: int, facts: Fields, cold: Fields) -> tuple[int, float]:
    """Examples and seconds up to a snapshot; what follows the cold start has its cost on top."""
    if phase == "untrained":
        return 0, 0.0
    taught, own = (part.batch(parallel.read(train).processes) for part in (train.sft, train.of(phase)))
    if phase == "sft":
        return (step or cold["steps"]) * taught, facts["seconds"]
    return cold["steps"] * taught + step * own, cold["seconds"] + facts["seconds"]


def curve(arm: str, found: Iterable[Point]) -> list[Point]:
    """One arm's points as one line of the plot, named by what it spends its training on."""
    label = {"sft": "SFT continued", "rl": "GRPO"}[arm]
    return sorted(
        (replace(point, phase=label) for point in found), key=lambda point: (point.task, point.examples)
    )


def tell(folder: Path, found: Sequence[Point], left_out: Mapping[str, str]) -> StudyResults:
    """Write the curves' table, JSON and plot."""
    rows = [asdict(point) for point in found]
    results = StudyResults(
        name=NAME,
        question=QUESTION,
        folder=folder,
        head=HEAD,
        body=tuple(point.cells for point in found),
        notes=tuple(f"{name} is left out: no data at {where}" for name, where in left_out.items()),
    )
    return save(results, plots.curves(rows, QUESTION), {"points": rows})
