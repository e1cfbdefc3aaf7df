"""SmolLM2, and one vLLM server of it for all tests here: to start one takes a minute."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.ranker.engines.endpoints import vllm_serving

SMOLLM2 = Path(os.environ.get("RANKER_SMOLLM2", "data/models/smollm2")).resolve()
OPTIONS = (
    "--served-model-name",
    "smollm2",
    "--max-model-len",
    "2048",
    "--max-num-seqs",
    "8",
    "--enforce-eager",
    "--enable-prompt-tokens-details",
)


def linked(folder: Path) -> Path:
    """SmolLM2's files in a folder of their own."""
    if not (SMOLLM2 / "config.json").is_file():
        pytest.skip(f"no {SMOLLM2}; `ranker fetch --preset smollm2` brings it")
    for path in SMOLLM2.iterdir():
        (folder / path.name).symlink_to(path)
    return folder


@pytest.fixture(scope="session")
def smollm2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its folder, to be run in float32: without a processor's own bfloat16 a token takes a second, and
    near ties depend on a batch's size.
    """
    folder = linked(tmp_path_factory.mktemp("smollm2"))
    (folder / "config.json").unlink()
    config = json.loads((SMOLLM2 / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(config | {"dtype": "float32"}), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def server(smollm2: Path) -> Iterator[Future[str]]:
    """Its address, as soon as it answers."""
    with ExitStack() as running, ThreadPoolExecutor(1) as starting:
        yield starting.submit(running.enter_context, vllm_serving(smollm2, *OPTIONS))
