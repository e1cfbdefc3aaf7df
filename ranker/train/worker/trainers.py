"""TRL's trainers as this worker uses them: plain losses on a single CPU process, rollouts handed to a
recorder.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any, cast

import numpy as np
import torch
from torch.nn.parallel import DistributedDataParallel
from transformers import Trainer
from trl.trainer.grpo_trainer import GRPOTrainer
from trl.trainer.sft_trainer import SFTTrainer

from ranker.train.worker import distributed, scale
from ranker.train.worker.recorder import Recorder, Rollout
from ranker.train.worker.rollouts import TOLERANCE, Episodes, Reserve, Row, dead
from ranker.train.worker.validation import Answer, Validating, figures
from ranker.types import JsonObject

Score = Callable[[Row, Sequence[int]], Rollout]
"""A row of `rl.parquet` with its prompt, and a completion's token ids → what it earned."""
EPSILON = 1e-4
"""Added to a group's deviation, as in TRL."""
ANSWER_PARTS = (0, 1, 3, 4)
"""Of what TRL's `_generate` returns: prompt ids, completion ids, completions, log-probabilities; one entry
a prompt.
"""


class PlainLossSFT(Validating, SFTTrainer):
    """TRL's trainer; on a single CPU process the loss is plain cross-entropy at the labelled positions.

    TRL's chunked head saves memory by recomputing tiles; in a profile on a CPU about half of the samples of a
    small model's training step stood in it. Elsewhere TRL's own loss runs.
    """

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: JsonObject,
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """Mean cross-entropy of the next token at labelled positions, over all passes of a step."""
        if not plain_cpu(self) or return_outputs:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        wanted = inputs["labels"][:, 1:]
        kept = wanted != -100
        with self.accelerator.autocast():
            logits = output_embeddings(model)(
                states(model, inputs["input_ids"], inputs["attention_mask"])[:, :-1][kept]
            ).float()
        if self.args.gradient_accumulation_steps == 1 or num_items_in_batch is None:
            return torch.nn.functional.cross_entropy(logits, wanted[kept])
        return torch.nn.functional.cross_entropy(logits, wanted[kept], reduction="sum") / num_items_in_batch


class RecordedGRPO(Validating, GRPOTrainer):
    """TRL's trainer, with its rollouts handed to a recorder once their advantages are known.

    Before that, prompts may give way to pools that the policy has reached, and groups without spread to other
    prompts (see `rollouts`); with neither, a batch is generated and scored as TRL does.
    """

    def __init__(
        self,
        recorder: Recorder,
        score: Score,
        episodes: Episodes | None = None,
        reserve: Reserve | None = None,
        **kwargs: Any,
    ) -> None:
        self.recorder, self.score, self.episodes, self.reserve = recorder, score, episodes, reserve
        self.made: Any = None
        self.earned: torch.Tensor | None = None
        super().__init__(**kwargs)

    def _get_per_token_logps_and_entropies(
        self,
        model: torch.nn.Module,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        logits_to_keep: int,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        """As TRL's, without its chunked head on a single CPU process (see PlainLossSFT)."""
        if not plain_cpu(self):
            return super()._get_per_token_logps_and_entropies(
                model, input_ids, attention_mask, logits_to_keep, *args, **kwargs
            )
        with self.accelerator.autocast():
            logits = output_embeddings(model)(
                states(model, input_ids, attention_mask)[:, -logits_to_keep - 1 : -1]
            )
        logps = torch.log_softmax(logits.float() / self.temperature, dim=-1)
        chosen = logps.gather(-1, input_ids[:, -logits_to_keep:].unsqueeze(-1)).squeeze(-1)
        return chosen, -(logps.detach().exp() * logps.detach()).sum(-1), None

    def _generate_and_score_completions(self, inputs: list[Row]) -> JsonObject:
        began, step = time.perf_counter(), self.state.global_step
        if self.episodes is not None or self.reserve is not None:
            inputs = self._prepared(inputs, step)
        output = super()._generate_and_score_completions(inputs)
        output["advantages"] = self._own_advantages(len(inputs))
        if self.episodes is not None:
            for start in range(0, len(inputs), self.group_size):
                self.episodes.advance(
                    inputs[start],
                    [rollout.action for rollout in self.recorder.pending[start : start + self.group_size]],
                )
        self._note()
        self.recorder.settle(
            step,
            output["prompt_mask"].sum(1).tolist(),
            output["completion_mask"].sum(1).tolist(),
            output["advantages"].tolist(),
            (time.perf_counter() - began) * 1000,
        )
        return output

    def _calculate_rewards(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """As TRL's, of all processes: shape (completions, rewards)."""
        found: torch.Tensor = super()._calculate_rewards(*args, **kwargs)
        self.earned = found
        return found

    def _own_advantages(self, own: int) -> torch.Tensor:
        """Of this process's `own` completions."""
        assert self.earned is not None
        found = advantages(self.earned, self.reward_weights, self.group_size)
        first = self.accelerator.process_index * own
        return found[first : first + own]

    def _tokenize_prompts(self, prompts: list[str]) -> tuple[list[list[int]], None, JsonObject]:
        """Texts that a template has made hold their special tokens."""
        return self._tokenizer(prompts, add_special_tokens=False)["input_ids"], None, {}

    def _note(self) -> None:
        """The parts of the rewards, and what was wrong with the answers, beside TRL's own figures."""
        answers = [
            Answer(str(one.action.reason), one.reward.total, one.reward.parts)
            for one in self.recorder.pending
        ]
        for name, value in figures(answers).items():
            if name != "reward":  # TRL's own, over all processes
                self._metrics["train"][name].append(value)

    def _prepared(self, inputs: list[Row], step: int) -> list[Row]:
        """The rows to be scored, `num_generations` of each, with their completions ready in `made`."""
        groups = inputs[:: self.group_size]
        if self.episodes is not None:
            groups = self.episodes.substitute(groups, step)
        self.made = self._answers(groups)
        first = found = self._dead(groups, self.made)
        reserve = self.reserve
        for turn in range(reserve.turns if reserve else 0):
            if reserve is None or not distributed.anywhere(bool(found.any())):
                break
            places = np.flatnonzero(found)
            self._replace(groups, places, reserve.draw(len(places), step, turn))
            found = self._dead(groups, self.made)
        self._metrics["train"]["groups/zero_spread"].append(float(first.mean()))
        self._metrics["train"]["groups/zero_spread_left"].append(float(found.mean()))
        return self._repeated(
            [{"episode": False, **row} for row in groups]
        )  # TRL takes a batch's columns from its first row

    def _replace(self, groups: list[Row], places: np.ndarray, others: list[Row]) -> None:
        """Put `others` with their completions in.

        A process that has nothing to replace generates all the same: generating is collective.
        """
        made = self._answers(others or groups[:1])
        for number, place in enumerate(places):
            groups[place] = others[number]
            for part in ANSWER_PARTS:
                if made[part] is not None:
                    own, new = place * self.group_size, number * self.group_size
                    self.made[part][own : own + self.group_size] = made[part][new : new + self.group_size]

    def _answers(self, groups: list[Row]) -> Any:
        return list(self._written([row["prompt"] for row in self._repeated(groups)]))

    @property
    def group_size(self) -> int:
        """Rollouts of one prompt. TRL's own attribute may be None in its types, not once it is made."""
        assert self.num_generations is not None
        return self.num_generations

    def _repeated(self, groups: list[Row]) -> list[Row]:
        return [row for row in groups for _ in range(self.group_size)]

    def _dead(self, groups: list[Row], made: Any) -> np.ndarray:
        rewards = [
            self.score(row, ids).reward.total
            for row, ids in zip(self._repeated(groups), made[1], strict=True)
        ]
        return dead(rewards, self.group_size)

    def _written(self, prompts: list) -> Any:
        copies = (
            self.accelerator.mixed_precision == "bf16"
            and not self.use_vllm
            and self.accelerator.distributed_type not in scale.SHARDED
        )
        with scale.bfloat16(scale.bare(self.model)) if copies else nullcontext():
            return super()._generate(prompts)

    def _generate(self, prompts: list) -> Any:
        """As TRL's, or what `_prepared` has made for these prompts."""
        if self.made is None:
            return self._written(prompts)
        made, self.made = self.made, None
        return tuple(made)


def advantages(earned: torch.Tensor, weights: torch.Tensor, group: int) -> torch.Tensor:
    """What a completion earned beyond the mean of its group.

    The first reward, the ranking's, is divided by its deviation within the group, as GRPO has it. The others
    are not scaled: where all of a group rank alike they would otherwise have the whole unit of variance, and
    a step as large as one from wrong to right would come of grades or lengths alone.

    Args:
        earned: shape (completions, rewards), groups one after the other.
        weights: of the rewards.

    Returns:
        Shape (completions,).
    """
    weighted = (earned * weights.to(earned.device)).view(-1, group, earned.shape[1])
    centred = weighted - weighted.mean(1, keepdim=True)
    ranking, others = centred[..., 0], centred[..., 1:].sum(-1)
    spread = weighted[..., 0].std(1, keepdim=True)
    scaled = torch.where(spread > TOLERANCE, ranking / (spread + EPSILON), torch.zeros_like(ranking))
    return (scaled + others).flatten()


def plain_cpu(trainer: Trainer) -> bool:
    return trainer.accelerator.device.type == "cpu" and trainer.accelerator.num_processes == 1


def states(model: torch.nn.Module, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
    """The decoder's last hidden states (batch, length, width).

    Of several processes' model by way of its wrapper, which averages the gradients.
    """
    if isinstance(model, DistributedDataParallel):
        return model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            use_cache=False,
            output_hidden_states=True,
            logits_to_keep=1,
        ).hidden_states[-1]
    return (
        scale.bare(model)
        .get_decoder()(input_ids=input_ids, attention_mask=attention_mask, use_cache=False)
        .last_hidden_state
    )


def output_embeddings(model: torch.nn.Module) -> torch.nn.Linear:
    """Of the causal LM itself. Every one that we train has them, whatever transformers' types say."""
    return cast("torch.nn.Linear", scale.bare(model).get_output_embeddings())
