"""Engines turn prompts into completions with token counts. One protocol; `load` picks the engine for a model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from ranker.errors import BadModel
from ranker.prompts import Ask, Message, Style


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to decode. Temperature 0 is greedy; top_p stays 1 (other values bias RL's importance ratio)."""

    max_tokens: int
    temperature: float = 0.0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Completion:
    """What came back: text without the end token, token counts, why it ended, wall milliseconds (batch time / batch size)."""

    text: str
    prompt: str
    """The prompt as rendered for the model."""
    prompt_tokens: int
    completion_tokens: int
    finish: Literal["stop", "length"]
    milliseconds: float


class Engine(Protocol):
    """A model that completes chat prompts."""

    name: str
    style: Style

    def complete(self, asks: Sequence[Ask], sampling: Sampling) -> list[Completion]:
        """One completion per ask, in order. Raises PromptTooLong where a prompt cannot be made to fit."""
        ...


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
        raise BadModel("a model folder must exist and hold config.json", seen=str(folder), remedy="run `ranker fetch`, or give the folder of a saved causal LM")


def load(model: str | Path, *, style: Style | None = None, device: str = "auto", batch: int = 64, threads: int = 0) -> Engine:
    """An engine for a model folder (or hub name, where there is a network).

    Args:
        style: prompt style; None takes the one the model was trained with, and chat for a model that is not ours.
        device: 'auto', 'cpu' or 'cuda'.
        batch: prompts generated at once.
        threads: CPU threads; 0 leaves torch's own choice.

    Raises:
        BadModel: the folder lacks a tokenizer, weights or a chat template.
    """
    from ranker.engines.transformers import TransformersEngine  # torch is imported only where a model runs

    return TransformersEngine(model, style=style or manifest(model).get("style", "chat"), device=device, batch=batch, threads=threads)


__all__ = ["MANIFEST", "Ask", "Completion", "Engine", "Message", "Sampling", "load", "manifest", "require"]
