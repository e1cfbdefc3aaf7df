"""The model that serves: found, loaded, replaced by the next one."""

from __future__ import annotations

from pathlib import Path

import pytest

from ranker.config import PolicyParams, RetrainParams, TrainParams, parse_params
from ranker.engines import Engine
from ranker.engines.scripted import ScriptedEngine
from ranker.errors import BadConfig, BadModel
from ranker.policy.prompts import Style
from ranker.serving.models import Loaded, Models, Pointer, finder, loader
from tests.ranker.engines.models import tiny
from tests.ranker.factories import oracle
from tests.ranker.lake.servers import free_port


class Registry:
    """What shall serve, and a loader that counts."""

    def __init__(self) -> None:
        self.pointer: Pointer | None = None
        self.loads: list[str] = []
        self.swaps: list[Loaded] = []
        self.models = Models(lambda: self.pointer, self.load, swapped=self.swaps.append, failed=lambda: None)

    def load(self, location: str) -> Engine:
        self.loads.append(location)
        if location == "broken":
            raise BadModel("a model can be loaded", seen=location, remedy="give another")
        return ScriptedEngine(oracle, name=location)


def test_what_is_found_serves_and_is_loaded_for_the_first_look_alone() -> None:
    registry = Registry()
    registry.models.refresh()
    assert registry.models.current is None and "no version is registered" in registry.models.trouble
    registry.pointer = Pointer("a", "r:1", "a/rl", "1")
    for _ in range(3):
        registry.models.refresh()
    assert registry.models.current == registry.swaps[0] and registry.loads == ["a"]
    assert registry.models.trouble == ""


def test_one_that_cannot_be_loaded_leaves_the_one_before_and_is_tried_again() -> None:
    registry = Registry()
    registry.pointer = Pointer("a", "r:1", "a/rl", "1")
    registry.models.refresh()
    registry.pointer = Pointer("broken", "r:2", "b/rl", "2")
    for _ in range(2):
        with pytest.raises(BadModel):
            registry.models.refresh()
    assert registry.models.current is not None and registry.models.current.pointer.version == "1"
    assert registry.loads == ["a", "broken", "broken"] and len(registry.swaps) == 1


def test_where_an_address_vanishes_what_serves_goes_on() -> None:
    registry = Registry()
    registry.pointer = Pointer("a", "r:1", "a/rl", "1")
    registry.models.refresh()
    registry.pointer = None
    registry.models.refresh()
    assert registry.models.current is not None and registry.loads == ["a"]


def test_what_another_holds_is_not_loaded_and_what_was_held_is_let_go() -> None:
    registry, other = Registry(), Pointer("a", "r:1", "a/rl", "1")
    shadow = Models(
        lambda: registry.pointer,
        registry.load,
        swapped=lambda _: None,
        failed=lambda: None,
        besides=lambda: other,
    )
    for pointer in (other, Pointer("b", "r:2", "b/rl", "2"), other, Pointer("a", "r:3", "a/rl", "3")):
        registry.pointer = pointer
        shadow.refresh()
        assert shadow.same == (pointer == other) == (shadow.current is None)
    assert registry.loads == ["b", "a"], "another version of the same folder is another one"


def test_a_folder_and_an_endpoint_stay_what_they_are(home: Path) -> None:
    params = parse_params({"home": str(home)})
    folder = tiny(home / "models" / "k" / "rl")
    found = finder(str(folder), params)()
    assert found is not None and (found.name, found.identity, found.version) == ("rl", "k/rl", "")
    endpoint = finder("openai:http://h/v1#m", params)()
    assert endpoint is not None and (endpoint.location, endpoint.name) == ("openai:http://h/v1#m", "m")


def test_what_is_no_model_is_refused_before_the_first_look(home: Path) -> None:
    params = parse_params({"home": str(home)})
    with pytest.raises(BadModel, match=r"config\.json"):
        finder(str(home), params)
    with pytest.raises(BadConfig):
        finder("models:/", params)
    assert finder("models:/r1-ranker@champion", params)() is None, "none is registered yet"


@pytest.mark.parametrize(
    ("style", "asked"), [("likelihood", "likelihood"), ("chat", "chat"), ("compact", "chat")]
)
def test_an_endpoint_is_asked_by_likelihood_where_the_policy_is(style: Style, asked: Style) -> None:
    params = RetrainParams(train=TrainParams(policy=PolicyParams(style=style)))
    engine = loader(params)(f"openai:http://127.0.0.1:{free_port()}/v1#m")
    assert engine.style == asked
