"""The defects of the published code, each with a test that fails if it comes back.

docs/published-defects.md has the table; its numbers are these.
"""

from __future__ import annotations

import random
import re
from dataclasses import replace
from itertools import combinations, permutations
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from ranker import config
from ranker.config import CandidateParams, DistillParams, GRPOParams, PolicyParams, parse_params, presets
from ranker.datasets._routing import grade
from ranker.engines import Sampling, load
from ranker.engines.rendering import Renderer
from ranker.engines.scripted import ScriptedEngine
from ranker.lake import Lake
from ranker.lake.candidate_sets import load_sets
from ranker.metrics.ranking import per_query, random_expectation
from ranker.policy.parsing import Action, Reason, parse
from ranker.policy.prompts import Prompt, Style, messages
from ranker.policy.rewards import ndcg, reward, trace_reward
from ranker.refs import PROJECT
from ranker.stages import candidates, distill, first_stages
from ranker.stages.evaluate import _baseline_scores
from ranker.strategies import strategy
from ranker.strategies.episodes import Origin, judged
from ranker.train.job import rl_prompts
from ranker.train.worker.data import Fitting
from ranker.types import CandidateSet, slot_labels
from tests.ranker.engines.models import bytewise, tiny
from tests.ranker.factories import make_set, oracle, overlap_sets
from tests.ranker.material import passes, read_in, recbole, taste

SMALL = CandidateParams(history=4, pool_size={"rec-movie": 6})
SAMPLING = Sampling(64)
STYLES: tuple[Style, ...] = ("compact", "chat")


def _movies(lake: Lake, folder: Path, params: CandidateParams = SMALL) -> tuple[pl.DataFrame, pl.DataFrame]:
    source = read_in(lake, "rec-movie", recbole(folder, taste()))
    return candidates.draw(lake, source.key, config.task("rec-movie"), params)


def _answered(relevance: dict[str, float], labels: tuple[str, ...], mode: str) -> float:
    return reward(Action(labels, Reason.VALID), relevance, mode).total  # type: ignore[arg-type]


# -- the data


def test_01_history_is_the_latest_and_not_the_first(lake: Lake, tmp_path: Path) -> None:
    sets, pools = _movies(lake, tmp_path)
    walks: dict[str, list[str]] = {}
    for user, item, _, _ in sorted(taste(), key=lambda row: row[3]):
        walks.setdefault(str(user), []).append(str(item))
    positive = dict(pools.filter(pl.col("relevance") > 0).select("query_id", "item_id").iter_rows())
    beyond = 0
    for query, user, history in sets.select("query_id", "group_id", "query_items").iter_rows():
        place = walks[user].index(positive[query])
        assert history == walks[user][max(0, place - 4) : place]
        beyond += place > 4
    assert beyond > 50, "targets far from a user's beginning, or the test tells nothing"


def test_02_no_negative_is_ever_touched_by_the_user_not_even_later(lake: Lake, tmp_path: Path) -> None:
    sets, pools = _movies(lake, tmp_path)
    touched = {(str(user), str(item)) for user, item, _, _ in taste()}
    negatives = (
        pools.filter(pl.col("relevance") == 0).join(sets, on="query_id").select("group_id", "item_id").rows()
    )
    assert negatives and not touched & set(negatives)


def test_03_every_draw_is_seeded(lake: Lake, tmp_path: Path) -> None:
    """Whatever the global generators are at, and in whatever order the source gives its rows."""
    drawn = []
    for turn, rows in enumerate((taste(), taste()[::-1])):
        random.seed(turn)
        np.random.seed(turn)
        source = read_in(lake, "rec-movie", recbole(tmp_path / str(turn), rows))
        ref = candidates.run(lake, SMALL, source=source, check=passes, force=True)
        shown = (
            "select s.query_id, c.slot, c.item_id from candidates c join candidate_sets s using (set_id)"
            " where c.batch_id = $key order by all"
        )
        drawn.append(lake.rows(shown, {"key": ref.key}))
    assert drawn[0].equals(drawn[1])


def test_04_equal_llms_are_all_right_and_not_the_first_alone() -> None:
    assert grade(0.7, 0.2, 0.5, 100) == grade(0.7, 0.2, 0.5, 100)
    relevance = {"A": 10.0, "B": 10.0, "C": 4.0, "D": 0.0}
    for first, second in (("A", "B"), ("B", "A")):
        values = per_query({"q": [first, "C", second, "D"]}, {"q": relevance})["q"]
        assert values["rr"] == values["hit_1"] == 1.0
    swapped = {"B": 10.0, "A": 10.0, "C": 4.0, "D": 0.0}
    for order in permutations("ABCD"):
        mirrored = tuple({"A": "B", "B": "A"}.get(label, label) for label in order)
        assert _answered(relevance, order, "rank") == pytest.approx(_answered(relevance, mirrored, "rank"))
        assert per_query({"q": order}, {"q": relevance}) == per_query({"q": order}, {"q": swapped})
    assert _answered(relevance, ("A",), "exclude") == _answered(relevance, ("B",), "exclude") < 0


def test_05_a_query_is_on_one_side_whatever_is_made_of_it(lake: Lake) -> None:
    """Many rows come from one query (every step of its elimination): sides are drawn before anything is
    derived.
    """
    sets = candidates.run(lake, CandidateParams(), source=read_in(lake, "synthetic"), check=passes)
    traces = distill.run(
        lake, DistillParams(traces=600), sets=sets, policy=PolicyParams(style="compact"), check=passes
    )
    sides = {side: load_sets(lake, sets.key, split=side) for side in ("train", "valid", "test")}
    for one, other in combinations(sides, 2):
        assert not {given.group_id for given in sides[one]} & {given.group_id for given in sides[other]}
    train = {given.set_id for given in sides["train"]}
    taught = lake.named("evaluate/teacher", {"batch_id": traces.key})
    shown = rl_prompts(sides["train"], taught, GRPOParams())
    traced = lake.rows("select set_id from traces where batch_id = $key", {"key": traces.key})["set_id"]
    for rows in (traced, shown["set_id"]):
        assert len(rows) > rows.n_unique() > 1 and set(rows) <= train


def test_06_the_routing_prompt_states_the_objective() -> None:
    names = ("router-performance", "router-balance", "router-cost")
    for style in STYLES:
        asked = {
            name: messages(Prompt("exclude", True, make_set([1, 0], task=name)), style)[-1]["content"]
            for name in names
        }
        assert len({text.replace(name, "") if style == "chat" else text for name, text in asked.items()}) == 3
    said = {name: config.task(name).wording for name in names}
    assert "cost does not matter" in said["router-performance"]
    assert "count equally" in said["router-balance"] and "four times as much" in said["router-cost"]
    assert [config.task(name).options["effect_weight"] for name in names] == [1.0, 1 / 2, 1 / 5]


@pytest.mark.parametrize("style", STYLES)
def test_07_training_and_evaluation_show_the_same_prompts(style: Style, tmp_path: Path) -> None:
    """To the last character, whichever of them has to shorten texts."""
    given = overlap_sets(1, pool=5)[0]
    engine = load((tiny if style == "compact" else bytewise)(tmp_path / "model"))
    shown: dict[tuple[str, bool, tuple[str, ...]], str] = {}
    for thinking in (True, False):
        for name in ("iterative", "direct"):
            episode = strategy(name)([given], engine, thinking=thinking, sampling=Sampling(40))[0]
            shown |= {
                ("rank" if name == "direct" else "exclude", thinking, step.pool): step.prompt
                for step in episode.steps
            }
    taught = pl.DataFrame(
        {"set_id": [given.set_id] * 5, "label": given.labels, "score": list(given.relevance.values())}
    )
    params = GRPOParams(prompts=400, rank_share=0.3, nothink_share=0.3, survivors=1.0)
    rows = pl.concat(
        [rl_prompts([given], taught, params.model_copy(update={"seed": seed})) for seed in range(60)]
    ).to_dicts()
    fitting = Fitting({given.set_id: given}, Renderer(engine.tokenizer, style))
    both = 0
    for row, made in zip(rows, fitting.rendered(rows, [engine.context - 40] * len(rows)), strict=True):
        key = (row["mode"], row["thinking"], tuple(row["pool"]))
        if key in shown:
            assert made is not None and made[0] == shown[key]
            both += 1
    assert both >= 20, "prompts that training and evaluation share"


# -- the rewards


@pytest.mark.parametrize("style", STYLES)
def test_08_only_the_response_is_scored(style: Style) -> None:
    """It scored prompt and response together: the form could never match, and the tags of the prompt's
    example were always there.
    """
    given = make_set([1, 0, 0])
    silent = strategy("iterative")(
        [given], ScriptedEngine(lambda prompt: "", style=style), thinking=True, sampling=SAMPLING
    )[0]
    assert {step.reason for step in silent.steps} == {"no_answer"} and {
        step.reward for step in silent.steps
    } == {-1.0}
    right = strategy("iterative")(
        [given], ScriptedEngine(oracle, style=style), thinking=True, sampling=SAMPLING
    )[0]
    assert all(step.valid and step.reward_parts["format"] == 0 and step.reward > 0 for step in right.steps)
    text, response = right.steps[0].prompt, right.steps[0].completion
    assert not parse(f"{text}\n{response}", given.labels, "exclude", True).valid
    if style == "chat":
        assert "<answer>" in text, "the prompt does hold the tags"


def test_08_so_it_is_in_training() -> None:
    from ranker.train.worker.phases import _rollout

    row = {
        "task": "synthetic",
        "set_id": "s",
        "mode": "exclude",
        "thinking": False,
        "pool": ["A", "B"],
        "relevance": [1.0, 0.0],
        "prompt": "… <answer> B </answer>",
    }

    def earned(text: str) -> float:
        return _rollout(row, text, False, GRPOParams(), "chat").reward.total

    assert (
        earned("") == earned("B") == -1
        and earned("<answer> B </answer>") == 0.5
        and earned("<answer> A </answer>") == -0.5
    )


def test_09_the_order_reward_is_its_ndcg_and_blind_to_the_shown_order() -> None:
    """It walked the characters of the first line: correlation 0.27 with the true nDCG and 0.55 with the
    input order.
    """
    rewards, truths, shown = [], [], []
    for best in range(5):
        relevance = {label: float(place == best) for place, label in enumerate("ABCDE")}
        for order in permutations("ABCDE"):
            text = f"<think> The first line names E D C B A. </think>\n<answer> {' '.join(order)} </answer>"
            rewards.append(reward(parse(text, tuple("ABCDE"), "rank", True), relevance, "rank").total)
            truths.append(ndcg([relevance[label] for label in order], list(relevance.values())))
            shown.append(sum(one < other for one, other in combinations(order, 2)))
    assert np.corrcoef(rewards, truths)[0, 1] == pytest.approx(1)
    assert np.corrcoef(rewards, shown)[0, 1] == pytest.approx(0, abs=1e-9)


def test_09_labels_of_two_letters_are_labels() -> None:
    pool = slot_labels(30)
    relevance = {label: float(label == "AB") for label in pool}
    order = ("AB", *(label for label in pool if label != "AB"))
    best = reward(
        parse(f"<answer> {' '.join(order)} </answer>", pool, "rank", False), relevance, "rank"
    ).total
    first = reward(
        parse(f"<answer> {' '.join(pool)} </answer>", pool, "rank", False), relevance, "rank"
    ).total
    assert best > 0.5 > first


NEAR_MISSES = ("b", "[B]", "B.", "candidate B", "passage 3", "a1 b1", "D", "", "A B")


@pytest.mark.parametrize("said", NEAR_MISSES)
def test_10_an_invalid_answer_is_counted_and_never_mended(said: str) -> None:
    """It took the candidate nearest by TF-IDF, in silence."""
    given = make_set([1, 0, 0])
    episode = strategy("iterative")(
        [given],
        ScriptedEngine(lambda prompt: f"<answer> {said} </answer>"),
        thinking=False,
        sampling=SAMPLING,
    )[0]
    first = episode.steps[0]
    assert not first.valid and first.reason and first.action == () and first.reward == -1
    assert first.taken == ("C",), "the stated fallback: what is shown last, in a shuffled order"
    made = judged([episode], {given.set_id: given}, Origin("evaluate", "m", "rl", 0))
    episodes, steps = made["episodes"], made["steps"]
    assert (
        episodes["invalid_calls"].item()
        == len(episode.steps) - sum(step.valid for step in episode.steps)
        >= 1
    )
    assert steps["reason"][0] and not steps["valid"][0]


@pytest.mark.parametrize("m", [2, 5, 9, 20])
def test_11_a_random_policy_earns_nothing_whatever_the_size_of_the_pool(m: int) -> None:
    """It earned (m − 1)/m a step: 0.95 at m = 20."""
    relevance = {label: float(place == 0) for place, label in enumerate(slot_labels(m))}
    for kind in ("binary", "regret"):
        earned = [
            reward(Action((label,), Reason.VALID), relevance, "exclude", kind).total for label in relevance
        ]
        assert sum(earned) == pytest.approx(0)


def test_11_groups_whose_rewards_are_all_equal_are_rare_once_the_grades_count() -> None:
    """In groups of 8 random answers at m = 20, 66% of the exclusions alone give no advantage at all."""
    rng, labels = np.random.default_rng(3), slot_labels(20)
    relevance = {label: float(place == 0) for place, label in enumerate(labels)}

    def flat(weight: float) -> float:
        count = 0
        for _ in range(300):
            group = []
            for _ in range(8):
                given_grades = dict(zip(labels, rng.integers(0, 5, 20).tolist(), strict=True))
                act = reward(Action((labels[rng.integers(20)],), Reason.VALID), relevance, "exclude")
                group.append(replace(act, trace=weight * trace_reward(given_grades, relevance)).total)
            count += np.ptp(group) < 1e-6
        return count / 300

    assert flat(0.0) == pytest.approx(0.66, abs=0.1)
    assert flat(GRPOParams().trace_weight) < 0.02
    for name in presets():
        train = parse_params({"preset": name}).train
        assert (train.grpo.trace_weight > 0) == (train.policy.style != "chat"), "prose has no grades"


def test_12_training_shows_the_pools_that_elimination_leaves() -> None:
    """It trained on random subsets and met the survivors of its own choices only when it was tested."""
    sets = overlap_sets(60, pool=8)
    teacher = {
        (given.set_id, label): float(number) for given in sets for number, label in enumerate(given.labels)
    }
    taught = pl.DataFrame(
        [(s, label, score) for (s, label), score in teacher.items()],
        schema=["set_id", "label", "score"],
        orient="row",
    )
    survivors = rl_prompts(sets, taught, GRPOParams(rank_share=0.0, survivors=1.0))
    at_random = rl_prompts(sets, taught, GRPOParams(rank_share=0.0, survivors=0.0))

    def as_left(row: dict) -> bool:
        """Whether the others of some best candidate are the strongest ones of all."""
        given = next(one for one in sets if one.set_id == row["set_id"])
        return any(
            _strongest(given, keep, len(row["pool"]) - 1, teacher) | {keep} == set(row["pool"])
            for keep in _best(given)
        )

    share = {
        name: np.mean([as_left(row) for row in rows.iter_rows(named=True)])
        for name, rows in (("left", survivors), ("random", at_random))
    }
    assert share["left"] > 0.9 > 0.6 > share["random"]
    assert set(survivors["pool"].list.len()) == set(range(2, 9))
    assert all(0 < parse_params({"preset": name}).train.grpo.survivors < 1 for name in presets())


def _best(given: CandidateSet) -> list[str]:
    most = max(given.relevance.values())
    return [label for label, grade in given.relevance.items() if grade == most]


def _strongest(given: CandidateSet, keep: str, count: int, teacher: dict[tuple[str, str], float]) -> set[str]:
    others = sorted(
        (label for label in given.labels if label != keep), key=lambda label: -teacher[given.set_id, label]
    )
    return set(others[:count])


# -- the tables


def test_13_a_random_row_stands_beside_every_arm() -> None:
    """Most routing rows that were reported lie below random, which no table said."""
    sets = [
        *overlap_sets(5),
        make_set([10, 10, 3], set_id="r0", task="router-cost"),
        make_set([1, 0, 0, 0, 0], set_id="p0", task="passage-5"),
    ]
    scores = _baseline_scores(sets, pl.DataFrame(schema=first_stages.SCORES))
    rows = scores.filter(pl.col("arm") == "random")
    assert set(rows["set_id"]) == {given.set_id for given in sets}
    assert rows.filter(pl.col("set_id") == "p0")["rr"].item() == pytest.approx(0.4567, abs=1e-3)  # H_5 / 5
    assert random_expectation([1, *[0] * 19])["rr"] == pytest.approx(0.1799, abs=1e-4)  # H_20 / 20


def test_14_graded_relevance_counts_and_a_failed_query_stays() -> None:
    graded = per_query(
        {"q": ["B", "A", "C"], "r": ["C", "A", "B"]},
        {name: {"A": 3, "B": 2, "C": 0} for name in ("q", "r", "failed")},
    )
    assert graded["q"]["ndcg_10"] > graded["r"]["ndcg_10"] and graded["q"]["rr"] == graded["r"]["rr"] == 0.5
    assert set(graded["failed"].values()) == {0.0}


def test_the_table_in_the_documentation_names_these_tests() -> None:
    said = (PROJECT / "docs" / "published-defects.md").read_text(encoding="utf-8")
    table = set(re.findall(r"^\| (\d\d) \|", said, re.MULTILINE))
    own = set(re.findall(r"^def test_(\d\d)_", Path(__file__).read_text(encoding="utf-8"), re.MULTILINE))
    assert table == own
