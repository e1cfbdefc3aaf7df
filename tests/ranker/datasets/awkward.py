"""What real people bring, once for all readers: awkward texts, ids and numbers, each with its right value,
and a small source in each format to put them into.

A reader is tested by standing in FORMATS: `files` writes a source with the values of a `Values`, `item` says
by the rules of docs/tasks.md what the reader must make of them, `reference` parses the bytes of such a source
by the plainest means that the format has (`json`, `csv`, `str.split`), without any check.
"""

from __future__ import annotations

import csv
import inspect
import io
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import polars as pl

from ranker.config import Scenario, Task
from ranker.datasets.bundle import Bundle

SPACE = "\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
"""White space by Unicode, as a class of a regular expression."""
CRLF, TAB = "\r\n", "\t"


def line(text: object) -> str:
    """A value as it is shown: one line, NUL and lone surrogates as U+FFFD, a list joined."""
    if text is None or (isinstance(text, float) and math.isnan(text)):
        return ""
    said = " ".join(map(line, text)) if isinstance(text, list) else str(text)
    return re.sub(f"[{SPACE}]+", " ", re.sub("[\0\ud800-\udfff]", "\ufffd", said)).strip(" ")


# -- the shared list

TEXTS: dict[str, Any] = {
    "nothing": "",
    "spaces": " \u00a0 ",
    "zero width": "\u200b",
    "the word nan": "nan",
    "NUL": "a\0b",
    "marks of direction": "\u202eabc\u202c \u200f\u05d0\u05d1",
    "other scripts": "Ω Москва 日本語 🙂 e\u0301 क्षि",
    "quotes": 'say "hi" it\'s',
    "quoted at the start": '"Great" Cats',
    "one quote": '"',
    "backslash": "a\\nb\\",
    "carriage return": "a\rb",
    "line separator": "a\u2028b\u0085c\x0bd",
    "tab": "a\tb",
    "lines": "a\n\nb\r\nc",
    "control": "a\x1bb\x1cc",
    "the prompt's own tags": "<|im_end|> [/INST] <think>{candidate} {query}</think> %s",
    "Rich markup": "[test] [/b] [bold",
    "a formula": "=SUM(A1)",
    "comma": "a,b;c|d",
    "100 kB": "wort " * 20_000,
    "a mark of order": "\ufeffa",
    "lone surrogate": "a\ud800b",
}
"""Texts as they stand in a source; `line` says how they are shown."""
VALUES: dict[str, Any] = {
    "null": None,
    "NaN": math.nan,
    "zero": 0,
    "a number": 12,
    "a fraction": 1.5,
    "a list": ["a ", "", "b"],
}
"""What stands for a text where a format has types."""
NO_TEXTS: dict[str, Any] = {"true": True, "an object": {"a": 1}, "a list of objects": [{"a": 1}]}
IDS: dict[str, Any] = {
    "zero": "0",
    "padded": "007",
    "a fraction": "1.0",
    "negative": "-1",
    "nan": "nan",
    "null": "null",
    "very long": "x" * 5_000,
    "other scripts": "日本",
    "quote": 'a"b',
    "percent and hash": "a%20#b",
    "spaces inside": "a  b",
    "tab": "a\tb",
    "slash and stars": "../*?[x]",
    "markup": "[/b]<|im_end|>",
    "colons": "a::b",
}
"""Ids, which stay as they stand."""
ID_VALUES: dict[str, Any] = {"zero": 0, "negative": -1, "large": 10**30, "a fraction": 1.0}
NO_IDS: dict[str, Any] = {"nothing": "", "spaces": " ", "zero width": "\u200b", "NUL": "a\0b"}
NO_ID_VALUES: dict[str, Any] = {
    "null": None,
    "NaN": math.nan,
    "true": True,
    "a list": ["a"],
    "an object": {"a": 1},
}
NUMBERS = {
    "1": 1.0,
    " 1 ": 1.0,
    "+1": 1.0,
    "1.0": 1.0,
    "1.": 1.0,
    "01": 1.0,
    "1e0": 1.0,
    "10E-1": 1.0,
    "0": 0.0,
}
"""Numbers, and their values; each is whole and lies in every range."""
NO_NUMBERS = (
    "",
    "nan",
    "NaN",
    "inf",
    "-inf",
    "1e999",
    "1_0",
    "0x1",
    "１",
    "one",
    "1,5",
    "true",
    "-11",
    "1 1",
    "--1",
)
NO_NUMBER_VALUES: tuple[Any, ...] = (None, math.nan, math.inf, -math.inf, True, "one", [1], {"a": 1}, 10**400)


@dataclass(frozen=True)
class Values:
    """What is put into a source: one item, one query, one judgement or meeting; numbers as they stand."""

    item_id: Any = "d1"
    title: Any = "One"
    text: Any = "Towers sway in the wind."
    query_id: Any = "q1"
    query: Any = "why do towers sway"
    user_id: Any = "u1"
    numbers: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def number(self, name: str, usual: object) -> Any:
        return self.numbers.get(name, usual)

    def having(self, slot: str, value: object) -> Values:
        """With another value; a name that is no field's is a number's."""
        if slot in ("item_id", "title", "text", "query_id", "query", "user_id"):
            return replace(self, **{slot: value})
        return replace(self, numbers={**self.numbers, slot: value})


Files = dict[str, bytes]
Frames = tuple[list[tuple[str, str, str]], list[tuple[str, str]], list[tuple[str, str, float | None]]]
"""(item_id, title, text), (query_id, text), (query or user, item, grade or rating): what is compared."""


def frames(bundle: Bundle, by_text: bool) -> Frames:
    """What a bundle holds, by its content; queries by their texts where ids are digests."""
    queries = bundle.queries.select("query_id", "text").rows()
    digests = {name: text for name, text in queries if by_text}
    met = bundle.interactions.select("user_id", "item_id", "rating").rows() or [
        (digests.get(query, query), item, grade)
        for query, item, grade in bundle.qrels.select("query_id", "item_id", "relevance").iter_rows()
    ]
    return (
        sorted(bundle.items.select("item_id", "title", "text").rows()),
        sorted(("" if name in digests else name, text) for name, text in queries),
        sorted(met, key=repr),
    )


@dataclass(frozen=True)
class Format:
    """One form of one reader's files."""

    name: str
    reader: str
    files: Callable[[Values], Files]
    item: Callable[[Values], tuple[str, str]]
    """Title and text of the item, from values as they are shown."""
    reference: Callable[[Files], Frames]
    """Frames of such files, by the plainest parser; raises where there is none."""
    texts: tuple[str, ...]
    """Slots that hold a text."""
    ids: tuple[str, ...]
    """Slots that hold an id."""
    numbers: Mapping[str, str] = field(default_factory=dict[str, str])
    """Slots that hold a number → the file that they stand in."""
    unfit: str = "[\t\n\ud800-\udfff]"
    """What no field of the format can hold, as a regular expression; empty where it can hold anything."""
    unfit_id: str = ""
    """The same of ids, where it is more."""
    typed: tuple[str, ...] = ()
    """Slots that hold values and not only texts: JSON."""
    unplaced: tuple[str, ...] = ()
    """Files that have no rows to name."""
    left_out: tuple[str, ...] = ()
    """Slots whose lack leaves the query out; that of a query else refuses the source."""
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    scenario: Scenario = "passage"
    own_bytes: bool = False
    """Its files are no text of ours: Parquet, another library's, Python's."""

    def fits(self, slot: str, value: object) -> bool:
        """Whether a source of this format can hold the value at all."""
        unfit = (slot in self.ids and self.unfit_id) or self.unfit
        if not isinstance(value, str):
            return slot in self.typed
        return not (unfit and re.search(unfit, value))

    def frames(self, bundle: Bundle) -> Frames:
        return frames(bundle, by_text=self.scenario == "routing")

    def task(self, **options: Any) -> Task:
        return Task(
            name="own",
            scenario=self.scenario,
            reader=self.reader,
            pools="given" if self.scenario == "passage" else "",
            pool_size=2,
            wording="Rank.",
            options={**self.options, **options},
        )

    def __str__(self) -> str:
        return self.name


def write(folder: Path, files: Files) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


# -- means of the formats


def joined(separator: str, *rows: tuple[Any, ...]) -> bytes:
    return "".join(separator.join(map(str, row)) + "\n" for row in rows).encode()


def dumped(*rows: dict[str, Any]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def split(data: bytes, separator: str | None) -> list[list[str]]:
    """Rows of fields: what `line.split` gives; blank lines are none."""
    rows = [row.removesuffix("\r") for row in data.decode("utf-8-sig").split("\n")]
    blank = re.compile(f"[{SPACE}]*")
    kept = [row for row in rows if not blank.fullmatch(row) or (separator and separator in row)]
    if separator:
        return [row.split(separator) for row in kept]
    return [[part for part in re.split(f"[{SPACE}]+", row) if part] for row in kept]


def records(data: bytes) -> list[dict[str, Any]]:
    """JSON lines with numbers as they are written."""
    rows = data.decode("utf-8-sig").split("\n")
    found = [json.loads(row, parse_int=str, parse_float=str) for row in rows if row.strip()]
    return [json.loads(json.dumps(row), parse_constant=lambda _: None) for row in found]


def document(item_id: object, title: object, text: object) -> tuple[str, str, str]:
    """An item of a judged collection: id, title, text, with what is missing filled in."""
    name = re.sub("[\ud800-\udfff]", "\ufffd", str(item_id))
    return name, line(title) or line(name), line(text) or line(title) or line(name)


def graded(queries: Mapping[str, object], judged: list[tuple[str, str, str]], items: list[Any]) -> Frames:
    """Of judged rows (query, item, grade): queries with a relevant document, and their judgements."""
    relevant = {query for query, _, grade in judged if float(grade) > 0}
    return (
        sorted(items),
        sorted((query, line(text)) for query, text in queries.items() if query in relevant),
        sorted(((q, i, max(float(g), 0.0)) for q, i, g in judged if q in relevant), key=repr),
    )


# -- recommendation


def _recbole(v: Values) -> Files:
    inter = ("user_id:token", "item_id:token", "rating:float", "timestamp:float")
    met = (v.user_id, v.item_id, v.number("rating", "3"), v.number("timestamp", "60"))
    item = ("item_id:token", "title:token_seq", "class:token_seq")
    return {
        "x.inter": joined("\t", inter, met, ("u2", "other", "4.5", "1e9")),
        "x.item": joined("\t", item, (v.item_id, v.title, "Drama"), ("other", "Other", "")),
    }


def unquoted(kinds: str) -> str:
    """Without the brackets and quotation marks that the Amazon conversion leaves around words."""
    bare = re.sub(rf"(^|[{SPACE},\[])['\"]|['\"]($|[{SPACE},\]])", r"\1\2", kinds)
    return line(bare.replace("[", "").replace("]", ""))


def _recbole_rows(files: Files) -> Frames:
    (inter, *met), (item, *items) = split(files["x.inter"], "\t"), split(files["x.item"], "\t")
    rows = [dict(zip((c.split(":")[0] for c in inter), row, strict=True)) for row in met]
    kinds = dict(c.split(":") for c in item)
    sequences = [name for name, kind in kinds.items() if kind == "token_seq"]
    titled = next((name for name in ("title", *sequences) if name in kinds), "item_id")
    second = next((name for name in sequences if name != titled), "")
    shown = []
    for fields in items:
        thing = dict(zip(kinds, fields, strict=True))
        title, kind = line(thing[titled]) or line(thing["item_id"]), unquoted(thing.get(second, ""))
        shown.append((thing["item_id"], title, f"{title}, {kind}" if kind else title))
    ratings = [(r["user_id"], r["item_id"], float(r["rating"]) if "rating" in r else None) for r in rows]
    return sorted(shown), [], sorted(ratings, key=repr)


def _llmrank(v: Values) -> Files:
    item = ("item_id:token", "title:token_seq")
    inter = ("user_id:token", "item_id_list:token_seq", "item_id:token")
    return {
        "Games.item": joined("\t", item, (v.item_id, v.title), ("other", "Other")),
        "Games.test.inter": joined("\t", inter, (v.user_id, v.item_id, "other"), ("u2", "other", v.item_id)),
    }


def _llmrank_rows(files: Files) -> Frames:
    (_, *items), (names, *met) = split(files["Games.item"], "\t"), split(files["Games.test.inter"], "\t")
    pairs: dict[tuple[str, str], None] = {}
    for fields in met:
        row = dict(zip((name.split(":")[0] for name in names), fields, strict=True))
        sequence = f"{row['item_id_list']} {row.get('item_id', '')}"
        pairs |= {(row["user_id"], item): None for item in re.split(f"[{SPACE}]+", sequence) if item}
    return (
        sorted((name, line(title) or line(name), line(title) or line(name)) for name, title in items),
        [],
        sorted(((user, item, None) for user, item in pairs), key=repr),
    )


def _movietweetings(v: Values) -> Files:
    met = (v.user_id, v.item_id, v.number("rating", "8"), v.number("timestamp", "60"))
    return {
        "ratings.dat": joined("::", met, ("u2", "other", "10", "61")),
        "movies.dat": joined("::", (v.item_id, v.title, "Drama|Crime"), ("other", "Other", "")),
    }


def _movietweetings_rows(files: Files) -> Frames:
    items = []
    for name, title, genres in split(files["movies.dat"], "::"):
        shown, kinds = line(title) or line(name), line(genres.replace("|", " "))
        items.append((name, shown, f"{shown}, {kinds}" if kinds else shown))
    met = [(user, item, float(rating)) for user, item, rating, _ in split(files["ratings.dat"], "::")]
    return sorted(items), [], sorted(met, key=repr)


def _lastfm(v: Values) -> Files:
    times = ("userID", "artistID", "tagID", "timestamp")
    return {
        "artists.dat": joined("\t", ("id", "name"), (v.item_id, v.title), ("other", "Other")),
        "user_artists.dat": joined(
            "\t",
            ("userID", "artistID", "weight"),
            (v.user_id, v.item_id, v.number("plays", "9")),
            (v.user_id, "other", "9"),
        ),
        "user_taggedartists-timestamps.dat": joined(
            "\t",
            times,
            (v.user_id, v.item_id, "5", v.number("time", "1238536800000")),
            (v.user_id, "other", "5", "1238536900000"),
        ),
    }


def _lastfm_rows(files: Files) -> Frames:
    (_, *artists), (_, *played), (_, *tagged) = (split(data, "\t") for data in files.values())
    most: dict[str, float] = {}
    for user, _, plays in played:
        most[user] = max(most.get(user, 0), float(plays))
    rated = {
        (user, item): 10 * math.log(float(plays) + 1) / math.log(most[user] + 1) if most[user] else 0.0
        for user, item, plays in played
    }
    known = {row[0] for row in artists}
    pairs = dict.fromkeys([(row[0], row[1]) for row in [*tagged, *played] if row[1] in known])
    return (
        sorted((row[0], line(row[1]) or line(row[0]), line(row[1]) or line(row[0])) for row in artists),
        [],
        sorted(((user, item, rated.get((user, item))) for user, item in pairs), key=repr),
    )


# -- routing


def _llmrouter(v: Values) -> Files:
    prices = {"input_price": v.number("price", 1), "output_price": 1}
    models = {v.item_id: {"size": "7B", "feature": v.text, **prices}, "other": {**prices, "input_price": 1}}
    scores = {v.item_id: v.number("effect", 1), "other": 0.5}
    asked = [{"question": v.query, "scores": scores}, {"question": "How?", "scores": {"a": 1, "other": 0}}]
    models["a"] = models["other"]
    return {"train.json": json.dumps(asked).encode(), "default_llm.json": json.dumps(models).encode()}


def _llmrouter_rows(files: Files) -> Frames:
    asked, models = (
        json.loads(data.decode("utf-8-sig"), parse_constant=lambda _: None) for data in files.values()
    )
    scored = [
        (line(entry["question"]), plain(llm), float(round(10 * effect)))
        for entry in asked
        for llm, effect in entry["scores"].items()
    ]
    facts = {plain(name): given for name, given in models.items()}
    items = [
        (llm, line(llm), line(f"{llm}, {line(facts[llm].get('size')) or 'unknown size'}: {line(said)}"))
        for llm in sorted({llm for _, llm, _ in scored})
        for said in [facts[llm].get("feature")]
    ]
    return items, sorted(("", line(entry["question"])) for entry in asked), sorted(scored, key=repr)


def plain(name: str) -> str:
    return re.sub("[\ud800-\udfff]", "\ufffd", name)


def _graphrouter(v: Values) -> Files:
    out = io.StringIO()
    table = csv.writer(out)
    table.writerow(("task", "query", "llm", "effect", "cost"))
    table.writerow(("t", v.query, v.item_id, v.number("effect", "1"), v.number("cost", "1")))
    table.writerow(("t", v.query, "other", "0.5", "2"))
    described = {v.item_id: {"feature": v.text}, "other": "Wise."}
    return {
        "data.csv": out.getvalue().encode(),
        "llm_descriptions.json": json.dumps(described).encode(),
    }


def _graphrouter_rows(files: Files) -> Frames:
    table = csv.reader(io.StringIO(files["data.csv"].decode("utf-8-sig"), newline=""))
    names, *answers = [row for row in table if len(row) > 1 or any(map(line, row))]
    rows = [dict(zip(names, row, strict=True)) for row in answers]
    given = json.loads(files["llm_descriptions.json"].decode("utf-8-sig"), parse_constant=lambda _: None)
    said = {plain(k): line(v.get("feature") if isinstance(v, dict) else v) for k, v in given.items()}
    llms = sorted({row["llm"] for row in rows})
    return (
        [(llm, line(llm), line(f"{llm}: {said[llm]}" if said.get(llm) else llm)) for llm in llms],
        sorted({("", line(row["query"])) for row in rows}),
        sorted(
            ((line(r["query"]), r["llm"], float(round(10 * float(r["effect"])))) for r in rows),
            key=repr,
        ),
    )


# -- passages


def _msmarco(v: Values) -> Files:
    rows = {
        "query": [v.query, "what is rain"],
        "query_id": [v.query_id, "other"],
        "passages": [
            {"is_selected": [1, 0], "passage_text": [v.text, "Another."]},
            {"is_selected": [0, 1], "passage_text": ["Snow falls.", "Rain is water."]},
        ],
    }
    out = io.BytesIO()
    pl.DataFrame(rows).write_parquet(out)
    return {"t.parquet": out.getvalue()}


def _msmarco_rows(files: Files) -> Frames:
    import pyarrow.parquet as pq  # as the reader; but rows as Python's values, one by one

    items, queries, judged = [], [], []
    for row in pq.read_table(io.BytesIO(files["t.parquet"])).to_pylist():
        texts, chosen = (
            [line(text) for text in row["passages"]["passage_text"]],
            row["passages"]["is_selected"],
        )
        two = len(texts) == 2 and len({"", *texts}) == 3
        if two and sum(flag > 0 for flag in chosen) == 1 and line(row["query"]):
            name = str(row["query_id"])
            queries.append((name, line(row["query"])))
            items += [(f"{name}-{i}", line(f"{name}-{i}"), text) for i, text in enumerate(texts)]
            judged += [(name, f"{name}-{i}", float(flag > 0)) for i, flag in enumerate(chosen)]
    return sorted(items), sorted(queries), sorted(judged, key=repr)


def _trec(v: Values) -> Files:
    docs = (
        f"<DOC>\n<DOCNO>{v.item_id}</DOCNO>\n<TITLE>{v.title}</TITLE>\n{v.text}\n</DOC>\n"
        "<DOC><DOCNO>other</DOCNO>Bridges hum.</DOC>\n"
    )
    topics = f"<top>\n<num> Number: {v.query_id}\n<title> Topic: {v.query}\n</top>\n"
    judged = ((v.query_id, 0, v.item_id, v.number("grade", "2")), (v.query_id, 0, "other", "1"))
    return {
        "collection.trec": docs.encode(),
        "topics.trec": topics.encode(),
        "qrels.txt": joined(" ", *judged),
    }


def _trec_rows(files: Files) -> Frames:
    docs, topics = (files[name].decode("utf-8-sig") for name in ("collection.trec", "topics.trec"))
    items, queries = [], {}
    for block in re.split("</doc>", docs, flags=re.I)[:-1]:
        head, name, rest = re.split("</?docno>", block, maxsplit=2, flags=re.I)
        title = re.findall("<title>(.*?)</title>", rest, flags=re.I | re.S)
        text = re.sub("<[^<>]*>", " ", re.sub("^.*?<doc>", "", head, count=1, flags=re.I | re.S) + rest)
        items.append(
            document(
                re.sub(f"^[{SPACE}]+|[{SPACE}]+$", "", name),
                re.sub("<[^<>]*>", " ", title[0]) if title else "",
                text,
            )
        )
    for block in re.split("</top>", topics, flags=re.I)[:-1]:
        fields = {
            name.lower(): line(re.sub(r"^\s*(number|topic)\s*:", "", said, flags=re.I))
            for name, said in reversed(re.findall("<(num|title)>([^<]*)", block, flags=re.I))
        }
        queries[fields["num"]] = fields["title"]
    judged = [(row[0], row[2], row[3]) for row in split(files["qrels.txt"], None)]
    return graded(queries, judged, items)


def _trec_tsv(v: Values) -> Files:
    run = (
        (v.query_id, "Q0", v.item_id, 1, v.number("score", "7.5"), "mine"),
        (v.query_id, "Q0", "other", 2, "0.5", "mine"),
    )
    judged = ((v.query_id, 0, v.item_id, v.number("grade", "2")), (v.query_id, 0, "other", "1"))
    return {
        "collection.tsv": joined("\t", ("other", "Bridges", "They hum."), (v.item_id, v.title, v.text)),
        "topics.tsv": joined("\t", ("q0", "unjudged"), (v.query_id, v.query)),
        "qrels.txt": joined("\t", *judged),
        "run.txt": joined(" ", *run),
    }


def _trec_tsv_rows(files: Files) -> Frames:
    items = [document(*row) for row in split(files["collection.tsv"], "\t")]
    queries = dict(split(files["topics.tsv"], "\t"))
    grades = {(row[0], row[2]): row[3] for row in split(files["qrels.txt"], None)}
    known = {query for query, _ in grades}
    ranked = [(row[0], row[2]) for row in split(files["run.txt"], None) if row[0] in known & set(queries)]
    return graded(queries, [(*pair, grades.get(pair, "0")) for pair in ranked], items)


def _beir(v: Values) -> Files:
    out = io.StringIO()
    table = csv.writer(out, delimiter="\t", lineterminator="\n", quoting=csv.QUOTE_ALL)
    table.writerow(("query-id", "corpus-id", "score"))
    # As a number in JSON, as its digits in the table: what json.dumps and str make of the same value.
    table.writerow((v.query_id, v.item_id, v.number("grade", "2")))
    table.writerow((v.query_id, "other", "1"))
    return {
        "corpus.jsonl": dumped(
            {"_id": v.item_id, "title": v.title, "text": v.text}, {"_id": "other", "text": "Bridges hum."}
        ),
        "queries.jsonl": dumped({"_id": v.query_id, "text": v.query}),
        "qrels/test.tsv": out.getvalue().encode(),
    }


def _beir_rows(files: Files) -> Frames:
    items = []
    for row in records(files["corpus.jsonl"]):
        title, text = line(row.get("title")), line(row.get("text"))
        items.append(document(row["_id"], title, f"{title}. {text}" if title and text else text))
    queries = {row["_id"]: row["text"] for row in records(files["queries.jsonl"])}
    qrels = io.StringIO(files["qrels/test.tsv"].decode("utf-8-sig"), newline="")
    _, *judged = [row for row in csv.reader(qrels, delimiter="\t") if len(row) > 1]
    return graded(queries, [(q, i, grade) for q, i, grade in judged], items)


def _ir_collection(v: Values) -> Files:
    judged = {"query_id": v.query_id, "iteration": "0"}
    return {
        "docs": dumped(
            {"doc_id": v.item_id, "title": v.title, "text": v.text},
            {"doc_id": "other", "title": "", "text": "Bridges hum."},
        ),
        "queries": dumped({"query_id": v.query_id, "text": v.query}),
        "qrels": dumped(
            {**judged, "doc_id": v.item_id, "relevance": v.number("grade", 2)},
            {**judged, "doc_id": "other", "relevance": 1},
        ),
    }


def _ir_collection_rows(files: Files) -> Frames:
    docs, asked, judged = (records(data) for data in files.values())
    return graded(
        {row["query_id"]: row["text"] for row in asked},
        [(row["query_id"], row["doc_id"], row["relevance"]) for row in judged],
        [document(row["doc_id"], row["title"], f"{line(row['title'])} {line(row['text'])}") for row in docs],
    )


PASSAGE = "Words are separated by spaces; punctuation belongs to the word before it."


def _pydoc(v: Values) -> Files:
    said = repr(f"Count the words of a text.\n\n{v.text} {PASSAGE}")
    return {"one.py": f"def count(text):\n    {said}\n".encode()}


def _pydoc_rows(files: Files) -> Frames:
    """By Python's compiler, which keeps a documentation string as the first constant."""
    code = compile(files["one.py"], "one.py", "exec").co_consts[0]
    said = inspect.cleandoc(code.co_consts[0])
    query, passage = re.split(r"(?<=[.!?])\s+|\n\s*\n", said, maxsplit=1)  # a sentence, and the rest
    name = f"one.{code.co_name}"
    return [(name, line(name), line(passage))], [(name, line(query))], [(name, name, 1.0)]


# -- your own tables


def _tables_csv(v: Values) -> Files:
    met, songs = io.StringIO(), io.StringIO()
    when, stars = v.number("timestamp", "60"), v.number("rating", "3")
    csv.writer(met, delimiter=";").writerows(
        [
            ("stars", "who", "item_id", "when"),
            (stars, v.user_id, v.item_id, when),
            ("4.5", "u2", "other", "1e9"),
        ]
    )
    csv.writer(songs, delimiter="\t").writerows(
        [("item_id", "name", "price"), (v.item_id, v.title, "9"), ("other", "Other", "")]
    )
    return {"plays.csv": met.getvalue().encode(), "songs.tsv": songs.getvalue().encode()}


def _csv_rows(data: bytes, separator: str) -> list[dict[str, str]]:
    table = csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), delimiter=separator)
    names, *rows = [row for row in table if len(row) > 1 or any(map(line, row))]
    return [dict(zip(names, row, strict=True)) for row in rows]


def _tables_csv_rows(files: Files) -> Frames:
    met, songs = _csv_rows(files["plays.csv"], ";"), _csv_rows(files["songs.tsv"], "\t")
    titles = [(row["item_id"], line(row["name"]) or line(row["item_id"])) for row in songs]
    rated = [(row["who"], row["item_id"], float(row["stars"])) for row in met]
    return sorted((name, title, title) for name, title in titles), [], sorted(rated, key=repr)


def _tables_json(v: Values) -> Files:
    judged = {"query_id": v.query_id, "note": [1]}
    return {
        "docs.jsonl": dumped(
            {"document_id": v.item_id, "title": v.title, "text": v.text},
            {"document_id": "other", "text": "Bridges hum."},
        ),
        "asked.jsonl": dumped({"query_id": v.query_id, "text": v.query}),
        "judged.jsonl": dumped(
            {**judged, "document_id": v.item_id, "grade": v.number("grade", 2)},
            {**judged, "document_id": "other", "grade": 1},
        ),
    }


def _tables_json_rows(files: Files) -> Frames:
    docs, asked, judged = (records(data) for data in files.values())
    items = []
    for row in docs:
        title, text = line(row.get("title")), line(row.get("text"))
        items.append(document(row["document_id"], title, f"{title}. {text}" if title and text else text))
    return graded(
        {row["query_id"]: row["text"] for row in asked},
        [(row["query_id"], row["document_id"], row["grade"]) for row in judged],
        items,
    )


def _tables_parquet(v: Values) -> Files:
    answers = {
        "query": [v.query, v.query],
        "model": [v.item_id, "other"],
        "effect": [1.0, 0.5],
        "paid": [1, 2],
    }
    out, said = io.BytesIO(), io.BytesIO()
    pl.DataFrame(answers).write_parquet(out)
    pl.DataFrame({"model": [v.item_id, "other"], "text": [v.text, "Wise."]}).write_parquet(said)
    return {"t.parquet": out.getvalue(), "llms.parquet": said.getvalue()}


def _tables_parquet_rows(files: Files) -> Frames:
    import pyarrow.parquet as pq

    rows, llms = (pq.read_table(io.BytesIO(data)).to_pylist() for data in files.values())
    said = {row["model"]: line(row["text"]) for row in llms}
    names = sorted({row["model"] for row in rows})
    return (
        [(llm, line(llm), line(f"{llm}: {said[llm]}" if said.get(llm) else llm)) for llm in names],
        sorted({("", line(row["query"])) for row in rows}),
        sorted(((line(r["query"]), r["model"], float(round(10 * r["effect"]))) for r in rows), key=repr),
    )


FORMATS = (
    Format(
        "recbole",
        "recbole",
        _recbole,
        lambda v: (line(v.title) or line(v.item_id), f"{line(v.title) or line(v.item_id)}, Drama"),
        _recbole_rows,
        texts=("title",),
        ids=("item_id", "user_id"),
        numbers={"rating": "x.inter", "timestamp": "x.inter"},
    ),
    Format(
        "llmrank",
        "llmrank",
        _llmrank,
        lambda v: (line(v.title) or line(v.item_id),) * 2,
        _llmrank_rows,
        texts=("title",),
        ids=("item_id", "user_id"),
        unfit_id=f"[{SPACE}\ud800-\udfff]",
    ),
    Format(
        "movietweetings",
        "movietweetings",
        _movietweetings,
        lambda v: (line(v.title) or line(v.item_id), f"{line(v.title) or line(v.item_id)}, Drama Crime"),
        _movietweetings_rows,
        texts=("title",),
        ids=("item_id", "user_id"),
        numbers={"rating": "ratings.dat", "timestamp": "ratings.dat"},
        unfit="[:\n\ud800-\udfff]",
    ),
    Format(
        "lastfm",
        "lastfm",
        _lastfm,
        lambda v: (line(v.title) or line(v.item_id),) * 2,
        _lastfm_rows,
        texts=("title",),
        ids=("item_id", "user_id"),
        numbers={"plays": "user_artists.dat", "time": "user_taggedartists-timestamps.dat"},
    ),
    Format(
        "llmrouter",
        "llmrouter",
        _llmrouter,
        lambda v: (line(v.item_id), line(f"{v.item_id}, 7B: {line(v.text)}")),
        _llmrouter_rows,
        texts=("query", "text"),
        ids=("item_id",),
        numbers={"effect": "train.json", "price": "default_llm.json"},
        unfit="",
        typed=("query", "text", "effect", "price"),
        unplaced=("default_llm.json",),
        scenario="routing",
    ),
    Format(
        "graphrouter",
        "graphrouter",
        _graphrouter,
        lambda v: (line(v.item_id), line(f"{v.item_id}: {line(v.text)}" if line(v.text) else v.item_id)),
        _graphrouter_rows,
        texts=("query", "text"),
        ids=("item_id",),
        numbers={"effect": "data.csv", "cost": "data.csv"},
        unfit="[\ud800-\udfff]",
        typed=("text",),
        unplaced=("llm_descriptions.json",),
        scenario="routing",
    ),
    Format(
        "msmarco",
        "msmarco",
        _msmarco,
        lambda v: (line(f"{v.query_id}-0"), line(v.text)),
        _msmarco_rows,
        texts=("query", "text"),
        ids=("query_id",),
        unfit="[\ud800-\udfff]",
        left_out=("query", "text"),
        own_bytes=True,
    ),
    Format(
        "trec",
        "trec",
        _trec,
        lambda v: (
            line(v.title) or line(v.item_id),
            line(f"{line(v.title)} {line(v.text)}") or line(v.title) or line(v.item_id),
        ),
        _trec_rows,
        texts=("title", "text", "query"),
        ids=("item_id", "query_id"),
        numbers={"grade": "qrels.txt"},
        unfit="[<>\ud800-\udfff]",
        unfit_id=f"[<>{SPACE}\ud800-\udfff]",
    ),
    Format(
        "trec, tab-separated, with a run",
        "trec",
        _trec_tsv,
        lambda v: (line(v.title) or line(v.item_id), line(v.text) or line(v.title) or line(v.item_id)),
        _trec_tsv_rows,
        texts=("title", "text", "query"),
        ids=("item_id", "query_id"),
        numbers={"grade": "qrels.txt", "score": "run.txt"},
        unfit_id=f"[{SPACE}\ud800-\udfff]",
        options={"run": "run*"},
    ),
    Format(
        "beir",
        "beir",
        _beir,
        lambda v: document(
            v.item_id,
            v.title,
            f"{line(v.title)}. {line(v.text)}" if line(v.title) and line(v.text) else v.text,
        )[1:],
        _beir_rows,
        texts=("title", "text", "query"),
        ids=("item_id", "query_id"),
        numbers={"grade": "qrels/test.tsv"},
        unfit="",
        unfit_id="[\ud800-\udfff]",
        typed=("title", "text", "query", "item_id", "query_id"),
    ),
    Format(
        "ir_collection",
        "ir_collection",
        _ir_collection,
        lambda v: document(v.item_id, v.title, f"{line(v.title)} {line(v.text)}")[1:],
        _ir_collection_rows,
        texts=("title", "text", "query"),
        ids=("item_id", "query_id"),
        numbers={"grade": "qrels"},
        unfit="",
        typed=("title", "text", "query", "item_id", "query_id", "grade"),
        options={"dataset": "own/one"},
        own_bytes=True,
    ),
    Format(
        "pydoc",
        "pydoc",
        _pydoc,
        lambda v: ("one.count", line(f"{line(v.text)} {PASSAGE}")),
        _pydoc_rows,
        texts=("text",),
        ids=(),
        unfit="",
        own_bytes=True,
    ),
    Format(
        "tables, CSV",
        "tables",
        _tables_csv,
        lambda v: (line(v.title) or line(v.item_id), line(v.title) or line(v.item_id)),
        _tables_csv_rows,
        texts=("title",),
        ids=("item_id", "user_id"),
        numbers={"rating": "plays.csv", "timestamp": "plays.csv"},
        unfit="[\ud800-\udfff]",
        options={
            "files": {"interactions": "plays.csv", "items": "songs.tsv"},
            "columns": {
                "interactions": {"user_id": "who", "rating": "stars", "timestamp": "when"},
                "items": {"title": "name"},
            },
        },
        scenario="recommendation",
    ),
    Format(
        "tables, JSON lines",
        "tables",
        _tables_json,
        lambda v: document(
            v.item_id,
            v.title,
            f"{line(v.title)}. {line(v.text)}" if line(v.title) and line(v.text) else v.text,
        )[1:],
        _tables_json_rows,
        texts=("title", "text", "query"),
        ids=("item_id", "query_id"),
        numbers={"grade": "judged.jsonl"},
        unfit="",
        unfit_id="[\ud800-\udfff]",
        typed=("title", "text", "query", "item_id", "query_id", "grade"),
        options={
            "files": {"documents": "docs.jsonl", "queries": "asked.jsonl", "judgements": "judged.jsonl"},
            "columns": {
                "documents": {"title": "title"},
                "queries": {"query": "text"},
                "judgements": {"relevance": "grade"},
            },
        },
    ),
    Format(
        "tables, Parquet",
        "tables",
        _tables_parquet,
        lambda v: (line(v.item_id), line(f"{v.item_id}: {line(v.text)}" if line(v.text) else v.item_id)),
        _tables_parquet_rows,
        texts=("query", "text"),
        ids=("item_id",),
        unfit="[\ud800-\udfff]",
        options={
            "files": {"answers": "t.parquet", "descriptions": "llms.parquet"},
            "columns": {"answers": {"llm": "model", "cost": "paid"}, "descriptions": {"llm": "model"}},
        },
        scenario="routing",
        own_bytes=True,
    ),
)
WITHOUT_FILES = {"synthetic"}
"""Readers that read nothing."""


def exported(home: Path, part: str) -> str:
    """Stands for ir_datasets' command, which takes a second: the lines of JSON that it would print."""
    return (home / part).read_text(encoding="utf-8")
