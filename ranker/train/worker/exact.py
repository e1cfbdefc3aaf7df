"""Exact expected reward: every alternative of every decision is enumerated from the logits, nothing is
generated.

GRPO samples whole completions and learns from the differences inside a group. But a completion here is a
short chain of decisions with few alternatives each: a grade per candidate, one label (or n of them), fixed
tokens in between. For a decision with policy p and rewards r the policy gradient is that of Σ p(a) · r(a),
which one forward pass gives in full.

- no-think exclusion: one decision, and the expectation is exact.
- a grade in a reasoning: exact in that grade, given the others, which are sampled from the policy (all in one
  pass: what a grade says depends on the pool, hardly on the grades before it).
- a label in a whole order: exact in that label, given those before it; those after it are taken to follow at
  random.

Any token that is no alternative earns `INVALID`, so that the format is learned by the same rule. A
completion's parts (its grades, its labels, the fixed tokens between) weigh alike, each the mean of its
places: summed, a pool's grades and twenty format tokens outweighed the one label that is acted on, and every
gradient was clipped.

That reward is a product: how probable a valid token is (the form) times what valid ones earn on average (the
ranking). The form is learned by the output embeddings, the ranking by what is below them, where a label
counts the same wherever it is named. Of the form's gradient only `form_below` gets there: its cheapest way is
to make candidates alike, but where the head alone learns it, that falls behind as the ranking grows: with
`form_below` 0, 0.3 and 1, 17%, 2% and 1% of rec-movie's direct answers were invalid (docs/results.md).

What is ascended is by default the logarithm of a decision's expected reward above `INVALID` (maximum marginal
likelihood, Guu et al. 2017, arXiv 1704.07926). It has the same optimum, and its gradient does not vanish
where the policy is sure of an invalid token: there the expectation's own gradient is as small as the
probability of anything better.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast
from zlib import crc32

import numpy as np
import torch
from accelerate.utils import gather_object
from transformers import PreTrainedTokenizerBase

from ranker.config import ExactParams
from ranker.errors import BadConfig
from ranker.policy.prompts import trace
from ranker.policy.rewards import INVALID, Exclusion, exclusion_gains, order_gains, trace_gains
from ranker.train.worker.trainers import FastEmbeddings, bare, input_embeddings, output_embeddings, states
from ranker.types import Fields, slot_labels

Row = Fields
LEAST = 1e-9
"""Of an expected reward above `INVALID`, so that it has a logarithm."""
SWEEPS = 2
"""Passes by which grades are drawn: the second sees what the first has drawn before each place (Jacobi
iteration on the same noise).
"""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a completion's decisions stand: its words, the places of grades and of labels among them."""

    words: tuple[str, ...]
    grades: tuple[int, ...]
    labels: tuple[int, ...]


def layout(row: Row, grades: Sequence[int] | np.ndarray, order: Sequence[str]) -> Layout:
    """A completion to `row`'s prompt with these grades (by shown place) and these labels named, ended by
    nothing yet.
    """
    text = trace(row["mode"], row["thinking"], dict(zip(row["pool"], grades, strict=True)), order, "compact")
    words = tuple(text.split())
    named = words.index("<answer>") + 1
    graded = tuple(range(2, 2 + 2 * len(row["pool"]), 2)) if row["thinking"] else ()
    return Layout(words, graded, tuple(range(named, named + len(order))))


class Alphabet:
    """The tokens that a decision can be made between: grades, labels, tags and the end. Their columns
    number the value matrices.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, grades: int, labels: int) -> None:
        vocab = tokenizer.get_vocab()
        self.labels = slot_labels(labels)
        words = [*map(str, range(grades)), *self.labels, "<think>", "</think>", "<answer>", "</answer>"]
        missing = [word for word in words if word not in vocab]
        if missing:
            raise BadConfig(
                "exact expected reward needs one token a grade, label and tag",
                seen=f"no token for {missing[:5]}",
                remedy=(
                    "use it with compact prompts and a policy made from scratch, or set"
                    " train.exact.max_steps = 0"
                ),
            )
        self.column = {word: place for place, word in enumerate(words)} | {"<eos>": len(words)}
        self.grades = grades
        self.ids = torch.tensor([*(vocab[word] for word in words), tokenizer.eos_token_id])

    def label_columns(self, pool: Sequence[str]) -> list[int]:
        """Columns of a pool's labels."""
        return [self.column[label] for label in pool]


def values(
    row: Row,
    made: Layout,
    grades: np.ndarray,
    order: Sequence[str],
    alphabet: Alphabet,
    exclusion: Exclusion,
    trace_weight: float,
) -> np.ndarray:
    """Reward above `INVALID` of every alternative at every place of a completion, float32 (places,
    alphabet); 0 for what is no alternative.
    """
    table = np.zeros((len(made.words) + 1, len(alphabet.ids)), np.float32)
    for place, word in enumerate((*made.words, "<eos>")):
        table[place, alphabet.column[word]] = -INVALID
    relevance = np.asarray(row["relevance"], float)
    if made.grades:
        table[list(made.grades), :] = 0
        table[np.array(made.grades)[:, None], np.arange(alphabet.grades)] = (
            trace_weight * trace_gains(grades, relevance, alphabet.grades) - INVALID
        )
    columns = np.array(alphabet.label_columns(row["pool"]))
    table[list(made.labels), :] = 0
    if row["mode"] == "exclude":
        table[made.labels[0], columns] = exclusion_gains(relevance, exclusion) - INVALID
    else:
        places = [row["pool"].index(label) for label in order]
        table[np.array(made.labels)[:, None], columns] = np.where(
            (found := order_gains(places, relevance)) == INVALID, 0.0, found - INVALID
        )
    return table


def shares(made: Layout) -> np.ndarray:
    """Weight of every place of a completion and of its end, float32 (places + 1,): each part (grades,
    labels, fixed tokens) sums to 1.
    """
    part = np.zeros(len(made.words) + 1, int)
    part[list(made.grades)], part[list(made.labels)] = 1, 2
    return (1 / np.maximum(np.bincount(part, minlength=3), 1))[part].astype(np.float32)


def decisions(made: Layout) -> np.ndarray:
    """Weight of what each place of a completion ranks, float32 (places + 1,): 1 for a label, wherever it
    stands, and for all grades together.

    A label of an order says as much as one that is excluded. As a mean over the places orders said nothing
    beside exclusions: their gradients were a twentieth.
    """
    weight = np.zeros(len(made.words) + 1, np.float32)
    weight[list(made.labels)] = 1.0
    weight[list(made.grades)] = 1 / max(len(made.grades), 1)
    return weight


def objective(expected: torch.Tensor) -> torch.Tensor:
    """What is ascended at every decision: the logarithm of its expected reward above `INVALID`.

    From item vectors that know nothing, 1,000 steps raised rec-movie's MRR from 0.349 to 0.459 by the
    logarithm, and from 0.356 to 0.367 by the expectation itself.
    """
    return expected.clamp_min(LEAST).log()


def _as_rows(features: list[Row]) -> Any:
    """A batch is its rows; transformers' type of a collator wants tensors by name."""
    return list(features)


class ExactReward(FastEmbeddings):
    """Ascends the expected reward of prompts' completions; a batch is a list of rows as `rl.parquet` has
    them.
    """

    def __init__(self, alphabet: Alphabet, exclusion: Exclusion, params: ExactParams, **kwargs: Any) -> None:
        self.alphabet, self.params = alphabet, params
        self.exclusion: Exclusion = exclusion
        self.seen: dict[str, list[float]] = {}
        super().__init__(**kwargs, data_collator=_as_rows)

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: Any,  # rows: what `_as_rows` collates
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """Minus the objective, mean over prompts: the form's is the mean over the places of each part of a
        completion, the ranking's counts each label alike.
        """
        grades, orders = self._sample(model, inputs)
        made = [layout(row, given, order) for row, given, order in zip(inputs, grades, orders, strict=True)]
        scored = [
            values(row, at, given, order, self.alphabet, self.exclusion, self.params.trace_weight)
            for row, at, given, order in zip(inputs, made, grades, orders, strict=True)
        ]
        hidden = self._states(model, inputs, made)
        gains = torch.from_numpy(np.concatenate(scored)).to(hidden.device)
        earned, valid = self._decided(output_embeddings(model), hidden, gains)
        self._note(inputs, made, (earned * valid).detach() + INVALID)
        share = torch.from_numpy(np.concatenate([shares(at) for at in made])).to(hidden.device)
        alone = torch.from_numpy(np.concatenate([decisions(at) for at in made])).to(hidden.device)
        ascended = objective(valid) * share + objective(earned) * alone
        return -ascended.sum() / len(inputs)

    def _decided(
        self, head: torch.nn.Linear, hidden: torch.Tensor, gains: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Of every decision what its alternatives earn on average above `INVALID`, and how probable any of
        them is, each (tokens,).

        The first is the ranking of an answer, the second its form, their product the expected reward. The
        gradient of the form moves the head, and `form_below` of it what is below; that of the ranking passes
        through the head without moving it.
        """
        ids, possible = self.alphabet.ids.to(hidden.device), gains > 0
        logits = head(hidden.detach().lerp(hidden, self.params.form_below)).float()
        chosen = torch.nn.functional.linear(hidden, head.weight.detach()[ids]).float()
        valid = logits[:, ids].masked_fill(~possible, -torch.inf).logsumexp(-1) - logits.logsumexp(-1)
        logq = torch.log_softmax(chosen.masked_fill(~possible, -torch.inf), -1)
        return (logq.exp() * gains).sum(-1), valid.exp()

    def _clip_grad_norm(self, model: torch.nn.Module) -> Any:
        """The head is clipped apart from what is below, which is without the rows that hardly move (labels,
        <bos>).

        Their gradients are up to fifty times as large as those of what words and items mean, and left next to
        nothing of them.
        """
        weight = input_embeddings(model).weight
        if self.shares is not None and weight.grad is not None:
            weight.grad.mul_(self.shares)  # Adam takes no notice of a gradient's scale
        self._tie_grades(output_embeddings(model))
        own = {id(weight) for weight in output_embeddings(model).parameters()}
        head, below = (
            [weight for weight in model.parameters() if (id(weight) in own) == of_head]
            for of_head in (True, False)
        )
        self.accelerator.clip_grad_norm_(head, self.args.max_grad_norm)
        return self.accelerator.clip_grad_norm_(below, self.args.max_grad_norm)

    def _tie_grades(self, head: torch.nn.Linear) -> None:
        """Give the output embeddings of all grades one gradient, their mean, so that they move alike.

        To the form any grade is as good as another. Moved apart by it, the likeliest the most, the head
        forgot which is which, and of 266 grades 237 were a 3 or a 4. What is added to all of them
        leaves the probabilities among them as they are.
        """
        if head.weight.grad is not None:
            rows = self.alphabet.ids[: self.alphabet.grades].to(head.weight.grad.device)
            head.weight.grad[rows] = head.weight.grad[rows].mean(0)

    @torch.no_grad()
    def _sample(
        self, model: torch.nn.Module, rows: Sequence[Row]
    ) -> tuple[list[np.ndarray], list[list[str]]]:
        """Grades (by shown place) and the labels named, drawn from the policy.

        A label to exclude without reasoning needs no draw, and no pass. Where weights lie on several
        processes, each goes through as many passes as the others.
        """
        grades = [np.full(len(row["pool"]), self.alphabet.grades // 2) for row in rows]
        orders = [_any(row) for row in rows]
        together = self.accelerator.num_processes > 1
        chosen = [place for place, row in enumerate(rows) if row["thinking"] or row["mode"] == "rank"] or (
            [0] if together else []
        )
        if chosen:
            own = [rows[place] for place in chosen]
            found = self._drawn(
                model,
                own,
                [grades[place] for place in chosen],
                SWEEPS if together or any(row["thinking"] for row in own) else 1,
            )
            for place, drawn, order in zip(chosen, *found, strict=True):
                grades[place], orders[place] = drawn, order
        return grades, orders

    def _drawn(
        self, model: torch.nn.Module, rows: Sequence[Row], grades: list[np.ndarray], sweeps: int
    ) -> tuple[list[np.ndarray], list[list[str]]]:
        """Grades drawn in so many passes that begin with `grades`, and with the last pass the labels
        named.
        """
        noise: torch.Tensor | None = None
        drawn: list[np.ndarray] = []
        for _ in range(sweeps):
            draft = [layout(row, own, row["pool"][:1]) for row, own in zip(rows, grades, strict=True)]
            hidden = self._states(model, rows, draft)
            drawn_at = [
                start + np.array([*at.grades, at.labels[0]])
                for at, start in zip(draft, _starts(draft), strict=True)
            ]
            # The vocabulary is wide: only what is drawn is projected upon it.
            logits = output_embeddings(model)(hidden[np.concatenate(drawn_at)])[
                :, self.alphabet.ids.to(hidden.device)
            ].float()
            if noise is None:
                gumbel = cast("torch.Tensor", torch.distributions.Gumbel(0.0, 1.0).sample(logits.shape))
                noise = gumbel.to(logits.device)
            drawn = np.split(
                (logits + noise).cpu().numpy(), np.cumsum([len(places) for places in drawn_at])[:-1]
            )
            grades = [
                own[:-1, : self.alphabet.grades].argmax(1) if at.grades else given
                for at, own, given in zip(draft, drawn, grades, strict=True)
            ]
        return grades, [
            self._order(row, own, found[-1]) for row, own, found in zip(rows, grades, drawn, strict=True)
        ]

    def _order(self, row: Row, grades: np.ndarray, drawn: np.ndarray) -> list[str]:
        """What is named: any one label where one is excluded (all alternatives are enumerated); a sampled
        order where all are.
        """
        if row["mode"] == "exclude":
            return _any(row)
        strength = drawn[self.alphabet.label_columns(row["pool"])]
        if row["thinking"]:
            strength = grades + torch.rand(len(grades)).numpy()  # equal grades: any order
        return [row["pool"][place] for place in np.argsort(-strength, kind="stable")]

    def _states(self, model: torch.nn.Module, rows: Sequence[Row], made: Sequence[Layout]) -> torch.Tensor:
        """Hidden states that predict each completion token, (tokens, width), row by row."""
        tokenizer: Any = self.processing_class
        heads = [
            str(tokenizer.apply_chat_template(row["prompt"], tokenize=False, add_generation_prompt=True))
            for row in rows
        ]
        prompts = tokenizer(heads, add_special_tokens=False)["input_ids"]
        answers = [tokenizer.convert_tokens_to_ids(list(at.words)) for at in made]
        whole = [[*prompt, *answer] for prompt, answer in zip(prompts, answers, strict=True)]
        padded = tokenizer.pad({"input_ids": whole}, return_tensors="pt", padding_side="right").to(
            bare(model).device
        )
        with self.accelerator.autocast():
            hidden = states(model, padded["input_ids"], padded["attention_mask"])
        owner = np.concatenate([np.full(len(answer) + 1, i) for i, answer in enumerate(answers)])
        place = np.concatenate([np.arange(len(answer) + 1) for answer in answers])
        starts = np.array([len(prompt) - 1 for prompt in prompts])
        return hidden[owner, starts[owner] + place]

    def _note(self, rows: Sequence[Row], made: Sequence[Layout], expected: torch.Tensor) -> None:
        got = expected.cpu().numpy()
        for row, at, start in zip(rows, made, _starts(made), strict=True):
            self.seen.setdefault(f"reward_{row['mode']}", []).append(
                float(got[start + np.array(at.labels)].mean())
            )
            if at.grades:
                self.seen.setdefault("reward_trace", []).append(
                    float(got[start + np.array(at.grades)].mean())
                )

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Add the mean expected rewards since the last log, over all processes."""
        seen: dict[str, list[float]] = {}
        for own in gather_object([self.seen]):
            for name, found in own.items():
                seen.setdefault(name, []).extend(found)
        logs |= {name: sum(found) / len(found) for name, found in seen.items()}
        self.seen.clear()
        super().log(logs, *args, **kwargs)


def _any(row: Row) -> list[str]:
    """One label of a pool, as good as drawn and the same in every process.

    Were it always the first, as it was, only that one would be learned to end an exclusion, and by and by to
    end an order as well.
    """
    return [row["pool"][crc32("".join([row["set_id"], *row["pool"]]).encode()) % len(row["pool"])]]


def _starts(made: Sequence[Layout]) -> np.ndarray:
    """Where each completion begins among the places of all, one beyond its words for its end, int
    (completions,).
    """
    return np.cumsum([0, *(len(at.words) + 1 for at in made)])[:-1]
