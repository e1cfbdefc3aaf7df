"""compose.yaml by the Compose Specification, and what it must not do. That it works: test_topology.py."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from ranker.refs import PROJECT
from tests.deploy import compose

GIVEN = compose.example() | dict.fromkeys(
    ("POSTGRES_PASSWORD", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "RANKER_TOKEN"), "given"
)
SERVICES: dict[str, Any] = compose.read(GIVEN)["services"]
OWN = {name: one for name, one in SERVICES.items() if "r1-ranker" in one["image"]}


def test_it_keeps_to_the_specification() -> None:
    spec = pytest.importorskip("compose_spec", reason="no compose-spec (it is one of the extras `dev`)")
    read = compose.read(GIVEN)
    assert set(spec.PyCompose.from_json(json.dumps(read)).service_names()) == set(SERVICES)
    read["services"]["serve"]["comand"] = ["serve"]
    with pytest.raises(ValueError, match="comand"):
        spec.PyCompose.from_json(json.dumps(read))


@pytest.mark.parametrize("name", sorted(name for name, value in compose.example().items() if not value))
def test_nothing_starts_without_its_secrets(name: str) -> None:
    if name == "RANKER_WEBHOOK":  # may stay empty
        compose.read(GIVEN | {name: ""})
        return
    with pytest.raises(compose.Unset, match=name):
        compose.read(GIVEN | {name: ""})


def test_the_example_names_every_variable_and_no_other() -> None:
    used = {found["name"] for found in compose.VARIABLE.finditer(compose.FILE.read_text(encoding="utf-8"))}
    assert used == set(compose.example())
    assert ".env" in (PROJECT / ".gitignore").read_text(encoding="utf-8").splitlines()


def test_only_the_proxy_can_be_reached_from_outside() -> None:
    published = {name: one["ports"] for name, one in SERVICES.items() if "ports" in one}
    assert published.pop("proxy") == ["80:80", "443:443"]
    assert published and all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports)


def test_the_project_s_processes_may_do_little() -> None:
    for name, one in OWN.items():
        assert one["read_only"] and one["cap_drop"] == ["ALL"], name
        assert one["security_opt"] == ["no-new-privileges:true"] and "privileged" not in one, name


def test_what_is_kept_lies_in_volumes_and_what_is_mounted_is_there() -> None:
    made = compose.read(GIVEN)["volumes"]
    mounted = [one.split(":")[0] for service in SERVICES.values() for one in service.get("volumes", ())]
    assert set(made) <= set(mounted)
    assert all((PROJECT / one).is_file() if one.startswith("./") else one in made for one in mounted)


def test_images_are_pinned_by_their_versions() -> None:
    others = [one["image"] for name, one in SERVICES.items() if name not in OWN]
    assert len(others) == 3 and all(re.search(r":v?\d+[\w.-]*$", image) for image in others)


def test_each_database_is_one_of_those_that_are_made() -> None:
    script = (PROJECT / "deploy" / "postgres" / "databases.sql").read_text(encoding="utf-8")
    made = set(re.findall(r"create database (\w+);", script))
    assert made == {"prefect", "mlflow", "lake"}
    assert "dbname=lake " in SERVICES["serve"]["environment"]["RANKER_LAKE"]
    for name, variable in (
        ("prefect", "PREFECT_SERVER_DATABASE_CONNECTION_URL"),
        ("mlflow", "MLFLOW_BACKEND_STORE_URI"),
    ):
        assert SERVICES[name]["environment"][variable].endswith(f"/{name}")


def test_a_service_becomes_a_process_of_one_machine(tmp_path: Path) -> None:
    ports = {name: 20_000 + n for n, name in enumerate(compose.LISTENS)}
    machine = compose.Machine(SERVICES, ports, tmp_path)
    names = ("prefect", "mlflow", "bootstrap", "worker", "serve")
    said = " ".join(
        word for name in names for word in (*machine.command(name), *machine.environment(name).values())
    )
    assert not re.search(rf"\b(?:{'|'.join(ports)}):\d|host=postgres|0\.0\.0\.0", said)
    assert machine.environment("worker")["PREFECT_API_URL"] == f"http://127.0.0.1:{ports['prefect']}/api"
    assert f"host=127.0.0.1 port={ports['postgres']} " in machine.environment("serve")["RANKER_LAKE"]
    assert machine.command("prefect")[-1] == str(ports["prefect"])
    assert machine.environment("mlflow")["RANKER_HEALTH"] == f"http://127.0.0.1:{ports['mlflow']}/health"
    assert machine.environment("serve")["RANKER_HEALTH"] == f"http://127.0.0.1:{ports['serve']}/health"
    assert machine.environment("serve")["RANKER_HOME"] == str(tmp_path / "data")
