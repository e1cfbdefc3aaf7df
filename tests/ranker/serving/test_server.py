"""The command in a process of its own, with a real registry: waits for a champion, takes load, swaps,
stops in order, and what it served is in the lake.
"""

from __future__ import annotations

import re
import signal
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread
from typing import Any

import httpx
import pytest
from typer.main import get_command

from ranker.cli.main import app
from ranker.config import parse_params
from ranker.errors import BadConfig, BadModel
from ranker.lake import open_lake
from ranker.refs import PROJECT
from ranker.serving.schema import Rerank
from ranker.serving.server import serve
from ranker.serving.settings import Bounds, Settings
from tests.ranker.engines.models import tiny
from tests.ranker.lake.servers import until
from tests.ranker.serving.running import (
    NAME,
    PATIENCE,
    Running,
    in_process,
    is_permutation,
    promote,
    question,
)


def load(running: Running, requests: int, threads: int) -> list[httpx.Response]:
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(lambda seed: running.post(question(6, seed)), range(requests)))


class Clients:
    """Threads that ask without a pause until told to stop."""

    def __init__(self, running: Running, threads: int) -> None:
        self.answers: list[httpx.Response] = []
        self._running, self._stop = running, Event()
        self._threads = [Thread(target=self._asking, args=(number,)) for number in range(threads)]

    def __enter__(self) -> Clients:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _asking(self, number: int) -> None:
        while not self._stop.is_set():
            self.answers.append(self._running.post(question(4, number)))

    def versions(self) -> list[str]:
        return [answer.json()["meta"]["model_version"] for answer in list(self.answers)]


@pytest.fixture(scope="module")
def road(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The life of one server, told: what it answered at each stage, and how it ended."""
    folder = tmp_path_factory.mktemp("life")
    home, shown = folder / "home", {}
    for seed, key in enumerate(("aaaa", "bbbb")):
        tiny(home / "models" / key / "rl", context=256, seed=seed)
    options = (
        "--task",
        "synthetic",
        "--poll",
        "0.2",
        "--max-batch",
        "8",
        "--log",
        "--log-every",
        "3600",
        "--max-tokens",
        "64",
    )
    with in_process(home, folder / "log", *options) as running, ThreadPoolExecutor(16) as pool:
        shown["waiting"] = (running.health(), running.post(question(3)))
        promote(home, "aaaa")
        until(lambda: running.health().status_code == 200)
        shown["load"] = load(running, 64, 16)
        shown["broken"] = _broken_champion(home, running)
        with Clients(running, 6) as clients:
            until(lambda: clients.versions()[-6:].count("1") == 6)
            promote(home, "bbbb")
            until(lambda: len(clients.answers) > 12 and set(clients.versions()[-6:]) == {"3"})
        shown["swap"] = clients.answers
        shown["metrics"] = running.metrics()
        shown["last"] = _stopped(running, pool)
        shown["exit"] = running.process.wait(PATIENCE) if running.process else None
    return shown | {"home": home, "log": (folder / "log").read_text()}


def _broken_champion(home: Path, running: Running) -> httpx.Response:
    """A champion whose folder is not there is named, and the one before answers."""
    promote(home, "gone")
    until(lambda: "trouble" in running.health().json())
    return running.post(question(3))


def _stopped(running: Running, pool: ThreadPoolExecutor) -> list[Future[httpx.Response]]:
    """Sixteen requests, all taken and some still in the queue, when SIGTERM comes."""
    before = running.metrics()["ranker_batch_size_sum"]

    def all_taken() -> bool:
        shown = running.metrics()
        return (
            shown["ranker_batch_size_sum"] - before + shown["ranker_queue_depth"] == 16
            and shown["ranker_queue_depth"] > 0
        )

    sent = [pool.submit(running.post, question(20, seed)) for seed in range(16)]
    until(all_taken, 20)
    assert running.process is not None
    running.process.send_signal(signal.SIGTERM)
    return sent


def test_without_a_champion_it_is_live_and_not_ready(road: dict[str, Any]) -> None:
    health, refused = road["waiting"]
    assert health.status_code == 503 and health.json()["live"] and not health.json()["ready"]
    assert refused.status_code == 503 and refused.headers["Retry-After"]


def test_every_request_of_a_crowd_is_answered(road: dict[str, Any]) -> None:
    assert {answer.status_code for answer in road["load"]} <= {200, 429}
    done = [answer.json() for answer in road["load"] if answer.status_code == 200]
    assert len(done) >= 16 and all(
        is_permutation(answer, 6) and answer["model"] == f"{NAME}:1" for answer in done
    )
    assert all(int(answer.headers["Retry-After"]) > 0 for answer in road["load"] if answer.status_code == 429)


def test_they_were_ranked_together(road: dict[str, Any]) -> None:
    shown = road["metrics"]
    assert shown["ranker_batch_size_sum"] > 1.5 * shown["ranker_batch_size_count"]
    assert shown['ranker_batch_size_bucket{le="8.0"}'] == shown["ranker_batch_size_count"], "--max-batch"


def test_a_champion_that_cannot_be_loaded_changes_nothing(road: dict[str, Any]) -> None:
    assert road["broken"].status_code == 200 and road["broken"].json()["meta"]["model_version"] == "1"
    assert road["metrics"]["ranker_swap_failures_total"] >= 1 and "the one before serves on" in road["log"]


def test_a_new_champion_takes_over_and_no_request_fails(road: dict[str, Any]) -> None:
    versions = [answer.json()["meta"]["model_version"] for answer in road["swap"]]
    assert {answer.status_code for answer in road["swap"]} == {200} and set(versions) == {"1", "3"}
    assert all(is_permutation(answer.json(), 4) for answer in road["swap"])
    assert road["metrics"]["ranker_swaps_total"] == 1
    assert road["metrics"][f'ranker_model_info{{identity="bbbb/rl",name="{NAME}:3",version="3"}}'] == 1
    assert sum(name.startswith("ranker_model_info{") for name in road["metrics"]) == 1


def test_what_was_sent_before_sigterm_is_answered_and_the_exit_code_is_0(road: dict[str, Any]) -> None:
    answers = [one.result(0) for one in road["last"]]
    assert [answer.status_code for answer in answers] == [200] * 16
    assert all(is_permutation(answer.json(), 20) for answer in answers)
    assert road["exit"] == 0 and "stopped" in road["log"] and "Traceback" not in road["log"]


def test_what_was_served_is_in_the_lake_and_keeps_its_contract(road: dict[str, Any]) -> None:
    answers = [*road["load"], road["broken"], *road["swap"], *(one.result(0) for one in road["last"])]
    shown = {answer.json()["id"]: answer.json() for answer in answers if answer.status_code == 200}
    with open_lake(road["home"], read_only=True) as lake:
        requests = {
            row["set_id"]: row for row in lake.rows("select * from served_requests").iter_rows(named=True)
        }
        assert set(requests) == set(shown)
        assert {row["version"] for row in requests.values()} == {"1", "3"} and {
            row["model"] for row in requests.values()
        } == {"aaaa/rl", "bbbb/rl"}
        places = lake.rows(
            "select set_id, list(slot order by place) as slots from served_candidates group by set_id"
        )
        assert all(
            [result["index"] for result in shown[set_id]["results"]] == slots
            for set_id, slots in places.iter_rows()
        )
        assert places.height == len(shown)
        judged = lake.rows("select table_name, success, severity from contract_checks where stage = 'serve'")
        assert (
            set(judged["table_name"])
            == {
                "served_requests",
                "served_candidates",
                "served_orders",
                "served_shadows",
                "episodes",
                "steps",
            }
            and judged["success"].all()
        )
        episodes = lake.rows(
            "select count(*) as n, sum(calls) as calls, count(rr) as judged from episodes where stage ="
            " 'serve'"
        ).row(0, named=True)
        assert episodes["n"] == len(shown) and episodes["judged"] == 0
        assert (
            episodes["calls"]
            == lake.rows(
                "select count(*) from steps join episodes using (batch_id, episode_id) where stage = 'serve'"
            ).item()
        )
    assert not list((road["home"] / "served").iterdir()), "nothing is left in the request log"


def test_the_document_names_what_there_is(road: dict[str, Any]) -> None:
    text = (PROJECT / "docs" / "serving.md").read_text(encoding="utf-8")
    named, there = (
        set(re.findall(r"`(ranker_\w+)", text)),
        {name.partition("{")[0] for name in road["metrics"]},
    )
    counted = {re.sub(r"(_bucket|_sum|_count)$", "", name) for name in there if not name.endswith("_created")}
    assert counted | {"ranker_collections_total"} == named, "collected only at its end"
    options = {
        option
        for parameter in get_command(app).commands["serve"].params
        for option in (*parameter.opts, *parameter.secondary_opts)
    }  # type: ignore[attr-defined]
    assert set(re.findall(r"`(--[a-z-]+)", text)) <= options and set(Rerank.model_fields) == set(
        re.findall(r"^\| `(\w+)` \|", text.partition("## An answer")[0], re.MULTILINE)
    )
    with open_lake(road["home"], read_only=True) as lake:
        for sql in re.findall(r"```sql\n(.*?)```", text, re.DOTALL):
            assert lake.query(sql.replace("passage-pydoc", "synthetic")).height


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_others_may_reach_a_server_only_with_a_token(model_home: Path, settings: Settings, host: str) -> None:
    with pytest.raises(BadConfig, match="asks for a token"):
        serve(replace(settings, host=host), parse_params({"home": str(model_home)}))


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"model": "models:/r1-ranker"}, BadConfig),
        ({"model": "/nowhere"}, BadModel),
        ({"task": "nonsense"}, BadConfig),
        ({"bounds": Bounds(documents=703)}, BadConfig),
    ],
)
def test_settings_that_cannot_serve_are_refused_at_once(
    model_home: Path, settings: Settings, change: dict, error: type[Exception]
) -> None:
    with pytest.raises(error):
        serve(replace(settings, **change), parse_params({"home": str(model_home)}))


def test_a_port_that_is_taken_is_told(model_home: Path, settings: Settings, server: Running) -> None:
    with pytest.raises(BadConfig, match="--port"):
        serve(
            replace(settings, port=int(server.url.rpartition(":")[2])),
            parse_params({"home": str(model_home)}),
        )
