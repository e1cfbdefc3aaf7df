"""How the champion does on today's data: ingest, candidates, and an evaluation of the champion alone.

The deployment `evaluate/champion` (prefect.yaml) runs it every week. Nothing is trained or registered.
"""

from __future__ import annotations

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from flows import artifacts, stages
from flows.retrain import at_gate, stage_result
from ranker.config import RetrainParams
from ranker.errors import BadModel, StageMissing
from ranker.lake import open_lake
from ranker.refs import Ref
from ranker.reports import standing
from ranker.stages import first_stages, registry


@flow(name="evaluate")
def evaluate(params: RetrainParams) -> State[Ref]:
    """The present champion, ranking as it serves, on today's test queries beside the baselines.

    The run's state says how it stands beside its own evaluation before, and beside the floor; where there is
    no champion, or none that can be loaded, what is to be done.
    """
    home, named = params.home_path, params.register_
    try:
        champion = registry.present_champion(home, named, "evaluating the champion")
        registry.require_champion(home, named)
    except (StageMissing, BadModel) as error:  # a state of ours: one that is raised ends in a traceback
        return Failed(message=str(error), data=error)
    first_stages.require(home, params.evaluate, params.ingest.tasks)
    source = stage_result("ingest", params)
    params = at_gate(params)
    sets = stage_result("candidates", params, source)
    scores = stage_result("evaluate", params, sets, champion, task=stages.evaluate_champion)
    with open_lake(home, params.lake, read_only=True) as lake:
        found = standing.standings(lake, scores.key, params.evaluate, named.floor)
    said = standing.sentence(champion.version, found)
    artifacts.publish_standing(said, found, scores.key)
    return Completed(message=said, data=scores)
