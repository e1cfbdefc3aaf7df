"""What a server counts, for Prometheus: one registry a server, so that several can live in one process."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from ranker.serving.models import Loaded
from ranker.types import Episode

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class ServingMetrics:
    """Counters and histograms. Safe to call from any thread."""

    def __init__(self) -> None:
        self._registry = own = CollectorRegistry()
        self._requests = Counter(
            "ranker_requests", "Rerank requests by HTTP status.", ["status"], registry=own
        )
        self._seconds = Histogram(
            "ranker_request_seconds",
            "From a rerank request's arrival to its answer, those that were ranked.",
            buckets=SECONDS,
            registry=own,
        )
        self._batches = Histogram(
            "ranker_batch_size", "Requests ranked in one call of the strategy.", buckets=SIZES, registry=own
        )
        self._calls = Counter("ranker_model_calls", "Answers that the model gave.", registry=own)
        self._invalid = Counter(
            "ranker_invalid_answers",
            "Answers that could not be read; the stated fallback was acted on.",
            ["reason"],
            registry=own,
        )
        self._tokens = Counter(
            "ranker_tokens", "Tokens read (prompt) and written (completion).", ["kind"], registry=own
        )
        self._left_out = Counter(
            "ranker_left_out_documents", "Documents below a request's min_score.", registry=own
        )
        self._abstentions = Counter(
            "ranker_abstentions", "Requests of which every document was below min_score.", registry=own
        )
        self._swaps = Counter(
            "ranker_swaps", "Times that a model was put in the place of another.", registry=own
        )
        self._failures = Counter(
            "ranker_swap_failures",
            "Times that the model to serve could not be looked up or loaded.",
            registry=own,
        )
        self._model = Gauge(
            "ranker_model_info", "The model that serves.", ["name", "version", "identity"], registry=own
        )
        self._logged = Counter(
            "ranker_logged_episodes", "Episodes written to the request log for the lake.", registry=own
        )
        self._collections = Counter(
            "ranker_collections",
            "Times that the request log was brought into the lake, by outcome.",
            ["outcome"],
            registry=own,
        )
        self._dropped = Counter(
            "ranker_dropped_episodes", "Episodes that could not be written to the request log.", registry=own
        )
        self._feedback = Counter(
            "ranker_feedback_events",
            "Events of feedback that were taken, by what happened.",
            ["event"],
            registry=own,
        )
        self._feedback_dropped = Counter(
            "ranker_dropped_feedback",
            "Events of feedback that the disk did not take; their clients were told.",
            registry=own,
        )
        self._depth = Gauge("ranker_queue_depth", "Requests that wait to be ranked.", registry=own)
        self._connections = Gauge("ranker_connections", "Connections that are open.", registry=own)
        self._closed = Counter(
            "ranker_closed_connections",
            "Connections closed because their request did not come (slow), or for room (full).",
            ["reason"],
            registry=own,
        )
        self._shadowed = Counter(
            "ranker_shadow_requests",
            "Requests that the shadow ranked, failed at, or was not given for want of room (dropped).",
            ["outcome"],
            registry=own,
        )
        self._agreements = Counter(
            "ranker_shadow_agreements",
            "Requests whose first document is the same by the shadow as in the answer.",
            registry=own,
        )
        self._shadow_failures = Counter(
            "ranker_shadow_load_failures",
            "Times that the shadow could not be looked up or loaded.",
            registry=own,
        )
        for outcome in ("ranked", "failed", "dropped"):
            self._shadowed.labels(outcome)
        for event in ("click", "rating", "purchase"):
            self._feedback.labels(event)
        for reason in ("slow", "full"):  # said from the beginning, so that a rate has where to begin
            self._closed.labels(reason)
        self._first = True

    def watch(self, depth: Callable[[], float], connections: Callable[[], float]) -> None:
        """Ask for the length of the queue and the open connections whenever the metrics are read."""
        self._depth.set_function(depth)
        self._connections.set_function(connections)

    def closed(self, reason: str) -> None:
        """A connection was closed that had not asked."""
        self._closed.labels(reason).inc()

    def request(self, status: int, seconds: float) -> None:
        """A request was answered."""
        self._requests.labels(str(status)).inc()
        if status == 200:
            self._seconds.observe(seconds)

    def batch(self, size: int) -> None:
        """A batch begins."""
        self._batches.observe(size)

    def episodes(self, made: Sequence[Episode]) -> None:
        """What was ranked."""
        for step in (step for episode in made for step in episode.steps):
            self._calls.inc()
            self._tokens.labels("prompt").inc(step.prompt_tokens)
            self._tokens.labels("completion").inc(step.completion_tokens)
            if not step.valid:
                self._invalid.labels(step.reason).inc()

    def left_out(self, documents: int, of: int) -> None:
        """So many of a request's documents were below its min_score."""
        self._left_out.inc(documents)
        self._abstentions.inc(int(documents == of))

    def swapped(self, loaded: Loaded) -> None:
        """Another model serves, or the first one."""
        if not self._first:
            self._swaps.inc()
        self._first = False
        self._model.clear()
        self._model.labels(loaded.pointer.name, loaded.pointer.version, loaded.pointer.identity).set(1)

    def swap_failed(self) -> None:
        """The model to serve could not be looked up or loaded."""
        self._failures.inc()

    def shadowed(self, outcome: str, agrees: bool = False) -> None:
        """The shadow 'ranked' a request (and `agrees` in the first document), 'failed' at it, or was not
        given it ('dropped').
        """
        self._shadowed.labels(outcome).inc()
        self._agreements.inc(int(agrees))

    def shadow_load_failed(self) -> None:
        """The shadow could not be looked up or loaded."""
        self._shadow_failures.inc()

    def logged(self, written: bool) -> None:
        """An episode went to the request log, or could not."""
        (self._logged if written else self._dropped).inc()

    def fed_back(self, event: str, written: bool) -> None:
        """An event of feedback went to its log, or could not."""
        if written:
            self._feedback.labels(event).inc()
        else:
            self._feedback_dropped.inc()

    def collected(self, outcome: str) -> None:
        """The request log was brought into the lake ('done'), or not ('failed')."""
        self._collections.labels(outcome).inc()

    def text(self) -> bytes:
        """Everything, in Prometheus's text format."""
        return generate_latest(self._registry)
