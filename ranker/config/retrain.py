"""All parameters of a retraining run, in one section a stage.

`RetrainParams` is what the Prefect UI shows as its form and what `ranker retrain` accepts.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ConfigDict, Field, ValidationError, field_validator, model_validator

from ranker.config import former
from ranker.config.files import LakeUri, data_home
from ranker.config.presets import DEFAULT_PRESET, merged, preset
from ranker.config.section import Section
from ranker.config.stages import (
    CandidateParams,
    DistillParams,
    EvaluateParams,
    FanOutParams,
    IngestParams,
    RegisterParams,
    Stage,
)
from ranker.config.tasks import task
from ranker.config.training import TrainParams
from ranker.errors import BadConfig, masked
from ranker.types import JsonObject


class RetrainParams(Section):
    """Retrain a ranking policy: from raw data to a registered model."""

    preset: str = Field(
        default=DEFAULT_PRESET,
        description=(
            "Where all values come from that are not given here: smollm2 (a language model by likelihood,"
            " half an hour on two cores), tiny (synthetic, from scratch, for tests), r1-3b (a chat model that"
            " reasons in prose, GRPO alone), r1-3b-distilled (SFT on a stronger model's reasoning first; also"
            " -4gpu, -2node); prove-* are those of the studies."
        ),
    )
    home: str = Field(default="", description="Data folder; empty takes $RANKER_HOME or ./data.")
    lake: LakeUri = Field(
        default="",
        validate_default=True,
        description="Lake catalog URI (ducklake:…); empty takes $RANKER_LAKE, else a SQLite catalog in the"
        " data folder.",
    )
    ingest: IngestParams = Field(default_factory=IngestParams)
    candidates: CandidateParams = Field(default_factory=CandidateParams)
    distill: DistillParams = Field(default_factory=DistillParams)
    train: TrainParams = Field(default_factory=TrainParams)
    evaluate: EvaluateParams = Field(default_factory=EvaluateParams)
    register_: RegisterParams = Field(default_factory=RegisterParams, alias="register")
    fan_out: FanOutParams = Field(default_factory=FanOutParams)
    min_new_data: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Least share of a task's rows (interactions, queries, judgements or items) that must be"
        " new or changed since the champion was trained, unless the contracts' measures of drift find"
        " some; with less the flow ends after the candidates. 0 always retrains.",
    )
    train_deployment: str = Field(
        default="",
        description="Deployment that runs the trainer, e.g. train/gpu, on a worker that sees the same data"
        " folder; empty runs it beside the flow.",
    )
    train_home: str = Field(
        default="",
        description="With train_deployment: the data folder as its worker sees it; empty takes the worker's"
        " own $RANKER_HOME.",
    )
    timeouts: dict[Stage, float] = Field(
        default_factory=dict,
        description="Seconds that a stage may take, e.g. {train: 14400}; a stage that is not named may take"
        " any time.",
    )
    force: tuple[Stage, ...] = Field(default=(), description="Stages to repeat although they are done.")

    model_config = ConfigDict(
        extra="forbid", frozen=True, populate_by_name=True, hide_input_in_errors=True
    )  # Prefect keeps what pydantic says in the run's state

    @model_validator(mode="before")
    @classmethod
    def _lay_over_preset(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        former.refuse(given)
        name = given.get("preset", DEFAULT_PRESET)
        return merged(preset(name), {**given, "preset": name})

    @field_validator("lake")
    @classmethod
    def _no_password(cls, lake: str) -> str:
        """Parameters are stored with every flow run, and shown by `ps`: a secret has no place there."""
        if masked(lake, {}) != lake:
            raise ValueError("a lake's URI holds no password; libpq reads it from ~/.pgpass or $PGPASSWORD")
        return lake

    @model_validator(mode="after")
    def _some_task_is_trained_on(self) -> RetrainParams:
        weights = self.train.weights
        if not any(weights.get(name, 1) for name in self.ingest.tasks):
            raise ValueError(
                f"train.weights of one task at least is above 0; seen {weights} for"
                f" {', '.join(self.ingest.tasks)}"
            )
        return self

    @model_validator(mode="after")
    def _traces_are_there_to_learn_from(self) -> RetrainParams:
        train = self.train
        if not self.distill.traces and (train.sft.max_steps or train.policy.model_name_or_path == "scratch"):
            raise ValueError(
                "distill.traces = 0 leaves SFT, and the vocabulary of a policy from scratch, nothing: only"
                f" with train.sft.max_steps = 0 and a pretrained model; seen {train.sft.max_steps} and"
                f" {train.policy.model_name_or_path!r}"
            )
        return self

    @model_validator(mode="after")
    def _likelihood_fits(self) -> RetrainParams:
        if self.train.policy.style != "likelihood":
            return self
        if any(self.evaluate.thinking):
            raise ValueError(
                "a likelihood policy writes no reasoning: evaluate.thinking = [false]; seen"
                f" {list(self.evaluate.thinking)}"
            )
        without = [name for name in self.ingest.tasks if task(name).likelihood is None]
        if without:
            raise ValueError(
                "a likelihood policy needs the section [likelihood] in each task's file; seen none for"
                f" {', '.join(without)}"
            )
        return self

    @property
    def home_path(self) -> Path:
        return data_home(self.home)


def parse_params(given: JsonObject) -> RetrainParams:
    """Validate parameters.

    Raises:
        BadConfig: naming the field, the value seen and what is allowed.
    """
    try:
        return RetrainParams.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "parameters"
        raise BadConfig(
            f"{where}: {first['msg']}",
            seen=repr(first.get("input"))[:200],
            remedy="see `ranker retrain --help` and the files in ranker/presets",
        ) from error
