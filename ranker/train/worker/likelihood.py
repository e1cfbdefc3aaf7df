"""The phases of a likelihood policy: SFT on the teacher's orders, then rewards for each step of its own
eliminations.

One forward pass tells a pool's scores, and from these whole eliminations are drawn by one sort each; so
training on the policy's own pools costs what supervised learning costs. Validation ranks held-out queries
with every checkpoint, the start among them, and a phase ends with the best.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
from peft import get_peft_model
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import Dataset
from transformers import (
    EarlyStoppingCallback,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Trainer,
    TrainingArguments,
)

from ranker.config import LikelihoodParams, SFTParams
from ranker.engines import manifest, trees
from ranker.engines.transformers import context_length, in_bfloat16, load_model, load_tokenizer
from ranker.errors import BadModel
from ranker.metrics.calibration import fit_calibration, fit_temperature
from ranker.metrics.ranking import per_query
from ranker.policy.likelihood import asked, branches, by_question, combined, template
from ranker.policy.rewards import shown_order
from ranker.strategies.episodes import Entry, Origin, Rollout
from ranker.strategies.likelihood import Scores, elimination, ranked
from ranker.train.worker import distributed, listwise, phase_run, scale, validation
from ranker.train.worker.heartbeat import Heartbeat
from ranker.train.worker.job import Job
from ranker.train.worker.recorder import Recorder
from ranker.types import CandidateSet, JsonObject

FORWARD_TOKENS = 1_024
"""Of one forward pass in training, padding included: batches of like length waste little, and activations of
all passes of a step are held at once.
"""
EVAL_SETS = 32
SHORT = 512
"""Tokens of a row up to which attention on a CPU goes by plain matrix products: torch's fused kernel takes a
fifth longer to go back through, and only longer rows need the memory that it spares.
"""


@dataclass(frozen=True, slots=True)
class Query:
    """One training example: a pool, and for SFT the teacher's order of it, best first."""

    set: CandidateSet
    order: tuple[str, ...] = ()


class Queries(Dataset[Query]):
    """Training examples in the order in which steps take them."""

    def __init__(self, queries: Sequence[Query]) -> None:
        self.queries = queries

    def __len__(self) -> int:
        return len(self.queries)

    def __getitem__(self, place: int) -> Query:
        return self.queries[place]


def untrained(job: Job, heartbeat: Heartbeat) -> None:
    """The pretrained model or the champion as it is, with temperatures fitted on validation."""
    if phase_run.done(job, "untrained"):
        return
    if not distributed.leads():
        return distributed.wait()
    heartbeat.beat("reading the model")
    began = time.monotonic()
    policy = _policy(job, Path(job.beginning))
    found = policy.validate(_validation(job), lambda far: heartbeat.beat(f"untrained policy: {far}"))
    facts = {"seconds": round(time.monotonic() - began, 1)} | _validated(found)
    phase_run.save(job, "untrained", policy.model, policy.tokenizer, facts, _fitted(found))


def sft(job: Job, heartbeat: Heartbeat) -> None:
    """Plackett-Luce likelihood of the teacher's orders."""
    if phase_run.done(job, "sft"):
        return
    by_id = job.sets()
    own = [
        Query(by_id[row["set_id"]].keep(row["pool"]), tuple(row["action"]))
        for row in job.table("orders").iter_rows(named=True)
    ]
    _run(job, "sft", "untrained", job.params.sft, own, heartbeat)


def rl(job: Job, heartbeat: Heartbeat) -> None:
    """Step rewards on the policy's own eliminations; of each query's one is recorded."""
    if phase_run.done(job, "rl"):
        return
    params = job.params.likelihood
    sets = [_blinded(given) if params.reward == "blind" else given for given in job.sets().values()]
    own = [Query(given) for given in sets if len(set(given.relevance.values())) > 1]
    _run(job, "rl", job.params.start, params, own, heartbeat)


def _run(
    job: Job,
    phase: str,
    start: str,
    params: SFTParams | LikelihoodParams,
    queries: Sequence[Query],
    heartbeat: Heartbeat,
) -> None:
    policy, valid, before = _policy(job, job.model(start)), _validation(job), manifest(job.model(start))
    unchanged = {"likelihood": before["likelihood"]}, _told_rr(before["facts"])
    if not params.max_steps:
        facts = {"seconds": 0.0, "steps": 0} | unchanged[1]
        return phase_run.save(job, phase, policy.model, policy.tokenizer, facts, unchanged[0])
    heartbeat.beat(f"{phase}: preparing queries")
    needed = params.batch(distributed.count()) * params.max_steps
    trainer, kept = _trainer(
        job, phase, params, policy, in_turn(queries, job.params.weights, needed, params.seed), valid
    )
    trainer.beat = lambda far: heartbeat.beat(
        f"{phase.upper()} step {trainer.state.global_step} of {params.max_steps}: {far}"
    )
    best = bool(valid) and _keeps_best(params)
    if best:
        trainer.add_callback(validation.KeepStart(lambda: before["facts"]["rr"]))
    if isinstance(params, LikelihoodParams) and params.beta:
        trainer.reference = _policy(job, job.model(start)).frozen()
    facts = phase_run.train(trainer, job, phase, heartbeat, kept) | {"queries": len(queries)}
    ended = validation.outcome(trainer)
    facts |= ended.facts
    if ended.start:
        heartbeat.beat(f"{phase}: no checkpoint was better than the start, which is kept")
        trainer.policy.restore(job.model(start), phase_run.lora(job) is not None)
    whole = scale.whole(trainer, job.model(start), phase_run.lora(job))
    fitted, figures = unchanged
    if whole is not None and not ended.start:
        # a run that was killed since the best checkpoint has to rank again what it was chosen by
        found = (trainer.best if best else []) or replace(policy, model=whole).validate(valid, trainer.beat)
        fitted, figures = _fitted(found), _validated(found)
    phase_run.save(job, phase, whole, policy.tokenizer, facts | figures, fitted)


def _keeps_best(params: SFTParams | LikelihoodParams) -> bool:
    """Whether the phase ends with its best checkpoint by validation, and not with the last."""
    return isinstance(params, SFTParams) or params.load_best_model_at_end


def _told_rr(facts: JsonObject) -> JsonObject:
    return {name: value for name, value in facts.items() if name == "rr" or name.startswith("rr_")}


def _trainer(
    job: Job,
    phase: str,
    params: SFTParams | LikelihoodParams,
    policy: Policy,
    queries: Sequence[Query],
    valid: Sequence[CandidateSet],
) -> tuple[LikelihoodTrainer, list[Recorder]]:
    origin = Origin("train", f"{job.key}/{phase}", phase, params.seed)
    recorder = (
        Recorder(job.folder / "rollouts", origin, process=distributed.rank()) if phase == "rl" else None
    )
    arguments = TrainingArguments(
        **phase_run.shared(job, phase, params),
        train_sampling_strategy="sequential",
        **validation.arguments(params, _keeps_best(params)) if valid else {},
    )
    lora = phase_run.lora(job)
    trainer = LikelihoodTrainer(
        policy,
        params,
        recorder,
        model=get_peft_model(policy.model, lora) if lora else policy.model,
        args=arguments,
        train_dataset=Queries(queries),
        eval_dataset=Queries([Query(given) for given in valid]) if valid else None,
        processing_class=policy.tokenizer,
        data_collator=_as_queries,
    )
    if valid and _keeps_best(params) and job.params.early_stopping_patience:
        trainer.add_callback(EarlyStoppingCallback(job.params.early_stopping_patience))
    return trainer, [recorder] if recorder else []


def in_turn(queries: Sequence[Query], weights: Mapping[str, float], n: int, seed: int) -> list[Query]:
    """`n` queries, tasks mixed within every step by weight (absent: 1; 0 leaves one out); within a task each
    query once an epoch, in a drawn order.
    """
    by_task: dict[str, list[Query]] = defaultdict(list)
    for query in queries:
        by_task[query.set.task].append(query)
    shares = {name: weights.get(name, 1.0) for name in sorted(by_task) if weights.get(name, 1.0)}
    streams = {name: _epochs(by_task[name], seed + place) for place, name in enumerate(shares)}
    taken = dict.fromkeys(shares, 0)
    drawn: list[Query] = []
    for _ in range(n):
        name = min(shares, key=lambda one: (taken[one] + 1) / shares[one])
        taken[name] += 1
        drawn.append(next(streams[name]))
    return drawn


def _epochs(queries: Sequence[Query], seed: int) -> Iterator[Query]:
    generator = torch.Generator().manual_seed(seed)
    while True:
        for place in torch.randperm(len(queries), generator=generator).tolist():
            yield queries[place]


def _blinded(given: CandidateSet) -> CandidateSet:
    """With the shown (shuffled) order in place of the relevance: as much to learn, and none of it ranking."""
    shown = shown_order(given.labels)
    return replace(given, candidates=tuple(replace(c, relevance=shown[c.label]) for c in given.candidates))


def _as_queries(features: list[Query]) -> Any:
    """A batch is its queries; transformers' type of a collator wants tensors by name."""
    return list(features)


Scored = tuple[CandidateSet, list[float]]
"""A pool and the scores of its candidates as shown."""


@dataclass(frozen=True, slots=True)
class Policy:
    """A causal LM with its tokenizer, asked about pools."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase

    def scores(
        self, model: torch.nn.Module, sets: Sequence[CandidateSet], tokens: int
    ) -> tuple[list[torch.Tensor], int]:
        """Scores of each pool as shown, each (n,) float32, with their gradients where those are wanted; and
        the tokens that were read.

        Args:
            model: the LM, in whatever wraps it for training.
            tokens: of one forward pass, padding included.
        """
        questions = [asked(given, self._count, self._context - 1) for given in sets]
        grown = [trees.tree(branch, self.tokenizer) for branch in branches(questions)]
        pad = trees.token(self.tokenizer, "pad_token_id")
        found = trees.read(grown, tokens, lambda part: logprobs(model, trees.collate(part, pad)))
        pairs = [
            list(zip(values.unbind(), map(len, one.continuations), strict=True))
            for values, one in zip(found, grown, strict=True)
        ]
        out: list[torch.Tensor] = []
        for given, own in zip(sets, by_question(questions, pairs), strict=True):
            sums = torch.stack([value for value, _ in own])
            counts = sums.new_tensor([tokens for _, tokens in own]).clamp_min(1)
            out.append(combined(template(given.task), len(given), sums, counts))
        return out, sum(map(len, grown))

    @torch.no_grad()
    def validate(self, sets: Sequence[CandidateSet], beat: Callable[[str], None]) -> list[Scored]:
        """Held-out pools with their scores, in the precision in which evaluation and serving read them.

        Args:
            beat: told before every EVAL_SETS of them how far this is: all of them may take longer than a
                trainer may be silent.
        """
        training = self.model.training
        self.model.eval()
        found: list[Scored] = []
        tokens = trees.forward_tokens(self.model.device)
        with scale.bfloat16(self.model) if in_bfloat16(self.model.num_parameters()) else nullcontext():
            for start in range(0, len(sets), EVAL_SETS):
                beat(f"{start:,} of {len(sets):,} validation queries are ranked")
                part = sets[start : start + EVAL_SETS]
                values, _ = self.scores(self.model, part, tokens)
                found += [(given, own.tolist()) for given, own in zip(part, values, strict=True)]
        self.model.train(training)
        return found

    def frozen(self) -> Policy:
        """Without gradients, in evaluation mode: the reference of a KL divergence."""
        self.model.requires_grad_(False)
        self.model.eval()
        return self

    def restore(self, folder: Path, adapters: bool) -> None:
        """The weights of `folder` again; adapters, which a start has none of, are set to nothing."""
        with torch.no_grad():
            if adapters:
                for name, weight in self.model.named_parameters():
                    if "lora_B" in name:
                        weight.zero_()
            else:
                self.model.load_state_dict(load_model(folder, float32=True).state_dict())

    def _count(self, text: str) -> int:
        return trees.count(self.tokenizer, text)

    @property
    def _context(self) -> int:
        return context_length(self.model)


def logprobs(model: torch.nn.Module, batch: trees.Batch) -> torch.Tensor:
    """As trees.logprobs, of a model in training: several processes' by way of its wrapper, which averages the
    gradients.
    """
    own = scale.bare(model)
    given = trees.forward(batch, own.device)
    short = own.device.type == "cpu" and batch.ids.shape[1] <= SHORT
    with sdpa_kernel(SDPBackend.MATH) if short and torch.is_grad_enabled() else nullcontext():
        if isinstance(model, DistributedDataParallel):
            states = model(**given, output_hidden_states=True, logits_to_keep=1).hidden_states[-1]
        else:
            states = own.get_decoder()(**given).last_hidden_state
    return trees.logprobs(states, cast("torch.nn.Module", own.get_output_embeddings()), batch)


class LikelihoodTrainer(Trainer):
    """Minimises listwise losses over the scores of whole pools; a batch is a list of queries."""

    def __init__(
        self,
        policy: Policy,
        params: SFTParams | LikelihoodParams,
        recorder: Recorder | None,
        **kwargs: Any,
    ) -> None:
        self.policy, self.params, self.recorder = policy, params, recorder
        self.reference: Policy | None = None
        """What the KL divergence is taken from; None for none."""
        self.beat: Callable[[str], None] = lambda far: None
        """Told how far a validation is."""
        self.best: list[Scored] = []
        """Validation pools as the best checkpoint of this process scored them."""
        self.seen: dict[str, list[float]] = defaultdict(list)
        super().__init__(**kwargs)

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: Any,  # queries: what `_as_queries` collates
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """Mean loss of the queries."""
        began = time.perf_counter()
        queries: list[Query] = inputs
        # transformers puts autocast around the model's forward, and what is called here is its decoder
        with self.accelerator.autocast():
            found, tokens = self.policy.scores(model, [query.set for query in queries], FORWARD_TOKENS)
        reference: list[torch.Tensor] = []
        if self.reference is not None:
            with torch.no_grad():
                reference, _ = self.reference.scores(
                    self.reference.model, [q.set for q in queries], FORWARD_TOKENS
                )
        losses = [
            self._loss(place, query, values, reference[place] if reference else None)
            for place, (query, values) in enumerate(zip(queries, found, strict=True))
        ]
        self._note(tokens=tokens, forward_seconds=time.perf_counter() - began)
        return torch.stack(losses).mean()

    def _loss(
        self, place: int, query: Query, values: torch.Tensor, reference: torch.Tensor | None
    ) -> torch.Tensor:
        given, tau = query.set, template(query.set.task).temperature
        z = values / tau
        relevance = z.new_tensor([c.relevance for c in given.candidates])
        self._note(rr=_rr(given, values.detach().tolist()))
        if query.order:
            places = [given.labels.index(label) for label in query.order]
            return listwise.plackett_luce(z, torch.tensor(places, device=z.device))
        params = cast("LikelihoodParams", self.params)
        if params.objective == "gold":
            return listwise.gold(z, relevance)
        orders = listwise.eliminations(z, params.num_generations)
        met = listwise.steps(orders, relevance, params.exclusion)
        logp = listwise.log_exclusions(z, met.left)
        own = listwise.earned(met, orders)
        self._note(
            reward=float(own[met.open].mean()) if met.open.any() else 0.0,
            entropy=float(-(first := logp[0, 0].detach()).exp().mul(first).sum()),
            frac_reward_zero_std=float(
                (torch.amax(own, 0) - torch.amin(own, 0) < listwise.TOLERANCE).float().mean()
            ),
        )
        if self.recorder:
            self._record(place, given, values.detach(), tau, orders[0], listwise.advantages(met, orders)[0])
        loss = (
            listwise.expected_reward(logp, met)
            if params.objective == "expected"
            else listwise.sampled_reward(logp, met, orders)
        )
        if reference is None:
            return loss
        divergence = listwise.kl(logp, listwise.log_exclusions(reference / tau, met.left), met.left)
        self._note(kl=float(divergence.detach()))
        return loss + params.beta * divergence

    def _record(
        self,
        place: int,
        given: CandidateSet,
        values: torch.Tensor,
        tau: float,
        order: torch.Tensor,
        advantages: torch.Tensor,
    ) -> None:
        """One of the eliminations that were drawn, as an episode."""
        assert self.recorder is not None
        by_label = dict(zip(given.labels, values.tolist(), strict=True))
        labels = [given.labels[place] for place in order.tolist()]
        exclusion = cast("LikelihoodParams", self.params).exclusion
        episode = elimination(given, Scores(by_label, tau), labels, exclusion)
        step = self.state.global_step
        self.recorder.entries.append(
            Entry(
                episode,
                self.recorder.origin,
                given.task,
                given.labels,
                more=(step, self.recorder.process, place, given.set_id),
                rollout=Rollout(step, tuple(advantages.tolist())),
            )
        )

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """MRR on the validation queries, by task, and its mean over tasks: `eval_rr`, `eval_rr_<task>`."""
        dataset = cast("Queries", self.eval_dataset)
        found = self.policy.validate([query.set for query in dataset.queries], self.beat)
        figures = _validated(found)
        if self.state.best_metric is None or figures[validation.METRIC] > self.state.best_metric:
            self.best = found
        return validation.report(self, figures, metric_key_prefix)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """As Trainer's, with the means of what has been noted since."""
        if "loss" in logs:
            logs |= {name: sum(values) / len(values) for name, values in self.seen.items()}
            self.seen.clear()
        super().log(logs, start_time)

    def _note(self, **figures: float) -> None:
        for name, value in figures.items():
            self.seen[name].append(value)


def _policy(job: Job, folder: Path) -> Policy:
    """The model of `folder`, with what is trained of it in float32 (bfloat16 alone loses small updates) and
    what is not frozen, on a single process in bfloat16, which spares converting it in every pass.
    """
    model = load_model(folder, float32=True)
    layers = job.params.policy.num_trainable_layers
    if layers:
        decoder: Any = model.get_decoder()
        if not hasattr(decoder, "layers") or not hasattr(decoder, "norm"):
            raise BadModel(
                "train.policy.num_trainable_layers counts the layers of a decoder that has `layers` and"
                " `norm`",
                seen=f"{type(decoder).__name__} in {folder}",
                remedy="set train.policy.num_trainable_layers to 0 (all weights), or train.policy.lora_r",
            )
        model.requires_grad_(False)
        if distributed.count() == 1 and in_bfloat16(model.num_parameters()):
            cast("Any", model).to(torch.bfloat16)
        for part in (*decoder.layers[-layers:], decoder.norm):
            part.float().requires_grad_(True)
    return Policy(model, load_tokenizer(folder, chat=False))


def _validation(job: Job) -> list[CandidateSet]:
    return job.validation() if job.params.eval_queries else []


def _rr(given: CandidateSet, values: Sequence[float]) -> float:
    order = ranked(dict(zip(given.labels, values, strict=True)), "rank")
    return per_query({given.set_id: order}, {given.set_id: given.relevance})[given.set_id]["rr"]


def _validated(found: Sequence[Scored]) -> dict[str, float]:
    """MRR by task (`rr_<task>`) and the mean over tasks (`rr`); empty where nothing was validated."""
    return validation.means((given.task, _rr(given, values)) for given, values in found)


def _fitted(found: Sequence[Scored]) -> JsonObject:
    """Temperature and calibration of each task, for the model's manifest."""
    fitted: JsonObject = {}
    for name, own in _by_task(found).items():
        scores = [values for _, values in own]
        relevance = [[c.relevance for c in given.candidates] for given, _ in own]
        fitted[name] = {
            "temperature": fit_temperature(scores, relevance, template(name).temperature),
            "calibration": fit_calibration(scores, relevance),
            "queries": len(own),
        }
    return {"likelihood": fitted}


def _by_task(found: Sequence[Scored]) -> dict[str, list[Scored]]:
    by_task: dict[str, list[Scored]] = defaultdict(list)
    for given, values in found:
        by_task[given.task].append((given, values))
    return dict(sorted(by_task.items()))
