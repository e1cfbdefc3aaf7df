"""Errors: one readable block, whole on the other side of a process boundary."""

from __future__ import annotations

import pickle

import pytest

from ranker import errors
from ranker.errors import BadSource, ContractViolated, RankerError, Transient
from ranker.refs import Verdict

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, RankerError)]


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_survives_the_way_between_processes(kind: type[RankerError]) -> None:
    made = kind("a rule", seen="a value", remedy="do this")
    again = pickle.loads(pickle.dumps(made))
    assert type(again) is kind and str(again) == str(made)
    assert (again.rule, again.seen, again.remedy) == ("a rule", "a value", "do this")
    assert again.exit_code != 0


def test_a_rejected_batch_brings_its_verdicts_along() -> None:
    verdicts = (Verdict("items", "has rows", False),)
    again = pickle.loads(pickle.dumps(ContractViolated("a", seen="b", remedy="c", verdicts=verdicts)))
    assert again.verdicts == verdicts


def test_the_block_says_rule_seen_and_remedy_in_lines_of_their_own() -> None:
    assert str(BadSource("a", seen="b", remedy="c")).splitlines() == ["a", "  seen:   b", "  remedy: c"]


def test_few_errors_may_pass_by_themselves() -> None:
    assert {kind.__name__ for kind in KINDS if issubclass(kind, Transient)} >= {"Transient", "LakeBusy"}
    assert not issubclass(ContractViolated, Transient) and not issubclass(BadSource, Transient)
