"""`ranker estimate`: the dry run, as tables."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Group
from rich.table import Table
from rich.text import Text

from ranker.cli.codes import Code
from ranker.cli.output import Json, console, write_json
from ranker.cli.params import File, Home, Preset, Set, parameters
from ranker.cli.tables import folded
from ranker.config import DEFAULT_PRESET, RetrainParams
from ranker.errors import StageMissing
from ranker.train.estimate import GIB, Drawn, Estimate, Memory, Phase, Ranking, hardware


def estimate(
    preset: Preset = DEFAULT_PRESET,
    sets: Set = None,
    file: File = None,
    home: Home = "",
    gpu: Annotated[
        str,
        typer.Option(
            "--gpu",
            help=f"Device: {', '.join(hardware())}. Without it this machine's CPU; h100 for presets of GPUs.",
        ),
    ] = "",
    completion: Annotated[
        int,
        typer.Option(
            "--completion", min=0, help="Mean tokens of a rollout; without it every one at its longest."
        ),
    ] = 0,
    as_json: Json = False,
) -> None:
    """Reckon a training run before a GPU is reserved: batches, memory, tokens, hours. Exit code 1 where it
    would not run.

    For example: `ranker estimate --preset r1-3b-distilled-4gpu --gpu h100`
    """
    from ranker.train import estimate as estimating

    params = parameters(preset, home, "", sets, file)
    made = estimating.estimate(params, gpu, completion, _drawn(params))
    if as_json:
        write_json(estimating.lines(made))
    else:
        _print(made)
    if not made.fits:
        raise typer.Exit(Code.no)


def _drawn(params: RetrainParams) -> dict[str, Drawn]:
    """What the lake has of the tasks' candidate sets; nothing where there is no lake yet."""
    from ranker.lake import open_lake
    from ranker.train import estimate as estimating

    try:
        with open_lake(params.home_path, params.lake, read_only=True) as lake:
            return estimating.drawn(lake, params)
    except StageMissing:
        return {}


def _print(made: Estimate) -> None:
    screen, where = console(), made.parallel
    screen.print(f"{made.model.name}: {made.model.parameters:,} parameters, {made.trainable:,} trained")
    screen.print(
        f"{where.processes} × {made.hardware.title}, {where.machines} machine{'s'[: where.machines > 1]},"
        f" sharding: {where.sharding}"
    )
    screen.print(_phases(made.phases, screen.width))
    screen.print(_rankings(made.rankings, screen.width))
    screen.print(_prompts(made))
    for use in made.memory:
        screen.print(_memory(use, made))
    screen.print(f"disk: {made.disk / GIB:,.1f} GiB for model folders and checkpoints\n")
    for finding in made.findings:
        style = "bold red" if finding.level == "error" else "yellow"
        screen.print(
            Text.assemble(
                (finding.level, style), f"  {finding.text}", f" → {finding.remedy}" if finding.remedy else ""
            )
        )
    screen.print(
        f"\nAssumed: {made.hardware.mfu:.0%} of {made.hardware.flops / 1e12:,.1f} TFLOPS in training and"
        f" prefill, {made.hardware.decode:.0%} of {made.hardware.bandwidth / 1e12:.2f} TB/s in decoding"
        f" ({made.hardware.source})."
    )
    screen.print(Text(made.verdict, style="bold"))


def _table(*columns: str, left: int = 1) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for place, name in enumerate(columns):
        table.add_column(name, justify="left" if place < left else "right", no_wrap=True)
    return table


def _phases(phases: tuple[Phase, ...], width: int) -> Group:
    head = (
        "phase",
        "steps",
        "batch",
        "accumulation",
        "per device",
        "prompts/step",
        "prompts",
        "epochs",
        "prompt tokens",
        "completion tokens",
        "hours",
    )
    body: list[tuple[str, ...]] = []
    for phase in phases:
        counts = (
            phase.steps,
            phase.batch,
            phase.accumulation,
            phase.per_device,
            phase.prompts_per_step,
            phase.prompts,
        )
        tokens = (f"{phase.prompt_tokens / 1e6:,.1f} M", f"{phase.completion_tokens / 1e6:,.1f} M")
        numbers = (f"{count:,}" for count in counts)
        body.append((phase.name, *numbers, f"{phase.epochs:.2f}", *tokens, f"{phase.hours:,.2f}"))
    return folded("", head, body, width)


def _rankings(rankings: tuple[Ranking, ...], width: int) -> Group:
    head = ("ranking", "rankings", "calls", "prompt tokens", "completion tokens", "hours")
    body: list[tuple[str, ...]] = []
    for one in rankings:
        tokens = (f"{one.prompt_tokens / 1e6:,.1f} M", f"{one.completion_tokens / 1e6:,.1f} M")
        body.append((one.name, f"{one.queries:,}", f"{one.calls:,}", *tokens, f"{one.hours:,.2f}"))
    return folded("", head, body, width)


def _prompts(made: Estimate) -> Text:
    lengths = ", ".join(
        f"{name} {mean} (longest {longest}{'' if name in made.measured else ', made up'})"
        for name, (mean, longest) in made.prompts.items()
    )
    return Text(f"prompt tokens: {lengths}\n")


def _memory(use: Memory, made: Estimate) -> Table:
    table = _table(f"memory per device, {use.phase}", "GiB", left=1)
    for part, sizes in (("", use.resident), ("training: ", use.training), ("generation: ", use.generation)):
        for name, size in sizes.items():
            table.add_row(f"  {part}{name}", f"{size / GIB:.2f}")
    table.add_row("peak", f"{use.peak / GIB:.2f} of {made.hardware.memory / GIB:.2f}", end_section=True)
    return table
