"""How a server runs: the values, and the only place of their defaults, which the command line shows.

Imports nothing that takes time: the command line reads the defaults whenever it starts.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ranker.config import RegisterParams
from ranker.engines import Sampling
from ranker.serving.explore import Exploration
from ranker.serving.privacy import Texts
from ranker.strategies import Strategy, strategy

ALIAS = f"models:/{RegisterParams().name}@champion"


@dataclass(frozen=True, slots=True)
class How:
    """How a model ranks: the same for every request."""

    way: Strategy = field(default_factory=lambda: strategy("iterative"))
    thinking: bool | None = None
    """None: where the model that serves can reason."""
    sampling: Sampling = field(default_factory=lambda: Sampling(256))


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one request may hold."""

    documents: int = 100
    characters: int = 400_000
    """Of query, history and documents together."""
    bytes: int = 4_000_000
    """Of the body."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How a server runs."""

    model: str = ALIAS
    """As models.finder takes it."""
    how: How = field(default_factory=How)
    task: str = ""
    """Of requests that name none."""
    host: str = "127.0.0.1"
    port: int = 8080
    token: str = ""
    """That clients must send; empty for none."""
    most_waiting: int = 256
    most_at_once: int = 32
    most_tokens: int = 8_192
    """Of the texts that are ranked at once, about; a request with more is ranked alone."""
    most_tokens_waiting: int = 1_000_000
    timeout: float = 60.0
    """Seconds from a request's arrival to its answer."""
    head_timeout: float = 10.0
    """Seconds for a request's line and headers; the whole request has `timeout`."""
    origins: tuple[str, ...] = ()
    """Web pages that may ask, as browsers name them (https://example.org); pages of this machine may."""
    access_log: bool = False
    bounds: Bounds = field(default_factory=Bounds)
    poll: float = 10.0
    """Seconds between two looks at the registry."""
    documents: int = 0
    """MiB for what a likelihood policy makes of documents, so that one that comes again is not read again."""
    shadow: str = ""
    """A second model that ranks what was answered, as `model` names it, or an alias; empty for none."""
    interleave: bool = False
    """Whether answers wait for the shadow and are interleaved with its ranking."""
    shadow_how: How | None = None
    """How it ranks; None: as the model that answers."""
    most_shadowed: int = 64
    """Requests that may wait for the shadow; what is more is dropped."""
    explore: Exploration = field(default_factory=Exploration)
    """Which answers are shuffled."""
    log: bool = False
    texts: Texts = "keep"
    """What the log keeps of texts."""
    log_every: float = 300.0
    """Seconds between two collections of the request log."""


DEFAULTS = Settings()
