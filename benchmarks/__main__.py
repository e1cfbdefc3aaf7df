"""`make bench`: what the warehouse takes in time and memory at scale, and tests at full length
(docs/bench.md); what each strategy costs and is worth (docs/strategies-measured.md). Tables, printed and
written.

`--scale 0.01` takes a hundredth of everything and leaves the documents alone; `--only writers` runs the parts
named.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import full_length
from benchmarks.crowd import READERS, TEAM, WRITERS, crowd
from benchmarks.feedback import TESTED
from benchmarks.frontier import strategies
from benchmarks.measure import PartFailed, apart, figures
from benchmarks.table import KEPT, Row, Size, machine, table
from ranker.cli import live
from ranker.cli.output import console
from ranker.config import data_home
from ranker.progress import Progress
from ranker.refs import PROJECT
from tests.ranker.lake.servers import postgres, postgres_binaries


def draw(room: Path, size: Size) -> list[Row]:
    small, large, loop = size.rows(2_000_000), size.rows(20_000_000), size.rows(200_000)
    for rows in (loop, small, large):
        apart("candidates", "prepare", str(room), str(rows))
    first, last = (apart("candidates", "stage", str(room), str(rows)) for rows in (small, large))
    naive, ours = apart("pandas_loop", str(loop)), apart("candidates", "pools", str(room), str(loop))
    peak, growth, speed = last["peak_mib"] / 1024, _ratio(last, first), _ratio(naive, ours, per="sets")
    return [
        Row(
            f"candidates over {large:,} interactions: peak memory",
            f"{peak:.2f} GiB",
            "at most 4 GiB",
            peak <= 4,
        ),
        Row(
            f"candidates over {large:,} interactions: time",
            f"{figures(last)} for {last['sets']:,} sets of 20",
        ),
        Row(
            f"time of {large:,} over time of {small:,} ({figures(first)})",
            f"{growth:.1f}",
            "at most 12",
            growth <= 12,
        ),
        Row(
            f"pools over {loop:,} interactions: a pandas loop's time a set over ours",
            f"{speed:.0f} ({figures(naive)} for {naive['sets']:,.0f} sets against {figures(ours)} for"
            f" {ours['sets']:,})",
            "at least 20",
            speed >= 20,
        ),
    ]


def _ratio(one: dict[str, Any], other: dict[str, Any], per: str = "") -> float:
    """Of processor times: other work on the machine changes the wall's between one measurement and the
    next.
    """
    return (one["cpu"] / (one[per] if per else 1)) / (other["cpu"] / (other[per] if per else 1))


def contracts(room: Path, size: Size) -> list[Row]:
    source = size.rows(20_000_000)
    if not (room / "lake").exists():
        apart("candidates", "prepare", str(room), str(source))
    found = apart("judging", str(room), str(source), str(size.rows(99_000)))
    what = f"contracts of candidates over {found['rows']:,} rows ({found['expectations']} expectations)"
    return [Row(what, figures(found), "under 10 s", found["seconds"] < 10)]


def views(room: Path, size: Size) -> list[Row]:
    found = apart("views", str(room / "views"), str(size.rows(10_000_000)))
    return [
        Row(f"view {name} over {found['steps']:,} steps", figures(taken), "under 5 s", taken["seconds"] < 5)
        for name, taken in found["views"].items()
    ] + [
        Row(
            f"page {name} of `ranker ui` over {found['steps']:,} steps",
            figures(taken),
            "under 2 s",
            taken["seconds"] < 2,
        )
        for name, taken in found["pages"].items()
    ]


def writers(room: Path, size: Size) -> list[Row]:
    rows = [
        _crowded(
            f"{WRITERS} writers, {READERS} readers, {size.seconds:.0f} s{_KILLING if kill else ''}",
            crowd(room / f"crowd{int(kill)}", size.seconds, kill),
        )
        for kill in (False, True)
    ]
    return [*rows, on_postgres(room, size)]


def on_postgres(room: Path, size: Size) -> Row:
    """Ten processes on a catalog in PostgreSQL."""
    what = f"{TEAM[0]} writers, {TEAM[1]} readers on PostgreSQL, {size.seconds:.0f} s{_KILLING}"
    binaries = postgres_binaries()
    if binaries is None:
        return Row(
            what, "not run: no PostgreSQL server on this machine (Debian: `apt-get install postgresql`)"
        )
    with postgres(binaries) as server:
        uri = f"ducklake:postgres:dbname=lake host=127.0.0.1 port={server.port} user=lake"
        seen = crowd(room / "crowd-postgres", size.seconds, True, f"{uri}?data_path={room}/parquet/", *TEAM)
    return _crowded(what, seen)


_KILLING = ", a writer killed every 4 s"


def _crowded(what: str, seen: dict[str, Any]) -> Row:
    """What a crowd saw, as a row."""
    fine = (
        not (seen["lost"] or seen["partial"] or seen["reader_errors"] or seen["writer_errors"])
        and seen["acknowledged"] > 0
        and seen["reads"] > 0
    )
    text = ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in seen.items())
    return Row(what, text, "none lost, partial or in error", fine)


def passages(_room: Path, size: Size) -> list[Row]:
    found = apart("passages", str(size.rows(1_000_000)), "20")
    text = (
        f"{found['index_s']:.0f} s for the index, {1000 * found['query_s']:.0f} ms a query,"
        f" {found['peak_mib'] / 1024:.1f} GiB"
    )
    return [Row(f"BM25 over {found['rows']:,} passages", text)]


def likelihood(_room: Path, _size: Size) -> list[Row]:
    found = apart("likelihood", str(data_home()))
    return [
        Row(
            f"{name}: {way['queries']} queries",
            f"{way['queries'] / way['seconds']:.1f} queries/s, {way['tokens'] / way['seconds']:,.0f}"
            f" tokens/s, {way['tokens'] / way['seconds'] / found['bound']:.0%} of the bound of"
            f" {found['bound']:,.0f}, {way['padding']:.0%} padding",
        )
        for name, way in found["ways"].items()
    ]


def library(_room: Path, _size: Size) -> list[Row]:
    apart("library", str(data_home()))  # byte code is compiled and the weights are in the page cache after it
    found = apart("library", str(data_home()))
    text = (
        f"{figures(found)}: {found['load']:.1f} s until the model is loaded, {found['first']:.2f} s for the"
        f" ranking, {found['second']:.2f} s for the next"
    )
    least = apart("library", "--floor", found["folder"])
    alone = f"{figures(least)}, of which the imports {least['imports']:.1f} s of processor"
    return [
        Row("the first ranking of a new process", text, "under 3 s", found["seconds"] < 3),
        Row("its floor: torch, transformers, the weights, one forward pass", alone),
    ]


def serving(_room: Path, _size: Size) -> list[Row]:
    found = apart("serving", str(data_home()))
    return [
        Row(
            f"`/v1/rerank`, 8 documents of 30 words, {way}",
            f"{load['per_second']:.1f} requests/s, median {load['median']:.2f} s, p95 {load['p95']:.2f} s"
            + (f", {load['failed']:.0f} failed" if load["failed"] else "")
            + _shadowed(load),
        )
        for way, load in found.items()
        if way != "peak_mib"
    ]


def _shadowed(load: dict[str, float]) -> str:
    if "p95_ratio" not in load:
        return ""
    ratios = f"{load['median_ratio']:.2f} and {load['p95_ratio']:.2f} times those without"
    return f": {ratios}; {load['shadowed']:.0f} requests ranked by the shadow"


def proofs(room: Path, _size: Size) -> list[Row]:
    report = room / "full-length.xml"
    full_length.run(report)
    return full_length.rows(report)


def loop(room: Path, size: Size) -> list[Row]:
    found = apart("feedback", str(room / "feedback"), str(size.queries(200)))
    begins = f"nDCG@10 of {TESTED} labelled queries before anybody has clicked"
    rows = [
        Row(begins, _figure(found["start"])),
        Row("of the ranking that relevance follows", _figure(found["best"])),
    ]
    for name, rounds in found["rounds"].items():
        after = ", ".join(_figure(one) for one in rounds)
        rows.append(Row(f"after each round of {found['requests']:,} requests, {name} clicks", after))
    for name, gain in found["gains"].items():
        rows.append(Row(f"the last round's gain, {name} clicks", _figure(gain, "+"), "above 0", gain[1] > 0))
    over = found["corrected over naive"]
    rows.append(Row("corrected over naive after the last round", _figure(over, "+"), "above 0", over[1] > 0))
    for name, (value, lower, upper, effective) in found["challenger"].items():
        true = found["challenger's true gain"]
        what = (
            f"the first retraining's clicks a request beyond the first policy's, by {name} from its traffic"
        )
        figure = (
            f"{_figure([value, lower, upper], '+')}, effective sample {effective:.0f}; in truth {true:+.3f}"
        )
        rows.append(Row(what, figure, "holds the truth", lower <= true <= upper))
    return rows


def _figure(values: list[float], sign: str = "") -> str:
    """A mean with its interval."""
    value, lower, upper = values
    return f"{value:{sign}.3f} [{lower:{sign}.3f}, {upper:{sign}.3f}]"


def chat(room: Path, size: Size) -> list[Row]:
    return chat_rows(apart("chat", str(room / "chat"), "--scale", str(size.scale)))


def chat_rows(found: dict[str, Any]) -> list[Row]:
    """What the part `chat` measured: rewards of greedy answers, and what RL and its control add to SFT."""
    queries, (best, *_) = found["queries"], found["best"]
    rows = [
        Row(
            f"a chat model of {found['parameters']:,} parameters, reward on {queries} held-out queries"
            f" (chance 0, best {best:.3f}), {what}",
            f"{_figure(found['after'][name]['reward'])}, {_share(found['after'][name]['invalid'])} invalid;"
            f" greedy {_figure(found['after'][name]['greedy'])}",
        )
        for name, what in AFTER.items()
    ]
    rl, blind = (_figure(found["gains"][name], "+") for name in ("rl", "blind"))
    return [
        *rows,
        Row("GRPO − SFT, paired", rl, "above 0", found["gains"]["rl"][1] > 0),
        Row("blind GRPO − SFT, paired", blind, "not above 0", found["gains"]["blind"][1] <= 0),
    ]


AFTER = {
    "untrained": "after plain text alone",
    "sft": "after SFT",
    "rl": "after GRPO",
    "blind": "after GRPO on rewards that do not see the relevance",
}


def _share(values: list[float]) -> str:
    """A share with its interval, in percent."""
    value, lower, upper = values
    return f"{value:.1%} [{lower:.1%}, {upper:.1%}]"


def soak(room: Path, size: Size) -> list[Row]:
    from benchmarks import soak  # Prefect's client and MLflow, which no other part needs

    return soak.rows(soak.soak(room, size.retrainings, size.hours))


PARTS: dict[str, Callable[[Path, Size], list[Row]]] = {
    "draw": draw,
    "contracts": contracts,
    "views": views,
    "writers": writers,
    "passages": passages,
    "full-length": proofs,
}
"""The rows of docs/bench.md."""
ALL = {
    **PARTS,
    "library": library,
    "likelihood": likelihood,
    "serving": serving,
    "strategies": strategies,
    "soak": soak,
    "feedback": loop,
    "chat": chat,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--only", nargs="*", choices=sorted(ALL), default=list(ALL))
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long the writers write")
    parser.add_argument(
        "--model",
        type=Path,
        default=KEPT,
        help="where the policy of the part strategies is kept; made there if it is not",
    )
    parser.add_argument("--retrainings", type=int, default=50, help="of the part soak")
    parser.add_argument("--hours", type=float, default=math.inf, help="for which the part soak asks for more")
    given = parser.parse_args()
    size = Size(given.scale, given.seconds, given.model, given.retrainings, given.hours)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="bench") as room:
        live.begin(console(stderr=True))
        try:
            with Progress("bench, parts", len(given.only)) as progress:
                for name in progress.over(given.only):
                    with Progress(name):
                        part = ALL[name](Path(room), size)
                    rows += part if name in PARTS else []
                    print(table(part), flush=True)
        except PartFailed as error:
            sys.exit(str(error))
        finally:
            live.end()
    if given.scale == 1.0 and set(given.only) >= set(PARTS):
        text = (
            f"# The warehouse at scale\n\n`make bench`, on {machine()}. One run. Times are by the wall;"
            " ratios are of processor time, which other work on the machine disturbs less. The pandas loop"
            " and ours give the same tables of the same interactions and count no imports; ours reads them"
            " from the lake, the loop finds them in memory. The time of the contracts includes the import of"
            " Great Expectations. A row named after a test is that test at full length"
            f" (tests/full_length.py).\n\n{table(rows)}\n"
        )
        (PROJECT / "docs" / "bench.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
