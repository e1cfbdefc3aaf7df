"""Complete or not there: checkpoints marked after their last file, model folders renamed into place."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from peft import PeftModel
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from ranker.engines import MANIFEST
from ranker.train.worker import distributed
from ranker.types import JsonObject

MARK = "COMPLETE"


class MarkComplete(TrainerCallback):
    """After a checkpoint's files are written, by all processes: let recorders flush, then mark it. An
    unmarked folder is never resumed from.
    """

    def __init__(self, flush: Callable[[int], None] = lambda step: None) -> None:
        self.flush = flush

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        """Called by the trainer.

        Log before a checkpoint: what is averaged since the last log is not part of it and would be lost.
        """
        if state.global_step % int(args.save_steps) == 0:
            control.should_log = True  # in place: transformers takes None for unchanged

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        """Called by the trainer."""
        self.flush(state.global_step)
        distributed.wait()  # each process writes its own random state and rollouts
        if state.is_world_process_zero:
            (Path(str(args.output_dir)) / f"checkpoint-{state.global_step}" / MARK).touch()


class Snapshots(TrainerCallback):
    """Keeps the model as it is after some steps, as a folder `<phase>@<step>` beside the phase's own.

    Its facts hold step and seconds; seconds are mean seconds per step of this process times step, so that a
    resumed training tells the same as an undisturbed one.

    Args:
        gathered: called by all processes; the weights of a model that lies in parts (`scale.gathered`).
    """

    def __init__(
        self,
        steps: Collection[int],
        folder: Path,
        tokenizer: PreTrainedTokenizerBase,
        manifest: JsonObject,
        gathered: Callable[[], JsonObject | None],
    ) -> None:
        self.steps, self.folder, self.tokenizer, self.manifest = frozenset(steps), folder, tokenizer, manifest
        self.gathered = gathered
        self.began, self.first = 0.0, 0

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        """Called by the trainer."""
        self.began, self.first = time.monotonic(), state.global_step

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Called by the trainer."""
        step = state.global_step
        if step not in self.steps:
            return
        now = time.monotonic()
        weights = self.gathered()
        if not state.is_world_process_zero:
            return
        facts = {"step": step, "seconds": round((now - self.began) / (step - self.first) * step, 3)}
        save(
            self.folder.with_name(f"{self.folder.name}@{step}"),
            kwargs["model"],
            self.tokenizer,
            self.manifest | {"facts": facts},
            weights,
        )
        self.began += time.monotonic() - now  # saving is not training


def latest(folder: Path, remove: bool = True) -> tuple[Path | None, int]:
    """The newest complete checkpoint below `folder` and its step (None, 0 where there is none); incomplete
    ones are removed if `remove`.
    """
    complete: dict[int, Path] = {}
    for path in folder.glob("checkpoint-*"):
        if (path / MARK).is_file():
            complete[int(path.name.rpartition("-")[2])] = path
        elif remove:
            shutil.rmtree(path)
    step = max(complete, default=0)
    return complete.get(step), step


def save(
    folder: Path,
    model: PreTrainedModel | PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    manifest: JsonObject,
    weights: JsonObject | None = None,
) -> None:
    """Write a model folder under a temporary name, manifest last, and rename it into place. Of a model with
    adapters these alone are written, with the config of the whole.

    Args:
        weights: a state dict to write in place of the model's own.
    """
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    if isinstance(model, PeftModel):
        # without TRL's copy of them that the KL divergence is taken from
        model.save_pretrained(str(part), selected_adapters=["default"], state_dict=weights)
        base: Any = model.get_base_model()  # a tensor or module in peft's types
        base.config.save_pretrained(part)
    else:
        model.save_pretrained(part, state_dict=weights)
    tokenizer.save_pretrained(part)
    (part / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)


def is_complete(folder: Path) -> bool:
    """Whether a phase's model folder is there as a whole."""
    return (folder / MANIFEST).is_file()
