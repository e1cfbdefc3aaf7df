"""Keep the data folder small: what `ranker gc --apply` does, as a flow for a schedule."""

from __future__ import annotations

from prefect import flow, get_run_logger, task
from prefect.client.schemas.objects import State
from prefect.states import Completed
from pydantic import Field

from flows.policies import STAGE_POLICY
from ranker.config import LakeUri, RegisterParams, RetentionParams, data_home
from ranker.lake import open_lake
from ranker.stages import retention


class MaintainParams(RetentionParams):
    """What a collection keeps, and where."""

    home: str = Field(default="", description="Data folder; empty takes $RANKER_HOME or ./data.")
    lake: LakeUri = Field(
        default="",
        validate_default=True,
        description="Lake catalog URI; empty takes $RANKER_LAKE, else a SQLite catalog in the data folder.",
    )
    register_: RegisterParams = Field(default_factory=RegisterParams, alias="register")


@flow(name="maintain")
def maintain(params: MaintainParams) -> str:
    """Take away what no kept model version needs; champions and what they rest on stay."""
    return collect(params).result()


@task(task_run_name="collect", **STAGE_POLICY)
def collect(params: MaintainParams) -> State[str]:
    """One collection; its state says what came of it."""
    log = get_run_logger()
    with open_lake(data_home(params.home), params.lake) as lake:
        done = retention.collect(lake, params.register_, params)
    for thing in done.things:
        log.info("%s %s %s: %s", thing.kind, thing.name, "went" if thing.goes else "stays", thing.why)
    return Completed(message=str(done), data=str(done))
