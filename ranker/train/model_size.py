"""Sizes of a causal language model from its configuration alone: parameters, bytes and operations. Imports no
torch.

For the Llama family (Llama, Qwen2, Mistral and what else has grouped-query attention, RMSNorm and gated
MLPs). tests/ranker/train/test_model_size.py compares every figure here with a real torch model.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from ranker.config import PolicyParams
from ranker.errors import BadModel
from ranker.resources import shipped
from ranker.types import Fields

PUBLISHED = shipped("train", "published")
"""Configurations of well-known models, so that a plan needs no download."""
BIASED = ("qwen2",)
"""Model types whose query, key and value projections have a bias."""
FAMILY = ("llama", "mistral", *BIASED)
STRUCTURE = 80
"""Tokens of a from-scratch vocabulary besides words and items: labels, grades, tags, frame."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """A decoder. `exact` is false where the vocabulary comes from data that is not there yet."""

    name: str
    vocab: int
    hidden: int
    inner: int
    layers: int
    heads: int
    kv_heads: int
    head_width: int
    tied: bool
    bias: bool
    exact: bool = True

    @property
    def layer(self) -> int:
        """Parameters of one layer: attention, gated MLP, two norms."""
        q, kv = self.heads * self.head_width, self.kv_heads * self.head_width
        return (
            self.hidden * (2 * q + 2 * kv)
            + (q + 2 * kv) * self.bias
            + 3 * self.hidden * self.inner
            + 2 * self.hidden
        )

    @property
    def embedding(self) -> int:
        return self.vocab * self.hidden

    @property
    def parameters(self) -> int:
        """All parameters; a tied embedding counts once."""
        return self.embedding * (1 if self.tied else 2) + self.layers * self.layer + self.hidden

    def adapters(self, rank: int) -> int:
        """Trainable parameters of LoRA on all linear layers but the output (peft's "all-linear"): rank ×
        (inputs + outputs) each.
        """
        q, kv = self.heads * self.head_width, self.kv_heads * self.head_width
        sides = 2 * (self.hidden + q) + 2 * (self.hidden + kv) + 3 * (self.hidden + self.inner)
        return rank * self.layers * sides

    def kv_bytes(self) -> int:
        """KV cache of one token in bf16: a key and a value per layer."""
        return 2 * 2 * self.layers * self.kv_heads * self.head_width

    def activations(self, bf16: bool, checkpointing: bool) -> int:
        """Bytes kept for the backward pass per token, output head left out; attention never keeps its scores
        (SDPA).

        Counted with torch's saved_tensors_hooks on the eager modules of transformers 5, float32 weights, with
        bf16 autocast or without: a layer keeps its norms' inputs and normalised states in float32, all else
        in the arithmetic's precision; the last norm and the rotary phases come once. With checkpointing a
        layer keeps its input, and one layer at a time is computed again.
        """
        q, kv, single = (
            self.heads * self.head_width,
            self.kv_heads * self.head_width,
            8 * self.hidden + 12,
        )
        layer = (
            26 * self.hidden + 4 * q + 8 * self.inner + 4 * kv
            if bf16
            else 24 * self.hidden + 8 * q + 16 * self.inner + 8 * kv
        )
        layer += 4 * self.heads + 8
        return (
            single + 4 * self.hidden * self.layers + layer
            if checkpointing
            else single + 8 * self.head_width + layer * self.layers
        )

    def forward(self, context: float) -> float:
        """Floating-point operations of one token's forward pass at a mean context: 2 per weight (Kaplan et
        al. 2020, section 2.1), and attention.
        """
        weights = self.layers * self.layer + self.embedding
        return 2.0 * weights + 4.0 * self.layers * self.heads * self.head_width * context


def read(config: Fields, name: str) -> Architecture:
    """From a Hugging Face config.json.

    Raises:
        BadModel: not of the Llama family, or a size is missing.
    """
    try:
        kind = config["model_type"]
        if kind not in FAMILY:
            raise KeyError(f"model_type {kind}")
        heads, hidden = int(config["num_attention_heads"]), int(config["hidden_size"])
        return Architecture(
            name=name,
            vocab=int(config["vocab_size"]),
            hidden=hidden,
            inner=int(config["intermediate_size"]),
            layers=int(config["num_hidden_layers"]),
            heads=heads,
            kv_heads=int(config.get("num_key_value_heads") or heads),
            head_width=int(config.get("head_dim") or hidden // heads),
            tied=bool(config.get("tie_word_embeddings", False)),
            bias=bool(config.get("attention_bias", kind in BIASED)),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise BadModel(
            "a plan needs a model of the Llama family with all its sizes",
            seen=f"{name}: {error}",
            remedy=f"supported: {', '.join(FAMILY)}",
        ) from error


def scratch(params: PolicyParams) -> Architecture:
    """The policy made from scratch; its vocabulary is the largest that it may get, items left out."""
    return Architecture(
        name="from scratch",
        vocab=params.vocab_size + STRUCTURE,
        hidden=params.hidden_size,
        inner=params.intermediate_size,
        layers=params.num_hidden_layers,
        heads=params.num_attention_heads,
        kv_heads=params.num_attention_heads,
        head_width=params.head_dim,
        tied=False,
        bias=False,
        exact=False,
    )


def find(home: Path, params: PolicyParams) -> tuple[Architecture, Path | None]:
    """The policy's architecture, and its folder where it is on this machine.

    Raises:
        BadModel: neither a folder nor one of the published configurations.
    """
    if params.model_name_or_path == "scratch":
        return scratch(params), None
    folder = next(
        (
            path
            for path in (home / params.model_name_or_path, Path(params.model_name_or_path))
            if (path / "config.json").is_file()
        ),
        None,
    )
    name = Path(params.model_name_or_path).name
    published = PUBLISHED / f"{name.lower()}.json"
    if folder is None and not published.is_file():
        raise BadModel(
            "a plan needs the model's config.json",
            seen=params.model_name_or_path,
            remedy=(
                f"download the model to {home / params.model_name_or_path}; known without one:"
                f" {', '.join(sorted(path.stem for path in PUBLISHED.glob('*.json')))}"
            ),
        )
    file = folder / "config.json" if folder else published
    return read(json.loads(file.read_text(encoding="utf-8")), name), folder
