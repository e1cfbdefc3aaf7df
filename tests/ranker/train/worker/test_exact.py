"""The exact estimator's parts: what it ascends, what its control sees, at which rates it trains."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, TrainingArguments

from ranker.config import ExactParams
from ranker.train import job
from ranker.train.worker.exact import SWEEPS, ExactReward, decisions, layout, objective
from ranker.train.worker.phases import blinded
from ranker.train.worker.trainers import FastEmbeddings
from tests.ranker.train.jobs import tiny
from tests.ranker.train.worker.phased import trained


@pytest.mark.parametrize(
    ("ascended", "at_least", "at_most"), [(objective, 0.5, 2.0), (lambda expected: expected, 0.0, 1e-4)]
)
def test_the_logarithm_has_a_gradient_where_the_policy_is_sure_of_an_invalid_token(
    ascended: Any, at_least: float, at_most: float
) -> None:
    logits = torch.tensor([[12.0, 0.0, 0.0]], requires_grad=True)
    gains = torch.tensor([[0.0, 1.2, 0.8]])
    ascended((torch.softmax(logits, -1) * gains).sum(-1)).sum().backward()
    assert at_least <= logits.grad.abs().max() <= at_most
    assert logits.grad[0, 1] > logits.grad[0, 2] > 0 > logits.grad[0, 0], "towards the better of the two"


def test_the_objective_is_highest_where_the_best_alternative_is_certain() -> None:
    gains = torch.tensor([0.0, 1.2, 0.8])
    certain = torch.eye(3)
    values = [float(objective((p * gains).sum())) for p in (*certain, torch.full((3,), 1 / 3))]
    assert max(values) == values[1] and min(values) == values[0]


def test_the_blind_control_of_the_exact_estimator_sees_the_shown_order_alone() -> None:
    rows = pl.DataFrame({"pool": [["A", "C", "D"], ["B", "C"]], "relevance": [[0.0, 0.0, 1.0], [0.0, 1.0]]})
    assert blinded(rows)["relevance"].to_list() == [[2.0, 1.0, 0.0], [1.0, 0.0]]
    assert blinded(rows)["pool"].to_list() == rows["pool"].to_list()


@pytest.mark.parametrize(
    ("processes", "kinds", "passes"),
    [
        (1, "x r x t", (("r", "t"), SWEEPS)),
        (1, "x r", (("r",), 1)),
        (1, "x x", None),
        (2, "x x", (("x",), SWEEPS)),
        (2, "x r", (("r",), SWEEPS)),
    ],
)
def test_only_what_has_to_be_drawn_is_and_every_process_makes_as_many_passes(
    processes: int, kinds: str, passes: Any
) -> None:
    asked = {"x": ("exclude", False), "r": ("rank", False), "t": ("exclude", True)}
    rows = [
        {"kind": kind, "set_id": kind, "mode": asked[kind][0], "thinking": asked[kind][1], "pool": ["A", "B"]}
        for kind in kinds.split()
    ]
    trainer, seen = ExactReward.__new__(ExactReward), []
    trainer.alphabet, trainer.accelerator = (
        SimpleNamespace(grades=8),
        SimpleNamespace(num_processes=processes),
    )

    def drawn(model: Any, own: list[Any], grades: list[Any], sweeps: int) -> Any:
        seen.append((tuple(row["kind"] for row in own), sweeps))
        return [np.array([1, 7])] * len(own), [["B", row["kind"]] for row in own]

    trainer._drawn = drawn
    grades, orders = trainer._sample(None, rows)
    assert seen == ([passes] if passes else [])
    for row, own, order in zip(rows, grades, orders, strict=True):
        was_drawn = bool(passes) and row["kind"] in passes[0] and (row["kind"] != "x" or row is rows[0])
        assert (own.tolist(), order) == (([1, 7], ["B", row["kind"]]) if was_drawn else ([4, 4], ["A"]))


def test_an_exclusion_is_ended_behind_every_label_of_its_pool() -> None:
    """It was behind the first one shown only: what had to follow `A` was learned, to the end that orders
    named A last.
    """
    trainer = ExactReward.__new__(ExactReward)
    trainer.alphabet, trainer.accelerator = SimpleNamespace(grades=8), SimpleNamespace(num_processes=1)
    rows = [
        {"mode": "exclude", "thinking": False, "set_id": f"s{number}", "pool": ["A", "C", "D"]}
        for number in range(600)
    ]
    named = [trainer._sample(None, rows)[1], [trainer._order(row, np.zeros(3), np.zeros(3)) for row in rows]]
    for orders in named:
        counts = [orders.count([label]) for label in ("A", "C", "D")]
        assert sum(counts) == 600 and min(counts) > 120


def decided(below: float) -> tuple[Any, ...]:
    torch.manual_seed(0)
    head, hidden = torch.nn.Linear(6, 9, bias=False), torch.randn(3, 6, requires_grad=True)
    trainer = ExactReward.__new__(ExactReward)
    trainer.params, trainer.alphabet = (
        ExactParams(form_below=below),
        SimpleNamespace(ids=torch.tensor([2, 4, 5, 7])),
    )
    gains = torch.tensor([[1.2, 0.4, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.7, 0.0, 0.0, 0.7]])
    earned, valid = trainer._decided(head, hidden, gains)
    return head, hidden, gains, earned * valid


def form(head: torch.nn.Module, hidden: torch.Tensor, gains: torch.Tensor) -> torch.Tensor:
    """How probable an alternative is, of each decision."""
    return (torch.softmax(head(hidden), -1)[:, [2, 4, 5, 7]] * (gains > 0)).sum(-1)


@pytest.mark.parametrize("below", [0.0, 0.3, 1.0])
def test_whatever_learns_the_form_the_expected_reward_is_that_of_all_tokens(below: float) -> None:
    head, hidden, gains, expected = decided(below)
    p = torch.softmax(head(hidden), -1)[:, [2, 4, 5, 7]]
    assert torch.allclose(expected, (p * gains).sum(-1), atol=1e-6)


@pytest.mark.parametrize("below", [0.0, 0.3, 1.0])
def test_the_ranking_moves_what_is_below_the_head_and_of_the_form_so_much_does(below: float) -> None:
    head, hidden, gains, expected = decided(below)
    objective(expected).sum().backward()
    found = hidden.grad.clone()
    hidden.grad = None
    form(head, hidden, gains).log().sum().backward()
    of_form = hidden.grad.clone()
    assert torch.allclose(found[1:], below * of_form[1:], atol=1e-6), (
        "one alternative, or two alike: nothing to rank"
    )
    hidden.grad = None
    objective((torch.softmax(head(hidden), -1)[:, [2, 4, 5, 7]] * gains).sum(-1)).sum().backward()
    assert torch.allclose(found, hidden.grad - (1 - below) * of_form, atol=1e-6), (
        "the whole is the gradient of the expected reward"
    )
    assert (found - below * of_form)[0].abs().max() > 1e-3, "two alternatives of unequal worth"


@pytest.mark.parametrize("below", [0.0, 1.0])
def test_the_head_is_moved_by_the_form_alone(below: float) -> None:
    head, hidden, gains, expected = decided(below)
    objective(expected).sum().backward()
    moved = head.weight.grad.clone()
    head.zero_grad()
    form(head, hidden.detach(), gains).log().sum().backward()
    assert torch.allclose(moved, head.weight.grad, atol=1e-6)


def test_each_label_of_an_order_weighs_as_much_as_one_that_is_excluded() -> None:
    order = layout({"mode": "rank", "thinking": True, "pool": ["A", "B", "C"]}, [1, 0, 2], ["C", "A", "B"])
    one = layout({"mode": "exclude", "thinking": False, "pool": ["A", "B", "C"]}, [4, 4, 4], ["B"])
    for made, labels in ((order, 3), (one, 1)):
        weight = decisions(made)
        assert weight[list(made.labels)].tolist() == [1.0] * labels
        assert weight[list(made.grades)].sum() == pytest.approx(1.0 if made.grades else 0.0)
        assert weight.sum() == pytest.approx(labels + bool(made.grades)), "nothing that has no alternative"


def fast(tmp_path, **rates: float) -> tuple[LlamaForCausalLM, FastEmbeddings]:
    shape = {
        "vocab_size": 11,
        "hidden_size": 8,
        "intermediate_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    model = LlamaForCausalLM(LlamaConfig(**shape, tie_word_embeddings=False))
    trainer = FastEmbeddings(
        model=model,
        args=TrainingArguments(
            output_dir=str(tmp_path), learning_rate=1e-3, use_cpu=True, report_to=[], weight_decay=0.0
        ),
    )
    for name, rate in rates.items():
        setattr(trainer, name, rate)
    return model, trainer


def test_embeddings_train_at_their_own_rates_and_every_weight_once(tmp_path) -> None:
    model, trainer = fast(tmp_path, embedding_rate=8.0, head_rate=3.0)
    groups = trainer.create_optimizer().param_groups
    apart = [group for group in groups if group["lr"] != 1e-3]
    assert [(group["lr"], len(group["params"])) for group in apart] == [(8e-3, 1), (3e-3, 1)]
    assert (
        apart[0]["params"][0] is model.get_input_embeddings().weight
        and apart[1]["params"][0] is model.get_output_embeddings().weight
    )
    assert sorted(id(weight) for group in groups for weight in group["params"]) == sorted(
        map(id, model.parameters())
    )


@pytest.mark.parametrize("columns", [None, [0, 2]])
def test_structural_tokens_and_all_columns_but_the_meaning_keep_the_layers_rate(
    tmp_path, columns: list[int] | None
) -> None:
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


def test_items_have_a_rate_of_their_own(tmp_path) -> None:
    model, trainer = fast(tmp_path)
    trainer.set_rates(layers=1.0, embeddings=4.0, items=16.0, head=1.0)
    model.config.structural_tokens, model.config.meaning_columns, model.config.item_rows = (
        2,
        [0, 2],
        [[3, 5], [8, 9]],
    )
    optimizer = trainer.create_optimizer()
    weight = model.get_input_embeddings().weight
    before = weight.detach().clone()
    weight.grad = torch.ones_like(weight)
    optimizer.step()
    expected = torch.full_like(before, 1e-3)
    expected[2:, [0, 2]] = 4e-3
    expected[3:5, [0, 2]] = expected[8:9, [0, 2]] = 16e-3
    assert torch.allclose(before - weight.detach(), expected, rtol=1e-3)


@pytest.mark.parametrize("rate", [0.0, 0.5])
def test_layers_have_a_rate_and_without_one_no_gradient(tmp_path, rate: float) -> None:
    model, trainer = fast(tmp_path)
    trainer.set_rates(layers=rate, embeddings=1.0, items=1.0, head=1.0)
    optimizer = trainer.create_optimizer()
    layers = {id(weight) for name, weight in model.model.named_parameters() if "embed_tokens" not in name}
    rates = {
        group["lr"] for group in optimizer.param_groups for weight in group["params"] if id(weight) in layers
    }
    assert rates == ({5e-4} if rate else set())
    model(torch.tensor([[1, 2, 3]]), labels=torch.tensor([[1, 2, 3]])).loss.backward()
    assert all((weight.grad is not None) == bool(rate) for weight in model.model.layers.parameters())
    assert model.get_input_embeddings().weight.grad is not None


def clipping(tmp_path, grades: int = 0) -> tuple[LlamaForCausalLM, ExactReward]:
    model, plain = fast(tmp_path)
    model.config.structural_tokens, model.config.meaning_columns = 4, [0, 2]
    alphabet = SimpleNamespace(grades=grades, ids=torch.tensor([3, 6, 1, 2]))
    trainer = ExactReward(alphabet, "binary", ExactParams(), model=model, args=plain.args)
    trainer.set_rates(layers=0.0, embeddings=100.0, items=400.0, head=10.0)
    trainer.create_optimizer()
    for weight in (model.get_input_embeddings().weight, model.get_output_embeddings().weight):
        weight.grad = torch.full_like(weight, 1e-3)
    return model, trainer


def test_rows_that_hardly_move_clip_nothing_and_the_head_is_clipped_apart(tmp_path) -> None:
    model, trainer = clipping(tmp_path)
    model.get_input_embeddings().weight.grad[:4] = 40.0
    model.get_output_embeddings().weight.grad[:] = 7.0
    trainer._clip_grad_norm(model)
    words = 100 / 400 * 1e-3  # by its share of the fastest rate, which is no matter to Adam
    assert model.get_input_embeddings().weight.grad[5, 0].item() == pytest.approx(words, rel=0.05)
    assert model.get_output_embeddings().weight.grad.norm().item() == pytest.approx(1.0, rel=0.05)


def test_the_form_moves_all_grades_alike_so_that_the_head_does_not_forget_which_is_which(tmp_path) -> None:
    model, trainer = clipping(tmp_path, grades=2)
    head, hidden = model.get_output_embeddings(), torch.randn(5, 8)
    head.weight.grad[3], head.weight.grad[6] = torch.linspace(1, 2, 8), -torch.linspace(2, 5, 8)
    before = torch.softmax(head(hidden)[:, [3, 6]], -1).detach()
    other = head.weight[5].detach().clone()
    trainer._clip_grad_norm(model)
    trainer.optimizer.step()
    assert torch.allclose(torch.softmax(head(hidden)[:, [3, 6]], -1), before, atol=1e-6)
    assert not torch.allclose(head.weight[5], other), "the others move each for itself"


def test_exact_expected_reward_raises_what_it_ascends_and_grpo_starts_from_it(tmp_path):
    """No GRPO steps, so that the policy that goes on is the exact phase's own."""
    base = tiny(sft={"max_steps": 40}, grpo={"max_steps": 0})
    params = base.model_copy(
        update={
            "exact": base.exact.model_copy(
                update={"max_steps": 60, "per_device_train_batch_size": 16, "learning_rate": 1e-3}
            )
        }
    )
    found = trained(tmp_path, params, "sft", "exact", "rl")
    metrics = job.collect(tmp_path, found.folder, "k")[0]["training_metrics"]
    assert set(metrics["phase"]) == {"sft", "exact"}
    curve = metrics.filter((pl.col("phase") == "exact") & (pl.col("name") == "reward_exclude")).sort("step")[
        "value"
    ]
    assert curve.tail(4).mean() > curve.head(4).mean()
    weights = [
        (tmp_path / "models" / "k" / phase / "model.safetensors").read_bytes()
        for phase in ("sft", "exact", "rl")
    ]
    assert weights[1] == weights[2] != weights[0]
