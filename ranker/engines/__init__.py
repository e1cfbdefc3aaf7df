"""Engines: prompts in, completions (and where asked, the labels' scores) out. `load` picks one by a model's name."""

from ranker.engines.base import Completion, Engine, Sampling, Scored, Scoring, Streaming, Then, scorer
from ranker.engines.loading import MANIFEST, OPENAI, VLLM, load, located, manifest, require
from ranker.policy.prompts import Ask, Message

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
