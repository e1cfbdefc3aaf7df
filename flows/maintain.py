"""Keep the data folder small, as `ranker gc --apply` does, and see whether what is served is still what was
trained on: a flow for a schedule.
"""

from __future__ import annotations

from prefect import flow, get_run_logger, task
from prefect.client.schemas.objects import State
from prefect.states import Completed
from pydantic import Field

from flows import artifacts
from flows.policies import STAGE_POLICY
from ranker.config import LakeUri, RegisterParams, RetentionParams, data_home
from ranker.lake import open_lake
from ranker.reports import population
from ranker.reports.gauges import write
from ranker.stages import registry, retention


class MaintainParams(RetentionParams):
    """What a collection keeps, and where."""

    home: str = Field(default="", description="Data folder; empty takes $RANKER_HOME or ./data.")
    lake: LakeUri = Field(
        default="",
        validate_default=True,
        description="Lake catalog URI; empty takes $RANKER_LAKE, else a SQLite catalog in the data folder.",
    )
    register_: RegisterParams = Field(default_factory=RegisterParams, alias="register")
    compared_days: float = Field(
        default=28.0,
        ge=0,
        description="Days of served requests that are compared with the champion's training queries; 0 does"
        " not ask.",
    )


@flow(name="maintain")
def maintain(params: MaintainParams) -> str:
    """Take away what no kept model version needs; champions and what they rest on stay. Then compare what was
    served with what the champion was trained on.
    """
    done = collect(params)
    if params.compared_days:
        compare(params)
    return done.result()


@task(task_run_name="collect", **STAGE_POLICY)
def collect(params: MaintainParams) -> State[str]:
    """One collection; its state says what came of it."""
    log = get_run_logger()
    with open_lake(data_home(params.home), params.lake) as lake:
        done = retention.collect(lake, params.register_, params)
    for thing in done.things:
        log.info("%s %s %s: %s", thing.kind, thing.name, "went" if thing.goes else "stays", thing.why)
    return Completed(message=str(done), data=str(done))


@task(task_run_name="compare what is served with training", **STAGE_POLICY)
def compare(params: MaintainParams) -> State[None]:
    """The artifact `population`, the figures in `metrics/population.prom` of the data folder, and an event of
    the server where something has shifted; its state says what.
    """
    home = data_home(params.home)
    champion = registry.champion(home, params.register_)
    if champion is None:
        return Completed(message="there is no champion")
    with open_lake(home, params.lake, read_only=True) as lake:
        found = population.served(lake, champion, params.compared_days)
    if not found:
        return Completed(
            message="nothing was served" if found == [] else "the lake has no training of the champion"
        )
    write(home / "metrics" / "population.prom", population.samples(found))
    artifacts.publish_population(champion.version, found)
    return Completed(message=". ".join(map(str, found)))
