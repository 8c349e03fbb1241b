"""The guide's worked example does what the guide says."""

from __future__ import annotations

from pathlib import Path

import pytest

from provable.theorems import registry
from provable.theorems.search import EFFORTS
from provable.theorems.verification import verify_entry

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("effort", ["quick", "standard"])
def test_the_conjecture_is_refuted_by_a_sample_that_leaves_no_trace(effort):
    result = verify_entry(registry.find(str(DOCS / "worked-example" / "first_conjecture.py")), EFFORTS[effort], 0)
    assert result.verdict == "refuted" and not result.as_expected
    assert result.counterexample["arithmetic"] == "rational"
    assert len(result.counterexample["text"].splitlines()) == 5


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_corrected_theorem_is_certified(seed):
    result = verify_entry(registry.find(str(DOCS / "worked-example" / "corrected_theorem.py")), EFFORTS["quick"], seed)
    assert result.verdict == "certified", result.reason
    assert result.as_expected and len(result.false_twins) == 3
    assert {item["sharpness"] for item in result.hypotheses} == {"counterexample"}


def test_the_code_of_the_guide_is_the_code_of_the_files():
    guide = (DOCS / "writing-a-theorem.md").read_text()
    files = "".join(path.read_text() for path in sorted((DOCS / "worked-example").glob("*.py")))
    blocks = [block.partition("```")[0].strip() for block in guide.split("```python\n")[1:]]
    quoted = [block for block in blocks if "..." not in block]
    assert len(quoted) >= 6
    for block in quoted:
        for part in block.split("\n\n\n"):
            assert part in files, part
