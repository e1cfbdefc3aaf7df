"""docs/scale.md: what it shows is what the command prints, and what it lists is what is shipped."""

from __future__ import annotations

import re

import pytest
import yaml
from typer.testing import CliRunner

from ranker.cli.main import app
from ranker.config import parse_params, presets
from ranker.refs import PROJECT
from ranker.train import parallel

TEXT = (PROJECT / "docs" / "scale.md").read_text(encoding="utf-8")
SHOWN = re.findall(r"^```console\n\$ (ranker [^\n]*)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
ROWS = [
    [cell.strip().replace("`", "") for cell in line.strip("|").split("|")]
    for line in TEXT.splitlines()
    if line.startswith("| `")
]
PRESETS = {row[0]: row for row in ROWS if row[0] in presets()}
CONFIGURATIONS = {row[0]: row for row in ROWS if row[0] not in presets()}


@pytest.mark.parametrize(("command", "output"), SHOWN, ids=[command for command, _ in SHOWN])
def test_the_document_shows_what_the_command_prints(home, command, output):
    printed = CliRunner().invoke(app, command.split()[1:], env={"COLUMNS": "120"}).output
    assert [line.rstrip() for line in printed.splitlines()] == output.splitlines()


def test_it_shows_a_plan_that_fits_and_one_that_does_not():
    assert len(SHOWN) == 2 and "\nwill run:" in SHOWN[0][1] and "\nwill not run" in SHOWN[1][1]


def test_every_shipped_configuration_stands_in_it_as_it_is():
    assert sorted(CONFIGURATIONS) == parallel.names()
    for name, (_, size, _) in CONFIGURATIONS.items():
        given = yaml.safe_load((parallel.FOLDER / f"{name}.yaml").read_text())
        assert size == f"{given['num_machines']} × {given['num_processes'] // given['num_machines']}"


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_of_the_papers_scale_stands_in_it_as_it_is(name):
    _, processes, configuration, _ = PRESETS[name]
    train = parse_params({"preset": name}).train
    found = parallel.read(train.model_copy(update={"main_address": "a:1"}))
    assert (str(found.processes), train.accelerate_config) == (processes, configuration)


def test_every_command_line_in_it_is_one_that_the_parameters_take():
    from ranker.cli.params import parameters

    for line in re.findall(r"^ranker retrain ([^#\n]*)", TEXT, re.MULTILINE):
        words = line.split()
        assert parameters(words[1], "", "", words[3:4] if "--set" in words else None).preset == words[1]
