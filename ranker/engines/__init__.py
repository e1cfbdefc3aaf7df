"""Engines: prompts in, completions (and where asked, the labels' scores) out.

`load` picks one by a model's name.
"""

from ranker.engines.base import (
    Completion,
    Engine,
    Likely,
    Sampling,
    Scored,
    Scoring,
    Streaming,
    Then,
    calibration,
    reasons,
    scorer,
)
from ranker.engines.loading import (
    MANIFEST,
    OPENAI,
    VLLM,
    load,
    load_encoder,
    located,
    manifest,
    own_style,
    require,
    require_encoder,
)
from ranker.policy.prompts import Message, Prompt

__all__ = [
    "MANIFEST",
    "OPENAI",
    "VLLM",
    "Completion",
    "Engine",
    "Likely",
    "Message",
    "Prompt",
    "Sampling",
    "Scored",
    "Scoring",
    "Streaming",
    "Then",
    "calibration",
    "load",
    "load_encoder",
    "located",
    "manifest",
    "own_style",
    "reasons",
    "require",
    "require_encoder",
    "scorer",
]
