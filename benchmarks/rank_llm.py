"""rank_llm's listwise run beside ours: the same policy, the same engine (vLLM on the CPU), the same prompts,
windows of 20 in steps of 10.

`rank_llm|ours|tolerant MODEL SETS RESULT` ranks the sets of a Parquet file. It runs in the environment of
`make test-vllm`, as rank_llm imports vLLM whatever it is to run; rank_llm itself and what of it that
environment lacks come into a folder of their own (`beside`). rank_llm's template is the policy's compact
prompt, so that what differs is the loop around the engine: rank_llm asks for an order of fixed length, reads
whatever labels it finds in it, and runs the windows of all queries in lock step. Ours reads strictly, as in
training, and once more tolerantly, as rank_llm does (evaluate.parsing).
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import polars as pl

from benchmarks import in_vllm
from ranker.engines import load, own_style
from ranker.lake.candidate_sets import from_frame, to_frame
from ranker.policy.prompts import Prompt, Style, messages
from ranker.types import CandidateSet

PACKAGES = ("rank-llm==0.25.7", "ftfy==6.3.1", "wcwidth==0.9.4", "dacite==1.9.2")
"""Installed without what they require: rank_llm also wants faiss-cpu and pandas, which its listwise run
does not import.
"""
SIZE, STEP = 20, 10
NAMES = {
    "rank_llm": "rank_llm 0.25.7, vLLM",
    "ours": "window, no-think, vLLM, strict",
    "tolerant": "window, no-think, vLLM, tolerant",
}


def beside(folder: Path) -> Path:
    """The folder with rank_llm, installed there where it is not yet.

    Raises:
        FileNotFoundError: there is no environment with vLLM.
        RuntimeError: the package index gave no rank_llm.
    """
    python, target = in_vllm.python(), folder / "rank-llm"
    if not (target / "rank_llm").is_dir():
        asked = [python, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(target), *PACKAGES]
        done = subprocess.run(asked, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(
                f"{' '.join(PACKAGES)} could not be installed: {done.stderr.strip().splitlines()[-1]}"
            )
    return target


def ran(who: str, model: str, sets: Sequence[CandidateSet], folder: Path) -> dict[str, Any]:
    """What one of the two made of the sets, in a process of its own.

    Raises:
        FileNotFoundError, RuntimeError, subprocess.TimeoutExpired: it could not be run; says why.
    """
    target, path = beside(folder), folder / f"sets-{len(sets[0])}.parquet"
    to_frame([_as_retrieved(given) for given in sets]).write_parquet(path)
    return in_vllm.ran(
        "rank_llm", who, model, str(path), result=path.with_suffix(f".{who}.json"), beside=[target]
    )


def _as_retrieved(given: CandidateSet) -> CandidateSet:
    """With the shown order as that of the first stage, for both: these candidates come from none."""
    scored = (replace(one, prior=-float(place)) for place, one in enumerate(given.candidates))
    return replace(given, candidates=tuple(scored))


def _without_lit5() -> None:
    """rank_llm imports all its rerankers; its copy of T5, for LiT5, wants what transformers 5 no longer
    has. The listwise run needs neither.
    """
    absent = ModuleType("rank_llm.rerank.listwise.rank_fid")
    absent.RankFiDDistill = absent.RankFiDScore = None  # type: ignore[attr-defined]
    sys.modules[absent.__name__] = absent


def template(given: CandidateSet, style: Style) -> dict[str, str]:
    """rank_llm's template that asks as the policy is asked here, without thinking."""
    whole = messages(Prompt("rank", False, given), style)[0]["content"]
    if style == "chat":
        pool, body = (
            "\n".join(f"{one.label}: {one.text}" for one in given.candidates),
            "{rank}: {candidate}\n",
        )
    else:
        pool, body = (
            "".join(f"{one.text} {one.label} ; " for one in given.candidates),
            "{candidate} {rank} ; ",
        )
        whole += " "
    before, found, after = whole.partition(pool)
    assert found, "texts are shown whole, word for word"
    return {
        "method": "singleturn_listwise",
        "prefix": before.replace(given.query, "{query}"),
        "body": body,
        "suffix": after.removeprefix("\n"),
        "output_validation_regex": "^<answer>( [A-Z])+ </answer>$",
        "output_extraction_regex": r"\b([A-Z])\b",
    }


def _by_rank_llm(model: str, sets: Sequence[CandidateSet], folder: Path) -> dict[str, Any]:
    _without_lit5()
    from rank_llm.data import Candidate, Query, Request
    from rank_llm.rerank.listwise import RankListwiseOSLLM

    from ranker.engines.vllm import _end_with_program, _without_main

    path = folder / "template.yaml"
    path.write_text(json.dumps(template(sets[0], own_style(model))), encoding="utf-8")  # JSON is YAML
    with _without_main():
        model_ = RankListwiseOSLLM(
            model,
            context_size=1_024,
            prompt_template_path=str(path),
            use_alpha=True,
            window_size=SIZE,
            stride=STEP,
            device="cpu",
            batch_size=64,
        )
    _end_with_program(model_._vllm_handler._vllm)
    requests = [
        Request(
            Query(given.query, given.set_id),
            [
                Candidate(c.item_id, 1.0 / place, {"text": c.text})
                for place, c in enumerate(given.candidates, 1)
            ],
        )
        for given in sets
    ]

    def ranked(asked: Sequence[Any]) -> list[Any]:
        return model_.rerank_batch(list(asked), 0, len(sets[0]), populate_invocations_history=True)

    ranked(requests[:2])
    began = time.perf_counter()
    results = ranked(requests)
    seconds = time.perf_counter() - began
    label = {given.set_id: {c.item_id: c.label for c in given.candidates} for given in sets}
    calls = [call for result in results for call in result.invocations_history]
    return {
        "seconds": seconds,
        "calls": len(calls),
        "prompt_tokens": sum(call.input_token_count for call in calls),
        "completion_tokens": sum(call.output_token_count for call in calls),
        "rankings": {
            result.query.qid: [label[result.query.qid][c.docid] for c in result.candidates]
            for result in results
        },
        "prompt": calls[0].prompt,
        "response": calls[0].response,
    }


def _by_ours(model: str, sets: Sequence[CandidateSet], tolerant: bool) -> dict[str, Any]:
    engine, how = load(f"vllm:{model}"), f"window:size={SIZE},step={STEP},start=retrieved"
    in_vllm.ranked(engine, how, sets[:2], thinking=False, pool=SIZE)
    return in_vllm.ranked(engine, how, sets, thinking=False, pool=SIZE, tolerant=tolerant)


if __name__ == "__main__":
    who, model, path, result = sys.argv[1], sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4])
    given = from_frame(pl.read_parquet(path))
    found = (
        _by_rank_llm(model, given, path.parent)
        if who == "rank_llm"
        else _by_ours(model, given, who == "tolerant")
    )
    result.write_text(json.dumps(found), encoding="utf-8")
