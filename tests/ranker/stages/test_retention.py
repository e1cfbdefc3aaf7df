"""What a data folder may do without, and what never goes."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from ranker.config import RegisterParams, RetentionParams
from ranker.lake import Lake, maintenance, open_lake
from ranker.refs import Ref
from ranker.stages import register, registry, retention
from ranker.stages.retention import Plan, Thing
from tests.ranker.evaluated import ACCEPT, _episodes, commit, scored, trained

PARAMS = RegisterParams()
FIRST, WEAK, STRONG = (letter * 16 for letter in "abc")
MIB = 2**20


@pytest.fixture
def lake(lake: Lake, with_registry: None) -> Lake:
    return lake


def weighed(lake: Lake, key: str) -> Ref:
    """A training whose model and job take a MiB each, and whose rollouts are in the lake."""
    ref = trained(lake, key)
    (lake.home / "models" / key / "rl" / "model.safetensors").write_bytes(bytes(MIB))
    (lake.home / "jobs" / key).mkdir(parents=True)
    (lake.home / "jobs" / key / "sft.parquet").write_bytes(bytes(MIB))
    return commit(
        lake,
        "train",
        key,
        {"episodes": _episodes("rl", f"{key}/rl", [0.5] * 20, 0, 0.0, 9.0)},
        details=ref.details,
    )


def judged(lake: Lake, key: str, **given: object) -> Ref:
    model = weighed(lake, key)
    scores = scored(lake, f"e{key[:3]}", model, champion=FIRST, **given)  # pyright: ignore[reportArgumentType]
    return register.run(lake, PARAMS, trained=model, scores=scores, check=ACCEPT)


@pytest.fixture(scope="module")
def three_versions(tmp_path_factory: pytest.TempPathFactory, empty_registry: Path) -> Path:
    """A data folder with the first champion, one that was not promoted, and the present champion, which
    replaced the first.
    """
    made = tmp_path_factory.mktemp("three")
    shutil.copy(empty_registry, made / "mlflow.db")
    with open_lake(made) as lake:
        judged(lake, FIRST)
        judged(lake, WEAK, against_champion=(0.0, -0.02, 0.02))
        judged(lake, STRONG, against_champion=(0.1, 0.05, 0.15))
    return made


@pytest.fixture
def three(home: Path, three_versions: Path) -> Iterator[Lake]:
    """Its own copy for each test."""
    shutil.copytree(three_versions, home, dirs_exist_ok=True)
    with open_lake(home) as opened:
        yield opened


def made(lake: Lake, **given: float) -> Plan:
    return retention.plan(lake, PARAMS, RetentionParams.model_validate({"versions": 1, **given}))


def planned(lake: Lake, **given: float) -> dict[tuple[str, str], Thing]:
    return {(thing.kind, thing.name): thing for thing in made(lake, **given).things}


def test_young_things_stay(three: Lake) -> None:
    things = planned(three)
    assert things and not any(thing.goes for thing in things.values())
    assert retention.free(three, things.values()) == 0


def test_champions_and_those_before_stay_whatever_their_age_and_the_rest_goes(three: Lake) -> None:
    things = planned(three, days=0, grace_hours=0)
    said = {name: (thing.goes, thing.why) for (kind, name), thing in things.items() if kind == "model"}
    assert said[STRONG] == (False, "r1-ranker version 3: champion")
    assert said[FIRST] == (False, "r1-ranker version 1: the champion before")
    assert said[WEAK][0] and "no kept version" in said[WEAK][1]
    assert all(things["job", key].goes for key in (FIRST, WEAK, STRONG)), "the lake has what they gave"
    assert {key: things["episodes", key].goes for key in (FIRST, WEAK, STRONG)} == {
        FIRST: False,
        WEAK: True,
        STRONG: False,
    }
    assert retention.free(three, things.values()) == 4 * MIB
    assert sorted(path.name for path in (three.home / "models").iterdir()) == [FIRST, STRONG]
    assert list((three.home / "jobs").iterdir()) == []
    left = three.rows("select distinct batch_id from episodes where model like '%/rl' order by all")
    assert set(left["batch_id"]) == {FIRST, STRONG, f"e{FIRST[:3]}", f"e{STRONG[:3]}"}
    again = planned(three, days=0, grace_hours=0)
    assert not any(thing.goes for thing in again.values())
    former, present = registry.rollback(three.home, PARAMS)
    assert (former.version, present.version) == ("3", "1")
    assert (three.home / present.model).is_dir()


def test_what_a_run_is_at_and_what_others_keep_there_is_not_touched(lake: Lake) -> None:
    for name in ("models/smollm2", "models/mine", "jobs/notes", f"models/{FIRST}/rl", f"jobs/{FIRST}"):
        (lake.home / name).mkdir(parents=True)
    lake.execute(f'create table lake.staging."qrels__{FIRST}" as from qrels with no data')
    with lake.claim("train", FIRST):
        things = planned(lake, days=0, grace_hours=0)
        assert {thing.why for thing in things.values()} == {"a run is at it"}
    things = planned(lake, days=0, grace_hours=0)
    assert set(things) == {("model", FIRST), ("job", FIRST), ("staging table", f"qrels__{FIRST}")}
    assert all(thing.goes and "did not end" in thing.why for thing in things.values())
    retention.free(lake, things.values())
    assert sorted(path.name for path in (lake.home / "models").iterdir()) == ["mine", "smollm2"]
    assert lake.rows("from duckdb_tables() where schema_name = 'staging'").is_empty()
    assert [path.name for path in (lake.home / "jobs").iterdir()] == ["notes"]


def test_a_folder_that_was_set_aside_goes_after_the_grace_though_its_key_is_kept(three: Lake) -> None:
    aside = three.home / "models" / f"{STRONG}.replaced-17"
    aside.mkdir()
    assert not planned(three)["model", aside.name].goes
    then = time.time() - 25 * 3600
    os.utime(aside, (then, then))
    three.execute(
        f"update stage_runs set finished_at = now() - interval 25 hours where batch_id = '{STRONG}'"
    )
    things = planned(three)
    assert things["model", aside.name].goes and not things["model", STRONG].goes


def test_files_that_a_training_shares_with_another_are_not_counted(three: Lake) -> None:
    own = three.home / "models" / WEAK / "rl" / "model.safetensors"
    other = three.home / "models" / STRONG / "sft" / "model.safetensors"
    other.parent.mkdir()
    os.link(own, other)
    assert planned(three, days=0, grace_hours=0)["model", WEAK].size == 0


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_the_disk_stays_flat_over_many_retrainings(lake: Lake) -> None:
    """None of them promoted: folders, and the lake's files once their snapshots have expired."""
    judged(lake, FIRST)
    sizes: list[int] = []
    for number in range(4):
        judged(lake, f"{number:016x}", against_champion=(0.0, -0.02, 0.02))
        done = retention.collect(lake, PARAMS, RetentionParams(versions=1, days=0, grace_hours=0))
        assert done.snapshots > 0 and done.deleted > 0 and "MiB of folders are free" in str(done)
        kept = {path.name for path in (lake.home / "models").iterdir()}
        assert kept == {FIRST, f"{number:016x}"} and not any((lake.home / "jobs").iterdir())
        sizes.append(size(lake.home / "models"))
    assert sizes == [2 * MIB] * 4, "the champion's model and the newest version's"
    alive = lake.rows(
        "select distinct batch_id from episodes join stage_runs r using (batch_id) where r.stage = 'train'"
    )
    assert set(alive["batch_id"]) == {FIRST, f"{3:016x}"}


def test_an_evaluation_that_nothing_kept_rests_on_leaves_its_means_and_counts_as_not_done(
    three: Lake,
) -> None:
    weak, strong = (f"e{key[:3]}" for key in (WEAK, STRONG))
    things = planned(three, days=0, grace_hours=0)
    assert things["batch", weak].goes and not things["batch", strong].goes
    assert not things["batch", "sets0"].goes, "kept versions were made from it"
    assert not planned(three, days=0, grace_hours=1)["batch", weak].goes
    with three.claim("train", "of-another-run"):
        waiting = planned(three, days=0, grace_hours=0)["batch", weak]
        assert not waiting.goes and "a run is at work" in waiting.why
    means = three.rows("select count(*) from evaluations where batch_id = $key", {"key": weak}).item()
    retention.free(three, things.values())
    assert three.finished("evaluate", weak) is None and three.finished("evaluate", strong)
    assert means > 0 == three.rows("select count(*) from steps where batch_id = $key", {"key": weak}).item()
    assert means == three.rows("select count(*) from evaluations where batch_id = $key", {"key": weak}).item()
    assert ("batch", weak) not in planned(three, days=0, grace_hours=0)


def test_data_of_every_night_leave_the_lake_flat(lake: Lake) -> None:
    """The newest of each stage stays, with what it was made from; and what the champion was made from."""
    first = _night(lake, 0)
    model = trained(lake, FIRST, inputs=(first.key,))
    scores = scored(lake, "first", model, champion=FIRST, sets=first)
    register.run(lake, PARAMS, trained=model, scores=scores, check=ACCEPT)
    sizes: list[int] = []
    for number in range(1, 7):
        last = _night(lake, number)
        retention.collect(lake, PARAMS, RetentionParams(versions=1, days=0, grace_hours=0))
        sizes.append(size(lake.home / "lake" / "data" / "main" / "items"))
        assert set(lake.rows("select distinct batch_id from items")["batch_id"]) == {"day0", f"day{number}"}
        assert lake.finished("candidates", last.key) and lake.finished("candidates", first.key)
    assert max(sizes[1:]) < 1.05 * min(sizes[1:]), "from the first night of which something went"
    assert lake.rows("select count(*) from stage_runs where forgotten_at is not null").item() == 2 * 5


def _night(lake: Lake, number: int) -> Ref:
    """Candidate sets (none) of data that came that day."""
    texts = [f"{number} {hash((number, row))}" for row in range(5_000)]
    items = pl.DataFrame({"item_id": texts, "title": texts, "text": texts}).with_columns(
        task=pl.lit("nightly")
    )
    day = commit(lake, "ingest", f"day{number}", {"items": items})
    return commit(lake, "candidates", f"pools{number}", {}, inputs=(day.key,))


def test_the_table_shows_what_goes_first(three: Lake) -> None:
    shown = retention.table(planned(three, days=0, grace_hours=0).values())
    assert shown["goes"].to_list() == sorted(shown["goes"].to_list())
    assert retention.table([]).columns == shown.columns


def test_snapshots_of_kept_versions_stay(three: Lake) -> None:
    keys = made(three, days=0).keys
    assert {FIRST, STRONG, f"e{STRONG[:3]}", "sets0"} <= keys and WEAK not in keys
    assert made(three, days=1).keys > keys
    maintenance.expire(three, days=0, grace_hours=0, keys=keys)
    left = set(maintenance.snapshots(three)["snapshot"])
    written = dict(three.rows("select batch_id, snapshot_id from stage_runs").iter_rows())
    assert {written[key] for key in keys} <= left and written[WEAK] not in left


def test_files_of_killed_writers_go_after_the_grace_and_no_other(three: Lake) -> None:
    stray = three.home / "lake" / "data" / "main" / "qrels" / "left.parquet"
    stray.parent.mkdir(parents=True, exist_ok=True)
    stray.write_bytes(b"half")
    before = three.rows("select count(*) from episodes").item()
    assert maintenance.orphans(three, 24) == [] and stray.exists()
    assert [Path(path).name for path in maintenance.orphans(three, 0, dry_run=True)] == ["left.parquet"]
    assert stray.exists()
    maintenance.orphans(three, 0)
    assert not stray.exists() and three.rows("select count(*) from episodes").item() == before


def test_served_requests_and_feedback_go_by_age_where_that_is_asked(lake: Lake) -> None:
    from tests.ranker.traffic import days

    days(lake, 1, each=1)
    tables = ("served_requests", "served_candidates", "served_orders", "feedback")

    def counts() -> list[int]:
        return [lake.rows(f"select count(*) from {table}").item() for table in tables]

    assert not [one for one in made(lake).things if one.kind == "served"], "kept unless asked"
    young = [one for one in made(lake, served_days=30).things if one.kind == "served"]
    assert len(young) == 2 and not any(one.goes for one in young) and min(counts()) > 0
    old = made(lake, served_days=0)
    assert {one.why.partition(",")[0] for one in old.things if one.kind == "served"} == {
        "requests",
        "feedback",
    }
    retention.free(lake, old.things)
    assert counts() == [0, 0, 0, 0]
    assert lake.rows("select count(*) from episodes where stage = 'serve'").item() == 0
    assert not [one for one in made(lake, served_days=0).things if one.kind == "served"]
