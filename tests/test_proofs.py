"""Every theorem file of the project: its form, its verdict at quick effort, and the power of its false twins."""

from __future__ import annotations

import pytest

from provable.theorems import counterexamples, registry
from provable.theorems.search import EFFORTS
from provable.theorems.verification import verify_entry

IDENTIFIERS = registry.identifiers()
TWINS_AT_LEAST = 3


@pytest.mark.parametrize("identifier", IDENTIFIERS)
def test_the_file_is_complete(identifier):
    entry = registry.find(identifier)
    theorem = entry.theorem
    documentation = str(entry.namespace["__doc__"])
    assert documentation.strip().partition("\n")[0].endswith("."), "the docstring begins with a title line"
    assert len(theorem.statement) > 30 and theorem.source.work
    assert theorem.expected is not None
    if theorem.expected == "refuted":
        assert theorem.corrected_by in IDENTIFIERS
    else:
        assert theorem.corrected_by is None
    false_statements = sum(len(r.false_exponents) for r in theorem.rates) + sum(
        len(t.false_bounds) for t in theorem.tails
    )
    assert len(theorem.twins) + false_statements >= TWINS_AT_LEAST
    for name, hypothesis in theorem.hypotheses.items():
        assert (name in theorem.counterexamples) != hypothesis.necessity_unknown, (
            f"'{name}' needs a counterexample without it, or the note that its necessity is unknown"
        )


@pytest.mark.parametrize("identifier", IDENTIFIERS)
def test_quick_effort_gives_the_expected_verdict_and_refutes_every_twin(identifier):
    entry = registry.find(identifier)
    result = verify_entry(entry, EFFORTS["quick"], 0)
    assert result.verdict == entry.theorem.expected, result.reason
    assert [twin.id for twin in result.false_twins if not twin.refuted] == []
    for twin in result.false_twins:
        assert twin.counterexample is not None
        if "instance" in twin.counterexample:
            valid, reason = counterexamples.recheck(twin.counterexample)
            assert valid, reason


def test_there_are_enough_theorems_twins_and_errata():
    theorems = [registry.find(identifier).theorem for identifier in IDENTIFIERS]
    assert len(theorems) >= 15
    assert sum(theorem.expected == "refuted" for theorem in theorems) >= 2
    assert sum(len(theorem.twins) for theorem in theorems) >= 45
