"""`ranker serve`: the options of a server."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from ranker.cli.params import Catalog, Constrained, Home, Preset, Set, Think, as_evaluated, parameters
from ranker.config import DEFAULT_PRESET, RetrainParams
from ranker.refs import Champion


def serve(
    model: Annotated[
        str,
        typer.Option(
            "--model",
            help=(
                "models:/NAME@ALIAS is followed: whatever version gets the alias serves. Or"
                " models:/NAME/VERSION, a folder, vllm:FOLDER, openai:URL#NAME."
            ),
        ),
    ] = "models:/r1-ranker@champion",
    task: Annotated[
        str,
        typer.Option(
            "--task",
            help="Of requests that name none: what is ranked for whom, e.g. passage-pydoc (docs/tasks.md).",
        ),
    ] = "",
    strategy: Annotated[
        str, typer.Option("--strategy", help="As in `ranker rank`, e.g. first-token: one call a request.")
    ] = "",
    think: Think = None,
    constrained: Constrained = False,
    max_tokens: Annotated[int, typer.Option("--max-tokens", min=4, help="Of one answer of the model.")] = 256,
    host: Annotated[
        str, typer.Option("--host", help="Address to listen on; one that others can reach needs a token.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Port to listen on; 0 takes a free one.")
    ] = 8080,
    token_env: Annotated[
        str,
        typer.Option(
            "--token-env",
            metavar="NAME",
            help="Environment variable with the token that clients must send; unset or empty: none.",
        ),
    ] = "RANKER_TOKEN",
    max_queue: Annotated[
        int, typer.Option("--max-queue", min=1, help="Requests that may wait; more are answered 429.")
    ] = 256,
    max_batch: Annotated[
        int, typer.Option("--max-batch", min=1, help="Requests that are ranked at once.")
    ] = 32,
    max_batch_tokens: Annotated[
        int,
        typer.Option(
            "--max-batch-tokens",
            min=1,
            help="Tokens of the texts that are ranked at once, about; a request with more is ranked alone.",
        ),
    ] = 8_192,
    max_queue_tokens: Annotated[
        int,
        typer.Option("--max-queue-tokens", min=1, help="Tokens that may wait, about; more are answered 429."),
    ] = 1_000_000,
    timeout: Annotated[
        float, typer.Option("--timeout", min=0.1, help="Seconds from a request to its answer; then 504.")
    ] = 60.0,
    max_documents: Annotated[
        int, typer.Option("--max-documents", min=1, help="Documents in one request.")
    ] = 100,
    max_characters: Annotated[
        int,
        typer.Option(
            "--max-characters", min=1, help="Characters in one request, query and documents together."
        ),
    ] = 400_000,
    max_bytes: Annotated[
        int, typer.Option("--max-bytes", min=1, help="Bytes in one request's body.")
    ] = 4_000_000,
    head_timeout: Annotated[
        float,
        typer.Option("--head-timeout", min=0.1, help="Seconds for a request's line and headers to come."),
    ] = 10.0,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-origin",
            metavar="URL",
            help="A web page that may ask, e.g. https://example.org; those of this machine may. Repeatable.",
        ),
    ] = None,
    access_log: Annotated[
        bool, typer.Option("--access-log/--no-access-log", help="One line a request on standard error.")
    ] = False,
    poll: Annotated[
        float, typer.Option("--poll", min=0.1, help="Seconds between two looks at the registry.")
    ] = 10.0,
    keep_documents: Annotated[
        int,
        typer.Option(
            "--keep-documents",
            min=0,
            metavar="MIB",
            help=(
                "Memory for what a likelihood policy makes of documents: one that comes again is not read"
                " again. SmolLM2 takes 23 kB a token."
            ),
        ),
    ] = 0,
    log: Annotated[
        bool, typer.Option("--log/--no-log", help="Keep what is served, for the lake (docs/serving.md).")
    ] = False,
    log_every: Annotated[
        float, typer.Option("--log-every", min=1, help="Seconds between two batches of it.")
    ] = 300.0,
    preset: Preset = DEFAULT_PRESET,
    home: Home = "",
    lake: Catalog = "",
    sets: Set = None,
) -> None:
    """Serve a model over HTTP, as clients of rerank APIs speak it: POST /v1/rerank; also /health and
    /metrics.
    """
    from ranker.engines import Sampling
    from ranker.serving.ranking import How
    from ranker.serving.schema import Bounds
    from ranker.serving.server import Settings, serve
    from ranker.strategies import strategy as known

    params = parameters(preset, home, lake, sets)
    how, thinking = as_evaluated(None if strategy else _registered(model, params), strategy, think)
    ranking = How(known(how), thinking, Sampling(max_tokens, constrained=constrained))
    settings = Settings(
        model=model,
        how=ranking,
        task=task,
        host=host,
        port=port,
        token=os.environ.get(token_env, ""),
        most_waiting=max_queue,
        most_at_once=max_batch,
        most_tokens=max_batch_tokens,
        most_tokens_waiting=max_queue_tokens,
        timeout=timeout,
        head_timeout=head_timeout,
        origins=tuple(allow_origin or ()),
        access_log=access_log,
        bounds=Bounds(max_documents, max_characters, max_bytes),
        poll=poll,
        documents=keep_documents,
        log=log,
        log_every=log_every,
    )
    serve(settings, params)


def _registered(model: str, params: RetrainParams) -> Champion | None:
    """The registered version that begins to serve; None where `model` names none."""
    from ranker.serving.models import ADDRESS
    from ranker.stages import register

    if not model.startswith(ADDRESS):
        return None
    return register.addressed(params.home_path, params.register_, model)
