"""Validation: held-out queries are ranked with every checkpoint, the start among them, and a phase ends with
the best.

A policy that writes its answers is asked by what rolls out: `transformers` with the weights as they are in
training, or GRPO's vLLM. What is kept and when a phase stops is the same for likelihood policies.
"""

from __future__ import annotations

import copy
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

from accelerate.utils import broadcast_object_list, gather_object
from transformers import (
    EarlyStoppingCallback,
    PreTrainedTokenizerBase,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from ranker.config import GRPOParams, LikelihoodParams, SFTParams
from ranker.engines import Completion, Engine, Sampling
from ranker.engines.rendering import Renderer
from ranker.engines.transformers import TransformersEngine, declared_ends
from ranker.metrics.ranking import per_query
from ranker.policy.parsing import Reason
from ranker.policy.prompts import Prompt, Style
from ranker.strategies import strategy
from ranker.strategies.base import Strategy
from ranker.train.worker import distributed, scale
from ranker.train.worker.job import Job
from ranker.types import CandidateSet, Episode, JsonObject

METRIC = "rr"
"""What the best checkpoint is the best in: the mean over tasks of their MRR."""


# --- what every policy's phases have in common ---


def arguments(params: SFTParams | GRPOParams | LikelihoodParams, best: bool = True) -> JsonObject:
    """TrainingArguments by which a phase validates at every checkpoint, and ends with the best one."""
    return {
        "eval_strategy": "steps",
        "eval_steps": params.save_steps,
        "load_best_model_at_end": best,
        "metric_for_best_model": f"eval_{METRIC}",
        "greater_is_better": True,
    }


class KeepStart(TrainerCallback):
    """A checkpoint has to be better on validation than the start, or the phase ends with that.

    Args:
        rr: gives the start's figure; asked where no checkpoint is gone on from.
    """

    def __init__(self, rr: Callable[[], float]) -> None:
        self.rr = rr

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        """Called by the trainer."""
        if state.best_metric is None:
            state.best_metric = self.rr()


def means(rr: Iterable[tuple[str, float]]) -> dict[str, float]:
    """MRR by task (`rr_<task>`) and the mean over tasks (`rr`), of (task, reciprocal rank); empty where
    nothing was validated.
    """
    by_task: dict[str, list[float]] = defaultdict(list)
    for name, value in rr:
        by_task[name].append(value)
    found = {f"{METRIC}_{name}": sum(values) / len(values) for name, values in sorted(by_task.items())}
    return {METRIC: sum(found.values()) / len(found)} | found if found else {}


def report(trainer: Trainer, found: Mapping[str, float], prefix: str) -> dict[str, float]:
    """Log what a validation has found, and tell the callbacks, as Trainer.evaluate does."""
    metrics = {f"{prefix}_{name}": value for name, value in found.items()}
    trainer.log(dict(metrics))
    trainer.control = trainer.callback_handler.on_evaluate(
        trainer.args, trainer.state, trainer.control, metrics
    )
    return metrics


# --- policies that write ---


@dataclass(frozen=True, slots=True)
class Answer:
    """Of one answer, what the curves tell."""

    reason: str
    """Why it is invalid; empty for a valid one."""
    reward: float
    parts: Mapping[str, float]
    tokens: int | None = None
    """None where the trainer counts them itself."""


def figures(answers: Sequence[Answer]) -> dict[str, float]:
    """Mean reward and its parts, the share of invalid answers, also by kind, and the mean length; empty
    where there are none.
    """
    if not answers:
        return {}
    n, kinds = len(answers), Counter(answer.reason for answer in answers)
    names = dict.fromkeys(name for answer in answers for name in answer.parts)
    lengths = [answer.tokens for answer in answers if answer.tokens is not None]
    return {
        "reward": sum(answer.reward for answer in answers) / n,
        **{f"reward/{name}": sum(answer.parts.get(name, 0.0) for answer in answers) / n for name in names},
        "invalid": 1 - kinds[Reason.VALID] / n,
        **{f"invalid/{kind}": kinds[kind] / n for kind in Reason if kind},
        **({"length": sum(lengths) / n} if lengths else {}),
    }


@dataclass(frozen=True, slots=True)
class Validation:
    """Which queries are ranked, and how."""

    sets: tuple[CandidateSet, ...]
    style: Style
    way: Strategy
    thinking: bool
    sampling: Sampling
    """Greedy: a curve that sampling shakes would choose by luck."""
    batch: int
    """Prompts that a process generates at once: as many as it rolls out."""
    context: int
    """Tokens of the longest prompt with its answer."""

    def ranked(self, engine: Engine, sets: Sequence[CandidateSet]) -> list[Episode]:
        return self.way(sets, engine, thinking=self.thinking, sampling=self.sampling)

    def measure(self, trainer: Trainer, beat: Callable[[], None]) -> dict[str, float]:
        """MRR over tasks and by task, and `figures` of the answers.

        Processes that hold the whole model share the queries out; those that hold it in parts, or one vLLM
        server, generate together.
        """
        together = trainer.accelerator.distributed_type in scale.SHARDED or _served(trainer)
        own = self.sets if together else self.sets[distributed.rank() :: distributed.count()]
        with _as_generated(trainer):
            ranked = self.ranked(Watched(_engine(trainer, self, together), beat, together), own)
        found = [_found(given, episode) for given, episode in zip(own, ranked, strict=True)]
        if distributed.count() > 1 and not together:
            found = gather_object(found)
        answers = [answer for _, _, own_answers in found for answer in own_answers]
        return means((task, rr) for task, rr, _ in found) | figures(answers)


Found = tuple[str, float, list[Answer]]
"""Task, reciprocal rank and answers of one query."""


def _found(given: CandidateSet, episode: Episode) -> Found:
    rr = per_query({given.set_id: episode.ranking}, {given.set_id: given.relevance})[given.set_id]["rr"]
    answers = [Answer(s.reason, s.reward, s.reward_parts, s.completion_tokens) for s in episode.steps]
    return given.task, rr, answers


def of(job: Job, params: SFTParams | GRPOParams) -> Validation | None:
    """How a phase of the job validates; None where it does not."""
    train = job.params
    if not train.eval_queries:
        return None
    default = "iterative" if train.policy.style == "compact" else "direct"
    return Validation(
        tuple(job.validation()),
        train.policy.style,
        strategy(train.eval_strategy or default),
        train.grpo.nothink_share < 1,
        Sampling(train.grpo.max_completion_length),
        params.batch(1),
        train.policy.max_length,
    )


class Validating:
    """Of one of TRL's trainers: held-out queries are ranked in place of a loss on a data set."""

    validation: Validation | None = None
    beat: Callable[[], None] = staticmethod(lambda: None)

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """MRR of the validation queries (`eval_rr`, `eval_rr_<task>`) and figures of the answers."""
        assert self.validation is not None, "transformers validates where its arguments say so alone"
        trainer = cast("Trainer", self)
        model = cast("Any", trainer.model)
        model.eval()
        try:
            # reported before training goes on: TRL's log tells the two modes apart by the model
            return report(trainer, self.validation.measure(trainer, self.beat), metric_key_prefix)
        finally:
            model.train()


def begin(
    trainer: Validating, validation: Validation | None, patience: int, beat: Callable[[str], None]
) -> None:
    """Have the trainer validate, keep its start, and stop early where `patience` says so."""
    if validation is None:
        return
    own = cast("Trainer", trainer)
    trainer.validation = validation
    trainer.beat = lambda: beat(f"step {own.state.global_step} of {own.args.max_steps}: validation")
    own.add_callback(KeepStart(lambda: trainer.evaluate()[f"eval_{METRIC}"]))
    if patience and own.args.load_best_model_at_end:
        own.add_callback(EarlyStoppingCallback(patience))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What validation says of a phase that has ended."""

    start: bool
    """No checkpoint was better than the start."""
    facts: JsonObject


def outcome(trainer: Trainer) -> Outcome:
    """Which of its checkpoints a phase ends with."""
    state = trainer.state
    if not trainer.args.load_best_model_at_end:
        return Outcome(False, {})
    facts = {METRIC: state.best_metric, "best_step": state.best_global_step or 0}
    return Outcome(state.best_model_checkpoint is None, facts)


# --- what generates ---


class RolledOut(Protocol):
    """What TRL's GRPOTrainer holds that generates."""

    use_vllm: bool
    vllm_generation: Any
    _last_loaded_step: int


@dataclass
class VllmRollouts:
    """GRPO's vLLM, with the weights of the present step. Collective: every process asks equally often."""

    trainer: RolledOut
    step: int
    renderer: Renderer
    context: int
    name: str = "vllm (rollouts)"
    style: Style = field(init=False)

    def __post_init__(self) -> None:
        self.style = self.renderer.style

    def complete(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Completion]:
        """One completion per prompt, greedy."""
        texts, ids, shortened = self.renderer.prompts(prompts, self.context - sampling.max_tokens)
        vllm = self.trainer.vllm_generation
        if self.trainer._last_loaded_step != self.step:
            vllm.sync_weights()
            self.trainer._last_loaded_step = self.step
        kept = vllm.temperature, vllm.max_completion_length
        vllm.temperature, vllm.max_completion_length = sampling.temperature, sampling.max_tokens
        try:
            _, made, _, _ = vllm.generate(prompts=ids, images=None, num_generations=1)
        finally:
            vllm.temperature, vllm.max_completion_length = kept
        return [
            Completion(
                self.renderer.text(tokens, prompt.thinking),
                text,
                len(given),
                len(tokens),
                "stop" if tokens and tokens[-1] in self.renderer.ends else "length",
                0.0,
                shortened=cut,
            )
            for prompt, text, given, tokens, cut in zip(prompts, texts, ids, made, shortened, strict=True)
        ]


@dataclass
class Watched:
    """An engine that gives a sign of life before each batch.

    `together`: of processes that hold one model in parts all generate the same, and take what the first one
    has, so that none runs ahead of the others.
    """

    engine: Engine
    beat: Callable[[], None]
    together: bool = False
    name: str = field(init=False)
    style: Style = field(init=False)
    batch: int = field(init=False)

    def __post_init__(self) -> None:
        self.name, self.style = self.engine.name, self.engine.style
        self.batch = getattr(self.engine, "batch", 0)

    def complete(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Completion]:
        """One completion per prompt."""
        self.beat()
        made = self.engine.complete(prompts, sampling)
        return broadcast_object_list(made) if self.together else made


def _engine(trainer: Trainer, validation: Validation, together: bool) -> Engine:
    tokenizer = copy.deepcopy(cast("PreTrainedTokenizerBase", trainer.processing_class))
    rolled = cast("RolledOut", trainer)
    if getattr(trainer, "use_vllm", False):
        renderer = Renderer(tokenizer, validation.style, declared_ends(scale.bare(trainer.model)))
        return VllmRollouts(rolled, trainer.state.global_step, renderer, validation.context)
    return TransformersEngine.around(
        scale.bare(trainer.model),
        tokenizer,
        style=validation.style,
        batch=validation.batch,
        together=together,
    )


def _served(trainer: Trainer) -> bool:
    """Whether rollouts come from a vLLM server, which answers all processes at once."""
    return getattr(trainer, "use_vllm", False) and getattr(trainer, "vllm_mode", "") == "server"


def _as_generated(trainer: Trainer) -> AbstractContextManager[None]:
    """The precision of rollouts: bf16 copies of the weights where training computes in bf16."""
    copies = (
        trainer.accelerator.mixed_precision == "bf16"
        and not getattr(trainer, "use_vllm", False)
        and trainer.accelerator.distributed_type not in scale.SHARDED
    )
    return scale.bfloat16(scale.bare(trainer.model)) if copies else nullcontext()
