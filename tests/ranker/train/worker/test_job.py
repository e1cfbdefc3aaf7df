"""The job as the trainer sees it."""

from __future__ import annotations

from pathlib import Path

from ranker.lake.candidate_sets import to_frame
from ranker.train.worker.job import Job
from tests.ranker.factories import overlap_sets
from tests.ranker.train.jobs import tiny, write_job


def test_what_the_flow_exports_is_what_the_trainer_reads(tmp_path: Path) -> None:
    params = tiny(sft={"max_steps": 7})
    folder = write_job(tmp_path, params)
    sets = overlap_sets(3)
    to_frame(sets).write_parquet(folder / "sets.parquet")
    job = Job.read(folder / "job.json")
    assert (job.params, job.folder, job.home, job.tasks) == (params, folder, tmp_path, ("synthetic",))
    assert job.sets() == {given.set_id: given for given in sets}
    assert job.table("rl").height > 0 and job.model("rl") == tmp_path / "models" / "k" / "rl"
