"""The pages, by Streamlit. A page asks the lake anew each time, by a connection of its own that only reads:
what a run commits meanwhile is there with the next click.
"""

from __future__ import annotations

import json
import os
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

import altair as alt
import polars as pl
import streamlit as st

from ranker.config import data_home
from ranker.errors import RankerError
from ranker.lake import Lake, open_lake
from ranker.lake.questions import question as saved
from ranker.lake.questions import questions
from ranker.ui import frames
from ranker.ui.frames import Arm, Call, Episode, Evaluation

REFRESH_SECONDS = 5
WHISKER = "#8a8aa0"
"""Seen on light and on dark ground."""
CURVES = ("loss", "reward", "eval_rr", "rr", "kl", "entropy", "frac_reward_zero_std")
"""Shown at first of a training's curves; others can be chosen."""


@contextmanager
def lake() -> Generator[Lake]:
    """The lake of $RANKER_HOME and $RANKER_LAKE, read-only; a fault of it is shown, and ends the page."""
    try:
        with open_lake(data_home(), os.environ.get("RANKER_LAKE", ""), read_only=True) as opened:
            yield opened
    except RankerError as error:
        fault(error)
        st.stop()


def fault(error: RankerError) -> None:
    """One block: rule, value seen, remedy."""
    st.error(f"**{error.rule}**  \nseen: {error.seen}  \nremedy: {error.remedy}")


# -- runs


def runs() -> None:
    """Evaluations with their leaderboards."""
    st.title("Runs")
    with lake() as opened:
        evaluation = _chosen_evaluation(opened)
        board = opened.named("ui/leaderboard", {"batch_id": evaluation.batch_id})
        compared = opened.named("ui/comparisons", {"batch_id": evaluation.batch_id})
    for task, rows in board.group_by("task", maintain_order=True):
        st.subheader(str(task[0]))
        named = _with_arm(rows)
        st.altair_chart(_intervals(named), width="stretch")
        _table(named.drop("task"))
    if compared.height:
        st.subheader("Paired differences in MRR")
        _table(compared)


def _with_arm(rows: pl.DataFrame) -> pl.DataFrame:
    """With one column `way` for arm, strategy and thinking, in front."""
    arms = [str(Arm(*row)) for row in rows.select("arm", "strategy", "thinking").iter_rows()]
    own = pl.Series("arm", arms, dtype=pl.String)
    return rows.drop("arm", "strategy", "thinking").insert_column(0, own)


def _intervals(named: pl.DataFrame) -> alt.LayerChart | alt.FacetChart:
    base = alt.Chart(named).encode(y=alt.Y("arm:N", sort=None, title=None, axis=alt.Axis(labelLimit=260)))
    x = alt.X("mrr:Q", title="MRR, 95% interval", scale=alt.Scale(zero=False))
    whisker = base.mark_rule(strokeWidth=2, color=WHISKER).encode(
        x=alt.X("mrr_lower:Q", title="MRR, 95% interval"), x2="mrr_upper:Q"
    )
    return alt.layer(whisker, base.mark_point(filled=True, size=60, opacity=1).encode(x=x))


# -- episodes


def episodes() -> None:
    """Episodes of one way of ranking, and one of them step by step."""
    st.title("Episodes")
    with lake() as opened:
        evaluation = _chosen_evaluation(opened)
        task, way = _chosen_arm(frames.arms(opened, evaluation), "arm")
        columns = st.columns(2)
        outcome = columns[0].selectbox("outcome", ("any", *frames.OUTCOMES))
        text = columns[1].text_input("text in the query or a candidate")
        found = frames.episodes(
            opened, evaluation, task, way, None if outcome == "any" else outcome, text.strip()
        )
        if found.is_empty():
            st.info("No episode is like that.")
            return
        st.markdown(f"{found.height} episodes, the worst first; at most {frames.MOST} are listed.")
        _table(found.drop("set_id"))
        chosen = _chosen_episode(found)
        shown = frames.episode(opened, evaluation, chosen)
    if shown:
        _episode(shown)


def compare() -> None:
    """Two ways of ranking on the same queries, the largest difference first."""
    st.title("Compare")
    with lake() as opened:
        evaluation = _chosen_evaluation(opened)
        known = frames.arms(opened, evaluation)
        task = _chosen_task(known)
        columns = st.columns(2)
        one = columns[0].selectbox("one", known[task], format_func=str)
        other = columns[1].selectbox("other", known[task], index=len(known[task]) - 1, format_func=str)
        found = frames.differences(opened, evaluation, task, one, other)
        if found.is_empty():
            st.info("These two have no query in common.")
            return
        _table(found.drop("set_id", "one", "other"))
        labels = [f"{row['difference']:+.3f} · {row['query'][:80]}" for row in found.iter_rows(named=True)]
        place = st.selectbox("query", range(found.height), format_func=lambda at: labels[at])
        both = [frames.episode(opened, evaluation, found[name][place]) for name in ("one", "other")]
    for column, way, chosen in zip(st.columns(2), (one, other), both, strict=True):
        with column:
            st.subheader(str(way))
            if chosen:
                _episode(chosen)


def _episode(chosen: Episode) -> None:
    facts = chosen.facts
    st.markdown(f"**Query** · {_plain(chosen.query)}")
    st.markdown(
        f"{facts['task']} · {facts['arm']}, {facts['strategy']} · reciprocal rank {facts['rr']:.3f} ·"
        f" {facts['calls']} calls, {facts['invalid_calls']} invalid · episode {facts['episode_id']}"
    )
    st.markdown("**As ranked**")
    _table(chosen.candidates)
    for number, call in enumerate(chosen.calls, start=1):
        _call(number, call)


def _call(number: int, call: Call) -> None:
    facts = call.facts
    named = ", ".join(facts["taken"])  # type: ignore[arg-type]
    word = "excludes" if facts["mode"] == "exclude" else "names"
    with st.expander(
        f"Step {number}: {word} {named or 'nothing'} · reward {facts['reward']:.3f}", expanded=number == 1
    ):
        if not facts["valid"]:
            st.warning(f"Invalid: {facts['reason']}; the stated fallback acts in its place.")
        _table(call.pool)
        if facts["completion"]:
            st.code(str(facts["completion"]), language=None, wrap_lines=True)
        if facts["prompt"]:
            with st.popover("prompt"):
                st.code(str(facts["prompt"]), language=None, wrap_lines=True)
        # null where a row is older than the column
        parts = {
            name: facts[name] for name in facts if name.startswith("reward_") and facts[name] is not None
        }
        st.markdown(
            "reward "
            + ", ".join(f"{name.removeprefix('reward_')} {value:.3f}" for name, value in parts.items())
            + f" · {facts['prompt_tokens']} + {facts['completion_tokens']} tokens"
            + (f" · τ {facts['temperature']:.3g}" if facts["temperature"] else "")
        )


# -- contracts, questions


def contracts() -> None:
    """What the contracts said of every batch."""
    st.title("Contracts")
    with lake() as opened:
        checks = opened.named("ui/checks", {"most": frames.MOST})
        if checks.is_empty():
            st.info("No batch was judged yet.")
            return
        only = st.checkbox("only tables with an expectation that failed")
        shown = checks.filter(pl.col("failed") > 0) if only else checks
        _table(shown)
        if shown.is_empty():
            return
        labels = [
            f"{row['table_name']} · {row['batch_id']} · {row['failed']} failed"
            for row in shown.iter_rows(named=True)
        ]
        place = st.selectbox("table and batch", range(shown.height), format_func=lambda at: labels[at])
        key = {"batch_id": shown["batch_id"][place], "table_name": shown["table_name"][place]}
        _table(opened.named("ui/expectations", key))


def ask() -> None:
    """Saved questions with their SQL, which may be edited; a statement only reads."""
    st.title("Questions")
    known = questions()
    name = st.selectbox("saved question", known, format_func=lambda one: known[one])
    sql = st.text_area("SQL", saved(name), height=260, key=f"sql-{name}")
    if st.button("Ask", type="primary"):
        with lake() as opened:
            answer = frames.question(opened, sql)
        if isinstance(answer, RankerError):
            fault(answer)
        else:
            st.markdown(f"{answer.height:,} rows")
            _table(answer.head(10_000))
            st.download_button("Download as CSV", _flat(answer).write_csv(), f"{name}.csv", "text/csv")


# -- training


def training() -> None:
    """Curves of finished trainings, and of one that runs now."""
    st.title("Training")
    _running()
    with lake() as opened:
        known = opened.named("ui/trainings")
        if known.is_empty():
            st.info("No training has finished in this lake.")
            return
        labels = [
            f"{row['finished_at']:%Y-%m-%d %H:%M} · {row['batch_id']}" for row in known.iter_rows(named=True)
        ]
        place = st.selectbox("finished training", range(known.height), format_func=lambda at: labels[at])
        values = frames.curves(opened, known["batch_id"][place])
    _phases(values, "finished")


@st.fragment(run_every=REFRESH_SECONDS)
def _running() -> None:
    for live in frames.running(data_home()):
        st.subheader(f"Running: {live.key}")
        st.write(live.text)
        if live.curves.height:
            _phases(live.curves, live.key)


def _phases(values: pl.DataFrame, key: str) -> None:
    """The chosen curves of each phase."""
    names = _chosen_names(values, key)
    for phase, rows in values.filter(pl.col("name").is_in(names)).group_by("phase", maintain_order=True):
        st.subheader(str(phase[0]))
        _curves(rows)


def _chosen_names(values: pl.DataFrame, key: str) -> list[str]:
    known = values["name"].unique().sort().to_list()
    return st.multiselect("curves", known, [name for name in CURVES if name in known], key=f"curves-{key}")


def _curves(rows: pl.DataFrame) -> None:
    """A small chart for each name, three in a row."""
    columns = st.columns(3)
    for place, (name, own) in enumerate(rows.group_by("name", maintain_order=True)):
        y = alt.Y("value:Q", title=None, scale=alt.Scale(zero=False))
        line = alt.Chart(own, title=str(name[0])).mark_line(point=own.height < 30).encode(alt.X("step:Q"), y)
        columns[place % 3].altair_chart(line.properties(height=160), width="stretch")


# -- what pages share


def _chosen_evaluation(opened: Lake) -> Evaluation:
    known = frames.evaluations(opened)
    if not known:
        st.info("No evaluation in this lake yet: `ranker retrain` makes one.")
        st.stop()
    return st.selectbox("evaluation", known, format_func=lambda one: one.title, key="evaluation")


def _chosen_task(known: dict[str, list[Arm]]) -> str:
    if not known:
        st.info("This evaluation kept no episodes.")
        st.stop()
    return st.selectbox("task", known)


def _chosen_arm(known: dict[str, list[Arm]], label: str) -> tuple[str, Arm]:
    task = _chosen_task(known)
    return task, st.selectbox(label, known[task], format_func=str)


def _chosen_episode(found: pl.DataFrame) -> str:
    labels = {
        row["episode_id"]: f"{row['rr']:.3f} · {row['query'][:80]}" for row in found.iter_rows(named=True)
    }
    return st.selectbox("episode", labels, format_func=lambda one: labels[one])


def _table(frame: pl.DataFrame) -> None:
    numbers = {
        name: st.column_config.NumberColumn(format="%.3f")
        for name, kind in frame.schema.items()
        if kind.is_float()
    }
    st.dataframe(_flat(frame), hide_index=True, width="stretch", column_config=numbers)


def _flat(frame: pl.DataFrame) -> pl.DataFrame:
    """Lists and structs as JSON: neither CSV nor the grid has a place for them."""
    nested = [name for name, kind in frame.schema.items() if kind.is_nested()]
    return frame.with_columns(
        pl.Series(name, _as_json(frame[name].to_list()), dtype=pl.String) for name in nested
    )


def _as_json(values: Sequence[Any]) -> list[str | None]:
    return [None if value is None else json.dumps(value, ensure_ascii=False, default=str) for value in values]


def _plain(text: str) -> str:
    """Text of the data in Markdown: nothing of it is markup."""
    return "".join(f"\\{letter}" if letter in r"\`*_{}[]()#+-.!|<>$~:" else letter for letter in text)
