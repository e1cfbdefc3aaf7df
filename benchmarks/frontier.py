"""The part `strategies`: what every strategy costs and is worth on one policy, beside the naive loop: goals,
tables and a plot.

Written to docs/strategies-measured.md and .svg at full scale, else beside the policy. `MODEL FOLDER` prints
the table beside rank_llm alone.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import altair as alt

from benchmarks import rank_llm, vllm_cache
from benchmarks.measure import apart
from benchmarks.policy import POOLS, sets_of
from benchmarks.strategies import CACHED, FIRST, GRADED, HALVES, LOOP, NAIVE, ONE_BY_ONE, Arm, alike, quality
from benchmarks.table import Row, Size, machine, table
from ranker.engines.vllm import CPU_BLOCK
from ranker.refs import PROJECT
from ranker.reports.markdown import table as markdown
from ranker.studies import plots
from ranker.types import CandidateSet

QUERIES = {20: 200, 100: 10}
PAGE = "strategies-measured"
HEAD = (
    "",
    "strategy",
    "MRR",
    "nDCG@10",
    "calls",
    "rounds",
    "tokens read",
    "from cache",
    "written",
    "invalid",
    "queries/s",
    "loop",
)
Found = Mapping[str, Any]


def strategies(_room: Path, size: Size) -> list[Row]:
    """Train the policy where it is not there yet, measure, write page and plot, and give the goals."""
    folder = size.model.resolve()
    policy = apart("policy", str(folder))
    found = {
        n: apart("strategies", policy["model"], str(folder), str(n), str(size.queries(QUERIES[n])))
        for n in POOLS
    }
    cache, spared = caching(
        policy["model"],
        [given for n in POOLS for given in sets_of(folder, n, size.queries(QUERIES[n]))],
        folder,
    )
    rows = [*(row for n in POOLS for row in goals(found[n])), *spared]
    write(
        PROJECT / "docs" if size.scale == 1.0 else folder,
        policy,
        found,
        rows,
        rivals(policy["model"], folder, size),
        cache,
    )
    return rows


def rivals(model: str, folder: Path, size: Size) -> str:
    """rank_llm's listwise run beside ours, as a table; or why it could not be run."""
    rows = []
    for n in POOLS:
        sets = sets_of(folder, n, size.queries(QUERIES[n]))
        try:
            found = {who: rank_llm.ran(who, model, sets, folder) for who in rank_llm.NAMES}
        except (FileNotFoundError, RuntimeError, subprocess.TimeoutExpired) as error:
            return f"Not run: {error}."
        rows += [_rival(n, who, one, found["ours"], sets) for who, one in found.items()]
    return markdown(
        ("n", "run", "MRR", "nDCG@10", "calls", "tokens read", "written", "queries/s", "rankings as ours"),
        rows,
    )


def _rival(n: int, who: str, found: Found, ours: Found, sets: Sequence[CandidateSet]) -> tuple[str, ...]:
    good = quality(found["rankings"], sets)
    each = (
        f"{found['calls'] / len(sets):.1f}",
        f"{found['prompt_tokens'] / len(sets):,.0f}",
        f"{found['completion_tokens'] / len(sets):,.0f}",
    )
    return (
        str(n),
        rank_llm.NAMES[who],
        _mean(good["rr"]),
        _mean(good["ndcg_10"]),
        *each,
        f"{len(sets) / found['seconds']:.1f}",
        "" if who == "ours" else f"{alike(found, ours):.0%}",
    )


def caching(model: str, sets: Sequence[CandidateSet], folder: Path) -> tuple[str, list[Row]]:
    """vLLM's prefix cache on and off: a table and what it says in a line a run; or why it could not be
    run, and no line.
    """
    try:
        found = vllm_cache.ran(model, sets, folder)
    except (FileNotFoundError, RuntimeError, subprocess.TimeoutExpired) as error:
        return f"Not run: {error}.", []
    return cached(found, sets)


def cached(found: Mapping[str, Sequence[Found]], sets: Sequence[CandidateSet]) -> tuple[str, list[Row]]:
    """Table and lines of such runs: `found` has those with the cache and those without, in the same order."""
    known = {given.set_id: given for given in sets}
    cells, rows = [], []
    for off, on in zip(found["off"], found["on"], strict=True):
        asked, how = [known[set_id] for set_id in off["rankings"]], "think" if off["thinking"] else "no-think"
        gain, share, same = (
            off["seconds"] / on["seconds"],
            on["cached_tokens"] / on["prompt_tokens"],
            alike(on, off),
        )
        cells += [
            (str(off["n"]), how, "off", *_spent(off, asked), "", ""),
            (str(on["n"]), how, "on", *_spent(on, asked), f"{gain:.2f}", f"{same:.0%}"),
        ]
        rows.append(
            Row(f"n = {off['n']}: vLLM's prefix cache, one by one, {how}", _spared(share, gain, same))
        )
    return (
        markdown(
            (
                "n",
                "reasoning",
                "prefix cache",
                "MRR",
                "tokens read",
                "from cache",
                "queries/s",
                "gain",
                "rankings the same",
            ),
            cells,
        ),
        rows,
    )


def _spent(found: Found, sets: Sequence[CandidateSet]) -> tuple[str, ...]:
    tokens, share = found["prompt_tokens"], found["cached_tokens"] / found["prompt_tokens"]
    return (
        _mean(quality(found["rankings"], sets)["rr"]),
        f"{tokens / len(sets):,.0f}",
        f"{share:.0%}",
        f"{len(sets) / found['seconds']:.1f}",
    )


def _spared(share: float, gain: float, same: float) -> str:
    return (
        f"{share:.0%} of the prompt tokens from the cache, {gain:.2f} times the queries a second; {same:.0%}"
        " of the rankings the same"
    )


def _row(found: Found, arm: Arm) -> Found:
    return next(row for row in found["rows"] if row["arm"] == arm.name)


def goals(found: Found) -> Iterator[Row]:
    """What was promised of one size of pools."""
    naive, single, first, kept = (_row(found, arm) for arm in (NAIVE, ONE_BY_ONE, Arm(FIRST), CACHED))
    at = f"n = {found['n']}: "
    yield Row(
        f"{at}the policy's MRR, one by one",
        _mean(single["rr"]),
        f"above chance ({found['chance']:.3f})",
        single["rr"][1] > found["chance"],
    )
    yield from _halves(
        found, at, Arm(GRADED, thinking=True), Arm("iterative", thinking=True), Arm(LOOP, thinking=True)
    )
    yield from _halves(found, at, Arm(HALVES), ONE_BY_ONE, NAIVE)
    yield _faster(f"{at}first-token: queries a second over the naive loop's", first, naive, 10)
    slowest = max((row for row in found["rows"] if row["loop"] is not None), key=lambda row: row["loop"])
    yield Row(
        f"{at}the loop on top of the engine's own time, largest of all strategies ({slowest['arm']})",
        f"{slowest['loop']:.1%}",
        "at most 5%",
        slowest["loop"] <= 0.05,
    )
    gain = kept["per_second"] / single["per_second"]
    yield Row(
        f"{at}prefix cache, one by one",
        _spared(kept["cached_tokens"] / kept["prompt_tokens"], gain, found["alike"][CACHED.name]),
    )
    for constrained in (True, False):
        invalid, answers = (
            sum(
                row[name] for row in found["rows"] if row["constrained"] == constrained and row["how"] != LOOP
            )
            for name in ("invalid", "answers")
        )
        how = "constrained decoding" if constrained else "free decoding"
        yield Row(
            f"{at}malformed answers, {how}",
            f"{invalid:,} of {answers:,}",
            "0" if constrained else "",
            invalid == 0 if constrained else None,
        )
    yield Row(
        f"{at}the naive loop ranks as one by one does", f"{found['alike'][NAIVE.name]:.0%} of the queries"
    )


def _halves(found: Found, at: str, arm: Arm, single: Arm, naive: Arm) -> Iterator[Row]:
    """Of elimination by halves, beside one by one and the naive loop that reason as it does."""
    halves, what = (
        _row(found, arm),
        (
            f"{at}halves {arm.how.rpartition(',')[2].replace('=', ' ')},"
            f" {'think' if arm.thinking else 'no-think'}"
        ),
    )
    if found["n"] == 20:
        yield Row(f"{what}: calls a query", f"{halves['calls']:.1f}", "at most 5", halves["calls"] <= 5)
    yield _faster(f"{what}: queries a second over the naive loop's", halves, _row(found, naive), 4)
    _, low, high = _row(found, single)["rr"]
    yield Row(
        f"{what}: MRR",
        _mean(halves["rr"]),
        f"inside one by one's interval, {low:.3f}…{high:.3f}",
        low <= halves["rr"][0] <= high,
    )


def _faster(what: str, one: Found, other: Found, least: float) -> Row:
    ratio = one["per_second"] / other["per_second"]
    return Row(
        what,
        f"{ratio:.1f} ({one['per_second']:.1f} against {other['per_second']:.1f})",
        f"at least {least:g}",
        ratio >= least,
    )


def _mean(interval: Sequence[float]) -> str:
    value, lower, upper = interval
    return f"{value:.3f} [{lower:.3f}, {upper:.3f}]"


def _cells(place: int, row: Found) -> tuple[str, ...]:
    counts = (
        f"{row['calls']:.1f}",
        f"{row['rounds']:.1f}",
        f"{row['prompt_tokens']:,.0f}",
        f"{row['cached_tokens'] / row['prompt_tokens']:.0%}",
        f"{row['completion_tokens']:,.0f}",
    )
    invalid = f"{row['invalid']:,} of {row['answers']:,}"
    return (
        str(place),
        row["arm"],
        _mean(row["rr"]),
        _mean(row["ndcg_10"]),
        *counts,
        invalid,
        f"{row['per_second']:.1f}",
        "" if row["loop"] is None else f"{row['loop']:.1%}",
    )


def write(
    folder: Path, policy: Found, found: Mapping[int, Found], rows: Sequence[Row], rivals: str, cache: str
) -> None:
    """The page and its plot; `rivals` and `cache` are what there is to say of rank_llm and of vLLM's
    prefix cache.
    """
    queries = ", ".join(f"{found[n]['rows'][0]['queries']} with pools of {n}" for n in found)
    parts = [
        "# Strategies, measured",
        (
            f"`make bench` (alone: `python -m benchmarks --only strategies`), on {machine()},"
            f" {found[POOLS[0]]['threads']} threads. One policy of the project's own SFT"
            f" ({policy['trained']['steps']} steps, {policy['trained']['examples']:,} traces,"
            f" {policy['trained']['seconds']:.0f} s; benchmarks/policy.py), known relevance, the same test"
            f" queries: {queries}."
        ),
        (
            "Costs are means a query. *Tokens read* counts every prompt token, *from cache* the share of them"
            " that a prefix cache spared. *Loop* is what the strategy takes on top of the engine's own time."
            " Runs take turns; of short ones the median of three. Intervals are 95%, a bootstrap over"
            " queries. Invalid answers are acted on by the stated fallback and stay in every mean. The naive"
            " loop asks one prompt a query a round, all queries in lock step, without a cache"
            " (benchmarks/naive.py); prompts, model, batch and limits are the same."
        ),
        "## Goals",
        table(rows),
        f"![cost against quality]({PAGE}.svg)",
    ]
    for n, one in found.items():
        parts += [
            f"## n = {n}",
            f"Chance is MRR {one['chance']:.3f}.",
            markdown(HEAD, (_cells(place, row) for place, row in enumerate(one["rows"], 1))),
        ]
    parts += [
        "## rank_llm",
        (
            f"rank_llm's listwise run (`RankListwiseOSLLM`, windows of {rank_llm.SIZE} in steps of"
            f" {rank_llm.STEP}) and the strategy `window`, both with vLLM on the CPU, on the same policy and"
            " queries. rank_llm is given the policy's own prompt as its template (benchmarks/rank_llm.py)."
            " It lets every answer run to a fixed length and takes the labels that it finds there. Ours"
            " reads strictly, as in training: such an answer counts as invalid, and the order shown is kept;"
            " or tolerantly (`evaluate.parsing`), as rank_llm does. This table alone, for a policy that"
            " `python -m benchmarks.policy FOLDER` has made: `python -m benchmarks.frontier MODEL FOLDER`."
        ),
        rivals,
        "## vLLM's prefix cache",
        (
            "One-by-one elimination with vLLM on the CPU, prefix caching off and on"
            f" (benchmarks/vllm_cache.py), on the same policy and queries. Whole blocks of {CPU_BLOCK}"
            " tokens are kept. Each way runs in a process of its own and each run starts with an empty"
            " cache: what it finds there are the prompts of its own earlier rounds. *Gain* is queries a"
            " second with the cache over those without."
        ),
        cache,
    ]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{PAGE}.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    chart(found).save(folder / f"{PAGE}.svg")


AXES = {"milliseconds": "milliseconds a query", "tokens": "tokens read (not from cache) and written a query"}


def chart(found: Mapping[int, Found]) -> alt.VConcatChart:
    """MRR against time and against tokens, a row of panels a size of pools.

    Numbers are the rows of the tables; the line joins what nothing beats at its cost.
    """
    rows = [alt.hconcat(*(_panel(one, axis) for axis in AXES)) for one in found.values()]
    return plots.stacked(
        rows, "What a ranking costs and how good it is: one policy, the same queries, every strategy"
    )


def _panel(found: Found, axis: str) -> alt.LayerChart:
    points = [_point(place, row) for place, row in enumerate(found["rows"], 1)]
    best = frontier(points, axis)
    x = alt.X(f"{axis}:Q", scale=alt.Scale(type="log", nice=False, padding=18), title=AXES[axis])
    low, high = min(point["lower"] for point in points), max(point["upper"] for point in points)
    y = alt.Scale(domain=[max(0.0, low - 0.02), min(1.0, high + 0.02)], nice=False)
    names = [point["name"] for point in points]
    base = alt.Chart(alt.Data(values=points)).encode(
        x=x,
        color=alt.Color(
            "name:N",
            sort=names,
            scale=alt.Scale(domain=names, scheme="tableau20"),
            legend=alt.Legend(title=None, labelLimit=340, symbolLimit=40, symbolOpacity=1),
        ),
    )
    edge = (
        alt.Chart(alt.Data(values=best))
        .mark_line(color="#bbbbbb", interpolate="step-after")
        .encode(x=x, y=alt.Y("mrr:Q", scale=y))
    )
    chance = (
        alt.Chart(alt.Data(values=[{"mrr": found["chance"]}]))
        .mark_rule(strokeDash=[4, 3], color="#555555")
        .encode(y=alt.Y("mrr:Q", scale=y))
    )
    span = base.mark_rule(opacity=0.5).encode(
        y=alt.Y("lower:Q", scale=y, title="MRR, 95% interval"), y2="upper:Q"
    )
    mark = base.mark_point(filled=True, size=50, opacity=1).encode(y=alt.Y("mrr:Q", scale=y))
    text = (
        alt.Chart(alt.Data(values=points))
        .mark_text(dx=9, dy=-6, fontSize=9, color="#333333")
        .encode(x=x, y=alt.Y("mrr:Q", scale=y), text="place:N")
    )
    return alt.layer(chance, edge, span, mark, text).properties(
        width=330, height=240, title=alt.TitleParams(f"n = {found['n']}", anchor="start", fontSize=12)
    )


def _point(place: int, row: Found) -> dict[str, Any]:
    value, lower, upper = row["rr"]
    tokens = row["prompt_tokens"] - row["cached_tokens"] + row["completion_tokens"]
    return {
        "place": str(place),
        "name": f"{place}  {row['arm']}",
        "mrr": value,
        "lower": lower,
        "upper": upper,
        "milliseconds": 1000 / row["per_second"],
        "tokens": tokens,
    }


def frontier(points: Sequence[Mapping[str, Any]], axis: str) -> list[dict[str, Any]]:
    """The points that no cheaper one reaches, by rising cost."""
    best: list[dict[str, Any]] = []
    for point in sorted(points, key=lambda point: (point[axis], -point["mrr"])):
        if not best or point["mrr"] > best[-1]["mrr"]:
            best.append({axis: point[axis], "mrr": point["mrr"]})
    return best


if __name__ == "__main__":
    print(rivals(sys.argv[1], Path(sys.argv[2]).resolve(), Size(1.0, 0.0)))
