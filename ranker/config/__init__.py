"""Parameters of a retraining run: one validated model a stage, presets and tasks as TOML files."""

from ranker.config.files import LakeUri, TrackingUri, data_home
from ranker.config.presets import DEFAULT_PRESET, all_presets, merged, preset, presets
from ranker.config.retrain import RetrainParams, parse_params
from ranker.config.section import Section
from ranker.config.stages import (
    STAGES,
    CandidateParams,
    DistillParams,
    EvaluateParams,
    FanOutParams,
    IngestParams,
    RegisterParams,
    RetentionParams,
    Stage,
    StrategyName,
    moment,
)
from ranker.config.tasks import TASKS, Scenario, Task, Template, task, task_folders, task_names
from ranker.config.training import (
    GRPOParams,
    LikelihoodParams,
    LossType,
    Phase,
    PolicyParams,
    SFTParams,
    TrainParams,
)

__all__ = [
    "DEFAULT_PRESET",
    "STAGES",
    "TASKS",
    "CandidateParams",
    "DistillParams",
    "EvaluateParams",
    "FanOutParams",
    "GRPOParams",
    "IngestParams",
    "LakeUri",
    "LikelihoodParams",
    "LossType",
    "Phase",
    "PolicyParams",
    "RegisterParams",
    "RetentionParams",
    "RetrainParams",
    "SFTParams",
    "Scenario",
    "Section",
    "Stage",
    "StrategyName",
    "Task",
    "Template",
    "TrackingUri",
    "TrainParams",
    "all_presets",
    "data_home",
    "merged",
    "moment",
    "parse_params",
    "preset",
    "presets",
    "task",
    "task_folders",
    "task_names",
]
