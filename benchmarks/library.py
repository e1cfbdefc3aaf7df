"""The first ranking of a new process by the champion of the data folder `HOME` (`make run`), or, where there
is none, by the SmolLM2 that `ranker fetch` has put there; `--floor`: what torch and transformers alone take
for the same model.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

BEGAN = time.perf_counter()
TASK, QUERY = "passage-pydoc", "Return the absolute value of a number."
DOCUMENTS = ("abs(x): …", "pow(base, exp): …", "os.walk(top): …", "re.compile(pattern): …")
PRETRAINED = "models/smollm2"


def main(home: str) -> dict[str, float | str]:
    from ranker import Ranker  # here, as its import is a part of what is measured
    from ranker.errors import StageMissing

    try:
        ranker = Ranker.from_registry(home=home, task=TASK)
    except StageMissing:
        ranker = Ranker.from_pretrained(Path(home) / PRETRAINED, task=TASK)
    loaded = time.perf_counter()
    ranker.rank(QUERY, DOCUMENTS)
    first = time.perf_counter()
    taken = {"seconds": first - BEGAN, "cpu": time.process_time()}
    ranker.rank(QUERY, DOCUMENTS)
    return {
        "load": loaded - BEGAN,
        "first": first - loaded,
        "second": time.perf_counter() - first,
        "folder": ranker.engine.name,
        **taken,
    }


def floor(folder: str) -> dict[str, float]:
    """The imports, the weights and one forward pass over the same texts."""
    import torch
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

    imported = time.process_time()
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    model = LlamaForCausalLM.from_pretrained(folder).eval()
    with torch.inference_mode():
        model(**tokenizer(" ".join((QUERY, *DOCUMENTS)), return_tensors="pt"))
    return {"imports": imported, "seconds": time.perf_counter() - BEGAN, "cpu": time.process_time()}


if __name__ == "__main__":
    given = sys.argv[1]
    print(json.dumps(floor(sys.argv[2]) if given == "--floor" else main(given)))
