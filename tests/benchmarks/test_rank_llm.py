"""The template by which rank_llm asks a policy is the policy's own prompt."""

from __future__ import annotations

from string import Formatter

import pytest

from benchmarks import rank_llm
from ranker.policy.prompts import Prompt, Style, messages
from ranker.types import CandidateSet
from tests.ranker.factories import make_set


def asked(template: dict[str, str], given: CandidateSet) -> str:
    """As rank_llm's single-turn handler puts a prompt together."""
    fill = Formatter().vformat
    pool = [
        fill(template["body"], (), {"rank": one.label, "candidate": one.text}) for one in given.candidates
    ]
    head, tail = (fill(template[part], (), {"query": given.query}) for part in ("prefix", "suffix"))
    return head + "".join(pool) + tail


@pytest.mark.parametrize("style", ["chat", "compact"])
def test_rank_llm_asks_as_the_policy_is_asked(style: Style) -> None:
    first, other = (
        make_set([1, 0, 2], query=f"b{n} c{n}", texts=[f"a{n}{place} d{place}" for place in range(3)])
        for n in (1, 2)
    )
    found = asked(rank_llm.template(first, style), other)
    assert found.strip() == messages(Prompt("rank", False, other), style)[0]["content"].strip()
