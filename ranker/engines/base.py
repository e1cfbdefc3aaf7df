"""Engines turn prompts into completions with token counts.

One protocol; `load` picks the engine for a model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from ranker.errors import BadConfig
from ranker.policy.likelihood import Branches, LogLikelihood
from ranker.policy.prompts import Prompt, Style


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
    shortened: int = 0
    """Of how many texts of the prompt, the query among them, the model did not get every word."""


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

    def complete(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Completion]:
        """One completion per prompt, in order. Raises PromptTooLong where a prompt cannot be made to fit."""
        ...


@runtime_checkable
class Scoring(Protocol):
    """An engine that can tell how likely each label is."""

    def score(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Scored]:
        """One per prompt, in order. Reasoning that is asked for comes first, within `sampling.max_tokens`."""
        ...


@runtime_checkable
class Likely(Protocol):
    """An engine that tells how likely texts are: what a likelihood policy runs on."""

    name: str
    context: int
    """Tokens of the longest context with its continuation."""

    @property
    def temperatures(self) -> Mapping[str, float]:
        """τ by task, as fitted after training; empty for a model that was not trained here."""
        ...

    def count(self, text: str) -> int:
        """Tokens of a text."""
        ...

    def loglikelihood(self, branches: Sequence[Branches]) -> list[list[LogLikelihood]]:
        """log p(continuation | context): one list per context, one entry per continuation, in order."""
        ...


Then = Callable[[int, Completion], Iterable[tuple[int, Prompt]]]
"""Called with a numbered answer as it comes; gives the numbered asks that follow from it."""


@runtime_checkable
class Streaming(Protocol):
    """An engine whose answers do not wait for each other."""

    def stream(self, prompts: Iterable[tuple[int, Prompt]], sampling: Sampling, then: Then) -> None:
        """Answer numbered asks, and those that `then(number, completion)` gives as each answer comes, until
        none is left.

        A prompt is sampled with seed `sampling.seed` + its number. Calls of `then` do not overlap.
        """
        ...


@runtime_checkable
class Closing(Protocol):
    """An engine that holds what the next one needs: memory of a GPU."""

    def close(self) -> None:
        """Give it back. The engine answers nothing any more."""
        ...


class WritesNothing:
    """What engines of likelihood policies have in common, whatever runs the model."""

    style: Style = "likelihood"
    name: str

    def complete(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Completion]:
        """Never: a likelihood policy writes nothing.

        Raises:
            BadConfig: always.
        """
        raise BadConfig(
            "a likelihood policy gives log-probabilities and writes no answer",
            seen=f"{len(prompts)} prompts to {self.name}",
            remedy="load the model with style chat, or leave the answering to a strategy",
        )


def calibration(engine: Engine, task: str) -> tuple[float, float] | None:
    """Slope and offset of P(relevant) = 1 / (1 + exp(−(slope · score + offset))), from the engine's
    `calibrations` by task; None for any that is not a likelihood policy calibrated for it.
    """
    known: Mapping[str, tuple[float, float]] = getattr(engine, "calibrations", {})
    return known.get(task)


def reasons(engine: Engine, wanted: bool | None) -> bool:
    """Whether reasoning is asked for: as it is wanted, else (None) where the model can reason."""
    return engine.style != "likelihood" if wanted is None else wanted


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
