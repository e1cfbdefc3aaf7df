"""Out of domain: what training to rank does to a chat model elsewhere (mathematics, following instructions),
by EleutherAI's lm-eval.

lm-eval runs in a process of its own, for the model before and after training; its per-sample scores are
paired by sample. It is the optional extra `ood`; $RANKER_LM_EVAL names the Python of another environment that
has it. The paper reports GSM8K .635 → .737, IFEval .680 → .712, MathQA .354 → .386 (arXiv 2506.21638).
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ranker.errors import BadConfig, BadModel, Unreachable
from ranker.metrics.significance import Interval, bootstrap_mean
from ranker.progress import Progress
from ranker.refs import digest
from ranker.studies import plots
from ranker.studies.design import Claim, StudyParams
from ranker.studies.replay import weights
from ranker.studies.results import FOLDER, StudyResults, save
from ranker.types import JsonObject

NAME = "out-of-domain"
QUESTION = "What does training to rank do to the model elsewhere?"
PYTHON = "RANKER_LM_EVAL"
METRICS = {
    "gsm8k": ("exact_match", "flexible-extract"),
    "ifeval": ("prompt_level_strict_acc", "none"),
    "mathqa": ("acc", "none"),
}
"""Benchmark → metric and filter; of any other benchmark the first metric of its first sample counts."""
HEAD = ("benchmark", "model", "metric", "score", "95% interval", "trained − base, paired", "samples")
RESAMPLES, SEED = 2_000, 23
Scores = Mapping[int, float]
"""Score of each sample, by its number."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What one model got on one benchmark."""

    metric: str
    scores: Scores


def python() -> str:
    """The Python that has lm-eval.

    Raises:
        BadConfig: it has not.
    """
    chosen = os.environ.get(PYTHON, sys.executable)
    try:
        found = subprocess.run([chosen, "-c", "import lm_eval"], capture_output=True, text=True, check=False)
        fault = found.stderr.strip().splitlines()[-1] if found.returncode else ""
    except OSError as error:
        fault = str(error)
    if fault:
        raise BadConfig(
            f"the study {NAME} needs lm-eval",
            seen=f"{chosen}: {fault}",
            remedy=f"pip install -e '.[ood]', or name the Python of another environment in ${PYTHON}",
        )
    return chosen


def command(interpreter: str, folder: Path, out: Path, asked: StudyParams, device: str) -> list[str]:
    """The lm-eval run of one model folder: chat template as the model has it, every sample logged."""
    arguments = [
        interpreter,
        "-m",
        "lm_eval",
        "run",
        "--model",
        "hf",
        "--model_args",
        f"pretrained={folder},dtype=float32",
    ]
    arguments += [
        "--tasks",
        ",".join(asked.benchmarks),
        "--output_path",
        str(out),
        "--log_samples",
        "--apply_chat_template",
    ]
    arguments += ["--batch_size", str(asked.benchmark_batch), "--device", device]
    arguments += ["--limit", str(asked.limit)] if asked.limit else []
    return [*arguments, *(["--include_path", asked.benchmark_folder] if asked.benchmark_folder else [])]


def measure(home: Path, folder: Path, asked: StudyParams, device: str) -> dict[str, Measured]:
    """Every benchmark on one model; a measurement of the same weights with the same options is read and not
    repeated.

    Raises:
        BadConfig: lm-eval is not installed, or does not know a benchmark.
        BadModel: the model's folder is missing, or lm-eval failed on it.
        Unreachable: a benchmark's data is not on this machine and cannot be had.
    """
    interpreter, (_, folder, own) = python(), weights(home, str(folder))
    given = [asked.benchmarks, asked.benchmark_folder, asked.limit, asked.benchmark_batch]
    out = home / "jobs" / f"lm-eval-{digest(own, given)}"
    if not list(out.rglob("results_*.json")):
        with Progress(f"benchmarks on {folder.name}"):
            done = subprocess.run(
                command(interpreter, folder, out, asked, device),
                capture_output=True,
                text=True,
                check=False,
                stdin=subprocess.DEVNULL,
            )
        if done.returncode:
            raise _fault(asked, folder, done.stderr)
    return {name: read(out, name) for name in asked.benchmarks}


def _fault(asked: StudyParams, folder: Path, said: str) -> BadConfig | BadModel | Unreachable:
    last = "\n".join(said.strip().splitlines()[-1:])[:400]
    if missing := [
        line
        for line in said.splitlines()
        if re.search(r"Couldn't (reach|find)|OfflineMode|ConnectionError|LocalEntryNotFound", line)
    ]:
        return Unreachable(
            f"the data of {', '.join(asked.benchmarks)} must be on this machine or within reach",
            seen=missing[-1].strip()[:400],
            remedy=(
                "run with a network once (Hugging Face keeps it in $HF_HOME), or give benchmarks of your own:"
                " --option benchmark_folder=… --option 'benchmarks=[…]'"
            ),
        )
    if re.search(r"Tasks? .*not found|not found.*tasks?", said, re.IGNORECASE):
        return BadConfig(
            "lm-eval must know every benchmark",
            seen=last,
            remedy="`lm-eval ls tasks` lists them; --option benchmark_folder names a folder of your own",
        )
    return BadModel(
        "lm-eval must be able to measure the model",
        seen=f"{folder}: {last}",
        remedy="run the same by hand: `python -m lm_eval run --help`",
    )


def read(out: Path, name: str) -> Measured:
    """The latest scores of one benchmark below lm-eval's output folder.

    Raises:
        BadConfig: there are none, for example because the name is that of a group of benchmarks.
    """
    files = sorted(out.rglob(f"samples_{name}_*.jsonl"), key=lambda path: path.name)
    rows = [json.loads(line) for line in files[-1].read_text(encoding="utf-8").splitlines()] if files else []
    if not rows:
        raise BadConfig(
            f"lm-eval must log the samples of {name}",
            seen=f"none in {out}",
            remedy="name single benchmarks, not groups of them",
        )
    metric, chosen = METRICS.get(name, (rows[0]["metrics"][0], rows[0]["filter"]))
    return Measured(metric, {row["doc_id"]: float(row[metric]) for row in rows if row["filter"] == chosen})


# --- what came of it ---


def tell(
    home: Path, asked: StudyParams, base: Mapping[str, Measured], trained: Mapping[str, Measured]
) -> StudyResults:
    """Write table, plot and JSON: both models on every benchmark, and the paired difference."""
    body: list[tuple[str, ...]] = []
    figures: list[JsonObject] = []
    claims: list[Claim] = []
    for name in asked.benchmarks:
        gap = difference(base[name], trained[name])
        signed = gap.signed
        claims.append(Claim(f"{name}: training to rank does no harm", gap.upper >= 0, signed))
        for model, own in (("base", base[name]), ("trained", trained[name])):
            mean = _interval(list(own.scores.values()), list(own.scores))
            body.append(
                (
                    name,
                    model,
                    own.metric,
                    f"{mean.value:.3f}",
                    f"{mean.lower:.3f}…{mean.upper:.3f}",
                    signed if model == "trained" else "",
                    str(mean.queries),
                )
            )
            figures.append({"benchmark": name, "model": model, "metric": own.metric, **asdict(mean)})
    found = StudyResults(
        name=NAME,
        question=QUESTION,
        folder=home / FOLDER / NAME,
        head=HEAD,
        body=tuple(body),
        claims=tuple(claims),
        notes=(
            (f"at most {asked.limit} samples a benchmark: not comparable with published figures",)
            if asked.limit
            else ()
        ),
    )
    return save(found, plots.scores(figures, QUESTION), {"rows": figures})


def difference(base: Measured, trained: Measured) -> Interval:
    """Trained − base on the samples that both have, with its 95% interval."""
    shared = sorted(set(base.scores) & set(trained.scores))
    return _interval([trained.scores[number] - base.scores[number] for number in shared], shared)


def _interval(values: Sequence[float], numbers: Sequence[int]) -> Interval:
    return bootstrap_mean(values, [str(number) for number in numbers], resamples=RESAMPLES, seed=SEED)
