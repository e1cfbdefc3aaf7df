"""The second model: it ranks what was answered, is kept beside it, and changes no answer whatever it does."""

from __future__ import annotations

import asyncio
import json
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from contracts.gate import validate_batch
from ranker.config import parse_params
from ranker.engines.scripted import ScriptedEngine
from ranker.errors import BadModel
from ranker.lake import open_lake
from ranker.policy.prompts import Prompt
from ranker.refs import PROJECT
from ranker.serving import collect, feedback
from ranker.serving.batcher import Batcher
from ranker.serving.metrics import ServingMetrics
from ranker.serving.models import Models, Pointer
from ranker.serving.ranking import Ranked, Ranking
from ranker.serving.request_log import RequestLog
from ranker.serving.settings import Settings
from ranker.serving.shadow import Shadow, address
from ranker.types import CandidateSet
from tests.ranker.engines.models import tiny
from tests.ranker.factories import adversary, make_set, oracle
from tests.ranker.lake.servers import until
from tests.ranker.material import passes, tiny_lm
from tests.ranker.serving.running import HOW, NAME, Running, in_thread, promote, question
from tests.ranker.serving.test_metrics import read

COMPARED = PROJECT / "sql" / "adhoc" / "shadow_against_champion.sql"
QUESTIONS = [question(n, seed) for seed, n in enumerate((3, 4, 5, 6, 7, 8, 5, 6))]


@pytest.fixture(scope="module")
def other(model_home: Path) -> Path:
    """A likelihood policy in the same data folder: untrained like the other, it has an order of its own."""
    return tiny_lm(model_home / "models" / "s" / "rl")


@pytest.fixture(scope="module")
def plain(server: Running) -> list[bytes]:
    """What is answered without a shadow."""
    assert "shadow" not in server.health().json()
    return answers(server)


def answers(running: Running) -> list[bytes]:
    """To all questions, without the ids of the requests."""
    found = [running.post(asked | {"reasons": True}) for asked in QUESTIONS]
    return [one.content.replace(one.json()["id"].encode(), b"id") for one in found]


def shadow_of(running: Running) -> dict[str, Any]:
    return running.health().json()["shadow"]


def outcomes(running: Running) -> dict[str, float]:
    """Requests by what became of them in the shadow."""
    shown = running.metrics()
    names = ("ranked", "failed", "dropped")
    return {name: shown[f'ranker_shadow_requests_total{{outcome="{name}"}}'] for name in names}


def test_answers_are_the_same_byte_for_byte_and_both_rankings_are_in_the_lake(
    tmp_path: Path, settings: Settings, other: Path, plain: list[bytes]
) -> None:
    with in_thread(tmp_path, replace(settings, shadow=str(other), log=True)) as running:
        until(lambda: shadow_of(running)["ranks"])
        assert answers(running) == plain
        until(lambda: outcomes(running)["ranked"] == len(QUESTIONS))
        assert shadow_of(running) == {"model": "rl", "version": "", "ranks": True, "same": False}
        shown = running.metrics()
    assert shown["ranker_logged_episodes_total"] == 2 * len(QUESTIONS)
    with open_lake(tmp_path) as lake:
        ref = collect.run(lake, check=passes)
        assert ref is not None and ref.rows["served_shadows"] == ref.rows["served_requests"] == len(QUESTIONS)
        episodes = lake.rows("select arm, set_id, ranking from episodes")
        (row,) = lake.query(COMPARED.read_text(encoding="utf-8")).to_dicts()
    made = {(arm, set_id): ranking for arm, set_id, ranking in episodes.iter_rows()}
    pairs = [(own, made["shadow", set_id]) for (arm, set_id), own in made.items() if arm == "served"]
    same = sum(one[0] == two[0] for one, two in pairs)
    assert row["requests"] == len(pairs) == len(QUESTIONS) and row["shared_10"] == 1
    assert row["same_first"] == pytest.approx(same / len(pairs), abs=1e-3)
    assert row["tau"] == pytest.approx(sum(tau(*pair) for pair in pairs) / len(pairs), abs=1e-3)
    assert shown["ranker_shadow_agreements_total"] == same
    assert row["ms"] > 0 < row["shadow_ms"] and row["tokens"] > 0 < row["shadow_tokens"]


def tau(one: list[str], other: list[str]) -> float:
    """Kendall's, of two orders of the same things."""
    signs = [1 if other.index(a) < other.index(b) else -1 for a, b in combinations(one, 2)]
    return sum(signs) / len(signs)


def test_a_shadow_that_cannot_load_or_rank_is_told_and_leaves_answers_alone(
    tmp_path: Path, model_home: Path, settings: Settings, plain: list[bytes]
) -> None:
    thinking = replace(HOW, thinking=True)
    gone = replace(settings, shadow=str(tmp_path / "gone"), shadow_how=thinking, poll=0.2)
    with in_thread(model_home, gone) as running:
        until(lambda: running.metrics()["ranker_shadow_load_failures_total"] >= 2)
        assert answers(running) == plain
        assert running.health().json()["ready"] and "trouble" not in running.health().json()
        assert "config.json" in shadow_of(running)["trouble"] and not shadow_of(running)["ranks"]
        tiny_lm(tmp_path / "gone")  # there at last, and asked to reason, which it cannot
        until(lambda: shadow_of(running)["ranks"])
        assert answers(running) == plain
        until(lambda: outcomes(running)["failed"] == len(QUESTIONS))
        assert "BadConfig" in shadow_of(running)["trouble"]
        assert running.metrics()["ranker_swap_failures_total"] == 0 == outcomes(running)["ranked"]


def test_what_finds_no_room_is_dropped_and_counted(model_home: Path, settings: Settings, other: Path) -> None:
    crowded = replace(settings, shadow=str(other), most_shadowed=1)
    with in_thread(model_home, crowded) as running, ThreadPoolExecutor(16) as pool:
        until(lambda: shadow_of(running)["ranks"])
        found = list(pool.map(lambda seed: running.post(question(6, seed)), range(16)))
        assert {one.status_code for one in found} == {200}
        until(lambda: sum(outcomes(running).values()) == 16)
        shown = outcomes(running)
    assert shown["dropped"] > 0 < shown["ranked"] and not shown["failed"]


def test_it_follows_its_alias_and_rests_where_that_is_the_version_that_serves(
    tmp_path: Path, settings: Settings, empty_registry: Path
) -> None:
    shutil.copy(empty_registry, tmp_path / "mlflow.db")
    for seed, key in enumerate(("aaaa", "bbbb")):
        tiny(tmp_path / "models" / key / "rl", context=256, seed=seed)
    promote(tmp_path, "aaaa", "champion", "challenger")
    following = replace(settings, model=f"models:/{NAME}@champion", shadow="challenger", poll=0.2)
    with in_thread(tmp_path, following) as running:
        until(lambda: shadow_of(running)["same"])
        running.post(question(4))
        promote(tmp_path, "bbbb", "challenger")
        until(lambda: shadow_of(running)["version"] == "2")
        assert outcomes(running)["ranked"] == 0 and not shadow_of(running)["same"]
        assert running.post(question(4)).json()["meta"]["model_version"] == "1"
        until(lambda: outcomes(running)["ranked"] == 1)
        promote(tmp_path, "bbbb", "champion", "challenger")
        until(lambda: running.health().json()["version"] == "3" and shadow_of(running)["same"])
        assert shadow_of(running)["version"] is None and "trouble" not in shadow_of(running)


def test_interleaved_answers_have_a_document_of_either_in_turn_and_clicks_tell_who_wins(
    tmp_path: Path, settings: Settings, other: Path
) -> None:
    interleaved = replace(settings, shadow=str(other), interleave=True, log=True)
    with in_thread(tmp_path, interleaved) as running:
        until(lambda: shadow_of(running)["ranks"])
        shown = [running.post(asked | {"top_n": 3}).json() for asked in QUESTIONS]
        assert all(one["meta"]["explored"] and len(one["results"]) == 3 for one in shown)
        assert outcomes(running)["ranked"] == len(QUESTIONS)
    with open_lake(tmp_path) as lake:
        collect.run(lake, check=validate_batch)
        rows = lake.rows(
            "select * from served_orders join served_requests using (batch_id, set_id)"
        ).to_dicts()
        teams = {row["set_id"]: row["teams"] for row in rows}
        assert all(len(found) == 3 and set(found[:2]) == {"served", "shadow"} for found in teams.values())
        assert lake.rows("select count(*) from served_shadows").item() == len(QUESTIONS)
        log = RequestLog(collect.feedback_folder(tmp_path))
        now = datetime.now(UTC)
        for one in shown:  # users who want what the shadow chose
            first = teams[one["id"]].index("shadow")
            click = {"request_id": one["id"], "document_id": one["results"][first]["index"], "event": "click"}
            log.add(feedback.record(feedback.read(json.dumps(click).encode(), now), now))
        log.close()
        collect.feedback(lake, check=validate_batch)
        asked = (PROJECT / "sql" / "adhoc" / "interleaving.sql").read_text(encoding="utf-8")
        assert lake.query(asked).is_empty(), "the day is not over"
        lake.execute("update served_requests set served_at = served_at - interval 2 days")
        (row,) = lake.query(asked).to_dicts()
    assert (row["won"], row["lost"], row["won_share"]) == (len(QUESTIONS), 0, 1.0)
    assert 0.5 < row["lower"] < 0.8 and row["upper"] == 1.0


def test_an_answer_goes_without_a_challenger_that_is_late_or_cannot_rank(tmp_path: Path) -> None:
    let_on = threading.Event()

    def slow(prompt: Prompt) -> str:
        assert let_on.wait(20)
        return adversary(prompt)

    def broken(prompt: Prompt) -> str:
        raise BadModel("it ranks", seen="nothing", remedy="none")

    async def asked(answer: Callable[[Prompt], str], left: float, most: int = 9) -> Any:
        metrics = ServingMetrics()
        batcher: Batcher[CandidateSet, Ranked] = Batcher(
            Ranking(held(ScriptedEngine(oracle), "a"), HOW, metrics), most_waiting=9, most_at_once=9
        )
        shadow = Shadow(held(ScriptedEngine(answer), "b"), HOW, batcher.idle, metrics, most=most)
        running = asyncio.create_task(batcher.run())
        given = make_set([1, 0, 0])
        answered = await batcher.do(given, 5)
        found = await asyncio.gather(*(shadow.at_once(given, answered, left) for _ in range(2)))
        running.cancel()
        let_on.set()
        batcher.close()
        shadow.close()
        return found, read(metrics), shadow.trouble

    found, shown, trouble = asyncio.run(asked(slow, 0.2))
    assert found == [None, None] and "TimeoutError" in trouble
    assert shown['ranker_shadow_requests_total{outcome="failed"}'] == 2
    found, shown, trouble = asyncio.run(asked(broken, 5))
    assert found == [None, None] and "BadModel" in trouble
    found, shown, _ = asyncio.run(asked(adversary, 5, most=1))
    assert found[0] is not None and found[1] is None, "one waits at the most"
    assert shown['ranker_shadow_requests_total{outcome="dropped"}'] == 1


@pytest.mark.parametrize(
    ("shadow", "model", "meant"),
    [
        ("challenger", "models:/r1-ranker@champion", "models:/r1-ranker@challenger"),
        ("challenger", "models:/mine/3", "models:/mine@challenger"),
        ("challenger", "models/k/rl", "models:/r1-ranker@challenger"),
        ("models:/mine/4", "models:/mine@champion", "models:/mine/4"),
        ("./policy", "models:/mine@champion", "./policy"),
        ("openai:http://h/v1#m", "k", "openai:http://h/v1#m"),
    ],
)
def test_a_word_is_an_alias_of_the_model_that_serves(shadow: str, model: str, meant: str) -> None:
    assert address(shadow, model, parse_params({})) == meant


def held(engine: ScriptedEngine, name: str) -> Models:
    """A model that is loaded."""
    models = Models(
        lambda: Pointer(name, name, name), lambda _: engine, swapped=lambda _: None, failed=lambda: None
    )
    models.refresh()
    return models


def test_one_that_hangs_holds_no_answer_and_what_was_not_logged_stays_out_of_the_log(tmp_path: Path) -> None:
    """An endpoint that does not answer, in the place of the shadow."""
    hanging, let_on = threading.Event(), threading.Event()

    def slow(prompt: Prompt) -> str:
        hanging.set()
        assert let_on.wait(20)
        return adversary(prompt)

    async def serving() -> None:
        metrics, log = ServingMetrics(), RequestLog(tmp_path)
        ranking = Ranking(held(ScriptedEngine(oracle), "a"), HOW, metrics)
        batcher: Batcher[CandidateSet, Ranked] = Batcher(ranking, most_waiting=9, most_at_once=9)
        shadow = Shadow(held(ScriptedEngine(slow), "b"), HOW, batcher.idle, metrics, most=9, request_log=log)
        running = [asyncio.create_task(one) for one in (batcher.run(), shadow.run())]
        for number in range(3):
            given = make_set([1, 0, 0], set_id=f"request {number}")
            answered = await batcher.do(given, 5)
            shadow.offer(given, answered, logged=number != 1)
            if number == 0:
                await asyncio.to_thread(hanging.wait, 20)
        let_on.set()
        while read(metrics)['ranker_shadow_requests_total{outcome="ranked"}'] < 3:
            await asyncio.sleep(0.01)
        assert read(metrics)["ranker_shadow_agreements_total"] == 0, "one puts the best first, one the worst"
        for one in running:
            one.cancel()
            with suppress(asyncio.CancelledError):
                await one
        batcher.close()
        shadow.close()
        log.close()

    asyncio.run(asyncio.wait_for(serving(), 60))
    lines = pl.concat([pl.read_ndjson(path) for path in tmp_path.iterdir()])
    assert lines["set_id"].to_list() == ["request 0", "request 2"] and set(lines["arm"]) == {"shadow"}
