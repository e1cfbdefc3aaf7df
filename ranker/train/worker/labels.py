"""Training of a policy that writes, by the scores of the labels behind `<answer>`: one forward pass a pool
tells the whole policy over it, as first-token and think-then-score use it.

Nothing is written and nothing is sampled: the loss is minus the exact expected reward of a choice, or a
listwise loss on the relevance (FIRST: Reddy et al. 2024, arXiv 2406.15657).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, cast

import torch
from datasets import Dataset
from peft import get_peft_model
from transformers import Trainer, TrainingArguments

from ranker.config import GRPOParams
from ranker.engines import trees
from ranker.engines.rendering import Renderer
from ranker.engines.transformers import declared_ends
from ranker.policy.parsing import Action, Reason
from ranker.policy.prompts import Mode
from ranker.policy.rewards import Reward, choice_gains, shown_order
from ranker.strategies.episodes import Origin
from ranker.train.worker import asked, distributed, likelihood, listwise, phase_run, scale
from ranker.train.worker.data import Fitting
from ranker.train.worker.heartbeat import Heartbeat
from ranker.train.worker.job import Job
from ranker.train.worker.recorder import Asked, Recorder, Rollout
from ranker.train.worker.rollouts import Row


class LabelScores:
    """log π over each pool's labels behind its context, from the model in training."""

    def __init__(self, renderer: Renderer) -> None:
        self.renderer = renderer

    def __call__(
        self, model: torch.nn.Module, contexts: Sequence[Sequence[int]], pools: Sequence[Sequence[str]]
    ) -> list[torch.Tensor]:
        """One (n,) a pool, float32, with gradients where those are wanted. A label of several tokens has the
        product of theirs.

        Args:
            contexts: token ids, the opening of the answer last.
        """
        grown = [
            trees.Tree(list(context), [self.renderer.label(label) for label in pool])
            for context, pool in zip(contexts, pools, strict=True)
        ]
        pad = trees.token(self.renderer.tokenizer, "pad_token_id")
        found = trees.read(
            grown,
            likelihood.FORWARD_TOKENS,
            lambda part: likelihood.logprobs(model, trees.collate(part, pad)),
        )
        return [values.log_softmax(0) for values in found]

    def opened(self, texts: list[str]) -> list[list[int]]:
        """Rendered prompts with the opening of an answer that was not reasoned about."""
        return [[*ids, *self.renderer.opening] for ids in self.renderer.ids(texts)]


def relevance_of(row: Row, params: GRPOParams) -> list[float]:
    """What a row's rewards go by, as shown: its relevance, or for the control the shown order."""
    if params.reward == "blind":
        return [shown_order(row["pool"])[label] for label in row["pool"]]
    return [float(one) for one in row["relevance"]]


def chosen(row: Row, log_probabilities: torch.Tensor) -> Action:
    """The action that scores say: the likeliest exclusion, or the whole order."""
    order = log_probabilities.argsort(descending=True, stable=True).tolist()
    labels = tuple(row["pool"][place] for place in order)
    return Action(labels[:1] if row["mode"] == "exclude" else labels, Reason.VALID)


def rl(job: Job, heartbeat: Heartbeat) -> None:
    """The phase for objectives `expected` and `gold`; what was likeliest of every pool is recorded."""
    params = job.params.grpo
    start = job.model("sft")
    model, tokenizer = phase_run.load(start)
    if not params.max_steps:
        return phase_run.save(job, "rl", model, tokenizer, {"seconds": 0.0, "steps": 0})
    origin = Origin("train", f"{job.key}/rl", "rl", params.seed)
    recorder = Recorder(job.folder / "rollouts", origin, process=distributed.rank())
    fitting = Fitting(job.sets(), Renderer(tokenizer, job.params.policy.style, declared_ends(model)))
    batch = params.batch(distributed.count())
    budget = job.params.policy.max_length - params.max_completion_length
    rows = asked.prompts(job, fitting, budget, batch, heartbeat)
    asked.warn_of_cuts(fitting, "RL")
    adapters = phase_run.lora(job)
    trainer = LabelTrainer(
        LabelScores(fitting.renderer),
        params,
        recorder,
        model=get_peft_model(model, adapters) if adapters else model,
        args=TrainingArguments(
            **phase_run.shared(job, "rl", params),
            train_sampling_strategy="sequential",
        ),
        train_dataset=Dataset.from_polars(rows[asked.in_order(rows, batch, params)]),
        processing_class=tokenizer,
        data_collator=list,
    )
    facts = phase_run.train(trainer, job, "rl", heartbeat, [recorder])
    whole = scale.whole(trainer, start, adapters)
    phase_run.save(job, "rl", whole, tokenizer, facts | {"prompts": len(rows)} | fitting.facts)


class LabelTrainer(Trainer):
    """Minimises losses over the labels' scores; a batch is a list of rows of `rl.parquet`."""

    def __init__(self, scores: LabelScores, params: GRPOParams, recorder: Recorder, **kwargs: Any) -> None:
        self.scores, self.params, self.recorder = scores, params, recorder
        self.seen: dict[str, list[float]] = defaultdict(list)
        super().__init__(**kwargs)

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: Any,  # rows: what the collator leaves as they are
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """Mean loss of the rows."""
        rows: list[Row] = inputs
        contexts = self.scores.opened([row["prompt"] for row in rows])
        with self.accelerator.autocast():
            found = self.scores(model, contexts, [row["pool"] for row in rows])
        losses = [self._loss(row, values) for row, values in zip(rows, found, strict=True)]
        sizes = [len(context) for context in contexts]
        expected = self.seen["reward"][-len(rows) :]
        advantages = [
            rollout.reward.total - own for rollout, own in zip(self.recorder.pending, expected, strict=True)
        ]
        self.recorder.settle(self.state.global_step, sizes, [0] * len(rows), advantages, 0.0)
        return torch.stack(losses).mean()

    def _loss(self, row: Row, values: torch.Tensor) -> torch.Tensor:
        mode = cast("Mode", row["mode"])
        relevance = values.new_tensor(relevance_of(row, self.params))
        gains = values.new_tensor(choice_gains(relevance.cpu().numpy(), mode, self.params.exclusion))
        expected = (values.exp() * gains).sum()
        action = chosen(row, values.detach())
        best = row["pool"].index(action.labels[0])
        self.recorder.pending.append(
            Rollout(
                cast("Asked", row),
                row["prompt"],
                "",
                action,
                Reward(0.0, float(gains[best])),
                tuple(values.detach().tolist()),
            )
        )
        self.seen["reward"].append(float(expected.detach()))
        self.seen["entropy"].append(float(-(values.exp() * values).sum().detach()))
        if self.params.objective == "expected":
            return -expected
        if relevance.max() - relevance.min() < listwise.TOLERANCE:
            return values.sum() * 0.0  # nobody is better than another
        wanted = relevance if mode == "rank" else relevance.max() - relevance
        return listwise.gold(values, wanted)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """As Trainer's, with the means of what has been seen since."""
        if "loss" in logs:
            logs |= {name: sum(values) / len(values) for name, values in self.seen.items()}
            self.seen.clear()
        super().log(logs, start_time)
