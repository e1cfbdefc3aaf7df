"""The dry run: what a training run will need, reckoned before a GPU is reserved. Imports no torch.

Batches, memory per device, tokens and hours follow from the parameters, the model's sizes
(ranker/train/model_size.py) and a table of hardware (ranker/train/hardware.toml). Prompts are measured where
candidate sets of the tasks have been drawn, else made up. What does not fit or cannot be cut evenly is a
finding with its remedy. Estimates err upwards on memory: every sequence at its longest, allocator and CUDA
context by a flat share. Hours leave out what no formula here knows: communication, loading, waiting for the
slowest.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache, partial
from itertools import cycle, repeat
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import psutil

from ranker.config import RetrainParams, Task, task
from ranker.engines import Sampling
from ranker.engines.scripted import ScriptedScorer
from ranker.errors import BadConfig, PromptTooLong
from ranker.lake import Lake
from ranker.lake.candidate_sets import load_sets
from ranker.policy.likelihood import asked
from ranker.policy.prompts import Message, Prompt, fit, messages, trace
from ranker.resources import shipped
from ranker.strategies import strategy
from ranker.train import parallel
from ranker.train.model_size import Architecture, find
from ranker.train.parallel import Parallel
from ranker.types import Candidate, CandidateSet, JsonObject, slot_labels

GIB = 2**30
USABLE = 0.92
"""Share of a device's memory that may be planned with; the rest is the CUDA context, NCCL and the
allocator's gaps.
"""
UNLIMITED = 10**9
"""Tokens: an estimate tells what a question takes, and cuts nothing."""
TOKENS_PER_WORD = 1.45
"""Assumed where no tokenizer is there: byte-pair vocabularies of 50,000 to 150,000 take 1.3 tokens a word
of English prose; names and titles more.
"""
TEMPLATE_TOKENS = 40
"""Assumed for a chat template and its default system prompt."""
WORDS = {"recommendation": 7, "passage": 60, "routing": 25, "synthetic": 3}
"""Assumed words of a candidate where no data is there: a title, a passage (MS MARCO's mean is 56), a
description of a model.
"""
LIVE = 10**9
"""Parameters that ZeRO-3 holds gathered at most (stage3_max_live_parameters)."""
BUCKET = 5 * 10**8
"""Elements of a reduction bucket of DeepSpeed (reduce_bucket_size); two are in flight."""
TILE = 4096 * 32768
"""Logits that TRL's chunked head holds at once (trl/kernels/chunked_logprob.py)."""
LAUNCHES = 6.6e-4
"""Seconds a layer and token step that transformers takes to start a layer's kernels on a GPU: 24 ms a
token with 36 layers, on an H200 (docs/scale.md).
"""
SAMPLE = 200
"""Training queries of a task whose prompts are counted."""
RL = {"grpo": "rl", "likelihood": "rl"}
"""Phase of an estimate → the name that its parameters go by."""
BFLOAT16 = {"avx512_bf16", "amx_bf16", "bf16"}
"""Flags of processors that multiply in it."""
MEASURED_CORES = 2
"""Of the processors in hardware.toml."""
OVERHEAD_BELOW = 50_000_000
"""Parameters below which launch overhead and not arithmetic takes the time, so that hours are a lower
bound.
"""


@dataclass(frozen=True, slots=True)
class Hardware:
    """One kind of device. flops and bandwidth are peaks; mfu and decode the shares of them that are
    assumed.
    """

    title: str
    mebibytes: int
    flops: float
    bandwidth: float
    mfu: float
    decode: float
    source: str

    @property
    def memory(self) -> float:
        """Bytes."""
        return self.mebibytes * 2**20 if self.mebibytes else psutil.virtual_memory().total


@dataclass(frozen=True, slots=True)
class Run:
    """What is to be reckoned: parameters, the model's sizes, the processes and the device each has."""

    params: RetrainParams
    model: Architecture
    folder: Path | None
    """The model's folder where it is on this machine."""
    parallel: Parallel
    device: Hardware

    @property
    def trainable(self) -> int:
        """Parameters that get gradients."""
        policy = self.params.train.policy
        if policy.lora_r:
            return self.model.adapters(policy.lora_r)
        if policy.style == "likelihood" and policy.num_trainable_layers:
            return min(policy.num_trainable_layers, self.model.layers) * self.model.layer + self.model.hidden
        return self.model.parameters

    @property
    def by_likelihood(self) -> bool:
        """Whether the policy is asked for likelihoods and writes nothing."""
        return self.params.train.policy.style == "likelihood"

    @property
    def bf16(self) -> bool:
        """Whether arithmetic is bf16."""
        return parallel.bf16(self.params.train, self.parallel.cpu is False)

    @property
    def rate(self) -> float:
        """Operations a second in training and prefill, of all devices."""
        return self.parallel.processes * self.device.flops * self.device.mfu


@dataclass(frozen=True, slots=True)
class Finding:
    """What the plan says beside its numbers. An error means: do not start."""

    level: Literal["error", "note"]
    text: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Phase:
    """One phase of training. Tokens and hours are of the whole phase, over all devices."""

    name: str
    steps: int
    batch: int
    accumulation: int
    per_device: int
    prompts_per_step: int
    prompts: int
    epochs: float
    longest: int
    """Tokens of the longest sequence, prompt and completion."""
    prompt_tokens: float
    completion_tokens: float
    hours: float


@dataclass(frozen=True, slots=True)
class Ranking:
    """Queries that are ranked: by validation while training, or by the stage evaluate. Tokens and hours are
    of all of them; an answer is reckoned at its longest.
    """

    name: Literal["validation", "evaluate"]
    queries: int
    """Rankings: a query counts once for each model, strategy, and with or without reasoning."""
    calls: int
    prompt_tokens: float
    completion_tokens: float
    hours: float


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes on one device in one phase, by what they are for. Training and generation take turns."""

    phase: str
    resident: dict[str, float]
    training: dict[str, float]
    generation: dict[str, float]

    @property
    def peak(self) -> float:
        return sum(self.resident.values()) + max(sum(self.training.values()), sum(self.generation.values()))


@dataclass(frozen=True, slots=True)
class Estimate:
    """All of it."""

    model: Architecture
    parallel: Parallel
    hardware: Hardware
    trainable: int
    prompts: dict[str, tuple[int, int]]
    """Prompt tokens by task: mean and longest."""
    measured: tuple[str, ...]
    """Tasks whose prompts were counted in candidate sets that have been drawn."""
    phases: tuple[Phase, ...]
    rankings: tuple[Ranking, ...]
    memory: tuple[Memory, ...]
    findings: tuple[Finding, ...]

    @property
    def disk(self) -> float:
        """Bytes in the data folder: a float32 model folder before and after each phase, and of the last one
        three checkpoints with both moments (two are kept while a third is written).
        """
        folders = 4.0 * self.model.parameters * (1 + len(self.phases))
        return folders + 3.0 * (4 * self.trainable + 8 * self.trainable) if self.phases else folders

    @property
    def fits(self) -> bool:
        return not any(finding.level == "error" for finding in self.findings)

    @property
    def verdict(self) -> str:
        """One line."""
        hours, peak = (
            sum(part.hours for part in (*self.phases, *self.rankings)),
            max((use.peak for use in self.memory), default=0.0),
        )
        summary = (
            f"{self.parallel.processes} × {self.hardware.title}, {peak / GIB:.1f} of"
            f" {self.hardware.memory / GIB:.1f} GiB, about {hours:.1f} hours"
        )
        wrong = sum(finding.level == "error" for finding in self.findings)
        return f"{'will run' if not wrong else f'will not run ({wrong} errors)'}: {summary}"


@lru_cache(maxsize=1)
def hardware() -> dict[str, Hardware]:
    """Known devices by name."""
    return {
        name: Hardware(**row)
        for name, row in tomllib.loads(shipped("train", "hardware.toml").read_text(encoding="utf-8")).items()
    }


def present() -> Hardware:
    """This machine's processor: the measured one of its kind, which Linux tells by its flags, with as many
    times its two cores as there are. Where nothing tells it is taken for the slower kind.
    """
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        text = ""
    kind = hardware()["cpu" if BFLOAT16 & set(text.split()) else "cpu-float32"]
    cores = len(psutil.Process().cpu_affinity() or ()) if psutil.LINUX else psutil.cpu_count() or 1
    title = kind.title.replace("two", str(cores))
    return replace(kind, title=title, flops=kind.flops * cores / MEASURED_CORES)


@dataclass(frozen=True, slots=True)
class Drawn:
    """What is there already of a task's candidate sets."""

    sample: tuple[CandidateSet, ...]
    """Of its training queries."""
    tests: int
    """Test queries."""


def drawn(lake: Lake, params: RetrainParams) -> dict[str, Drawn]:
    """The newest candidate sets of each task that has some, at most SAMPLE of its training queries."""
    found: dict[str, Drawn] = {}
    for name in params.ingest.tasks:
        newest = lake.named("estimate/newest", {"task": name})
        if newest.height:
            key = newest.item()
            sample = load_sets(lake, key, split="train", task=name, limit=SAMPLE)
            tests = lake.named("estimate/tests", {"batch_id": key, "task": name}).item()
            found[name] = Drawn(tuple(sample), tests)
    return {name: one for name, one in found.items() if one.sample}


def estimate(
    params: RetrainParams,
    device: str = "",
    completion: int = 0,
    data: Mapping[str, Drawn] = MappingProxyType({}),
) -> Estimate:
    """Reckon a run of these parameters.

    Args:
        data: by task, what `drawn` has found; a task without has made-up prompts.
        device: a name of `hardware`; empty takes this machine's CPU for CPU configurations and an H100 for
            all others.
        completion: mean tokens of a rollout; 0 takes `grpo.max_completion_length`, an upper bound.

    Raises:
        BadConfig, BadModel: parameters from which nothing can be reckoned. All else is a finding.
    """
    train = params.train
    machine = parallel.read(_meeting(params).train)
    run = Run(params, *find(params.home_path, train.policy), machine, _device(device, machine))
    findings: list[Finding] = []
    lengths = _questions(run, data) if run.by_likelihood else _prompts(run, data, findings)
    prompts = {name: (own.mean, own.longest) for name, own in lengths.items()}
    phases = tuple(_phases(run, prompts, completion or train.grpo.max_completion_length, findings))
    rankings = tuple(_rankings(run, lengths, phases, data))
    memory = tuple(_memory(run, phase) for phase in phases)
    findings += _judge(run, phases, memory)
    return Estimate(
        run.model,
        machine,
        run.device,
        run.trainable,
        prompts,
        tuple(data),
        phases,
        rankings,
        memory,
        tuple(findings),
    )


def _meeting(params: RetrainParams) -> RetrainParams:
    """A plan needs no address where machines meet."""
    return params.model_copy(
        update={
            "train": params.train.model_copy(
                update={"main_address": params.train.main_address or "planned:0"}
            )
        }
    )


def _device(name: str, machine: Parallel) -> Hardware:
    known = hardware()
    if not name and machine.cpu is not False:
        return present()
    name = name or "h100"
    if name not in known:
        raise BadConfig(
            "the device must be known",
            seen=repr(name),
            remedy=f"choose one of {', '.join(known)}, or add it to ranker/train/hardware.toml",
        )
    return known[name]


# --- prompts ---


def _counter(folder: Path | None, style: str) -> Callable[[list[Message]], int]:
    """Tokens of a prompt: by the model's own tokenizer where it is there, else from its words, each of
    which is one in a vocabulary from the data.
    """
    if style == "compact":
        return lambda prompt: 1 + sum(len(message["content"].split()) for message in prompt)
    if folder is None or not (folder / "tokenizer.json").is_file():
        return lambda prompt: (
            math.ceil(TOKENS_PER_WORD * sum(len(message["content"].split()) for message in prompt))
            + TEMPLATE_TOKENS
        )
    from ranker.engines.transformers import load_tokenizer

    tokenizer = load_tokenizer(folder)
    return lambda prompt: len(
        tokenizer(
            str(tokenizer.apply_chat_template(prompt, tokenize=False, add_generation_prompt=True)),
            add_special_tokens=False,
        )["input_ids"]
    )


@dataclass(frozen=True, slots=True)
class Lengths:
    """Tokens of a task's prompts."""

    size: int
    """Candidates of a whole pool."""
    mean: int
    """Over the pools of every size that training shows."""
    longest: int
    two: float
    """Mean of the prompts about two candidates."""
    whole: float
    """Mean of those about whole pools."""

    def of(self, size: int) -> float:
        """Mean of those about `size` candidates."""
        step = (self.whole - self.two) / max(1, self.size - 2)
        return self.two + step * (size - 2)


def _prompts(run: Run, data: Mapping[str, Drawn], findings: list[Finding]) -> dict[str, Lengths]:
    count = _counter(run.folder, run.params.train.policy.style)
    return {
        name: _prompt(task(name), run.params, count, findings, data.get(name))
        for name in run.params.ingest.tasks
    }


def _questions(run: Run, data: Mapping[str, Drawn]) -> dict[str, Lengths]:
    """Tokens that a likelihood policy reads for one query of a task: contexts and continuations of a whole
    pool.
    """
    count: Callable[[str], int] = lambda text: math.ceil(TOKENS_PER_WORD * len(text.split()))  # noqa: E731
    if run.folder is not None and (run.folder / "tokenizer.json").is_file():
        from ranker.engines import trees
        from ranker.engines.transformers import load_tokenizer

        count = partial(trees.count, load_tokenizer(run.folder, chat=False))

    def read(given: CandidateSet) -> int:
        made = asked(given, count, UNLIMITED)
        return sum(count(branch.context) + sum(map(count, branch.continuations)) for branch in made.all)

    found: dict[str, Lengths] = {}
    for name in run.params.ingest.tasks:
        size = run.params.candidates.pool_size.get(name, task(name).pool_size)
        own = data[name].sample if name in data else ()
        tokens = [read(s) for s in own or [_made_up(task(name), size, run.params.candidates.history)]]
        mean = sum(tokens) / len(tokens)
        found[name] = Lengths(size, round(mean), max(tokens), mean, mean)
    return found


def _prompt(
    given: Task,
    params: RetrainParams,
    count: Callable[[list[Message]], int],
    findings: list[Finding],
    known: Drawn | None,
) -> Lengths:
    """Prompts of a task over pools of every size that training shows: of its own sets, or made-up ones."""
    style, budget = (
        params.train.policy.style,
        params.train.policy.max_length - params.train.grpo.max_completion_length,
    )
    size = params.candidates.pool_size.get(given.name, given.pool_size)
    made_up = [_made_up(given, size, params.candidates.history)] * (size - 1)
    pools = [one for one in (known.sample if known else ()) if len(one) > 1] or made_up

    def tokens(sizes: Iterable[int]) -> list[int]:
        """Fitted prompts about the first so many candidates of each pool."""
        shown = [one.keep(one.labels[:n]) for one, n in zip(pools, sizes, strict=False)]
        return [count(fit(Prompt("exclude", True, one), style, count, budget)) for one in shown]

    longest = max(count(messages(Prompt("exclude", True, one), style)) for one in pools)
    if longest > budget:
        findings.append(
            Finding(
                "note",
                f"{given.name}: a whole prompt of {size} candidates takes"
                f" {'up to' if known else 'about'} {longest} tokens of {budget}: its texts are cut",
                "raise train.policy.max_length",
            )
        )
    try:
        every, two, whole = tokens(cycle(range(2, size + 1))), tokens(repeat(2)), tokens(repeat(size))
    except PromptTooLong as error:
        findings.append(Finding("error", f"{given.name}: {error.rule}: {error.seen}", error.remedy))
        every = two = whole = [budget]
    return Lengths(size, round(_mean(every)), max(whole), _mean(two), _mean(whole))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _made_up(given: Task, size: int, history: int) -> CandidateSet:
    words = WORDS[given.scenario]
    text = " ".join(["ranking"] * words)
    items = tuple(f"item-{i}" for i in range(history)) if given.scenario == "recommendation" else ()
    query = "; ".join([text] * history) if items else " ".join(["question"] * 12)
    pool = tuple(Candidate(label, f"item-{i}", text, 0.0) for i, label in enumerate(slot_labels(size)))
    return CandidateSet(f"planned-{size}", given.name, "train", "", query, items, pool)


# --- batches, tokens, hours ---


def _phases(
    run: Run, prompts: dict[str, tuple[int, int]], completion: int, findings: list[Finding]
) -> Iterator[Phase]:
    params, train, tasks = run.params, run.params.train, len(prompts)
    mean, longest = (
        sum(found[0] for found in prompts.values()) / tasks,
        max(found[1] for found in prompts.values()),
    )
    taught = {
        "sft": params.distill.traces * tasks,
        "grpo": train.grpo.prompts * tasks,
        "likelihood": params.candidates.max_train * tasks,
    }
    rl = ("likelihood", train.likelihood) if run.by_likelihood else ("grpo", train.grpo)
    for name, own in (("sft", train.sft), rl):
        if not own.max_steps:
            continue
        steps, batch = own.max_steps, own.batch(run.parallel.processes)
        copies, reused, answer = (
            (train.grpo.num_generations, train.grpo.num_iterations, train.grpo.max_completion_length)
            if name == "grpo"
            else (1, 1, 0 if run.by_likelihood else _trace_tokens(params))
        )
        drawn = steps * batch / copies / reused
        shape = Phase(
            name,
            steps,
            batch,
            own.gradient_accumulation_steps,
            own.per_device_train_batch_size,
            batch // copies,
            taught[name],
            drawn / taught[name],
            longest + answer,
            steps * batch * mean,
            steps * batch * (completion if name == "grpo" else answer),
            0.0,
        )
        yield replace(shape, hours=_seconds(run, shape) / 3600)


def _trace_tokens(params: RetrainParams) -> int:
    """The longest taught answer: four tokens a candidate (label, grade and two marks), one a named label,
    and the tags.
    """
    pool = max(params.candidates.pool_size.get(name, task(name).pool_size) for name in params.ingest.tasks)
    return 5 * pool + 24


def _seconds(run: Run, phase: Phase) -> float:
    """Seconds of a phase: operations over (devices × peak × mfu), and for GRPO generation before that.

    Training a token takes three forward passes' operations (one forward, two backward; Kaplan et al. 2020), a
    fourth with checkpointing, one more each for the reference (beta > 0) and for the old policy (vLLM, or
    completions used more than once).
    """
    train, sequences = run.params.train, phase.steps * phase.batch
    length = (phase.prompt_tokens + phase.completion_tokens) / sequences
    passes = 1.0 + 2.0 * (run.trainable / run.model.parameters if run.by_likelihood else 1)
    passes += train.gradient_checkpointing + (run.by_likelihood and train.likelihood.beta > 0)
    if phase.name == "grpo":
        old = train.grpo.use_vllm or train.grpo.num_iterations > 1
        passes += (train.grpo.beta > 0) + old / train.grpo.num_iterations
    training = sequences * length * passes * run.model.forward(length / 2) / run.rate
    return training + (_generation(run, phase) / train.grpo.num_iterations if phase.name == "grpo" else 0.0)


def _generation(run: Run, phase: Phase) -> float:
    """Seconds of all rollouts: prefill by operations, decoding by memory: each token step reads the weights
    once and every sequence's KV cache. Without vLLM a GPU waits for its kernels to be started.

    A group shares its prompt's prefill under vLLM (prefix cache); transformers computes it for every
    completion.
    """
    grpo = run.params.train.grpo
    sequences = phase.steps * phase.batch
    prompt, answer = phase.prompt_tokens / sequences, phase.completion_tokens / sequences
    prefills = sequences / (grpo.num_generations if grpo.use_vllm else 1)
    prefill = prefills * prompt * run.model.forward(prompt / 2) / run.rate
    own = phase.batch // run.parallel.processes
    at_once = max(1, min(own, concurrent(run, phase))) if grpo.colocates else own
    each = _token_step(run, at_once, prompt + answer / 2, grpo.use_vllm)
    return prefill + phase.steps * math.ceil(own / at_once) * answer * each


def _token_step(run: Run, at_once: float, context: float, vllm: bool) -> float:
    """Seconds in which one device writes a token of each of `at_once` sequences."""
    model, device = run.model, run.device
    reading = (2 * model.parameters + at_once * model.kv_bytes() * context) / (
        device.bandwidth * device.decode
    )
    computing = at_once * model.forward(context) / (device.flops * device.mfu)
    starting = LAUNCHES * model.layers if not vllm and run.parallel.cpu is False else 0.0
    return max(reading, computing, starting)


# --- ranking: validation and evaluation ---


@lru_cache(maxsize=64)
def _calls(name: str, size: int, thinking: bool) -> tuple[int, ...]:
    """Pool sizes of the calls by which a strategy ranks a pool, as it really asks when all answers are
    valid.
    """
    made = _made_up(task("synthetic"), size, 0)

    def answer(prompt: Prompt) -> str:
        labels = list(prompt.set.labels)
        named = labels[-1:] if prompt.mode == "exclude" else labels
        return trace(prompt.mode, prompt.thinking, dict.fromkeys(labels, 0), named, "compact")

    scripted = ScriptedScorer(answer, lambda prompt: dict.fromkeys(prompt.set.labels, 0.0))
    (episode,) = strategy(name)([made], scripted, thinking=thinking, sampling=Sampling(UNLIMITED))
    return tuple(len(step.pool) for step in episode.steps)


@dataclass(frozen=True, slots=True)
class Writer:
    """What writes the answers of rankings."""

    limit: int
    """Tokens of an answer."""
    batch: int
    """Answers that one copy of the model writes at once."""
    copies: int
    cut: int
    """Devices over which a copy is cut."""
    vllm: bool


def _rankings(
    run: Run, lengths: Mapping[str, Lengths], phases: Sequence[Phase], data: Mapping[str, Drawn]
) -> Iterator[Ranking]:
    train, given, processes = run.params.train, run.params.evaluate, run.parallel.processes
    rounds = sum(1 + phase.steps // train.of(RL.get(phase.name, phase.name)).save_steps for phase in phases)
    if train.eval_queries and rounds:
        way = train.eval_strategy or ("iterative" if train.policy.style == "compact" else "direct")
        batch = max(phase.batch for phase in phases) // processes
        rolls_out = Writer(train.grpo.max_completion_length, batch, processes, 1, train.grpo.use_vllm)
        queries = dict.fromkeys(lengths, train.eval_queries)
        yield _ranking(run, "validation", lengths, queries, [(way, True)] * rounds, rolls_out)
    ways = [(way, thinking) for way in given.strategies for thinking in given.thinking] * len(given.models)
    tests = {name: data[name].tests if name in data else given.max_queries for name in lengths}
    queries = {name: min(count, given.max_queries) for name, count in tests.items()}
    writer = Writer(
        given.max_completion_length,
        given.per_device_eval_batch_size,
        1,
        given.tensor_parallel_size,
        given.engine != "transformers",
    )
    yield _ranking(run, "evaluate", lengths, queries, ways, writer)


def _ranking(
    run: Run,
    name: Literal["validation", "evaluate"],
    lengths: Mapping[str, Lengths],
    queries: Mapping[str, int],
    ways: Sequence[tuple[str, bool]],
    writer: Writer,
) -> Ranking:
    """All rankings of one kind: each task's queries in each way (strategy, reasoning)."""
    rate = run.device.flops * run.device.mfu * writer.copies * writer.cut
    calls, prompt_tokens, completion_tokens, seconds = 0, 0.0, 0.0, 0.0
    for task_name, own in lengths.items():
        for way, thinking in ways:
            pools = (own.size,) if run.by_likelihood else _calls(way, own.size, thinking)
            count = queries[task_name] * len(pools)
            prompt = sum(map(own.of, pools)) / len(pools)
            answer = 0 if run.by_likelihood else writer.limit if thinking else _plain(own.size)
            answer = min(answer, writer.limit)
            calls += count
            prompt_tokens += count * prompt
            completion_tokens += count * answer
            at_once = max(1, min(writer.batch, math.ceil(count / writer.copies)))
            step = _token_step(run, at_once, prompt + answer / 2, writer.vllm) / writer.cut
            seconds += count * prompt * run.model.forward(prompt / 2) / rate
            seconds += math.ceil(count / (at_once * writer.copies)) * answer * step
    total = sum(queries.values()) * len(ways)
    return Ranking(name, total, calls, prompt_tokens, completion_tokens, seconds / 3600)


def _plain(size: int) -> int:
    """Tokens of an answer without reasoning at most: a label each, and the tags."""
    return 2 * size + 8


def concurrent(run: Run, phase: Phase) -> int:
    """Sequences of full length that colocated vLLM can hold at once: its share less bf16 weights and 1 GiB
    of work space.
    """
    room = (
        run.params.train.grpo.vllm_gpu_memory_utilization * run.device.memory - 2 * run.model.parameters - GIB
    )
    return max(0, int(room / (run.model.kv_bytes() * phase.longest)))


# --- memory ---


def states(
    model: Architecture, trainable: int, machine: Parallel, bf16: bool
) -> tuple[dict[str, float], dict[str, float]]:
    """Bytes of weights and optimizer (always there), and of gradients and copies (while training), on one
    device.

    float32 weights, gradients and two Adam moments are 4 + 4 + 8 bytes a parameter. DDP keeps its reduction
    buckets as a second copy of the gradients. ZeRO: 2Ψ + 2Ψ + 12Ψ bytes for bf16 weights, bf16 gradients and
    float32 weights with moments, of which stage 2 cuts the last two into N parts and stage 3 all (Rajbhandari
    et al. 2020, section 3); its buckets are whole. FSDP2 cuts the 16 bytes into N parts and gathers a layer,
    the next one and the embedding in bf16.
    """
    P, T, n = model.parameters, trainable, machine.shards
    width = 2 if bf16 else 4
    if machine.sharding in ("zero2", "zero3"):
        cut = n if machine.sharding == "zero3" else 1
        return (
            {"weights": 2 * P / cut + 4 * T / n, "optimizer": 8 * T / n},
            {
                "gradients": 2 * T / n,
                "gathered": 2 * min(P, LIVE) if cut > 1 else 0.0,
                "buckets": 2 * 2.0 * BUCKET,
            },
        )
    frozen = trainable < model.parameters and bf16 and machine.sharding == "none"
    gathered = width * (2 * model.layer + model.embedding) if machine.sharding == "fsdp" else 0.0
    copies = (
        2.0 * (T if frozen else P) if bf16 and machine.sharding in ("none", "ddp") else 0.0
    )  # autocast keeps a bf16 copy of what it multiplies with
    # what is not trained is held in bf16 by a single process
    weights = 2 * P + 4 * T if frozen else 4 * P / n
    return (
        {"weights": weights, "optimizer": 8 * T / n},
        {
            "gradients": 4 * T / n,
            "gathered": gathered,
            "buckets": 4.0 * T if machine.sharding == "ddp" else 0.0,
            "bf16 copies": copies,
        },
    )


def _memory(run: Run, phase: Phase) -> Memory:
    train, model = run.params.train, run.model
    resident, training = states(model, run.trainable, run.parallel, run.bf16)
    tokens = phase.per_device * phase.longest
    training["activations"] = tokens * model.activations(run.bf16, train.gradient_checkpointing)
    training["output head"] = 4.0 * model.embedding + min(TILE, tokens * model.vocab) * (2 if run.bf16 else 4)
    generation: dict[str, float] = {}
    if phase.name == "grpo":
        if train.grpo.beta and not train.policy.lora_r:
            resident["reference"] = _reference(model, run.parallel)
        if train.grpo.colocates:
            generation["vLLM"] = train.grpo.vllm_gpu_memory_utilization * run.device.memory
        elif not train.grpo.use_vllm:
            cache = tokens * phase.accumulation * model.kv_bytes() * (1 if run.bf16 else 2)
            generation = {
                "KV cache": cache,
                "gathered": training["gathered"],
                "bf16 copies": training["bf16 copies"],
            }
    kept = [{name: size for name, size in part.items() if size} for part in (resident, training, generation)]
    return Memory(phase.name, *kept)


def _reference(model: Architecture, machine: Parallel) -> float:
    """The frozen reference policy as TRL prepares it: float32, cut as the policy is; bf16 under DeepSpeed,
    whole under ZeRO-2.
    """
    if machine.sharding == "zero2":
        return 2.0 * model.parameters
    return (2.0 if machine.sharding == "zero3" else 4.0) * model.parameters / machine.shards


# --- findings ---


def _judge(run: Run, phases: Sequence[Phase], memory: Sequence[Memory]) -> Iterator[Finding]:
    room, context = USABLE * run.device.memory, run.params.train.policy.max_length
    for phase, use in zip(phases, memory, strict=True):
        if use.peak > room:
            seen = (
                f"{phase.name} needs {use.peak / GIB:.1f} GiB of {room / GIB:.1f} usable on"
                f" {run.device.title}"
            )
            yield Finding("error", seen, _lighter(run, use))
        if phase.longest > context and not run.by_likelihood:  # that one's are cut where their template says
            seen = (
                f"{phase.name}: prompt and completion take {phase.longest} tokens, the context is {context}"
            )
            yield Finding(
                "error",
                seen,
                f"set train.policy.max_length = {phase.longest}, or a smaller pool_size, history or"
                " max_completion_length",
            )
        if phase.name == "grpo":
            yield from _groups_cut(run)
            if run.params.train.grpo.colocates:
                yield from _vllm_findings(run, phase)
    yield from _notes(run)


def _lighter(run: Run, use: Memory) -> str:
    """The first remedy that lowers what takes most."""
    crowded = use.training.get("activations", 0) > 0.2 * use.peak
    if crowded and not run.params.train.gradient_checkpointing:
        return "set train.gradient_checkpointing = true"
    if crowded:
        return (
            f"lower train.{use.phase}.per_device_train_batch_size and raise gradient_accumulation_steps as"
            " much (a smaller batch at once, the same step)"
        )
    if run.parallel.shards == 1 and not run.params.train.policy.lora_r:
        return (
            'share the states over more GPUs (train.accelerate_config = "gpu-4-fsdp"), or set'
            " train.policy.lora_r = 16"
        )
    return "use more GPUs or larger ones, or set train.policy.lora_r = 16"


def _groups_cut(run: Run) -> Iterator[Finding]:
    try:
        parallel.check_groups(run.params.train.grpo, run.parallel.processes)
    except BadConfig as error:
        yield Finding("error", f"{error.rule}: {error.seen}", error.remedy)


def _vllm_findings(run: Run, phase: Phase) -> Iterator[Finding]:
    share, own, at_once = (
        run.params.train.grpo.vllm_gpu_memory_utilization,
        phase.batch // run.parallel.processes,
        concurrent(run, phase),
    )
    if run.parallel.cpu is not False:
        yield Finding(
            "error",
            "vLLM rollouts need a CUDA GPU",
            "set train.grpo.use_vllm = false, or a GPU configuration",
        )
    elif not at_once:
        least = (2 * run.model.parameters + GIB + run.model.kv_bytes() * phase.longest) / run.device.memory
        seen = f"vLLM's share of {share:.0%} does not hold the weights and one sequence"
        yield Finding(
            "error",
            seen,
            f"set train.grpo.vllm_gpu_memory_utilization to at least {math.ceil(least * 100) / 100}",
        )
    elif at_once < own:
        seen = (
            f"vLLM holds {at_once} of {own} sequences of full length at once: a step is generated in"
            f" {math.ceil(own / at_once)} turns"
        )
        yield Finding("note", seen, "raise train.grpo.vllm_gpu_memory_utilization")


def _notes(run: Run) -> Iterator[Finding]:
    source = run.params.train.policy.model_name_or_path
    if source != "scratch" and run.folder is None:
        seen = (
            f"{source} is not on this machine: published sizes, prompt tokens estimated at {TOKENS_PER_WORD}"
            " a word"
        )
        yield Finding(
            "note", seen, f"download it to {source} in the data folder; then its own tokenizer counts"
        )
    if not run.model.exact:
        yield Finding(
            "note", "the vocabulary comes from the data: its largest size is assumed, items left out"
        )
    if run.model.parameters < OVERHEAD_BELOW:
        yield Finding(
            "note",
            "for a model this small, overhead and not arithmetic takes the time: the hours are a lower bound",
        )
    if run.parallel.machines > 1:
        yield Finding("note", "communication between machines is not in the hours")


def lines(made: Estimate) -> JsonObject:
    """The plan as plain values, for JSON."""
    return {
        **asdict(made),
        "parallel": {**asdict(made.parallel), "file": str(made.parallel.file or "")},
        "disk": made.disk,
        "fits": made.fits,
        "verdict": made.verdict,
    }
