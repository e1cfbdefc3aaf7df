"""The part `chat`: a chat model that thinks in prose, from plain text to its reward on held-out queries.

A Qwen3 of 143,040 parameters with a byte-level vocabulary and Qwen3's chat template is made here and reads
plain text, lists of things and sentences that say who has them: no prompt, no ranking. Then the project's own
trainer: a short SFT on thoughts in prose, and GRPO on the true relevance. The task: exclude the one of three
or four candidates that has what the query forbids. `FOLDER` runs all of it, or what the folder lacks of it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from ranker.config import TASKS, TrainParams, parse_params
from ranker.engines import MANIFEST, Sampling, load
from ranker.metrics.significance import bootstrap_mean
from ranker.policy.parsing import parse
from ranker.policy.prompts import Prompt, messages
from ranker.policy.rewards import reward
from ranker.train import job
from ranker.types import Candidate, CandidateSet, slot_labels
from tests.ranker.engines.test_families import QWEN3

TASK = "rule"
FOLDER = Path(__file__).parent / "tasks"
NAMES = "river engine winter candle market garden signal harbor copper meadow ladder violin"
THINGS = tuple(NAMES.split())
EACH = 2
"""Things that a candidate has."""
HEAD = 32
"""Width of an attention head: vLLM's CPU kernels know few."""
LIMIT = 48
"""Tokens of an answer; a right one has about thirty."""
CONTEXT = 512
RIGHT = 0.8
TRAINING = 4_000
"""Queries that SFT and GRPO draw from."""
BATCH, READ, WARM = 64, 32, 50
"""Answers of a step, texts of a step on plain text, and steps over which the rate of the latter rises."""
RESAMPLES, SEED = 2_000, 23
END = "<|im_end|>"
Arm = Literal["ranking", "blind"]


@dataclass(frozen=True, slots=True)
class Plan:
    """How long each part is."""

    reading: int = 1_000
    """Steps on plain text."""
    sft: int = 300
    grpo: int = 100
    queries: int = 300
    """Held out."""
    hidden: int = 64
    layers: int = 2
    reading_rate: float = 3e-3
    sft_rate: float = 2e-3
    grpo_rate: float = 3e-4


def pools(count: int, seed: int, split: str) -> list[CandidateSet]:
    """Queries that forbid one thing, which one of three or four candidates has."""
    rng = np.random.default_rng(seed)
    made = []
    for number in range(count):
        n = int(rng.integers(3, 5))
        things = rng.permutation(len(THINGS))[: n * EACH].reshape(n, EACH)
        breaks = int(rng.integers(n))
        forbidden = THINGS[things[breaks, rng.integers(EACH)]]
        name = f"{split}{number}"
        pool = tuple(
            Candidate(label, f"{name}-{label}", _has(things[place]), float(place != breaks))
            for place, label in enumerate(slot_labels(n))
        )
        made.append(CandidateSet(name, TASK, split, name, f"{forbidden} is forbidden", (), pool))
    return made


def _has(things: Sequence[int]) -> str:
    return " ".join(THINGS[thing] for thing in things)


def forbidden(given: CandidateSet) -> str:
    return given.query.split()[0]


def thought(given: CandidateSet, named: str) -> str:
    """A trace in prose that excludes `named`."""
    thing = forbidden(given)
    return (
        f"<think> Forbidden is the {thing} {named} has. So the worst is {named}. </think>"
        f" <answer> {named} </answer>"
    )


def traces(sets: Sequence[CandidateSet]) -> pl.DataFrame:
    """What SFT learns from: a teacher that is right in a share RIGHT of the sets and else names any one.
    It teaches the form, and little of the rest.
    """
    rng, rows = np.random.default_rng(4), []
    for given in sets:
        worst = min(given.labels, key=lambda label: given.relevance[label])
        named = worst if rng.random() < RIGHT else str(rng.choice(given.labels))
        rows.append((TASK, given.set_id, "exclude", True, list(given.labels), thought(given, named)))
    return pl.DataFrame(rows, schema=[*job.ASKED, "completion"], orient="row")


# --- the model, before it has seen a prompt ---


def plain_text(seed: int) -> Iterator[str]:
    """Lists of things by letter, and sentences that say who has half of them."""
    rng = np.random.default_rng(seed)
    while True:
        n = int(rng.integers(2, 5))
        things = rng.permutation(len(THINGS))[: n * EACH].reshape(n, EACH)
        labels = slot_labels(n)
        lists = "\n".join(f"{label}: {_has(row)}" for label, row in zip(labels, things, strict=True))
        said = [(THINGS[thing], labels[place]) for place, row in enumerate(things) for thing in row]
        order = rng.permutation(len(said))[: len(said) // 2]
        yield f"{lists}\n\n" + " ".join("the {} {} has.".format(*said[place]) for place in order)


def known() -> None:
    """Make the task known to this process and to its children."""
    os.environ[TASKS] = str(FOLDER)


def tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level BPE in which every word of the prompts is a token or two, with Qwen3's turns."""
    known()
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer, raw.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1_000,
        min_frequency=20,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    asked = pools(200, 1, "vocabulary")
    seen = [
        messages(Prompt(mode, thinking, given), "chat")[0]["content"]
        for given in asked
        for mode, thinking in (("exclude", True), ("rank", False))
    ]
    seen += [thought(given, given.labels[0]) for given in asked]
    raw.train_from_iterator([*seen, *islice(plain_text(1), 200)], trainer)
    made = PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token="<|endoftext|>", eos_token=END, padding_side="left"
    )
    made.add_special_tokens({"additional_special_tokens": ["<|im_start|>"]})
    made.add_tokens(["<think>", "</think>"])
    made.chat_template = QWEN3
    return made


def read(folder: Path, plan: Plan, text: Iterator[str] | None = None) -> dict[str, Any]:
    """The model, made, taught to read plain text (`text`, else `plain_text`) and saved, unless it is there:
    parameters and losses.
    """
    if (folder / MANIFEST).is_file():
        return json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["facts"]
    words = tokenizer()
    torch.manual_seed(13)
    heads = plan.hidden // HEAD
    sizes = {
        "vocab_size": len(words),
        "hidden_size": plan.hidden,
        "intermediate_size": 2 * plan.hidden,
        "num_hidden_layers": plan.layers,
        "num_attention_heads": heads,
        "num_key_value_heads": heads,
        "head_dim": HEAD,
        "max_position_embeddings": CONTEXT,
        "initializer_range": plan.hidden**-0.5,
        "tie_word_embeddings": False,
    }
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model("qwen3", **sizes))
    losses = list(_losses(model, words, plan, plain_text(2) if text is None else text))
    model.generation_config.eos_token_id = [words.convert_tokens_to_ids(END), words.pad_token_id]
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    facts = {"parameters": model.num_parameters(), "losses": [losses[0], losses[-1]]}
    (folder / MANIFEST).write_text(json.dumps({"style": "chat", "facts": facts}), encoding="utf-8")
    return facts


def _losses(model: Any, words: PreTrainedTokenizerFast, plan: Plan, text: Iterator[str]) -> Iterator[float]:
    """Train on plain text; the loss of each step, in nats a token."""
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=plan.reading_rate, betas=(0.9, 0.98), weight_decay=0.0
    )
    warm = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / WARM))
    for step in range(plan.reading):
        ids = words(list(islice(text, READ)), padding=True, return_tensors="pt")
        loss = model(**ids, labels=_sentences(ids["input_ids"], words)).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        warm.step()
        if step % 100 == 99:
            said = f"plain text: step {step + 1} of {plan.reading}, loss {loss.item():.3f}"
            print(said, file=sys.stderr, flush=True)
        yield loss.item()


def _sentences(ids: torch.Tensor, words: PreTrainedTokenizerFast) -> torch.Tensor:
    """Labels for what stands behind the lists: in these all but the letters is drawn at random."""
    begins = (ids == words.convert_tokens_to_ids("Ġthe")).cumsum(dim=1) > 0
    said = begins & (ids != words.pad_token_id)
    return ids.masked_fill(~said, -100)


# --- training ---


def training(plan: Plan) -> dict[str, Any]:
    """SFT of the project, small, and what it has in common with GRPO. The last checkpoint counts."""
    return {
        "policy": {"model_name_or_path": "models/read", "style": "chat", "max_length": CONTEXT},
        "sft": {
            "max_steps": plan.sft,
            "per_device_train_batch_size": 32,
            "learning_rate": plan.sft_rate,
            "save_steps": plan.sft,
        },
        "eval_queries": 0,
        "threads": 1,
    }


def params(plan: Plan, arm: Arm) -> TrainParams:
    """SFT and GRPO; the exclusion alone is asked for, and always with thinking."""
    grpo = {
        "max_steps": plan.grpo,
        "per_device_train_batch_size": BATCH,
        "num_generations": 8,
        "learning_rate": plan.grpo_rate,
        "loss_type": "dapo",
        "reward": arm,
        "rank_share": 0.0,
        "nothink_share": 0.0,
        "trace_weight": 0.0,
        "max_completion_length": LIMIT,
        "save_steps": plan.grpo,
    }
    return parse_params({"preset": "tiny", "train": {**training(plan), "grpo": grpo}}).train


def trained(home: Path, plan: Plan, arm: Arm, launcher: job.Launcher = job.launch) -> Path:
    """The folder of an arm's models, trained where they are not there yet. The blind arm goes on from the
    other's SFT.
    """
    models, folder, own = home / "models" / arm, home / "jobs" / arm, params(plan, arm)
    if (models / "rl" / MANIFEST).is_file():
        return models
    folder.mkdir(parents=True, exist_ok=True)
    sets = pools(TRAINING, 3, "train")
    untaught = pl.DataFrame(schema={"set_id": pl.String, "label": pl.String, "score": pl.Float64})
    job.write(folder, sets, traces(sets), job.rl_prompts(sets, untaught, own.grpo))
    described = {"key": arm, "params": own.model_dump(mode="json"), "tasks": [TASK]}
    (folder / "job.json").write_text(json.dumps(described), encoding="utf-8")
    if arm == "blind":
        for phase in ("untrained", "sft"):
            shutil.copytree(home / "models" / "ranking" / phase, models / phase, dirs_exist_ok=True)
    launcher(folder, own, lambda text: print(f"{arm}: {text}", file=sys.stderr, flush=True))
    return models


# --- evaluation ---


def answered(folder: Path, sets: Sequence[CandidateSet]) -> dict[str, list[Any]]:
    """Of each query the reward of an answer drawn as in training (chance is 0, invalid −1), that of the
    greedy one, and whether the former is invalid; and the first text.
    """
    engine = load(folder, batch=BATCH)
    prompts = [Prompt("exclude", True, given) for given in sets]
    found: dict[str, list[Any]] = {}
    for name, temperature in (("greedy", 0.0), ("reward", 1.0)):
        done = engine.complete(prompts, Sampling(LIMIT, temperature=temperature, seed=SEED))
        actions = [
            parse(one.text, given.labels, "exclude", True, one.finish == "length")
            for one, given in zip(done, sets, strict=True)
        ]
        found[name] = [
            reward(action, given.relevance, "exclude").total
            for action, given in zip(actions, sets, strict=True)
        ]
        found["invalid"] = [float(not action.valid) for action in actions]
        found["text"] = [done[0].text]
    return found


def measured(found: Mapping[str, Mapping[str, list[Any]]], sets: Sequence[CandidateSet]) -> dict[str, Any]:
    """Means with 95% intervals over queries, and what both arms gain on SFT, paired."""
    groups = [given.set_id for given in sets]

    def mean(values: Sequence[float] | np.ndarray) -> list[float]:
        one = bootstrap_mean(values, groups, resamples=RESAMPLES, seed=SEED)
        return [one.value, one.lower, one.upper]

    after = {
        name: {**{part: mean(one[part]) for part in ("reward", "greedy", "invalid")}, "text": one["text"][0]}
        for name, one in found.items()
    }
    start = np.asarray(found["sft"]["reward"])
    gains = {name: mean(np.asarray(found[name]["reward"]) - start) for name in ("rl", "blind")}
    best = mean([1 - 1 / len(given) for given in sets])
    return {"queries": len(sets), "best": best, "after": after, "gains": gains}


def main(home: Path, plan: Plan, launcher: job.Launcher = job.launch) -> dict[str, Any]:
    """All of it; seconds, parameters and what was measured."""
    known()
    torch.set_num_threads(1)
    began = time.perf_counter()
    facts = read(home / "models" / "read", plan)
    models = trained(home, plan, "ranking", launcher)
    held = pools(plan.queries, 5, "test")
    found = {name: answered(models / name, held) for name in ("untrained", "sft", "rl")}
    found["blind"] = answered(trained(home, plan, "blind", launcher) / "rl", held)
    return {**measured(found, held), **facts, "seconds": time.perf_counter() - began}


def scaled(plan: Plan, scale: float) -> Plan:
    """That share of the steps and queries."""
    few = {name: max(1, int(getattr(plan, name) * scale)) for name in ("reading", "sft", "grpo", "queries")}
    return replace(plan, **few)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("home", type=Path)
    parser.add_argument("--scale", type=float, default=1.0)
    for name, value in asdict(Plan()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    given = vars(parser.parse_args())
    home, scale = given.pop("home").resolve(), given.pop("scale")
    print(json.dumps(main(home, scaled(Plan(**given), scale))))
