"""Studies as flows, one each: every arm through the stages of `flows.retrain` (registration left out), then
one table and one plot.

What arms share is done once and skipped by the others; a study that was killed continues in the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact

from flows import stages
from flows.policies import STAGE_POLICY
from ranker.config import RetrainParams
from ranker.lake import open_lake
from ranker.progress import Progress
from ranker.refs import Ref
from ranker.stages import first_stages
from ranker.studies import ablation, curves, design, leave_one_out, ood, scores
from ranker.studies import prove as proofs
from ranker.studies import seeds as seeds_study
from ranker.studies import thinking as thinking_study
from ranker.studies import transfer as transfer_study
from ranker.studies.design import Done, Run, Study, StudyParams
from ranker.studies.results import FOLDER, StudyResults, write


@flow(name="prove")
def prove(params: StudyParams) -> tuple[StudyResults, ...]:
    """Both proofs: known relevance with its control, and real data."""
    return conduct(proofs.synthetic(), params), conduct(proofs.real(), params)


@flow(name="prove-synthetic")
def prove_synthetic(params: StudyParams) -> tuple[StudyResults, ...]:
    """Known relevance, and a control whose reward ignores the ranking."""
    return (conduct(proofs.synthetic(), params),)


@flow(name="prove-real")
def prove_real(params: StudyParams) -> tuple[StudyResults, ...]:
    """One policy for three scenarios on public data."""
    return (conduct(proofs.real(), params),)


@flow(name="learning-curves")
def learning_curves(params: StudyParams) -> tuple[StudyResults, ...]:
    """MRR against examples and minutes, on the validation split, for SFT continued and for GRPO."""
    plan = curves.planned(params)
    with Progress(f"study {curves.NAME}, runs", len(plan.runs), get_run_logger().info) as progress:
        runs = progress.over(plan.runs)
        found = [point for run in runs for point in curves.curve(run.arm, _validated(run))]
    results = curves.tell(params.home_path / FOLDER / curves.NAME, found, plan.left_out)
    publish(results)
    return (results,)


@flow(name="ablation")
def ablate(params: StudyParams) -> tuple[StudyResults, ...]:
    """The base against itself without each part."""
    return (conduct(ablation.study(params), params),)


@flow(name="leave-one-out")
def leave_out(params: StudyParams) -> tuple[StudyResults, ...]:
    """Zero-shot on each scenario, trained on the others."""
    return (conduct(leave_one_out.study(params), params),)


@flow(name="transfer")
def transfer(params: StudyParams) -> tuple[StudyResults, ...]:
    """An untrained model with and without the accepted traces of similar training queries in its prompt."""
    base = transfer_study.parameters(params)
    source = stages.ingest(base).result()
    sets = stages.candidates(base, source).result()
    traces = stages.distill(base, sets).result()
    shown = show_examples(base, params.shots, sets, traces)
    with open_lake(base.home_path, base.lake, read_only=True) as lake:
        found = transfer_study.tell(lake, base, params.shots, sets, traces, shown)
    publish(found)
    return (found,)


@task(name="transfer", task_run_name="transfer", **STAGE_POLICY)
def show_examples(params: RetrainParams, shots: int, sets: Ref, traces: Ref) -> Ref:
    """Rank the test queries without and with worked examples."""
    with open_lake(params.home_path, params.lake) as lake:
        return transfer_study.run(
            lake,
            params,
            shots,
            sets=sets,
            traces=traces,
            check=stages.validate_batch,
            log=get_run_logger().info,
        )


@flow(name=thinking_study.NAME)
def thinking(params: StudyParams) -> tuple[StudyResults, ...]:
    """A chat model with budgets of reasoning: quality and cost against tokens thought."""
    base = thinking_study.parameters(params)
    sets = stages.candidates(base, stages.ingest(base).result()).result()
    thought = think(base, params.budgets, sets)
    with open_lake(base.home_path, base.lake, read_only=True) as lake:
        found = thinking_study.tell(lake, base, params.budgets, sets, thought)
    publish(found)
    return (found,)


@task(name=thinking_study.NAME, task_run_name=thinking_study.NAME, **STAGE_POLICY)
def think(params: RetrainParams, budgets: Sequence[int], sets: Ref) -> Ref:
    """Rank the test queries with every budget."""
    with open_lake(params.home_path, params.lake) as lake:
        return thinking_study.run(
            lake, params, budgets, sets=sets, check=stages.validate_batch, log=get_run_logger().info
        )


@flow(name="out-of-domain")
def out_of_domain(params: StudyParams) -> tuple[StudyResults, ...]:
    """A pretrained chat model before and after training to rank, on benchmarks of something else."""
    ood.python()
    base = transfer_study.parameters(params)
    home, device = base.home_path, {"auto": "cpu"}.get(base.evaluate.device, base.evaluate.device)
    before = ood.measure(
        home, home / base.train.policy.model_name_or_path, params, device
    )  # what is missing shows before hours of training
    _, _, trained = _trained(Run("trained", 0, base))
    after = ood.measure(home, home / trained.details["model"] / "rl", params, device)
    found = ood.tell(home, params, before, after)
    publish(found)
    return (found,)


@flow(name=seeds_study.NAME)
def seeds(params: StudyParams) -> tuple[StudyResults, ...]:
    """The champion's own recipe with several seeds: from where a gain over it counts."""
    base = seeds_study.parameters(params)
    with open_lake(base.home_path, base.lake, read_only=True) as lake:
        plan = seeds_study.planned(lake, base, params)
    scored = []
    with Progress(f"study {seeds_study.NAME}, runs", len(plan.runs), get_run_logger().info) as progress:
        for run in progress.over(plan.runs):
            trained = stages.train(run.params, plan.sets, plan.traces).result()
            scored.append(stages.evaluate(run.params, plan.sets, plan.traces, trained).result())
    with open_lake(base.home_path, base.lake, read_only=True) as lake:
        found = seeds_study.tell(lake, plan, scored)
    publish(found)
    return (found,)


STUDIES: dict[str, Callable[[StudyParams], tuple[StudyResults, ...]]] = {
    one.name: one
    for one in (
        prove,
        prove_synthetic,
        prove_real,
        learning_curves,
        ablate,
        leave_out,
        transfer,
        thinking,
        out_of_domain,
        seeds,
    )
}
"""Name → flow. There is no other list of them."""


def conduct(study: Study, params: StudyParams) -> StudyResults:
    """Run every arm with every seed, gather what came of them, write it down and publish it."""
    log = get_run_logger()
    plan = design.plan(study, params)
    for name, where in plan.left_out.items():
        log.warning("study %s: task %s is left out, no data at %s", study.name, name, where)
    for run in plan.runs:
        first_stages.require(run.params.home_path, run.params.evaluate, run.params.ingest.tasks)
    done = []
    with Progress(f"study {study.name}, runs", len(plan.runs), log.info) as progress:
        for number, run in enumerate(progress.over(plan.runs), start=1):
            log.info(
                "study %s: run %d of %d, arm %s, seed %d",
                study.name,
                number,
                len(plan.runs),
                run.arm,
                run.seed,
            )
            done.append(_go(run))
    return _tell(study, params, plan.left_out, done)


def _go(run: Run) -> Done:
    sets, traces, trained = _trained(run)
    return Done(run, sets, traces, trained, stages.evaluate(run.params, sets, traces, trained).result())


def _trained(run: Run) -> tuple[Ref, Ref, Ref]:
    source = stages.ingest(run.params).result()
    sets = stages.candidates(run.params, source).result()
    traces = stages.distill(run.params, sets).result()
    return sets, traces, stages.train(run.params, sets, traces).result()


def _validated(run: Run) -> list[curves.Point]:
    sets, _, trained = _trained(run)
    validated = validate(run.params, run.arm, sets, trained)
    with open_lake(run.params.home_path, run.params.lake, read_only=True) as lake:
        return list(curves.points(lake, run.params, sets, trained, validated))


@task(name="validate", task_run_name="validate", **STAGE_POLICY)
def validate(params: RetrainParams, phase: str, sets: Ref, trained: Ref) -> Ref:
    """Every snapshot of a training on the validation queries."""
    with open_lake(params.home_path, params.lake) as lake:
        return curves.validate(
            lake,
            params.evaluate,
            phase,
            sets=sets,
            trained=trained,
            check=stages.validate_batch,
            log=get_run_logger().info,
        )


def _tell(
    study: Study, params: StudyParams, left_out: Mapping[str, str], done: Sequence[Done]
) -> StudyResults:
    first = done[0].run.params
    with open_lake(first.home_path, first.lake, read_only=True) as lake:
        results = scores.Results(scores.gather(lake, done), first.evaluate.bootstrap, first.evaluate.seed)
    facts = {"runs": [design.keys(one) for one in done], "quick": params.quick}
    found = write(first.home_path / FOLDER / study.name, study, results, left_out, facts)
    publish(found)
    return found


def publish(found: StudyResults) -> None:
    """The table as an artifact, under `study-<name>`."""
    text = f"{found.markdown}\nPlot: `{found.folder / 'plot.svg'}`\n"
    create_markdown_artifact(key=f"study-{found.name}", markdown=text, description=str(found.folder))
