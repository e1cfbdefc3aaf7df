"""`ranker audit`: controlled experiments on a policy."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ranker.cli import tables
from ranker.cli.output import console
from ranker.cli.params import Catalog, Constrained, Home, Preset, Set, parameters
from ranker.config import DEFAULT_PRESET

app = typer.Typer(no_args_is_help=True, help="Controlled experiments on a policy.")


@app.callback()
def main() -> None:
    """Controlled experiments on a policy."""


@app.command("position-bias")
def measure_position_bias(
    model: Annotated[
        str,
        typer.Argument(
            help="As in episodes.model, or a folder; or an engine's name for it (vllm:…, openai:…)."
        ),
    ],
    task: Annotated[str, typer.Option("--task", metavar="TASK", help="Whose test queries are asked.")],
    strategies: Annotated[
        list[str] | None,
        typer.Option(
            "--strategy",
            help=(
                "As in `ranker rank`: iterative asks in mode exclude, direct in mode rank. Repeatable;"
                " without it both."
            ),
        ),
    ] = None,
    think: Annotated[
        bool | None,
        typer.Option("--think/--no-think", help="Let the policy reason; without it both ways, where it can."),
    ] = None,
    queries: Annotated[
        int,
        typer.Option(
            "--queries", min=1, help="Test queries at most; each is ranked once for every slot, and more."
        ),
    ] = 100,
    shuffles: Annotated[int, typer.Option("--shuffles", min=0, help="Shuffled orders of each pool.")] = 3,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder for table and plot; without it `audits` in the data folder."),
    ] = None,
    constrained: Constrained = False,
    preset: Preset = DEFAULT_PRESET,
    home: Home = "",
    lake: Catalog = "",
    sets: Set = None,
) -> None:
    """Does the order in which a pool is shown decide? The gold in each slot, reverse and shuffled.

    Exit code 1 where it does.
    """
    from ranker.config import task as known
    from ranker.engines import OPENAI, VLLM, Sampling, load, located, reasons
    from ranker.lake import open_lake
    from ranker.reports import report
    from ranker.strategies import strategy
    from ranker.studies import position_bias, replay

    known(task)
    all_strategies = [strategy(name) for name in strategies or ("iterative", "direct")]
    params = parameters(preset, home, lake, sets)
    with open_lake(params.home_path, params.lake, read_only=True) as opened:
        asked, left_out = position_bias.pools(
            report.test_sets(opened, task, queries), shuffles, params.evaluate.seed
        )
    named = (
        located(model, params.home_path)
        if model.startswith((OPENAI, VLLM))
        else replay.weights(params.home_path, model)[1]
    )
    engine = load(
        named,
        device=params.evaluate.device,
        batch=params.evaluate.per_device_eval_batch_size,
        cache=params.evaluate.cache,
    )
    sampling = Sampling(
        params.evaluate.max_completion_length, seed=params.evaluate.seed, constrained=constrained
    )
    ways = (True, False) if reasons(engine, None) else (False,)
    arms = []
    for way in all_strategies:
        for thinking in ways if think is None else (think,):
            seen = position_bias.ranked_pools(asked, way, thinking, engine, sampling)
            arms.append(
                position_bias.measured(
                    f"{way}, {'think' if thinking else 'no-think'}",
                    asked,
                    seen,
                    params.evaluate.bootstrap,
                    params.evaluate.seed,
                )
            )
    found = position_bias.tell(
        out or params.home_path / position_bias.FOLDER / f"position-bias-{task}",
        f"position bias of {task}",
        arms,
        left_out,
    )
    screen = console()
    screen.print(tables.study(found, screen.width))
    if not found.holds:
        raise typer.Exit(1)
