"""`ranker serve`: the options of a server. Their defaults are those of ranker/serving/settings.py."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from ranker.cli.params import (
    Catalog,
    Constrained,
    Home,
    Preset,
    Set,
    Think,
    as_evaluated,
    own_tasks,
    parameters,
)
from ranker.config import DEFAULT_PRESET, RetrainParams
from ranker.errors import BadConfig
from ranker.refs import Champion
from ranker.serving.explore import Exploration
from ranker.serving.privacy import Texts
from ranker.serving.settings import DEFAULTS, Bounds, How, Settings

Model = Annotated[
    str,
    typer.Option(
        "--model",
        help=(
            "models:/NAME@ALIAS is followed: whatever version gets the alias serves. Or"
            " models:/NAME/VERSION, a folder, vllm:FOLDER, openai:URL#NAME."
        ),
    ),
]
Task = Annotated[
    str,
    typer.Option(
        "--task",
        help="Of requests that name none: what is ranked for whom, e.g. passage-pydoc (docs/tasks.md).",
        autocompletion=own_tasks,
    ),
]
HowRanked = Annotated[
    str, typer.Option("--strategy", help="As in `ranker rank`, e.g. first-token: one call a request.")
]
MaxTokens = Annotated[int, typer.Option("--max-tokens", min=4, help="Of one answer of the model.")]
Host = Annotated[
    str, typer.Option("--host", help="Address to listen on; one that others can reach needs a token.")
]
Port = Annotated[int, typer.Option("--port", min=0, max=65535, help="Port to listen on; 0 takes a free one.")]
TokenEnv = Annotated[
    str,
    typer.Option(
        "--token-env",
        metavar="NAME",
        help="Environment variable with the token that clients must send; unset or empty: none.",
    ),
]
MaxQueue = Annotated[
    int, typer.Option("--max-queue", min=1, help="Requests that may wait; more are answered 429.")
]
MaxBatch = Annotated[int, typer.Option("--max-batch", min=1, help="Requests that are ranked at once.")]
MaxBatchTokens = Annotated[
    int,
    typer.Option(
        "--max-batch-tokens",
        min=1,
        help="Tokens of the texts that are ranked at once, about; a request with more is ranked alone.",
    ),
]
MaxQueueTokens = Annotated[
    int,
    typer.Option("--max-queue-tokens", min=1, help="Tokens that may wait, about; more are answered 429."),
]
Timeout = Annotated[
    float, typer.Option("--timeout", min=0.1, help="Seconds from a request to its answer; then 504.")
]
MaxDocuments = Annotated[int, typer.Option("--max-documents", min=1, help="Documents in one request.")]
MaxCharacters = Annotated[
    int,
    typer.Option("--max-characters", min=1, help="Characters in one request, query and documents together."),
]
MaxBytes = Annotated[int, typer.Option("--max-bytes", min=1, help="Bytes in one request's body.")]
HeadTimeout = Annotated[
    float, typer.Option("--head-timeout", min=0.1, help="Seconds for a request's line and headers to come.")
]
AllowOrigin = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-origin",
        metavar="URL",
        help="A web page that may ask, e.g. https://example.org; those of this machine may. Repeatable.",
    ),
]
AccessLog = Annotated[
    bool, typer.Option("--access-log/--no-access-log", help="One line a request on standard error.")
]
Poll = Annotated[float, typer.Option("--poll", min=0.1, help="Seconds between two looks at the registry.")]
KeepDocuments = Annotated[
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
]
Shadow = Annotated[
    str,
    typer.Option(
        "--shadow",
        metavar="MODEL",
        help=(
            "A second model that ranks the same requests when none waits, for comparison alone: an alias"
            " (challenger), or as --model. Memory has to hold both models, and --keep-documents twice."
        ),
    ),
]
Interleave = Annotated[
    str,
    typer.Option(
        "--interleave",
        metavar="MODEL",
        help=(
            "As --shadow, but answers wait for it, and its ranking and that of --model are interleaved (team"
            " draft): clicks tell which users prefer."
        ),
    ),
]
ShadowQueue = Annotated[
    int,
    typer.Option(
        "--shadow-queue", min=1, help="Requests that may wait for the shadow; it never ranks the others."
    ),
]
Explore = Annotated[
    float,
    typer.Option(
        "--explore",
        metavar="SHARE",
        min=0,
        max=1,
        help="Share of the requests whose first places are shuffled, to learn from clicks.",
    ),
]
ExploreDepth = Annotated[
    int, typer.Option("--explore-depth", min=2, max=20, help="So many first places of them are shuffled.")
]
Log = Annotated[
    bool, typer.Option("--log/--no-log", help="Keep what is served, for the lake (docs/serving.md).")
]
LogTexts = Annotated[
    Texts,
    typer.Option(
        "--log-texts",
        help="What it keeps of queries and documents: the texts, a keyed pseudonym of each, or nothing.",
    ),
]
LogEvery = Annotated[float, typer.Option("--log-every", min=1, help="Seconds between two batches of it.")]


def serve(
    model: Model = DEFAULTS.model,
    task: Task = DEFAULTS.task,
    strategy: HowRanked = "",
    think: Think = DEFAULTS.how.thinking,
    constrained: Constrained = DEFAULTS.how.sampling.constrained,
    max_tokens: MaxTokens = DEFAULTS.how.sampling.max_tokens,
    host: Host = DEFAULTS.host,
    port: Port = DEFAULTS.port,
    token_env: TokenEnv = "RANKER_TOKEN",
    max_queue: MaxQueue = DEFAULTS.most_waiting,
    max_batch: MaxBatch = DEFAULTS.most_at_once,
    max_batch_tokens: MaxBatchTokens = DEFAULTS.most_tokens,
    max_queue_tokens: MaxQueueTokens = DEFAULTS.most_tokens_waiting,
    timeout: Timeout = DEFAULTS.timeout,
    max_documents: MaxDocuments = DEFAULTS.bounds.documents,
    max_characters: MaxCharacters = DEFAULTS.bounds.characters,
    max_bytes: MaxBytes = DEFAULTS.bounds.bytes,
    head_timeout: HeadTimeout = DEFAULTS.head_timeout,
    allow_origin: AllowOrigin = None,
    access_log: AccessLog = DEFAULTS.access_log,
    poll: Poll = DEFAULTS.poll,
    keep_documents: KeepDocuments = DEFAULTS.documents,
    shadow: Shadow = DEFAULTS.shadow,
    interleave: Interleave = "",
    shadow_queue: ShadowQueue = DEFAULTS.most_shadowed,
    explore: Explore = DEFAULTS.explore.share,
    explore_depth: ExploreDepth = DEFAULTS.explore.depth,
    log: Log = DEFAULTS.log,
    log_texts: LogTexts = DEFAULTS.texts,
    log_every: LogEvery = DEFAULTS.log_every,
    preset: Preset = DEFAULT_PRESET,
    home: Home = "",
    lake: Catalog = "",
    sets: Set = None,
) -> None:
    """Serve a model over HTTP, as clients of rerank APIs speak it: POST /v1/rerank; also /health and
    /metrics.

    For example: `ranker serve --task passage-pydoc --port 8080`
    """
    from ranker.serving.server import serve

    params = parameters(preset, home, lake, sets)
    if shadow and interleave:
        raise BadConfig(
            "a second model shadows, or is interleaved",
            seen="--shadow and --interleave",
            remedy="leave one away: both are in the lake as the arm shadow",
        )
    shadow = shadow or interleave
    own, other = _both(model, shadow, params, strategy, think, max_tokens, constrained)
    settings = Settings(
        model=model,
        how=own,
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
        shadow=shadow,
        interleave=bool(interleave),
        shadow_how=other,
        most_shadowed=shadow_queue,
        explore=Exploration(explore, explore_depth),
        log=log,
        texts=log_texts,
        log_every=log_every,
    )
    serve(settings, params)


def _both(
    model: str,
    shadow: str,
    params: RetrainParams,
    strategy: str,
    think: bool | None,
    max_tokens: int,
    constrained: bool,
) -> tuple[How, How]:
    """How the model ranks and how its shadow does: as is asked for, else as each was evaluated, else (a
    shadow that is not registered yet, or a folder) as the model does.
    """
    from ranker.engines import Sampling
    from ranker.serving.shadow import address
    from ranker.strategies import strategy as known

    def how(found: Champion | None) -> How:
        name, thinking = as_evaluated(found, strategy, think)
        return How(known(name), thinking, Sampling(max_tokens, constrained=constrained))

    first = None if strategy else _registered(model, params)
    second = _registered(address(shadow, model, params), params) if shadow and not strategy else None
    return how(first), how(second or first)


def _registered(model: str, params: RetrainParams) -> Champion | None:
    """The registered version that `model` means now; None where it names none."""
    from ranker.serving.models import ADDRESS
    from ranker.stages import registry

    if not model.startswith(ADDRESS):
        return None
    return registry.addressed(params.home_path, params.register_, model)
