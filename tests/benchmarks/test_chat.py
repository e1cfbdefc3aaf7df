"""The chat policy's benchmark: its task, its plain text, and its road from there to rewards, small."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path

import polars as pl
import pytest

from benchmarks import chat
from benchmarks.__main__ import ALL, chat_rows
from ranker.config import TrainParams
from ranker.engines.transformers import load_tokenizer
from ranker.policy.parsing import parse
from ranker.policy.prompts import Prompt, messages
from ranker.policy.rewards import reward
from ranker.train.job import Log
from ranker.train.worker import phases
from ranker.train.worker.heartbeat import Heartbeat
from ranker.train.worker.job import Job


@pytest.fixture(autouse=True)
def _task_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(chat.TASKS, str(chat.FOLDER))


def test_one_candidate_breaks_the_rule_that_the_prompt_states() -> None:
    sets = chat.pools(200, 7, "test")
    for given in sets:
        thing = given.query.split()[0]
        breaks = [one for one in given.candidates if thing in one.text.split()]
        assert [one.relevance for one in breaks] == [0.0] and sum(given.relevance.values()) == len(given) - 1
        asked = messages(Prompt("exclude", True, given), "chat")[0]["content"]
        assert f"{thing} is forbidden" in asked and "between <think> and </think>" in asked
    assert {len(given) for given in sets} == {3, 4}
    worst = [min(given.relevance, key=lambda label: given.relevance[label]) for given in sets]
    assert set(worst) == set("ABCD"), "no place is always the right one"


def test_traces_are_valid_prose_and_mostly_right() -> None:
    sets = chat.pools(400, 7, "train")
    earned = []
    for given, text in zip(sets, chat.traces(sets)["completion"], strict=True):
        action = parse(text, given.labels, "exclude", True)
        assert action.valid
        earned.append(reward(action, given.relevance, "exclude").total > 0)
    expected = chat.RIGHT + (1 - chat.RIGHT) / 3.5
    assert sum(earned) / len(earned) == pytest.approx(expected, abs=0.06)


def test_plain_text_holds_no_prompt_and_tells_the_truth() -> None:
    for text in islice(chat.plain_text(3), 50):
        lists, said = text.split("\n\n")
        has = dict(line.split(": ") for line in lists.splitlines())
        facts = [one.split() for one in said.removesuffix(".").split(". ")]
        assert facts and all(thing in has[label].split() for _, thing, label, _ in facts)
        assert not any(word in text for word in ("forbidden", "worst", "answer", "Query", "<"))


def in_this_process(folder: Path, _params: TrainParams, _log: Log) -> None:
    job, heartbeat = Job.read(folder / "job.json"), Heartbeat(folder / "heartbeat.json")
    for phase in (phases.untrained, phases.sft, phases.rl):
        phase(job, heartbeat)


def test_from_plain_text_to_rewards(tmp_path: Path) -> None:
    plan = chat.Plan(reading=2, sft=2, grpo=1, queries=6, layers=1)
    found = chat.main(tmp_path, plan, in_this_process)
    assert found["queries"] == 6 and set(found["after"]) == {"untrained", "sft", "rl", "blind"}
    for one in found["after"].values():
        value, lower, upper = one["reward"]
        assert -1 <= lower <= value <= upper <= found["best"][0] < 1
        assert one["invalid"][0] == 1 and value == -1, "two steps teach no form: nothing is repaired"
    rows = chat_rows(found)
    assert [row.holds for row in rows if row.goal] == [False, True], "neither arm has risen"
    assert "chat" in ALL
    models = tmp_path / "models"
    weights = [(models / arm / "sft" / "model.safetensors").read_bytes() for arm in ("ranking", "blind")]
    assert weights[0] == weights[1], "the control begins where the other began"
    kinds = {
        arm: json.loads((tmp_path / "jobs" / arm / "job.json").read_text()) for arm in ("ranking", "blind")
    }
    assert {arm: one["params"]["grpo"]["reward"] for arm, one in kinds.items()} == {a: a for a in kinds}
    steps = pl.read_parquet(next((tmp_path / "jobs" / "ranking" / "rollouts").glob("steps-*.parquet")))
    assert len(steps) == chat.BATCH
    assert chat.read(models / "read", plan)["parameters"] == found["parameters"], (
        "what is there is not made anew"
    )
    words = load_tokenizer(models / "read")
    assert words.decode(words("<think> river")["input_ids"]) == "<think> river"
