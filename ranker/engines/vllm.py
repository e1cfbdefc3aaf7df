"""vLLM in this process: continuous batching, and a prefix cache across prompts that begin alike.

The same rendering, token ids and decoding as the reference engine, so that the same weights give the same
greedy answers. vLLM is no dependency of this package (it pins its own torch and needs gigabytes): `make
test-vllm` makes an environment that has both. Where it is not to be installed, a vLLM server is reached as an
endpoint: `openai:<base url>#<model>`.
"""

from __future__ import annotations

import atexit
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

from ranker.engines import ADAPTERS, VLLM, Completion, Sampling, Then, base_of, require
from ranker.engines.grammar import pattern
from ranker.engines.rendering import Renderer
from ranker.engines.transformers import SMALL, in_bfloat16, load_tokenizer
from ranker.engines.weights import parameters
from ranker.errors import BadConfig, BadModel
from ranker.policy.prompts import Prompt, Style
from ranker.types import JsonObject

CACHE_GIB = 2
"""Key-value cache on a CPU, unless $VLLM_CPU_KVCACHE_SPACE says otherwise; a GPU's is what its memory
leaves.
"""

CPU_BLOCK = 32
"""Tokens a block on a CPU. Whole blocks alone are kept, and our prompts have 100 to 500 tokens, of which
vLLM's 128 would keep little. Its CPU kernels take multiples of 32 alone; a GPU's default, 16, stays.
"""

RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""Ranks of adapters that vLLM makes room for."""

SHUTDOWN_SECONDS = 30.0
"""What vLLM's engine process is given to end its workers and itself, before it is killed."""


class VllmEngine:
    """Completes asks with vLLM's `LLM`; `name` is `vllm:<folder or hub name>`. Without `prefix_cache`
    every prompt is read whole.
    """

    def __init__(
        self,
        name: str,
        *,
        style: Style = "chat",
        batch: int = 64,
        prefix_cache: bool = True,
        tensor_parallel: int = 1,
    ) -> None:
        self.name: str = name
        self.style: Style = style
        self.batch = 2 * batch
        """Asks that vLLM is given at once: those it runs, and as many that wait for a place."""
        model = name.removeprefix(VLLM)
        self._vllm = package()
        if Path(model).is_absolute():
            require(Path(model))
        self._renderer = Renderer(load_tokenizer(model), style)
        self._adapters = adapters(model)
        self._llm = started(self._vllm, model, batch, prefix_cache, tensor_parallel)
        self.context: int = self._llm.llm_engine.model_config.max_model_len

    def complete(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Completion]:
        """One completion per prompt, in the order given; the i-th is sampled with seed `sampling.seed` +
        i.
        """
        if not prompts:
            return []
        texts, ids, shortened = self._renderer.prompts(prompts, self.context - sampling.max_tokens)
        began = time.perf_counter()
        given = [self._vllm.TokensPrompt(prompt_token_ids=one) for one in ids]
        outputs = self._llm.generate(
            given,
            [self._sampling(sampling, i, prompt) for i, prompt in enumerate(prompts)],
            use_tqdm=False,
            lora_request=self._adapters,
        )
        each = (time.perf_counter() - began) * 1000 / len(prompts)
        return [
            replace(self._completion(prompt, text, output, each, sampling.constrained), shortened=cut)
            for prompt, text, output, cut in zip(prompts, texts, outputs, shortened, strict=True)
        ]

    def stream(self, prompts: Iterable[tuple[int, Prompt]], sampling: Sampling, then: Then) -> None:
        """Answer numbered asks in one continuous batch: what follows from an answer joins as soon as that is
        there, and no query waits for another. A completion's milliseconds are its share of the time since
        those before it.
        """
        engine, under_way = self._llm.llm_engine, dict[str, tuple[Prompt, str, int]]()

        def ask(asks: Iterable[tuple[int, Prompt]]) -> None:
            for number, prompt in asks:
                (text,), (ids,), (cut,) = self._renderer.prompts([prompt], self.context - sampling.max_tokens)
                how = self._sampling(sampling, number, prompt)
                how.output_kind = self._vllm.sampling_params.RequestOutputKind.FINAL_ONLY
                given = self._vllm.TokensPrompt(prompt_token_ids=ids)
                engine.add_request(str(number), given, how, lora_request=self._adapters)
                under_way[str(number)] = prompt, text, cut

        try:
            ask(prompts)
            began = time.perf_counter()
            while engine.has_unfinished_requests():
                ended = [output for output in engine.step() if output.finished]
                each = (time.perf_counter() - began) * 1000 / max(1, len(ended))
                began = time.perf_counter() if ended else began
                for output in ended:
                    prompt, text, cut = under_way.pop(output.request_id)
                    found = self._completion(prompt, text, output, each, sampling.constrained)
                    ask(then(int(output.request_id), replace(found, shortened=cut)))
        finally:
            if under_way:  # of a prompt that was refused, those beside it
                engine.abort_request(list(under_way))

    def close(self) -> None:
        """End vLLM's processes, and with them what they hold of a GPU's memory."""
        self._llm.llm_engine.engine_core.shutdown(SHUTDOWN_SECONDS)

    def forget(self) -> None:
        """Empty the prefix cache: what came before is not to spare what is measured next.

        Raises:
            RuntimeError: vLLM still holds blocks of an earlier prompt.
        """
        if not self._llm.reset_prefix_cache():
            raise RuntimeError(f"{self.name} did not empty its prefix cache")

    def _sampling(self, sampling: Sampling, number: int, prompt: Prompt) -> Any:
        options = decoding(sampling, number, prompt, self.style, self._renderer.opens)
        if regex := options.pop("regex", None):
            options["structured_outputs"] = self._vllm.sampling_params.StructuredOutputsParams(regex=regex)
        return self._vllm.SamplingParams(**options)

    def _completion(
        self, prompt: Prompt, rendered: str, output: Any, milliseconds: float, constrained: bool
    ) -> Completion:
        made = output.outputs[0]
        cut = made.finish_reason == "length"
        # the end comes with the tokens, and vLLM knows others than the tokenizer's own
        written = made.token_ids if cut else made.token_ids[:-1]
        return Completion(
            text=self._renderer.text(written, prompt.thinking),
            prompt=rendered,
            prompt_tokens=len(output.prompt_token_ids),
            completion_tokens=len(made.token_ids),
            finish="length" if cut else "stop",
            milliseconds=milliseconds,
            cached_tokens=output.num_cached_tokens or 0,
            constrained=constrained,
        )


def decoding(
    sampling: Sampling, number: int, prompt: Prompt, style: Style, opened: bool = False
) -> JsonObject:
    """How the `number`-th prompt of a batch is decoded, in vLLM's words; `regex` where only valid answers may
    be written (`opened`: the template has begun a reasoning).

    top_p and top_k are said: a model's generation_config would set them otherwise.
    """
    options: JsonObject = {
        "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        "top_p": 1.0,
        "top_k": 0,
        "repetition_penalty": 1.0,
        "seed": sampling.seed + number,
        "detokenize": False,
    }
    return options | (
        {"regex": pattern(prompt, sampling.max_tokens, style, opened)} if sampling.constrained else {}
    )


def package() -> Any:
    """The package vllm, imported where it is needed and told to be quiet and to report nothing.

    Raises:
        BadConfig: it is not installed.
    """
    settings = {
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_LOGGING_LEVEL": "WARNING",
        "VLLM_CPU_KVCACHE_SPACE": str(CACHE_GIB),
    }
    for name, value in settings.items():
        os.environ.setdefault(name, value)
    try:
        import vllm  # pyright: ignore[reportMissingImports]  # the extra gpu alone brings it
        import vllm.sampling_params  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise BadConfig(
            "vllm:<model> needs the package vllm",
            seen=str(error),
            remedy=(
                "install vLLM into this environment (`make test-vllm` shows how), or start a vLLM server and"
                " name it: openai:<base url>#<model>"
            ),
        ) from error
    return vllm


def adapters(model: str) -> Any:
    """What vLLM is to be asked with where `model` is a folder of adapters; None where it is not."""
    if base_of(model) is None:
        return None
    from vllm.lora.request import LoRARequest  # pyright: ignore[reportMissingImports]  # as in package

    return LoRARequest("policy", 1, model)


def _lora(model: str) -> JsonObject:
    """LLM's options for the model of a folder: of adapters the base, and how large they are."""
    base = base_of(model)
    if base is None:
        return {"model": model}
    rank = json.loads((Path(model) / ADAPTERS).read_text(encoding="utf-8"))["r"]
    whole = min((size for size in RANKS if size >= rank), default=rank)
    return {"model": str(base), "enable_lora": True, "max_lora_rank": whole, "max_loras": 1}


def started(vllm: Any, model: str, batch: int, prefix_cache: bool, tensor_parallel: int = 1) -> Any:
    """vLLM's `LLM` of a model, whose processes end with this one.

    Args:
        tensor_parallel: GPUs over which each layer is cut.

    Raises:
        BadModel: vLLM cannot run it.
    """
    from vllm.platforms import current_platform  # pyright: ignore[reportMissingImports]  # as in package

    cpu = current_platform.is_cpu()
    try:
        with _without_main():
            llm = vllm.LLM(
                **_lora(model),
                dtype=dtype_of(model),
                tensor_parallel_size=tensor_parallel,
                enable_prefix_caching=prefix_cache,
                block_size=CPU_BLOCK if cpu else None,
                enforce_eager=cpu,  # compiling takes longer there than it saves
                max_num_seqs=batch,
            )
    except (OSError, ValueError, RuntimeError) as error:
        raise BadModel(
            "a model must be one that vLLM can run",
            seen=f"{model}: {(str(error).splitlines() or [type(error).__name__])[0][:200]}",
            remedy=(
                "see vLLM's messages above; the engine `transformers` (the name without `vllm:`) runs every"
                " causal LM"
            ),
        ) from error
    _end_with_program(llm)
    return llm


def _end_with_program(llm: Any) -> None:
    """vLLM's processes end with this one.

    Registered last, so called first: multiprocessing's own hook would wait for them for ever.
    """
    atexit.register(llm.llm_engine.engine_core.shutdown, SHUTDOWN_SECONDS)


@contextmanager
def _without_main() -> Iterator[None]:
    """vLLM's processes start without importing this program's main module, as `spawn` would have them do.

    They need nothing of it, and vLLM 0.32's CPU worker dies on what it may bring (bm25s brings numba, whose
    library wrappers answer to every attribute).
    """
    main = sys.modules["__main__"]
    kept = main.__spec__
    main.__spec__ = ModuleSpec("ranker.__main__", None)  # `spawn` leaves a package's __main__ out
    try:
        yield
    finally:
        main.__spec__ = kept


def dtype_of(model: str) -> str:
    """vLLM's `dtype` for a model: float32 where the reference engine computes in it (`in_bfloat16`), so that
    what was trained answers alike. vLLM itself takes bfloat16 also of float32 weights, and emulates it.
    """
    held = parameters(base_of(model) or Path(model))
    return "auto" if in_bfloat16(SMALL if held is None else held) else "float32"
