"""Vectors of texts by a sentence encoder (a BERT and its like): mean of the last layer, length 1.

What sentence-transformers would do with the same folder, without its package. Encoders that pool otherwise,
or want an instruction before a query, are not for this module: the first are refused, the second lose by it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModel, AutoTokenizer
from transformers.utils import logging as transformers_logging

from ranker.engines.loading import require
from ranker.engines.transformers import UNLOADABLE, context_length, first_line, pick_device
from ranker.errors import BadModel
from ranker.progress import Progress

BATCH_TOKENS = 8_192
"""Tokens encoded at once, padding included: few long texts or many short ones."""


class Encoder:
    """Encodes texts with the encoder of a folder; `model` is its network, for whoever trains it on.

    Raises:
        BadModel: the folder lacks a tokenizer or weights, or asks for another pooling than the mean.
    """

    def __init__(self, folder: Path, *, device: str = "auto") -> None:
        self.device = pick_device(device)
        if (folder / "config.json").is_file():
            require(folder)
        _pools_by_mean(folder)
        transformers_logging.disable_progress_bar()
        try:
            self.tokenizer: Any = AutoTokenizer.from_pretrained(folder)
            loaded: Any = AutoModel.from_pretrained(folder, dtype=torch.float32)
        except UNLOADABLE as error:
            raise BadModel(
                "an encoder's folder needs a tokenizer and weights that transformers can load",
                seen=f"{folder}: {first_line(error)}",
                remedy="run `ranker fetch`, or save both with save_pretrained(folder)",
            ) from error
        self.model = loaded.to(self.device).eval()
        self.length = min(_longest(folder), context_length(self.model))

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """Unit vectors, float32 (texts, width), in the order given; batched by length, so that little is
        padding.
        """
        ids = self.tokens(texts)
        found = np.zeros((len(ids), self.model.config.hidden_size), np.float32)
        order = sorted(range(len(ids)), key=lambda i: len(ids[i]), reverse=True)
        with Progress("encoding texts", len(ids)) as progress:
            while order:
                size = max(1, BATCH_TOKENS // len(ids[order[0]]))
                batch, order = order[:size], order[size:]
                with torch.inference_mode():
                    found[batch] = self.vectors([ids[i] for i in batch]).cpu().numpy()
                progress.done(parts=len(batch))
        return found

    def tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, its marks of beginning and end included; what is beyond `length` is cut."""
        if not texts:
            return []  # transformers looks at the first
        return self.tokenizer(list(texts), truncation=True, max_length=self.length)["input_ids"]

    def vectors(self, ids: Sequence[Sequence[int]]) -> torch.Tensor:
        """Unit vectors (texts, width) of token ids, with gradient where the caller asks for one."""
        longest = max(len(row) for row in ids)
        pad = self.tokenizer.pad_token_id
        rows = torch.tensor([[*row, *[pad] * (longest - len(row))] for row in ids], device=self.device)
        mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in ids], device=self.device)
        hidden = self.model(input_ids=rows, attention_mask=mask).last_hidden_state
        weights = mask[:, :, None].to(hidden.dtype)
        return torch.nn.functional.normalize((hidden * weights).sum(1) / weights.sum(1), dim=1)


def _longest(folder: Path) -> int:
    """Tokens that sentence-transformers would read of a text."""
    path = folder / "sentence_bert_config.json"
    return int(json.loads(path.read_text("utf-8")).get("max_seq_length") or 512) if path.is_file() else 512


def _pools_by_mean(folder: Path) -> None:
    path = folder / "1_Pooling" / "config.json"
    asked = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    others = [name for name, on in asked.items() if name.startswith("pooling_mode") and on is True]
    if others and others != ["pooling_mode_mean_tokens"]:
        raise BadModel(
            "an encoder's vector is the mean over its tokens",
            seen=f"{path}: {', '.join(others)}",
            remedy="take an encoder that was trained with mean pooling, such as all-MiniLM-L6-v2",
        )
