"""Complete or not there: checkpoints marked after their last file, model folders renamed into place."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from ranker.engines import MANIFEST
from ranker.train.worker import ranks

MARK = "COMPLETE"


class MarkComplete(TrainerCallback):
    """After a checkpoint's files are written, by all processes: let recorders flush, then mark it. An unmarked folder is never resumed from."""

    def __init__(self, flush: Callable[[int], None] = lambda step: None) -> None:
        self.flush = flush

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object) -> TrainerControl:
        """Called by the trainer. Log before a checkpoint: what is averaged since the last log is not part of it and would be lost."""
        if state.global_step % int(args.save_steps) == 0:
            control.should_log = True
        return control

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object) -> None:
        """Called by the trainer."""
        self.flush(state.global_step)
        ranks.wait()  # each process writes its own random state and rollouts
        if state.is_world_process_zero:
            (Path(args.output_dir) / f"checkpoint-{state.global_step}" / MARK).touch()


def latest(folder: Path, remove: bool = True) -> tuple[Path | None, int]:
    """The newest complete checkpoint below `folder` and its step (None, 0 where there is none); incomplete ones are removed if `remove`."""
    complete: dict[int, Path] = {}
    for path in folder.glob("checkpoint-*"):
        if (path / MARK).is_file():
            complete[int(path.name.rpartition("-")[2])] = path
        elif remove:
            shutil.rmtree(path)
    step = max(complete, default=0)
    return complete.get(step), step


def save(folder: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, manifest: dict[str, Any]) -> None:
    """Write a model folder under a temporary name, manifest last, and rename it into place."""
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    model.save_pretrained(part)
    tokenizer.save_pretrained(part)
    (part / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)


def is_complete(folder: Path) -> bool:
    """Whether a phase's model folder is there as a whole."""
    return (folder / MANIFEST).is_file()
