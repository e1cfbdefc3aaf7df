"""What a study is: arms (named changes of one base), times seeds, and the claims that its results are held
against.

Arms share every stage whose parameters are equal, because a stage is keyed by them: the second arm finds it
done.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from ranker import config
from ranker.config import IngestParams, LakeUri, RetrainParams, Section, merged, parse_params
from ranker.datasets import download
from ranker.errors import BadConfig, BadSource
from ranker.refs import Ref
from ranker.stages import ingest
from ranker.studies.scores import Results
from ranker.types import Fields, JsonObject

SEED_STRIDE = 1_000
"""Seed number k of a study adds k times this to the seeds of training; number 0 is the preset's own."""
SEEDED = ("policy", "sft", "grpo", "likelihood")
REGISTER = {"name": "r1-ranker-studies", "promote": False}
"""A name under which nothing is ever registered: a study neither meets a champion nor makes one."""

IRANKER = {"strategies": ["iterative"], "thinking": [False], "models": ["sft", "rl"]}
"""`evaluate` of a study that asks for no more than what RL adds to IRanker."""


class StudyParams(Section):
    """What a caller may say of a study."""

    home: str = Field(default="", description="Data folder; empty takes $RANKER_HOME or ./data.")
    lake: LakeUri = Field(
        default="",
        validate_default=True,
        description="Lake catalog URI (ducklake:…); empty takes $RANKER_LAKE, else a SQLite catalog in the"
        " data folder.",
    )
    quick: bool = Field(
        default=False, description="One seed and less work: shows that the road is open, and proves less."
    )
    seeds: int = Field(default=0, ge=0, description="Training seeds per arm; 0 takes the study's own number.")
    shots: int = Field(default=2, ge=1, description="Trace transfer: worked examples in a prompt.")
    budgets: tuple[int, ...] = Field(
        default=(0, 64, 256, 1_024), min_length=2, description="Thinking: tokens of reasoning, an arm each."
    )
    benchmarks: tuple[str, ...] = Field(
        default=("gsm8k", "ifeval", "mathqa"),
        min_length=1,
        description="Out of domain: names of lm-eval tasks.",
    )
    benchmark_folder: str = Field(
        default="", description="Out of domain: folder of lm-eval tasks of your own."
    )
    benchmark_batch: int = Field(default=8, ge=1, description="Out of domain: samples at once.")
    limit: int = Field(
        default=0, ge=0, description="Out of domain: samples per benchmark at most; 0 takes all."
    )
    base: JsonObject = Field(
        default_factory=dict,
        description="Parameters laid over the study's base, e.g. {train: {sft: {max_steps: 100}}}.",
    )

    @property
    def home_path(self) -> Path:
        return config.data_home(self.home)


def study_params(options: Fields, **named: Any) -> StudyParams:
    """Parameters of a study.

    Raises:
        BadConfig: an option does not exist or has a value that is not allowed.
    """
    try:
        return StudyParams.model_validate({**options, **named})
    except ValidationError as error:
        first = error.errors()[0]
        raise BadConfig(
            f"study option {'.'.join(map(str, first['loc']))}: {first['msg']}",
            seen=repr(first.get("input"))[:200],
            remedy=f"options are {', '.join(StudyParams.model_fields)}; see docs/studies.md",
        ) from error


@dataclass(frozen=True, slots=True)
class Arm:
    """One way of training: `over` is laid upon the study's base (nested as in a preset)."""

    name: str
    over: Fields = field(default_factory=dict)
    aside: bool = False
    """No claim rests on it: it runs with the first seed alone, and not where little time is to be spent."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A statement that the results bear out or not.

    `holds` is None where they cannot tell, and `figure` says why.
    """

    text: str
    holds: bool | None
    figure: str

    @property
    def verdict(self) -> str:
        return {True: "holds", False: "does not hold", None: "not tested"}[self.holds]


@dataclass(frozen=True, slots=True)
class Study:
    """A question, the arms that answer it, and what is claimed of the answer."""

    name: str
    question: str
    preset: str
    arms: tuple[Arm, ...]
    claims: Callable[[Results], Sequence[Claim]]
    seeds: int = 1
    base: Fields = field(default_factory=dict)
    """Laid over the preset."""
    quick: Fields = field(default_factory=dict)
    """Laid over the base where little time is to be spent."""


@dataclass(frozen=True, slots=True)
class Run:
    """One arm with one seed, ready to go through the stages."""

    arm: str
    seed: int
    params: RetrainParams


@dataclass(frozen=True, slots=True)
class Done:
    """A run and the stages that hold its results."""

    run: Run
    sets: Ref
    traces: Ref
    trained: Ref
    scores: Ref


@dataclass(frozen=True, slots=True)
class Plan:
    """All runs of a study, and the tasks that it does without: name → where their data was sought."""

    runs: tuple[Run, ...]
    left_out: Mapping[str, str]


def plan(study: Study, asked: StudyParams) -> Plan:
    """Every arm with every seed, arm by arm, without the tasks whose data is not on this machine.

    Raises:
        BadConfig: two arms of one name, or parameters that contradict each other.
        BadSource: no task has data.
    """
    names = [arm.name for arm in study.arms]
    if len(set(names)) < len(names):
        raise BadConfig(
            f"study {study.name}: every arm has a name of its own",
            seen=", ".join(names),
            remedy="rename one of them",
        )
    base = _base(study, asked)
    kept, left_out = available(parse_params(base).ingest, asked.home_path)
    if not kept["tasks"]:
        raise BadSource(
            f"study {study.name}: at least one of its tasks must have data",
            seen="; ".join(f"{name}: {where}" for name, where in left_out.items()),
            remedy="run `ranker fetch`, or name your own folders with --set ingest.locations.TASK=FOLDER",
        )
    seeds = asked.seeds or (1 if asked.quick else study.seeds)
    runs = [
        Run(arm.name, number, seeded(_params(base, arm, kept), number))
        for arm in study.arms
        if not (arm.aside and asked.quick)
        for number in range(1 if arm.aside else seeds)
    ]
    return Plan(tuple(runs), left_out)


def base_params(study: Study, asked: StudyParams) -> RetrainParams:
    """What every arm is a change of, without the tasks that have no data."""
    params = parse_params(_base(study, asked))
    kept, _ = available(params.ingest, asked.home_path)
    return params.model_copy(update={"ingest": _read_once(kept)}) if kept["tasks"] else params


def _base(study: Study, asked: StudyParams) -> JsonObject:
    given = merged({"preset": study.preset}, dict(study.base))
    for more in (study.quick if asked.quick else {}, asked.base):
        given = merged(given, dict(more))
    return given | {"home": asked.home, "lake": asked.lake, "register": REGISTER}


def _params(base: JsonObject, arm: Arm, kept: JsonObject) -> RetrainParams:
    full = parse_params(merged(base, dict(arm.over)))
    return full.model_copy(update={"ingest": _read_once(kept)})


def _read_once(kept: JsonObject) -> IngestParams:
    """What is here is what every arm reads: no source is asked in between whether it has changed."""
    return IngestParams(**kept, refresh_hours=None)


def seeded(params: RetrainParams, number: int) -> RetrainParams:
    """The same run with other seeds of training.

    Data, traces and test queries stay: they are what the arms are compared on.
    """
    train = params.train
    parts = {name: getattr(train, name) for name in SEEDED}
    shifted = {
        name: part.model_copy(update={"seed": part.seed + SEED_STRIDE * number})
        for name, part in parts.items()
    }
    return params.model_copy(update={"train": train.model_copy(update=shifted)})


def available(params: IngestParams, home: Path) -> tuple[JsonObject, dict[str, str]]:
    """Which tasks have data: as fields of IngestParams, and what is left out (task → places where it was
    sought).

    A location that does not exist gives way to the task's own below the data folder.
    """
    tasks, locations, left_out = [], {}, {}
    for name in params.tasks:
        given = params.locations.get(name, "")
        asked = [IngestParams(tasks=(name,), locations={name: given})] if given else []
        sought = [*asked, IngestParams(tasks=(name,))]
        found = next((place for place in sought if _exists(place, name, home)), None)
        if found is None:
            left_out[name] = " and ".join(ingest.asked_for(place, config.task(name)) for place in sought)
            continue
        tasks.append(name)
        locations |= found.locations
    return {"tasks": tuple(tasks), "locations": locations}, left_out


def _exists(params: IngestParams, name: str, home: Path) -> bool:
    task = config.task(name)
    where = ingest.location(home, params, task)
    return where is None or where.exists() or download.is_remote(ingest.asked_for(params, task))


def keys(done: Done) -> JsonObject:
    """Which stage runs hold a run's results, for the record."""
    return {
        "arm": done.run.arm,
        "seed": done.run.seed,
        **{ref.stage: ref.key for ref in (done.sets, done.traces, done.trained, done.scores)},
    }
