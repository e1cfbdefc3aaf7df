"""What a policy earns beside chance: rows for every query, means with intervals, paired differences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from contracts.gate import validate_batch
from flows import artifacts
from ranker.cli import tables
from ranker.cli.output import console
from ranker.config import (
    CandidateParams,
    DistillParams,
    EvaluateParams,
    IngestParams,
    PolicyParams,
    parse_params,
)
from ranker.engines import Completion, Sampling, load
from ranker.engines.scripted import ScriptedEngine
from ranker.errors import BadConfig
from ranker.lake import Lake, open_lake
from ranker.metrics.counterfactual import NO_TRAFFIC
from ranker.metrics.ranking import random_expectation
from ranker.policy.parsing import parse
from ranker.policy.prompts import Prompt, longest_chat_trace
from ranker.refs import Ref
from ranker.reports import report
from ranker.stages import candidates, distill, evaluate, ingest, register, traffic
from ranker.stages.evaluate import comparisons, evaluations, score
from ranker.strategies import strategy
from ranker.strategies.episodes import Origin, judged
from ranker.types import CandidateSet
from tests.contracts.road import sources
from tests.contracts.road import train as trained_on
from tests.ranker.evaluated import commit
from tests.ranker.factories import Answer, adversary, oracle, overlap_sets
from tests.ranker.material import passes, read_in, tiny_lm
from tests.ranker.traffic import days

SETS = [replace(given, group_id=f"g{n // 2}") for n, given in enumerate(overlap_sets(12, pool=5))]
TAUGHT = pl.DataFrame(
    [
        {"set_id": given.set_id, "label": label, "score": grade}
        for given in SETS
        for label, grade in given.relevance.items()
    ]
)
PARAMS = EvaluateParams(bootstrap=100)


def ranked(arm: str, answer: Answer, sets: list[CandidateSet] = SETS) -> pl.DataFrame:
    """Episodes of an arm."""
    made = strategy("direct")(sets, ScriptedEngine(answer), thinking=False, sampling=Sampling(64))
    return judged(made, {given.set_id: given for given in sets}, Origin("evaluate", f"k/{arm}", arm, 1))[
        "episodes"
    ]


@pytest.fixture(scope="module")
def scores() -> pl.DataFrame:
    return score(SETS, TAUGHT, pl.concat([ranked("rl", oracle), ranked("sft", adversary)]))


def test_every_arm_and_baseline_has_a_row_for_every_query(scores: pl.DataFrame) -> None:
    assert dict(scores["arm"].value_counts().iter_rows()) == dict.fromkeys(
        ("random", "first-position", "teacher", "rl", "sft"), len(SETS)
    )
    chance = scores.filter(arm="random").select("set_id", "rr").iter_rows()
    by_id = {given.set_id: given for given in SETS}
    for set_id, rr in chance:
        grades = [candidate.relevance for candidate in by_id[set_id].candidates]
        assert rr == pytest.approx(random_expectation(grades)["rr"])
    assert scores.filter(arm="teacher")["rr"].equals(scores.filter(arm="rl")["rr"]), "both are always right"


def test_first_stages_of_the_evaluation_are_baselines(scores: pl.DataFrame) -> None:
    first = TAUGHT.with_columns(-pl.col("score"), teacher=pl.lit("dense"))
    found = score(SETS, TAUGHT, ranked("rl", oracle), first)
    assert found.filter(arm="dense").height == len(SETS)
    assert found.filter(arm="teacher").equals(scores.filter(arm="teacher")), "and no teachers"
    gain = comparisons(found, PARAMS).filter(arm="rl", against="dense", metric="RR")
    assert gain["difference"].item() > 0.4, "its scores are the opposite of what is right"


def test_means_are_of_the_queries_and_lie_in_their_intervals(scores: pl.DataFrame) -> None:
    table = evaluations(scores, PARAMS)
    own = table.filter(pl.col("arm") == "rl", pl.col("metric") == "RR").row(0, named=True)
    assert own["value"] == pytest.approx(scores.filter(arm="rl")["rr"].mean()) == 1.0
    assert (table["lower"] <= table["value"]).all() and (table["value"] <= table["upper"]).all()
    assert set(table["queries"]) == {len(SETS)}


def test_differences_are_paired_and_no_baseline_is_compared_with_another(scores: pl.DataFrame) -> None:
    table = comparisons(scores, PARAMS)
    pairs = set(table.select("arm", "against").rows())
    assert ("rl", "sft") in pairs and ("sft", "rl") not in pairs
    assert {arm for arm, _ in pairs} == {"rl", "sft"}
    gain = table.filter(arm="rl", against="sft", metric="RR").row(0, named=True)
    means = [scores.filter(arm=arm)["rr"].mean() for arm in ("rl", "sft")]
    assert gain["difference"] == pytest.approx(means[0] - means[1]) and gain["lower"] > 0


def test_of_arms_with_other_queries_those_that_both_had_are_compared() -> None:
    found = score(SETS, TAUGHT, pl.concat([ranked("rl", oracle), ranked("sft", adversary, SETS[:5])]))
    table = comparisons(found, PARAMS).filter(arm="rl", against="sft")
    assert set(table["queries"]) == {5}


def test_invalid_answers_are_counted_and_keep_their_queries() -> None:
    found = score(SETS, TAUGHT, ranked("rl", lambda prompt: "no idea"))
    own = evaluations(found, PARAMS).filter(arm="rl")
    assert own.filter(metric="malformed")["value"].item() == 1.0
    assert set(own["queries"]) == {len(SETS)}


# -- rows of a chat model that was never trained here

ASKED = PARAMS.model_copy(
    update={
        "models": ("rl",),
        "strategies": ("iterative",),
        "thinking": (False,),
        "max_queries": evaluate.EXTRA_QUERIES + 4,
        "extra_model": "models/chat",
    }
)


class Wordy(ScriptedEngine):
    """A chat model with an order in a form of its own, unless it is kept from that; remembers what it was
    asked.
    """

    def __init__(self) -> None:
        super().__init__(lambda prompt: "", style="chat")
        self.asked: list[tuple[Prompt, Sampling]] = []

    def complete(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Completion]:
        self.asked += [(prompt, sampling) for prompt in prompts]
        self.answer = (
            oracle
            if sampling.constrained
            else lambda prompt: f"Sure! <answer> {', '.join(prompt.set.labels)}"
        )
        return super().complete(prompts, sampling)


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Lake, Ref, Ref]]:
    """A lake with candidate sets of passages and traces over them."""
    with open_lake(tmp_path_factory.mktemp("home")) as lake:
        where = sources(tmp_path_factory.mktemp("files"))
        given = IngestParams(tasks=("passage-pydoc",), locations={"passage-pydoc": where["passage-pydoc"]})
        source = ingest.run(lake, given, check=passes)
        sets = candidates.run(lake, CandidateParams(history=4), source=source, check=passes)
        yield (
            lake,
            sets,
            distill.run(lake, DistillParams(traces=60), sets=sets, policy=PolicyParams(), check=passes),
        )


@pytest.fixture(scope="module")
def trained(ready: tuple[Lake, Ref, Ref]) -> Ref:
    """A training over them that nobody made."""
    return trained_on(*ready)


def test_a_pretrained_chat_model_has_two_rows_with_examples_and_room_for_an_answer(
    ready: tuple[Lake, Ref, Ref], trained: Ref, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake, sets, traces = ready
    chat = Wordy()
    monkeypatch.setattr(
        evaluate,
        "load",
        lambda folder, **_: chat if Path(folder).name == "chat" else ScriptedEngine(adversary),
    )
    done = evaluate.run(
        lake,
        ASKED,
        sets=sets,
        traces=traces,
        trained=trained,
        champion=None,
        check=validate_batch,
    )
    rows = lake.rows(
        "select arm, strategy, thinking, value, queries from evaluations where batch_id = $key and metric ="
        " 'malformed' and arm like 'pretrained%' order by arm",
        {"key": done.key},
    )
    assert rows.rows() == [
        ("pretrained", "direct", True, 0.0, evaluate.EXTRA_QUERIES),
        ("pretrained-constrained", "direct", True, 0.0, evaluate.EXTRA_QUERIES),
    ]
    steps = lake.rows(
        "select s.completion, s.pool from steps s join episodes e using (episode_id) where e.arm ="
        " 'pretrained'"
    )
    for completion, pool in steps.rows():
        assert not parse(completion, pool, "rank", True).valid, (
            "the reading was tolerant; what it wrote is kept"
        )
    assert {sampling.constrained for _, sampling in chat.asked} == {False, True}
    for prompt, sampling in chat.asked:
        assert len(prompt.shots) == 2 and sampling.max_tokens >= longest_chat_trace(len(prompt.set))
        assert all(shot.prompt.set.split == "train" for shot in prompt.shots)
    assert not (lake.home / "jobs" / done.key).exists(), "what the lake has is kept nowhere else"
    others = lake.rows(
        "select distinct valid from steps s join episodes e using (episode_id) where e.arm = 'rl' and"
        " e.batch_id = $key",
        {"key": done.key},
    )
    assert others["valid"].to_list() == [True]


# -- what runs the models


def test_an_endpoint_is_asked_for_this_very_training_s_model(tmp_path: Path) -> None:
    """A server that still has the model of another training knows none by this name."""
    params = PARAMS.model_copy(update={"engine": "openai", "endpoint": "http://127.0.0.1:1/v1"})
    arm = evaluate.Arm("rl", "k/rl", tmp_path, ("iterative",), (True,), 4)
    assert evaluate._loaded(arm, params, None).name == "openai:http://127.0.0.1:1/v1#k/rl"
    for given in ({"engine": "openai"}, {"endpoint": "http://127.0.0.1:1/v1"}):
        with pytest.raises(BadConfig, match="belong together"):
            parse_params({"evaluate": given})


class Closed(ScriptedEngine):
    """An engine that holds a GPU's memory, for all that the evaluation knows."""

    held = most = 0

    def __init__(self) -> None:
        super().__init__(oracle)
        Closed.held += 1
        Closed.most = max(Closed.most, Closed.held)

    def close(self) -> None:
        Closed.held -= 1


def test_one_model_at_a_time_is_held_and_a_batch_that_is_there_loads_none(
    ready: tuple[Lake, Ref, Ref], trained: Ref, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake, sets, traces = ready
    loaded: list[str] = []

    def load(name: str, **_: object) -> Closed:
        loaded.append(str(name))
        if len(loaded) == 2:
            raise KeyboardInterrupt
        return Closed()

    monkeypatch.setattr(evaluate, "load", load)
    params = PARAMS.model_copy(update={"engine": "vllm", "max_queries": 4, "strategies": ("direct",)})

    def run() -> Ref:
        return evaluate.run(
            lake, params, sets=sets, traces=traces, trained=trained, champion=None, check=passes
        )

    with pytest.raises(KeyboardInterrupt):
        run()
    done = run()
    assert [name.rpartition("/")[2] for name in loaded] == ["untrained", "sft", "sft", "rl"]
    assert all(name.startswith("vllm:") for name in loaded)
    assert (Closed.most, Closed.held) == (1, 0)
    assert done.rows["episodes"] == 4 * 3 * 2


# -- logged traffic


def test_clicks_that_each_model_would_have_got_stand_beside_its_metrics(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `ranker audit traffic` estimates them; where nothing was shuffled that is said, and nothing else
    changes.
    """
    sets = candidates.run(lake, CandidateParams(), source=read_in(lake, "synthetic"), check=passes)
    for seed, phase in enumerate(("sft", "rl")):
        tiny_lm(lake.home / "models" / "aaaa" / phase, seed=seed)
    made = commit(lake, "train", "aaaa", {}, details={"model": "models/aaaa"})
    traces = commit(lake, "distill", "d1", {})

    def run(requests: int) -> Ref:
        asked = EvaluateParams(
            models=("sft", "rl"),
            strategies=("direct", "iterative"),
            thinking=(False,),
            max_queries=6,
            bootstrap=100,
            traffic_requests=requests,
        )
        return evaluate.run(
            lake, asked, sets=sets, traces=traces, trained=made, champion=None, check=validate_batch
        )

    plain, vain = run(0), run(40)
    assert "traffic" not in plain.details and vain.details["traffic"] == {"synthetic": NO_TRAFFIC}
    assert vain.key != plain.key and vain.rows == plain.rows
    shown = report.gather(lake, vain.key)
    assert shown.without_traffic == ("synthetic",) and "synthetic: no randomised traffic" in report.html(
        shown
    )
    assert report.TRAFFIC_TITLE not in report.html(report.gather(lake, plain.key))
    assert lake.rows("select distinct clicks_dr from leaderboard").rows() == [(None,)]

    days(lake, 1, each=2)
    found = run(40)
    assert found.key != vain.key and found.details["traffic"] == {"synthetic": 40}
    assert run(40).skipped and run(0).skipped, "other traffic is another evaluation, where it is asked for"
    asked = traffic.logged(lake, "synthetic", 40)
    engine = load(lake.home / "models" / "aaaa" / "rl")
    ranked = traffic.ranked(asked, strategy("direct"), False, engine, Sampling(64))
    expected = traffic.estimated(asked, traffic.policy(asked, ranked), 100, EvaluateParams().seed)
    rows = report.gather(lake, found.key).traffic
    assert [(row.arm, row.strategy, row.requests, row.depth) for row in rows] == [
        (arm, "direct", 40, 4) for arm in ("rl", "rl", "sft", "sft")
    ]
    for row, one in zip(rows[:2], reversed(expected), strict=True):
        assert row.estimator == one.estimator and row.effective == pytest.approx(one.effective)
        assert (row.value, row.lower, row.upper) == pytest.approx(
            (one.value.value, one.value.lower, one.value.upper)
        )
        assert (row.gain, row.gain_lower) == pytest.approx((one.gain.value, one.gain.lower))
    assert rows[0].value != rows[2].value, "two models, two estimates"
    shown = report.gather(lake, found.key)
    monkeypatch.setenv("COLUMNS", "200")
    screen = console()
    with screen.capture() as printed:
        screen.print(*tables.on_traffic(shown, 200))
    for text in (report.html(shown), printed.get(), artifacts.markdown(lake, found)):
        assert all(cell in text for row in rows for cell in row.cells)
    led = lake.rows(
        "select clicks_dr, clicks_snips, clicks_effective, clicks_requests from leaderboard where arm = 'rl'"
        " and strategy = 'direct'"
    ).row(0)
    assert led == (rows[0].value, rows[1].value, rows[0].effective, 40)
    (promoted_by,) = register.traffic_of(lake, "aaaa/rl")
    assert promoted_by.gain.value == rows[0].gain, "the rule needs no audit of its own"
