"""Real, untrained models of a few thousand parameters, as folders."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from ranker.config import PolicyParams
from ranker.engines import MANIFEST
from ranker.prompts import Style, frame_tokens
from ranker.train.worker import policy

FIXED = [*policy.TAGS, *frame_tokens("synthetic"), *"ABCDEFGH", *"01234"]


def tiny(folder: Path, *, style: Style = "compact", context: int = 128, head_width: int = 16) -> Path:
    """A Llama of one layer that knows tags, labels, grades and the attributes a0 … a11; any other word is unknown to it."""
    params = PolicyParams(layers=1, hidden=32, heads=2, head_width=head_width, inner=64, context=context)
    tokenizer = policy.build_tokenizer(FIXED, Counter({f"a{i}": 5 for i in range(12)}), params)
    policy.build_model(tokenizer, params).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / MANIFEST).write_text(json.dumps({"style": style}))
    return folder
