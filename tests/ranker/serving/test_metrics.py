"""What a server counts, as Prometheus reads it."""

from __future__ import annotations

from ranker.engines import Sampling
from ranker.engines.scripted import ScriptedEngine
from ranker.serving.metrics import ServingMetrics
from ranker.serving.models import Loaded, Pointer
from ranker.strategies import strategy
from tests.ranker.factories import make_set, oracle


def read(metrics: ServingMetrics) -> dict[str, float]:
    """Value by name and labels."""
    lines = [line for line in metrics.text().decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def test_requests_are_counted_by_status_and_timed_where_they_were_ranked() -> None:
    metrics = ServingMetrics()
    for status in (200, 200, 429):
        metrics.request(status, 0.3)
    counted = read(metrics)
    assert counted['ranker_requests_total{status="200"}'] == counted["ranker_request_seconds_count"] == 2
    assert counted['ranker_requests_total{status="429"}'] == 1


def test_answers_are_counted_with_their_tokens_and_why_they_were_invalid() -> None:
    metrics = ServingMetrics()
    engine = ScriptedEngine(lambda prompt: "no idea")
    metrics.episodes(
        strategy("iterative")([make_set([1, 0, 0])], engine, thinking=True, sampling=Sampling(64))
    )
    counted = read(metrics)
    assert (
        counted["ranker_model_calls_total"]
        == counted['ranker_invalid_answers_total{reason="no_answer"}']
        == 2
    )
    assert (
        counted['ranker_tokens_total{kind="prompt"}'] >= counted['ranker_tokens_total{kind="completion"}'] > 0
    )


def test_documents_below_a_threshold_are_counted_and_requests_without_any_left() -> None:
    metrics = ServingMetrics()
    for left_out in (0, 2, 3):
        metrics.left_out(left_out, 3)
    counted = read(metrics)
    assert (counted["ranker_left_out_documents_total"], counted["ranker_abstentions_total"]) == (5, 1)


def test_the_first_model_is_no_swap_and_only_the_one_that_serves_is_told() -> None:
    metrics = ServingMetrics()
    for version in ("1", "2"):
        metrics.swapped(Loaded(Pointer("folder", f"r:{version}", "k/rl", version), ScriptedEngine(oracle)))
    counted = read(metrics)
    assert counted["ranker_swaps_total"] == 1
    assert [name for name in counted if name.startswith("ranker_model_info")] == [
        'ranker_model_info{identity="k/rl",name="r:2",version="2"}'
    ]


def test_the_queue_is_asked_for_its_length_when_the_metrics_are_read() -> None:
    metrics, waiting = ServingMetrics(), [1, 2]
    metrics.watch(lambda: len(waiting), lambda: 2)
    assert read(metrics)["ranker_queue_depth"] == 2
    waiting.clear()
    assert read(metrics)["ranker_queue_depth"] == 0


def test_two_servers_in_one_process_count_apart() -> None:
    one, other = ServingMetrics(), ServingMetrics()
    one.logged(written=True)
    assert (read(one)["ranker_logged_episodes_total"], read(other)["ranker_logged_episodes_total"]) == (1, 0)
