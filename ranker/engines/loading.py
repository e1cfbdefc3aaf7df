"""Which engine runs a model, by the form of its name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import cast

from ranker.engines import weights as files
from ranker.engines.base import Engine
from ranker.engines.lean_imports import lean_imports
from ranker.errors import BadModel
from ranker.policy.prompts import Style
from ranker.retrieval.dense import Encode
from ranker.types import JsonObject

VLLM, OPENAI = "vllm:", "openai:"
"""What stands before a model's name to say which engine runs it."""
MANIFEST = "ranker.json"
"""Written last into a trained model's folder: a folder without it is not complete."""
ADAPTERS = "adapter_config.json"
"""What a folder holds that has adapters in place of whole weights (peft)."""


def manifest(model: str | Path) -> JsonObject:
    """What the trainer wrote of a model (style, phase, train key, …); empty for a model that is not ours."""
    path = Path(model) / MANIFEST
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def base_of(model: str | Path) -> Path | None:
    """The folder whose weights a folder of adapters belongs to; None for one that has weights of its own.

    Raises:
        BadModel: it is not where the adapters say.
    """
    folder = Path(model)
    if not (folder / ADAPTERS).is_file():
        return None
    named = json.loads((folder / ADAPTERS).read_text(encoding="utf-8")).get("base_model_name_or_path") or ""
    # ours say it relative to themselves: a data folder may be moved
    own = manifest(folder).get("adapter_of")
    base = (folder / own).resolve() if own else Path(named)
    if not (base / "config.json").is_file():
        raise BadModel(
            "adapters need the weights that they were trained on",
            seen=f"{folder} belongs to {base}, which holds no config.json",
            remedy="put that folder back, or train with train.policy.merge_adapters = true",
        )
    return base


def fitted(model: str | Path) -> tuple[dict[str, float], dict[str, tuple[float, float]]]:
    """What was fitted on validation after a likelihood policy's training, by task: temperatures τ, and slope
    and offset of the probability that a score means; empty for a model that was not trained here.
    """
    own = manifest(model).get("likelihood", {})
    calibrations = {name: one["calibration"] for name, one in own.items() if "calibration" in one}
    return (
        {name: one["temperature"] for name, one in own.items()},
        {name: (slope, offset) for name, (slope, offset) in calibrations.items()},
    )


def require(folder: Path, *, weights: bool = True) -> None:
    """Refuse a model folder without a config, or with files that are not whole, before hours are spent on
    what comes first.

    Args:
        weights: look at the weights too, and not at what else a tokenizer needs alone.

    Raises:
        BadModel: there is no config.json in it, or a file is missing, cut, or a pointer of git-lfs.
    """
    if not (folder / "config.json").is_file():
        raise BadModel(
            "a model folder must exist and hold config.json",
            seen=str(folder),
            remedy="run `ranker fetch`, or give the folder of a saved causal LM",
        )
    files.require_texts(folder)
    if weights:
        files.require_weights(folder)


def require_encoder(folder: Path, parameter: str) -> None:
    """Refuse an encoder's folder that is not there, naming the `parameter` that asks for it.

    Raises:
        BadModel: there is no config.json in it, or a file is missing or not whole.
    """
    if not (folder / "config.json").is_file():
        raise BadModel(
            "an encoder's folder must exist and hold config.json",
            seen=f"{parameter}: {folder}",
            remedy="run `ranker fetch` with the same options, or give the folder of a saved sentence encoder",
        )
    require(folder)


def load_encoder(folder: Path, *, device: str = "auto") -> Encode:
    """Texts → unit vectors, by the sentence encoder of a folder (mean pooling).

    Raises:
        BadModel: the folder lacks a tokenizer or weights, or asks for another pooling.
    """
    with lean_imports():
        from ranker.engines.encoder import Encoder  # torch is imported only where a model runs

    return Encoder(folder, device=device)


def located(model: str, home: Path) -> str:
    """`model` with a folder below `home` spelled out; hub names and endpoints stay as they are."""
    prefix = VLLM if model.startswith(VLLM) else ""
    folder = home / model.removeprefix(prefix)
    return model if model.startswith(OPENAI) or not folder.is_dir() else f"{prefix}{folder}"


def own_style(model: str | Path) -> Style:
    """How the model was trained to answer: its manifest's word, and chat for one that is not ours."""
    name = str(model)
    return "chat" if name.startswith(OPENAI) else manifest(name.removeprefix(VLLM)).get("style", "chat")


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
    home: Path | None = None,
    contexts: int = 0,
    tensor_parallel: int = 1,
) -> Engine:
    """An engine for a model: `folder` or hub name (transformers), `vllm:` before either (vLLM in this
    process), or `openai:<base url>#<model>` (any OpenAI-compatible endpoint; its key in $OPENAI_API_KEY).

    Args:
        style: prompt style; None takes the one the model was trained with, and chat for a model that is not
            ours.
        device: 'auto', 'cpu' or 'cuda' (transformers; vLLM runs on what it was built for).
        batch: prompts generated at once.
        threads: CPU threads; 0 leaves torch's own choice (transformers).
        cache: MiB kept: of keys and values between the calls of one query (transformers; vLLM caches by
            itself), or of a likelihood policy's scores from run to run, in the data folder `home`.
        contexts: MiB kept of a likelihood policy's documents, so that one that comes again is not read again.
        tensor_parallel: GPUs over which vLLM cuts each layer.
        concurrency, timeout: requests in flight, and seconds that one may take (endpoints).

    Raises:
        BadModel: the folder lacks a tokenizer, weights or a chat template.
        BadConfig: vLLM is not installed, or the endpoint's address cannot be used.
    """
    name = str(model)
    if name.startswith(OPENAI):
        if style == "likelihood":
            from ranker.engines.openai_likelihood import OpenAILikelihoodEngine

            return OpenAILikelihoodEngine(name, concurrency=concurrency, timeout=timeout)
        from ranker.engines.openai import OpenAIEngine

        return OpenAIEngine(name, style=style or "chat", concurrency=concurrency, timeout=timeout)
    own = style or own_style(model)
    if own == "likelihood":
        if name.startswith(VLLM):
            from ranker.engines.vllm_likelihood import VllmLikelihoodEngine

            return VllmLikelihoodEngine(name, batch=batch, tensor_parallel=tensor_parallel)
        return _likelihood(name, device, batch, threads, cache, home, contexts)
    if name.startswith(VLLM):
        from ranker.engines.vllm import VllmEngine

        return VllmEngine(name, style=own, batch=batch, tensor_parallel=tensor_parallel)
    with lean_imports():
        from ranker.engines.transformers import TransformersEngine  # as above

    return TransformersEngine(model, style=own, device=device, batch=batch, threads=threads, cache=cache)


def _likelihood(
    name: str, device: str, batch: int, threads: int, cache: int, home: Path | None, contexts: int
) -> Engine:
    with lean_imports():
        from ranker.engines.likelihood import LikelihoodEngine

    engine = LikelihoodEngine(name, device=device, batch=batch, threads=threads, contexts=contexts)
    if not cache or home is None or not Path(name).is_dir():
        return engine
    from ranker.engines.score_cache import Remembered, identity

    decided = identity(Path(name), engine.model.dtype, engine.device.type)
    return cast("Engine", Remembered(engine, home, decided, cache))
