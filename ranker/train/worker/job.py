"""The job as the trainer sees it: parameters, and the folders it reads from and writes to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from ranker.config import TrainParams
from ranker.lake.candidate_sets import from_frame
from ranker.types import CandidateSet, JsonObject


@dataclass(frozen=True, slots=True)
class Job:
    """One training job."""

    key: str
    folder: Path
    home: Path
    tasks: tuple[str, ...]
    params: TrainParams
    phase_keys: Mapping[str, str] = field(default_factory=dict[str, str])
    """Of phases that other trainings may go on from (ranker/train/reuse.py)."""
    start: str = ""
    """Folder of the model that training begins with, relative to home; empty is the policy's own."""

    @classmethod
    def read(cls, path: Path) -> Job:
        """Load job.json; the folder that holds it is the job folder."""
        raw: JsonObject = json.loads(path.read_text(encoding="utf-8"))
        return cls(
            raw["key"],
            path.parent,
            path.parents[2],  # jobs/KEY/job.json, wherever this machine has it
            tuple(raw["tasks"]),
            TrainParams.model_validate(raw["params"]),
            raw.get("phase_keys", {}),
            raw.get("start", ""),
        )

    @property
    def beginning(self) -> str | Path:
        """What training begins with: a folder, a hub name, or 'scratch'."""
        given = self.start or self.params.policy.model_name_or_path
        folder = self.home / given
        return folder if given != "scratch" and folder.exists() else given

    def table(self, name: str) -> pl.DataFrame:
        """One exported Parquet file."""
        return pl.read_parquet(self.folder / f"{name}.parquet")

    def sets(self) -> dict[str, CandidateSet]:
        """The training sets that prompts are made of, by id; there where the policy rolls eliminations
        out.
        """
        return {given.set_id: given for given in from_frame(self.table("sets"))}

    def validation(self) -> list[CandidateSet]:
        """Held-out sets on which checkpoints are chosen."""
        return from_frame(self.table("valid"))

    def model(self, phase: str) -> Path:
        """Where a phase's weights go."""
        return self.home / "models" / self.key / phase
