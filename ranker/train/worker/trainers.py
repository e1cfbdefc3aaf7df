"""TRL's trainers as this worker uses them: plain losses on a single CPU process, rollouts handed to a recorder."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch.nn.parallel import DistributedDataParallel
from transformers import PreTrainedModel, Trainer
from trl import GRPOTrainer, SFTTrainer

from ranker.train.worker.recorder import Recorder


class PlainLossSFT(SFTTrainer):
    """TRL's trainer; on a single CPU process the loss is plain cross-entropy at the labelled positions.

    TRL's chunked head saves memory by recomputing tiles; in a profile on a CPU about half of the samples of a small
    model's training step stood in it. Elsewhere TRL's own loss runs.
    """

    def compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None) -> Any:
        """Mean cross-entropy of the next token at labelled positions, over all passes of a step."""
        if not plain_cpu(self) or return_outputs:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        inner = bare(model)
        wanted = inputs["labels"][:, 1:]
        kept = wanted != -100
        with self.accelerator.autocast():
            logits = inner.get_output_embeddings()(states(model, inputs["input_ids"], inputs["attention_mask"])[:, :-1][kept]).float()
        if self.args.gradient_accumulation_steps == 1 or num_items_in_batch is None:
            return torch.nn.functional.cross_entropy(logits, wanted[kept])
        return torch.nn.functional.cross_entropy(logits, wanted[kept], reduction="sum") / num_items_in_batch


class RecordedGRPO(GRPOTrainer):
    """TRL's trainer, with its rollouts handed to a recorder once their advantages are known."""

    def __init__(self, recorder: Recorder, **kwargs: Any) -> None:
        self.recorder = recorder
        super().__init__(**kwargs)

    def _get_per_token_logps_and_entropies(self, model: Any, input_ids: torch.Tensor, attention_mask: torch.Tensor, logits_to_keep: int, *args: Any, **kwargs: Any) -> Any:
        """As TRL's, without its chunked head on a single CPU process (see PlainLossSFT)."""
        if not plain_cpu(self):
            return super()._get_per_token_logps_and_entropies(model, input_ids, attention_mask, logits_to_keep, *args, **kwargs)
        with self.accelerator.autocast():
            logits = bare(model).get_output_embeddings()(states(model, input_ids, attention_mask)[:, -logits_to_keep - 1 : -1])
        logps = torch.log_softmax(logits.float() / self.temperature, dim=-1)
        chosen = logps.gather(-1, input_ids[:, -logits_to_keep:].unsqueeze(-1)).squeeze(-1)
        return chosen, -(logps.detach().exp() * logps.detach()).sum(-1), None

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        began = time.perf_counter()
        output = super()._generate_and_score_completions(inputs)
        self.recorder.settle(self.state.global_step, output["prompt_mask"].sum(1).tolist(), output["completion_mask"].sum(1).tolist(),
                             output["advantages"].tolist(), (time.perf_counter() - began) * 1000)
        return output


def plain_cpu(trainer: Trainer) -> bool:
    return trainer.accelerator.device.type == "cpu" and trainer.accelerator.num_processes == 1


def states(model: Any, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
    """The decoder's last hidden states (batch, length, width). Of several processes' model by way of its wrapper, which averages the gradients."""
    if isinstance(model, DistributedDataParallel):
        return model(input_ids=input_ids, attention_mask=attention_mask, use_cache=False, output_hidden_states=True, logits_to_keep=1).hidden_states[-1]
    return bare(model).get_decoder()(input_ids=input_ids, attention_mask=attention_mask, use_cache=False).last_hidden_state


def bare(model: Any) -> PreTrainedModel:
    """The causal LM itself; LoRA's layers stay in place inside it."""
    model = model.module if isinstance(model, DistributedDataParallel) else model
    return model.get_base_model() if hasattr(model, "get_base_model") else model
