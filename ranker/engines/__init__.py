"""Engines: prompts in, completions (and where asked, the labels' scores) out.

`load` picks one by a model's name.
"""

from ranker.engines.base import (
    Closing,
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
    ADAPTERS,
    MANIFEST,
    OPENAI,
    VLLM,
    base_of,
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
    "ADAPTERS",
    "MANIFEST",
    "OPENAI",
    "VLLM",
    "Closing",
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
    "base_of",
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
