"""Engines turn prompts into completions with token counts.

One protocol; `load` picks the engine for a model.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from ranker.errors import BadConfig, BadModel
from ranker.prompts import Ask, Message, Style


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to decode. Temperature 0 is greedy; top_p stays 1 (other values bias RL's importance ratio)."""

    max_tokens: int
    temperature: float = 0.0
    seed: int = 0
    constrained: bool = False
    """Only valid answers can be written (engines/grammar.py).

    An engine that cannot do so says it in its completions.
    """


@dataclass(frozen=True, slots=True)
class Completion:
    """What came back: text without the end token, token counts, why it ended, wall milliseconds (batch
    time / batch size).
    """

    text: str
    prompt: str
    """The prompt as rendered for the model."""
    prompt_tokens: int
    completion_tokens: int
    finish: Literal["stop", "length"]
    milliseconds: float
    cached_tokens: int = 0
    """Prompt tokens that a prefix cache spared the engine, where it says so."""
    constrained: bool = False
    """Whether decoding was constrained to valid answers."""


@dataclass(frozen=True, slots=True)
class Scored:
    """How likely each label of a pool is at the answer's place.

    `scores` are log-probabilities of the labels as shown, normalised over the pool. `completion.text` is the
    reasoning before them, empty where none was asked for; `completion.prompt_tokens` counts the opening of
    the answer.
    """

    completion: Completion
    scores: tuple[float, ...]


class Engine(Protocol):
    """A model that completes chat prompts. One with an attribute `batch` is given at most so many at once."""

    name: str
    style: Style

    def complete(self, asks: Sequence[Ask], sampling: Sampling) -> list[Completion]:
        """One completion per ask, in order. Raises PromptTooLong where a prompt cannot be made to fit."""
        ...


@runtime_checkable
class Scoring(Protocol):
    """An engine that can tell how likely each label is."""

    def score(self, asks: Sequence[Ask], sampling: Sampling) -> list[Scored]:
        """One per ask, in order. Reasoning that is asked for comes first, within `sampling.max_tokens`."""
        ...


Then = Callable[[int, Completion], Iterable[tuple[int, Ask]]]
"""Called with a numbered answer as it comes; gives the numbered asks that follow from it."""


@runtime_checkable
class Streaming(Protocol):
    """An engine whose answers do not wait for each other."""

    def stream(self, asks: Iterable[tuple[int, Ask]], sampling: Sampling, then: Then) -> None:
        """Answer numbered asks, and those that `then(number, completion)` gives as each answer comes, until
        none is left.

        An ask is sampled with seed `sampling.seed` + its number. Calls of `then` do not overlap.
        """
        ...


def scorer(engine: Engine) -> Scoring:
    """The engine, which has to be able to score labels.

    Raises:
        BadConfig: it is not.
    """
    if not isinstance(engine, Scoring):
        raise BadConfig(
            "this strategy needs the labels' scores from the engine",
            seen=f"{engine.name} gives written answers alone",
            remedy=(
                "run the model's folder with the engine `transformers` (no prefix before its name), or choose"
                " a strategy by written answers"
            ),
        )
    return engine


VLLM, OPENAI = "vllm:", "openai:"
"""What stands before a model's name to say which engine runs it."""
MANIFEST = "ranker.json"
"""Written last into a trained model's folder: a folder without it is not complete."""


def manifest(model: str | Path) -> dict[str, Any]:
    """What the trainer wrote of a model (style, phase, train key, …); empty for a model that is not ours."""
    path = Path(model) / MANIFEST
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def require(folder: Path) -> None:
    """Refuse a model folder without a config before hours are spent on what comes first.

    Raises:
        BadModel: there is no config.json in it.
    """
    if not (folder / "config.json").is_file():
        raise BadModel(
            "a model folder must exist and hold config.json",
            seen=str(folder),
            remedy="run `ranker fetch`, or give the folder of a saved causal LM",
        )


def located(model: str, home: Path) -> str:
    """`model` with a folder below `home` spelled out; hub names and endpoints stay as they are."""
    prefix = VLLM if model.startswith(VLLM) else ""
    folder = home / model.removeprefix(prefix)
    return model if model.startswith(OPENAI) or not folder.is_dir() else f"{prefix}{folder}"


def load(
    model: str | Path,
    *,
    style: Style | None = None,
    device: str = "auto",
    batch: int = 64,
    threads: int = 0,
    concurrency: int = 8,
    timeout: float = 120.0,
    cache: int = 0,
) -> Engine:
    """An engine for a model: `folder` or hub name (transformers), `vllm:` before either (vLLM in this
    process), or `openai:<base url>#<model>` (any OpenAI-compatible endpoint; its key in $OPENAI_API_KEY).

    Args:
        style: prompt style; None takes the one the model was trained with, and chat for a model that is not
            ours.
        device: 'auto', 'cpu' or 'cuda' (transformers; vLLM runs on what it was built for).
        batch: prompts generated at once.
        threads: CPU threads; 0 leaves torch's own choice (transformers).
        cache: MiB of keys and values kept between the calls of one query (transformers; vLLM caches by
            itself).
        concurrency, timeout: requests in flight, and seconds that one may take (endpoints).

    Raises:
        BadModel: the folder lacks a tokenizer, weights or a chat template.
        BadConfig: vLLM is not installed, or the endpoint's address cannot be used.
    """
    name = str(model)
    if name.startswith(OPENAI):
        from ranker.engines.openai import OpenAIEngine

        return OpenAIEngine(name, style=style or "chat", concurrency=concurrency, timeout=timeout)
    own = style or manifest(name.removeprefix(VLLM)).get("style", "chat")
    if name.startswith(VLLM):
        from ranker.engines.vllm import VllmEngine

        return VllmEngine(name, style=own, batch=batch)
    from ranker.engines.transformers import TransformersEngine  # torch is imported only where a model runs

    return TransformersEngine(model, style=own, device=device, batch=batch, threads=threads, cache=cache)


__all__ = [
    "MANIFEST",
    "OPENAI",
    "VLLM",
    "Ask",
    "Completion",
    "Engine",
    "Message",
    "Sampling",
    "Scored",
    "Scoring",
    "Streaming",
    "Then",
    "load",
    "located",
    "manifest",
    "require",
    "scorer",
]
