"""SIGKILL to a distilling process whose teacher is a real endpoint: the next run asks for what is missing,
and for nothing twice.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

from contracts.gate import validate_batch
from ranker.config import CandidateParams, DistillParams, PolicyParams
from ranker.engines.openai import KEY
from ranker.lake import Lake
from ranker.refs import PROJECT, Ref
from ranker.stages import candidates, distill
from tests.ranker.engines.endpoints import Front, front, serving
from tests.ranker.engines.models import tiny
from tests.ranker.material import passes, read_in

SECRET = "sk-never-to-be-stored"
CHAT = PolicyParams(model_name_or_path="models/x", style="chat")
CHILD = """
import sys
from pathlib import Path
from ranker.stages import distill
from ranker.config import DistillParams
from ranker.lake import open_lake
from ranker.refs import Ref
from tests.ranker.material import passes
from tests.ranker.stages.test_distill_killed import CHAT
with open_lake(Path(sys.argv[1])) as lake:
    params, sets = DistillParams.model_validate_json(sys.argv[2]), Ref.model_validate_json(sys.argv[3])
    distill.run(lake, params, sets=sets, policy=CHAT, check=passes)
"""


def killed(home: Path, params: DistillParams, sets: Ref, server: Front, after: int) -> None:
    """A distilling process that dies once the server has been asked so often."""
    command = [sys.executable, "-c", CHILD, str(home), params.model_dump_json(), sets.model_dump_json()]
    with subprocess.Popen(command, cwd=PROJECT) as child:
        end = time.monotonic() + 240
        while len(server.seen) < after:
            assert child.poll() is None and time.monotonic() < end, "the child ended by itself"
            time.sleep(0.01)
        child.kill()


def prompts(server: Front) -> list[str]:
    return [one["body"]["messages"][0]["content"] + f" #{one['body']['seed']}" for one in server.seen]


def test_a_killed_run_goes_on_and_asks_no_answered_prompt_again(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY, SECRET)
    sets = candidates.run(lake, CandidateParams(), source=read_in(lake, "synthetic"), check=passes)
    folder = tiny(tmp_path / "model", style="chat", context=512)
    with serving(folder) as upstream, front(upstream) as server:
        params = DistillParams(
            teacher=f"openai:{server.url}#{folder}",
            traces=20,
            samples=2,
            temperature=1.0,
            max_completion_length=8,
            concurrency=2,
            price_in=1.0,
            price_out=3.0,
        )
        killed(lake.home, params, sets, server, after=21)
        answered = [
            json.loads(line)["call"]
            for part in sorted(lake.home.glob("jobs/*/*.jsonl"))
            for line in part.read_text().splitlines()
        ]
        before = prompts(server)
        server.reset()
        ref = distill.run(lake, params, sets=sets, policy=CHAT, check=validate_batch)
        after = prompts(server)
        assert 16 <= len(answered) <= len(before) < 40 and len(set(answered)) == len(answered)
        assert len(after) == 40 - len(answered), "what was answered is not asked again"
        assert len(set(after)) == len(after) and len(set(after) & set(before)) <= 4 * params.concurrency, (
            "only what was in flight is asked again"
        )
        assert distill.run(lake, params, sets=sets, policy=CHAT, check=validate_batch).skipped and len(
            server.seen
        ) == len(after)
    shown = ref.details["models"][params.teacher]
    assert ref.rows["traces"] == shown["answers"] == 40
    traces = lake.rows("select * from traces where batch_id = $key", {"key": ref.key})
    assert (
        traces["cost"].sum() == pytest.approx(shown["cost"]) and traces.filter(pl.col("cost") <= 0).is_empty()
    )
    assert set(traces["teacher"]) == {str(folder)}
    stored = [path for path in lake.home.rglob("*") if path.is_file()]
    assert stored and not any(SECRET.encode() in path.read_bytes() for path in stored)
