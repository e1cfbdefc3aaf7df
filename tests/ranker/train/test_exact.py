"""The exact estimator's parts: what it ascends, what its control sees, at which rates it trains."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, TrainingArguments

from ranker.train.worker.exact import SWEEPS, ExactReward, objective
from ranker.train.worker.phases import blinded
from ranker.train.worker.trainers import FastEmbeddings


@pytest.mark.parametrize(("kind", "at_least", "at_most"), [("log", 0.5, 2.0), ("expected", 0.0, 1e-4)])
def test_the_logarithm_has_a_gradient_where_the_policy_is_sure_of_an_invalid_token(kind: Any, at_least: float, at_most: float) -> None:
    logits = torch.tensor([[12.0, 0.0, 0.0]], requires_grad=True)
    gains = torch.tensor([[0.0, 1.2, 0.8]])
    objective((torch.softmax(logits, -1) * gains).sum(-1), kind).sum().backward()
    assert at_least <= logits.grad.abs().max() <= at_most
    assert logits.grad[0, 1] > logits.grad[0, 2] > 0 > logits.grad[0, 0], "towards the better of the two"


@pytest.mark.parametrize("kind", ["log", "expected"])
def test_both_objectives_are_highest_where_the_best_alternative_is_certain(kind: Any) -> None:
    gains = torch.tensor([0.0, 1.2, 0.8])
    certain = torch.eye(3)
    values = [float(objective((p * gains).sum(), kind)) for p in (*certain, torch.full((3,), 1 / 3))]
    assert max(values) == values[1] and min(values) == values[0]


def test_the_blind_control_of_the_exact_estimator_sees_the_shown_order_alone() -> None:
    rows = pl.DataFrame({"pool": [["A", "C", "D"], ["B", "C"]], "relevance": [[0.0, 0.0, 1.0], [0.0, 1.0]]})
    assert blinded(rows)["relevance"].to_list() == [[2.0, 1.0, 0.0], [1.0, 0.0]]
    assert blinded(rows)["pool"].to_list() == rows["pool"].to_list()


@pytest.mark.parametrize(("processes", "kinds", "passes"), [
    (1, "x r x t", (("r", "t"), SWEEPS)), (1, "x r", (("r",), 1)), (1, "x x", None), (2, "x x", (("x",), SWEEPS)), (2, "x r", (("r",), SWEEPS)),
])  # fmt: skip
def test_only_what_has_to_be_drawn_is_and_every_process_makes_as_many_passes(processes: int, kinds: str, passes: Any) -> None:
    asked = {"x": ("exclude", False), "r": ("rank", False), "t": ("exclude", True)}
    rows = [{"kind": kind, "mode": asked[kind][0], "thinking": asked[kind][1], "pool": ["A", "B"]} for kind in kinds.split()]
    trainer, seen = ExactReward.__new__(ExactReward), []
    trainer.alphabet, trainer.accelerator = SimpleNamespace(grades=8), SimpleNamespace(num_processes=processes)

    def drawn(model: Any, own: list[Any], grades: list[Any], sweeps: int) -> Any:
        seen.append((tuple(row["kind"] for row in own), sweeps))
        return [np.array([1, 7])] * len(own), [["B", row["kind"]] for row in own]

    trainer._drawn = drawn
    grades, orders = trainer._sample(None, rows)
    assert seen == ([passes] if passes else [])
    for row, own, order in zip(rows, grades, orders, strict=True):
        was_drawn = bool(passes) and row["kind"] in passes[0] and (row["kind"] != "x" or row is rows[0])
        assert (own.tolist(), order) == (([1, 7], ["B", row["kind"]]) if was_drawn else ([4, 4], ["A"]))


def fast(tmp_path, **rates: float) -> tuple[LlamaForCausalLM, FastEmbeddings]:
    shape = {"vocab_size": 11, "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = LlamaForCausalLM(LlamaConfig(**shape, tie_word_embeddings=False))
    trainer = FastEmbeddings(model=model, args=TrainingArguments(output_dir=str(tmp_path), learning_rate=1e-3, use_cpu=True, report_to=[], weight_decay=0.0))
    for name, rate in rates.items():
        setattr(trainer, name, rate)
    return model, trainer


def test_embeddings_train_at_their_own_rates_and_every_weight_once(tmp_path) -> None:
    model, trainer = fast(tmp_path, embedding_rate=8.0, head_rate=3.0)
    groups = trainer.create_optimizer().param_groups
    apart = [group for group in groups if group["lr"] != 1e-3]
    assert [(group["lr"], len(group["params"])) for group in apart] == [(8e-3, 1), (3e-3, 1)]
    assert apart[0]["params"][0] is model.get_input_embeddings().weight and apart[1]["params"][0] is model.get_output_embeddings().weight
    assert sorted(id(weight) for group in groups for weight in group["params"]) == sorted(map(id, model.parameters()))


@pytest.mark.parametrize("columns", [None, [0, 2]])
def test_structural_tokens_and_all_columns_but_the_meaning_keep_the_layers_rate(tmp_path, columns: list[int] | None) -> None:
    model, trainer = fast(tmp_path, embedding_rate=8.0)
    model.config.structural_tokens, model.config.meaning_columns = 4, columns
    optimizer = trainer.create_optimizer()
    weight = model.get_input_embeddings().weight
    before = weight.detach().clone()
    weight.grad = torch.ones_like(weight)
    optimizer.step()  # Adam's first step is the learning rate, whatever the gradient
    expected = torch.full_like(before, 1e-3)
    expected[4:, slice(None) if columns is None else columns] = 8e-3
    assert torch.allclose(before - weight.detach(), expected, rtol=1e-3)
