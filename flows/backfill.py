"""Figures over time: one retraining for each of several cut times of the split by time, as if it had been run
then. What is done is skipped, so that a backfill which was stopped, or given more times, goes on.

Nothing of it serves: a model of old data is never promoted.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from prefect import flow
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed
from pydantic import BaseModel, Field, model_validator

from flows.retrain import through
from ranker.config import RetrainParams, Section, Stage, moment, parse_params
from ranker.lake import open_lake
from ranker.refs import Ref
from ranker.reports import report
from ranker.reports.markdown import table

MOST = 400
"""Cut times of one backfill at most: a step that was meant in other units shows before a night is spent."""


class BackfillParams(Section):
    """Which cut times, and what is done at each."""

    retrain: RetrainParams = Field(default_factory=RetrainParams)
    times: tuple[str, ...] = Field(
        default=(), description="ISO dates before which what happened is trained on, one retraining each."
    )
    first: str = Field(default="", description="Instead of times: the first of a range.")
    last: str = Field(default="", description="The range's end, itself a cut time where a step meets it.")
    step_days: float = Field(default=30.0, gt=0, description="Days from one cut time of a range to the next.")
    valid_days: float = Field(default=7.0, ge=0, description="Days after a cut time that validate.")
    test_days: float = Field(default=30.0, gt=0, description="Days after those that test.")
    until: Stage = Field(
        default="evaluate",
        description="Last stage of each: candidates is quick and counts what there is, register registers"
        " versions too (none is promoted).",
    )

    @model_validator(mode="after")
    def _says_when(self) -> BackfillParams:
        if bool(self.times) == bool(self.first and self.last):
            raise ValueError(
                "cut times are a list (times) or a range (first and last); seen"
                f" {len(self.times)} times, first {self.first!r} and last {self.last!r}"
            )
        if self.retrain.train.policy.init_from == "champion":
            raise ValueError(
                "a backfill begins with the base model, as the champion knows what came later; seen"
                ' train.policy.init_from "champion"'
            )
        found = len(list(self.cuts()))
        if not 0 < found <= MOST:
            raise ValueError(f"a backfill has 1 to {MOST} cut times; seen {found}: mind step_days")
        return self

    def cuts(self) -> Iterator[datetime]:
        """The cut times, in UTC."""
        if self.times:
            yield from map(moment, self.times)
            return
        at, last = moment(self.first), moment(self.last)
        for number in range(MOST + 1):
            if at + number * timedelta(days=self.step_days) > last:
                return
            yield at + number * timedelta(days=self.step_days)

    def at(self, cut: datetime) -> RetrainParams:
        """The retraining of one cut time."""
        begins = cut + timedelta(days=self.valid_days)
        ends = begins + timedelta(days=self.test_days)
        given = self.retrain.model_dump(mode="json", by_alias=True)
        given["candidates"] |= {
            "split": "time",
            "train_before": cut.isoformat(),
            "test_from": begins.isoformat(),
            "test_before": ends.isoformat(),
        }
        given["register"]["promote"] = False
        return parse_params(given)


class Point(BaseModel):
    """What came of one cut time."""

    cut: datetime
    ref: Ref | None
    """Of its last stage; None where it failed."""
    fault: str = ""


@flow(name="backfill")
def backfill(params: BackfillParams) -> list[Point]:
    """One child run a cut time, one after the other. One that fails does not hold up the others; the run then
    ends as Failed, and says which.
    """
    points = [_point(params, cut) for cut in params.cuts()]
    create_markdown_artifact(key="backfill", markdown=_figures(params, points))
    failed = [f"{point.cut:%Y-%m-%d}: {point.fault}" for point in points if point.fault]
    if failed:
        return Failed(  # pyright: ignore[reportReturnType]
            message=f"{len(failed)} of {len(points)} cut times failed. {'; '.join(failed)}"[:1000]
        )
    # Prefect gives the caller a state's data; pyright does not know it.
    return Completed(  # pyright: ignore[reportReturnType]
        message=f"{len(points)} cut times, each until {params.until}", data=points
    )


def _point(params: BackfillParams, cut: datetime) -> Point:
    state: State[Ref] = run_cut(params.at(cut), params.until, f"{cut:%Y-%m-%d %H:%M}", return_state=True)
    if state.is_completed():
        return Point(cut=cut, ref=state.result())
    return Point(cut=cut, ref=None, fault=(state.message or state.name or "").splitlines()[0])


@flow(name="cut", flow_run_name="{label}")
def run_cut(params: RetrainParams, stage: Stage, label: str) -> Ref:
    """The stages up to `stage`; what is done is skipped."""
    return through(params, stage)


def _figures(params: BackfillParams, points: list[Point]) -> str:
    rows: list[tuple[object, ...]] = []
    with open_lake(params.retrain.home_path, params.retrain.lake, read_only=True) as lake:
        for point in points:
            if point.ref is None:
                rows.append((f"{point.cut:%Y-%m-%d}", "", "", point.fault, ""))
                continue
            found = report.over_time(lake, point.ref.key)
            written = ", ".join(f"{table} {count:,}" for table, count in point.ref.rows.items())
            rows += [(f"{point.cut:%Y-%m-%d}", *row) for row in found or [("", "", written, "")]]
    return "# Over time\n\n" + table(["trained before", "task", "arm", "MRR", "test queries"], rows)
