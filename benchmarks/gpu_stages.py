"""The road of a chat model on one GPU, in stages that stand alone: `FOLDER STAGE` runs one and prints its
figures.

A policy of 3B parameters (Qwen2.5-3B-Instruct's sizes) with random weights, or the model of a local folder,
trained by LoRA with the preset `r1-3b-24gb`. `--dry` takes a model of some hundred thousand parameters and
two steps, for any machine: there rollouts and answers come from transformers. `benchmarks/gpu.sh all FOLDER`
runs one after the other, each in a process of its own, within its time.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch

from benchmarks import chat, gpu
from ranker.config import TrainParams, data_home, merged, parse_params
from ranker.engines import MANIFEST, Closing, Sampling, load, manifest
from ranker.engines.transformers import load_tokenizer
from ranker.strategies import strategy
from ranker.train import job
from ranker.train.estimate import GIB
from ranker.train.worker.checkpoints import MARK
from ranker.types import JsonObject

PACKAGES = ("torch", "transformers", "trl", "peft", "accelerate", "vllm", "bitsandbytes", "deepspeed")
PATIENCE = 600.0
"""Seconds until a trainer must have written its first checkpoint."""
DRY_SIZES = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 4_096,
}


@dataclass(frozen=True, slots=True)
class Setup:
    """Where a stage works, and on what."""

    home: Path
    dry: bool
    model: Path | None = None
    """A local folder, instead of random weights."""
    tokenizer: Path = data_home() / "models" / "smollm2"
    """Of random weights, where it is there; else one that is made here."""

    @property
    def vllm(self) -> bool:
        return importlib.util.find_spec("vllm") is not None and torch.cuda.is_available()

    @property
    def steps(self) -> int:
        return 2 if self.dry else 20

    @property
    def pool(self) -> int:
        return 4 if self.dry else gpu.POOL

    def job(self, key: str, **train: Any) -> Path:
        """A job's folder, its model made or linked in."""
        self._link(key)
        given = self.given(**train)
        gpu.prepare(self.home, self._words(), self._sizes(), given, key, self.pool)
        return self.home / "jobs" / key

    def given(self, **train: Any) -> JsonObject:
        """A retraining's parameters; the preset itself has no SFT, and so no traces."""
        train = merged(self._train(), train)
        return {"preset": "r1-3b-24gb", "distill": {"traces": 400}, "train": train}

    def _train(self) -> JsonObject:
        """Adapters as in the preset; so many steps and rollouts as fit into minutes."""
        batch = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2 if self.dry else 8}
        common = {"max_steps": self.steps, "save_steps": self.steps, **batch}
        grpo = {"num_generations": 4, "max_completion_length": 16 if self.dry else gpu.ANSWER}
        train: JsonObject = {
            "sft": common,
            "grpo": {**common, **grpo, "rank_share": 0.0, "prompts": 400, "use_vllm": self.vllm},
            "eval_queries": 0,
        }
        return merged(train, {"accelerate_config": "", "bf16": None}) if self.dry else train

    def _link(self, key: str) -> None:
        """A folder of links to the local model, with the manifest that the project's own have."""
        folder = self.home / "models" / key / "untrained"
        if self.model is None or folder.exists():
            return
        folder.mkdir(parents=True)
        for path in self.model.resolve().iterdir():
            (folder / path.name).symlink_to(path)
        (folder / MANIFEST).unlink(missing_ok=True)
        (folder / MANIFEST).write_text(json.dumps({"style": "chat", "facts": {}}), encoding="utf-8")

    def _words(self) -> Path:
        if self.tokenizer.is_dir():
            return self.tokenizer
        made = self.home / "tokenizer"
        if not made.is_dir():
            chat.tokenizer().save_pretrained(made)
            (made / "config.json").write_text("{}", encoding="utf-8")
        return made

    def _sizes(self) -> Mapping[str, Any]:
        """Of random weights; a word for every token that they may write, and none besides."""
        words = len(load_tokenizer(self._words()))
        own = json.loads(gpu.SIZES.read_text(encoding="utf-8")) if not self.dry else DRY_SIZES
        return own | {"vocab_size": -(-words // 64) * 64}


# --- the stages ---


def install(_setup: Setup) -> JsonObject:
    """What is installed, and that the GPU computes in bfloat16."""
    found: JsonObject = {"python": sys.version.split()[0]}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda":
        card = torch.cuda.get_device_properties(0)
        found |= {"gpu": card.name, "memory, GiB": round(card.total_memory / GIB, 1)}
    else:
        found["gpu"] = "none"
    one = torch.full((256, 256), 0.5, dtype=torch.bfloat16, device=device)
    product = float((one @ one)[0, 0])
    if product != 64.0:
        raise RuntimeError(f"256 × 0.5 × 0.5 in bfloat16 on {device} is {product}")
    return found


def sft(setup: Setup) -> JsonObject:
    """LoRA SFT: seconds a step, tokens a second, memory."""
    setup.job("stage-sft")
    return _figures(setup, gpu.trained(setup.home, "sft", "stage-sft"), "sft")


def grpo(setup: Setup) -> JsonObject:
    """LoRA GRPO with rollouts by vLLM, colocated."""
    setup.job("stage-grpo")
    by = {"rollouts by": "vLLM, colocated" if setup.vllm else "transformers"}
    return by | _figures(setup, gpu.trained(setup.home, "grpo", "stage-grpo"), "grpo")


def thoughts(setup: Setup) -> JsonObject:
    """Think, then score: GRPO over thoughts of at most 24 tokens, and queries ranked so."""
    few = {"objective": "thought", "max_completion_length": 24, "max_steps": min(5, setup.steps)}
    setup.job("stage-thoughts", grpo=few | {"use_vllm": False})
    found = _figures(setup, gpu.trained(setup.home, "grpo", "stage-thoughts"), "grpo")
    engine = load(setup.home / "models" / "stage-thoughts" / "untrained", style="chat", batch=32)
    return found | _ranked(setup, engine, "think-then-score:tokens=24", 24)


def evaluate(setup: Setup) -> JsonObject:
    """Rankings by vLLM, all queries in one continuous batch."""
    folder = setup.job("stage-evaluate").parents[1] / "models" / "stage-evaluate" / "untrained"
    engine = load(f"vllm:{folder}" if setup.vllm else folder, style="chat", batch=64)
    found: JsonObject = {"engine": "vLLM" if setup.vllm else "transformers"}
    for how in ("direct", "iterative:drop=half,by=order"):
        found |= _ranked(setup, engine, how, 16 if setup.dry else gpu.ANSWER)
    if isinstance(engine, Closing):
        engine.close()
    return found


def resume(setup: Setup) -> JsonObject:
    """The trainer, killed behind a checkpoint and started again: the step that it goes on from."""
    steps = 6 if setup.dry else 20
    folder = setup.job(
        "stage-resume",
        sft={"max_steps": steps, "save_steps": 2, "learning_rate": 1e-4},
        grpo={"max_steps": 0},
    )
    own = TrainParams.model_validate(json.loads((folder / "job.json").read_text(encoding="utf-8"))["params"])
    began = time.perf_counter()
    killed = _killed(folder, own)
    until = time.perf_counter()
    job.launch(folder, own, lambda text: print(text, file=sys.stderr, flush=True))
    facts = manifest(setup.home / "models" / "stage-resume" / "sft")["facts"]
    if not 0 < facts["resumed_from"] <= facts["steps"] == steps:
        raise RuntimeError(f"killed behind checkpoint {killed}, but the second run says {facts}")
    return {
        "killed behind the checkpoint of step": killed,
        "went on from step": facts["resumed_from"],
        "steps": facts["steps"],
        "seconds until killed": round(until - began, 1),
        "seconds of the second run": round(time.perf_counter() - until, 1),
    }


def _killed(folder: Path, params: TrainParams) -> int:
    """Start the trainer and kill it once it has a whole checkpoint and goes on; that checkpoint's step."""
    with (folder / "killed.log").open("wb") as log:
        trainer = subprocess.Popen(job.command(folder, params), stdout=log, stderr=log)
        deadline = time.monotonic() + PATIENCE
        while not (marks := list(folder.glob(f"sft/checkpoint-*/{MARK}"))):
            if trainer.poll() is not None or time.monotonic() > deadline:
                _kill(trainer)
                text = (folder / "killed.log").read_text(encoding="utf-8", errors="replace")
                raise RuntimeError(f"the trainer wrote no checkpoint: {text[-2_000:]}")
            time.sleep(0.02)
        _kill(trainer)
    return max(int(mark.parent.name.rpartition("-")[2]) for mark in marks)


def _kill(trainer: subprocess.Popen[bytes]) -> None:
    """It and the processes of a launcher, which have sessions of their own."""
    with suppress(psutil.NoSuchProcess):
        for process in psutil.Process(trainer.pid).children(recursive=True):
            process.kill()
    trainer.kill()
    trainer.wait()


def _figures(setup: Setup, seen: Mapping[str, Any], phase: str) -> JsonObject:
    own = parse_params(setup.given()).train.of("rl" if phase == "grpo" else phase)
    sequences, seconds = own.batch(1), seen["seconds"]
    found: JsonObject = {
        "seconds a step": round(seconds, 2),
        "sequences a step": sequences,
        "tokens a sequence": f"{seen['prompt']:.0f} + {seen['answer']:.0f}",
        "tokens a second": round(sequences * (seen["prompt"] + seen["answer"]) / seconds),
    }
    if seen["generating"]:
        found["of a step generating and scoring, s"] = round(seen["generating"], 2)
        found["tokens written a second"] = round(sequences * seen["answer"] / seen["generating"])
    memory = {f"{name}, GiB": round(seen[name] / GIB, 1) for name in ("allocated", "reserved") if seen[name]}
    return found | memory


def _ranked(setup: Setup, engine: Any, how: str, tokens: int) -> JsonObject:
    sets = gpu.made_sets(4 if setup.dry else 64, setup.pool)
    began = time.perf_counter()
    episodes = strategy(how)(sets, engine, thinking=True, sampling=Sampling(tokens))
    seconds = time.perf_counter() - began
    steps = [step for episode in episodes for step in episode.steps]
    read, written = (
        sum(getattr(step, name) for step in steps) for name in ("prompt_tokens", "completion_tokens")
    )
    return {
        how: (
            f"{len(sets) / seconds:.2f} queries/s, {read / seconds:,.0f} tokens read and"
            f" {written / seconds:,.0f} written a second, {len(steps) / len(sets):.1f} calls a query"
        )
    }


STAGES: dict[str, Callable[[Setup], JsonObject]] = {
    "install": install,
    "sft": sft,
    "grpo": grpo,
    "evaluate": evaluate,
    "resume": resume,
    "thoughts": thoughts,
}


def lines(stage: str, found: JsonObject, seconds: float) -> Iterator[str]:
    """A stage's figures, one a line."""
    yield f"{stage}: {seconds:.0f} s"
    for name, value in found.items():
        yield f"  {name}: {value}"


def main(setup: Setup, stage: str) -> JsonObject:
    """Run a stage; its figures are printed and written to `<stage>.json`."""
    setup.home.mkdir(parents=True, exist_ok=True)
    began = time.perf_counter()
    found = STAGES[stage](setup)
    print("\n".join(lines(stage, found, time.perf_counter() - began)), flush=True)
    (setup.home / f"{stage}.json").write_text(json.dumps(found), encoding="utf-8")
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("home", type=Path)
    parser.add_argument("stage", choices=STAGES)
    parser.add_argument("--dry", action="store_true")
    parser.add_argument("--model", type=Path)
    given = parser.parse_args()
    main(Setup(given.home.resolve(), given.dry, given.model), given.stage)
