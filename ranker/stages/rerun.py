"""Why a stage runs again: what differs from the earlier run that is most like it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from ranker.lake import Lake
from ranker.refs import Ref, canonical, flat, sections
from ranker.stages.identity import Code
from ranker.types import Fields, JsonObject

MOST = 6
"""Reasons that are spelled out; more are counted."""
LONGEST = 60
"""Characters of a value that are shown."""


def reasons(lake: Lake, stage: str, parameters: object, inputs: Sequence[Ref], code: Code) -> list[str]:
    """What differs from the earlier run of `stage` with the most parameters in common, of several the newest,
    in words: parameters, inputs, libraries, files.
    """
    runs = list(lake.named("lake/earlier", {"stage": stage}).iter_rows(named=True))
    if not runs:
        return ["nothing earlier"]
    now = _flat(stage, parameters)
    changes = [_changed(_flat(stage, json.loads(run["parameters"])), now) for run in runs]
    run, changed = min(zip(runs, changes, strict=True), key=lambda pair: len(pair[1]))  # the first of equals
    found = [*changed, *_inputs(run["inputs"], inputs), *_code(run, code)]
    if not found and run["forgotten"]:
        return ["`ranker gc` has taken its rows away"]
    return found[:MOST] + ([f"{len(found) - MOST} more"] if len(found) > MOST else [])


def _flat(stage: str, parameters: object) -> JsonObject:
    """By the name under which they are set: `train.sft.max_steps`."""
    named = sections(json.loads(canonical(parameters)))
    own = named.pop("params", {})
    return dict(flat(stage, own | named))


def _inputs(before: Sequence[str], now: Sequence[Ref]) -> Iterator[str]:
    if len(before) != len(now):
        yield f"{len(before)} inputs → {len(now)}"
        return
    for key, ref in zip(before, now, strict=True):
        if key != ref.key:
            yield f"its input {ref.stage} changed"


def _code(run: Fields, now: Code) -> Iterator[str]:
    if run["identity"] is None:
        yield f"the run of {run['finished_at']:%Y-%m-%d} kept no record of its code and libraries"
        return
    before = Code(**json.loads(run["identity"]))
    yield from _changed(before.libraries, now.libraries)
    for files, files_now in ((before.modules, now.modules), (before.sql, now.sql)):
        for file in sorted(files.keys() | files_now.keys()):
            if file not in files:
                yield f"{file} is new to it"
            elif file not in files_now:
                yield f"{file} is no part of it any more"
            elif files[file] != files_now[file]:
                yield f"{file} changed"


def _changed(before: Fields, now: Fields) -> list[str]:
    names = [*now, *(name for name in before if name not in now)]
    return [
        f"{name} {_shown(before, name)} → {_shown(now, name)}"
        for name in names
        if (name in before, before.get(name)) != (name in now, now.get(name))
    ]


def _shown(values: Fields, name: str) -> str:
    if name not in values:
        return "(absent)"
    text = str(values[name])
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
