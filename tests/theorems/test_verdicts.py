"""What the engine concludes: from false theorems that it has never seen, from faulty files, and from good ones."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

import pytest

from provable.theorems import counterexamples, registry
from provable.theorems.evidence import Verification, document, summary
from provable.theorems.search import EFFORTS
from provable.theorems.verification import verify_entry

HERE = Path(__file__).parent
FALSE = sorted((HERE / "unseen_false").glob("*.py"))

HEADER = """
from hypothesis import strategies as st
from provable.arithmetic import *
from provable.theorems import *
from provable.theorems.strategies import *

theorem = Theorem(statement="for the tests", source=Source("tests"))
theorem.instances(readable_numbers())
"""


def judge(tmp_path, body, *, effort="quick", seed=0, header=HEADER):
    """Write a theorem file and verify it in this process."""
    path = tmp_path / "written.py"
    path.write_text(header + textwrap.dedent(body))
    return verify_entry(registry.find(str(path)), EFFORTS[effort], seed)


def test_there_are_false_theorems_to_refute():
    assert len(FALSE) >= 8


@pytest.mark.parametrize("path", FALSE, ids=lambda path: path.stem)
@pytest.mark.parametrize("seed", [0, 1])
def test_unseen_false_theorems_are_refuted_at_standard_effort(path, seed):
    result = verify_entry(registry.find(str(path)), EFFORTS["standard"], seed)
    assert result.verdict == "refuted", result.reason
    assert not result.as_expected
    stored = json.loads(json.dumps(result.counterexample, allow_nan=False))
    assert stored["arithmetic"] in ("rational", "ball")
    valid, reason = counterexamples.recheck(stored)
    assert valid, reason


@pytest.mark.parametrize("path", FALSE, ids=lambda path: path.stem)
def test_a_counterexample_that_is_altered_is_not_confirmed(path):
    result = verify_entry(registry.find(str(path)), EFFORTS["standard"], 0)
    stored = json.loads(json.dumps(result.counterexample))
    assert not counterexamples.recheck({**stored, "arithmetic": "modular"})[0]
    assert not counterexamples.recheck({**stored, "twin": "no such twin"})[0]
    assert not counterexamples.recheck({**stored, "instance": {"unknown": 0}})[0]
    assert not counterexamples.recheck({**stored, "file": "nowhere.py"})[0]
    assert not counterexamples.recheck({k: v for k, v in stored.items() if k != "instance"})[0]


def test_an_instance_that_satisfies_the_claim_is_no_counterexample():
    path = HERE / "unseen_false" / "rare_coincidence.py"
    stored = verify_entry(registry.find(str(path)), EFFORTS["standard"], 0).counterexample
    valid, reason = counterexamples.recheck({**stored, "instance": {"tuple": [1.0, 1.0]}})
    assert not valid and "does not violate" in reason


def test_an_instance_outside_the_hypotheses_is_no_counterexample():
    path = HERE / "unseen_false" / "tanh_is_below_its_cubic_expansion.py"
    stored = verify_entry(registry.find(str(path)), EFFORTS["standard"], 0).counterexample
    valid, reason = counterexamples.recheck({**stored, "instance": -1.0})
    assert not valid and "does not meet the hypothesis 'nonnegative'" in reason


@pytest.mark.parametrize("effort", ["quick", "standard"])
def test_impossible_hypotheses_are_vacuous(effort):
    result = verify_entry(registry.find(str(HERE / "faulty" / "impossible_hypotheses.py")), EFFORTS[effort], 0)
    assert result.verdict == "vacuous"
    assert "0 draws met the hypotheses" in result.reason


def test_degenerate_draws_do_not_count(tmp_path):
    result = judge(
        tmp_path,
        """
        @theorem.degenerate
        def always(x):
            return True

        @theorem.claim(arithmetics=(RATIONAL,))
        def square(x):
            return holds(x * x >= 0, name="square")
        """,
    )
    assert result.verdict == "vacuous"


def test_exact_evidence_certifies_and_float_evidence_supports(tmp_path):
    exact = judge(
        tmp_path,
        """
        @theorem.claim(arithmetics=(FLOAT64, RATIONAL))
        def binomial(x):
            return equal((x + 1) * (x + 1), x * x + 2 * x + 1, operations=4)
        """,
    )
    assert exact.verdict == "certified"
    rounded = judge(
        tmp_path,
        """
        @theorem.claim(arithmetics=(FLOAT64,))
        def binomial(x):
            return equal((x + 1) * (x + 1), x * x + 2 * x + 1, operations=4)
        """,
    )
    assert rounded.verdict == "supported"
    enclosed = judge(
        tmp_path,
        """
        @theorem.claim(arithmetics=(FLOAT64, BALL))
        def addition(x):
            return equal(exp(x) * exp(-x), constant(1, x), operations=20)
        """,
    )
    assert enclosed.verdict == "supported", "an enclosure of zero is no proof of an equality"
    inequality = judge(
        tmp_path,
        """
        @theorem.claim(arithmetics=(FLOAT64, BALL))
        def above_tangent(x):
            return at_most(x, exp(x), operations=4)
        """,
    )
    assert inequality.verdict == "certified", "balls prove inequalities"


def test_a_derivation_proves_only_what_it_covers(tmp_path):
    body = """
        @theorem.derivation(covers={covers})
        def steps():
            import sympy
            x = sympy.Symbol("x")
            yield identity("binomial", (x + 1)**2, x**2 + 2*x + {last})

        @theorem.claim(arithmetics=(FLOAT64,))
        def binomial(x):
            return equal((x + 1) * (x + 1), x * x + 2 * x + 1, operations=4)
        """
    assert judge(tmp_path, body.format(covers="EVERY_INSTANCE", last=1)).verdict == "proved"
    assert judge(tmp_path, body.format(covers="'x rational'", last=1)).verdict == "supported"
    failed = judge(tmp_path, body.format(covers="EVERY_INSTANCE", last=2))
    assert failed.verdict == "inconclusive" and "step 'binomial' failed" in failed.reason


def test_a_derivation_does_not_outweigh_a_counterexample(tmp_path):
    result = judge(
        tmp_path,
        """
        @theorem.derivation
        def steps():
            yield fact("nothing", True)

        @theorem.claim(arithmetics=(RATIONAL,))
        def wrong(x):
            return equal(x, -x, operations=1)
        """,
    )
    assert result.verdict == "refuted"


def test_a_surviving_false_twin_spoils_the_verdict(tmp_path):
    result = judge(
        tmp_path,
        """
        @theorem.claim(arithmetics=(RATIONAL,))
        def square(x):
            return holds(x * x >= 0, name="square")

        @theorem.false_twin("not false at all")
        def twin(x):
            return holds(x * x + 1 > 0, name="twin")
        """,
    )
    assert result.verdict == "inconclusive" and "survived" in result.reason
    assert summary([result])["unexpected"] == 1


def test_a_rounding_error_is_not_taken_for_a_counterexample(tmp_path):
    result = judge(
        tmp_path,
        """
        @theorem.claim(arithmetics=(FLOAT64, RATIONAL))
        def careless(x):
            third = x / 3
            return equal(third + third + third - x, 0 * x, operations=1, magnitude=1e-20)
        """,
    )
    assert result.verdict == "certified" or result.verdict == "inconclusive"
    assert result.counterexample is None


def test_a_truth_value_that_only_float64_doubts_is_inconclusive(tmp_path):
    result = judge(
        tmp_path,
        """
        @theorem.claim(arithmetics=(FLOAT64,))
        def doubtful(x):
            return holds(bool(0.1 + 0.2 == 0.3), name="decimal addition")
        """,
    )
    assert result.verdict == "inconclusive" and "no exact arithmetic could decide" in result.reason


def test_a_tolerance_inside_an_exact_claim_confirms_nothing(tmp_path):
    result = judge(
        tmp_path,
        """
        @theorem.claim(arithmetics=(FLOAT64, RATIONAL))
        def leaves_the_rationals(x):
            return equal(float(x), float(x) + 1e-9, operations=1, magnitude=1.0)
        """,
    )
    assert result.verdict in ("inconclusive", "refuted")
    if result.verdict == "refuted":
        assert result.counterexample["arithmetic"] == "float64"


SHARP = """
@theorem.hypothesis("at least zero", arithmetic=RATIONAL)
def nonnegative(x):
    return x >= 0

@theorem.hypothesis("at most two", arithmetic=RATIONAL)
def small(x):
    return x <= 2

@theorem.claim(arithmetics=(RATIONAL,))
def claim(x):
    return holds(x * x <= 2 * x, name="square at most double")
"""


@pytest.mark.parametrize(
    ("value", "verdict", "reason"),
    [
        ("-1.0", "certified", ""),
        ("1.0", "inconclusive", "meets that hypothesis"),
        ("0.0", "inconclusive", "meets that hypothesis"),
    ],
)
def test_sharpness_is_checked(tmp_path, value, verdict, reason):
    result = judge(
        tmp_path, SHARP + f"@theorem.without('at least zero')\ndef below():\n    return {value}\n", header=HEADER
    )
    assert result.verdict == verdict and reason in result.reason
    if verdict == "certified":
        assert {"name": "at least zero", "sharpness": "counterexample"} in result.hypotheses
        assert {"name": "at most two", "sharpness": "unknown"} in result.hypotheses


def test_a_sharpness_example_may_drop_only_its_own_hypothesis(tmp_path):
    body = SHARP.replace("return x <= 2\n", "return x <= 2 and x >= -5\n")
    result = judge(tmp_path, body + "@theorem.without('at least zero')\ndef below():\n    return -6.0\n")
    assert result.verdict == "inconclusive" and "does not meet 'at most two' either" in result.reason


def test_an_explicit_counterexample_is_checked(tmp_path):
    claim = (
        "@theorem.claim(arithmetics=(RATIONAL,))\ndef c(x):\n    return holds(x * x != constant(2.25, x), name='c')\n"
    )
    good = judge(tmp_path, claim + "@theorem.counterexample\ndef w():\n    return 1.5\n")
    assert good.verdict == "refuted"
    bad = judge(tmp_path, claim + "@theorem.counterexample\ndef w():\n    return 1.0\n")
    assert "does not violate the claim" in bad.reason


def test_rates_and_tails_count_as_evidence(tmp_path):
    body = """
        @theorem.rate(exponent={exponent}, sizes=(10, 20, 40, 80), false_exponents={{"one": -1.0}})
        def error(size, rng):
            return float((rng.standard_normal((16, size)).mean(axis=1) ** 2).mean() ** 0.5)

        @theorem.tail(bound={bound}, false_bounds={{"a tenth": 0.1}})
        def event(rng):
            return rng.random() < 0.25
        """
    good = judge(tmp_path, body.format(exponent=-0.5, bound=0.25), effort="standard")
    assert good.verdict == "supported", good.reason
    assert all(twin.refuted for twin in good.false_twins) and len(good.false_twins) == 2
    assert "outside the measured interval" in judge(tmp_path, body.format(exponent=0.5, bound=0.3)).reason
    assert "more frequent" in judge(tmp_path, body.format(exponent=-0.5, bound=0.05)).reason


def test_results_are_repeatable_and_survive_json(tmp_path):
    path = HERE / "unseen_false" / "gram_matrix_of_distinct_points_is_regular.py"
    first, second = (verify_entry(registry.find(str(path)), EFFORTS["quick"], 7).to_dict() for _ in range(2))
    assert first.pop("seconds") >= 0 and second.pop("seconds") >= 0
    assert first == second
    result = verify_entry(registry.find(str(path)), EFFORTS["quick"], 7)
    assert Verification.from_dict(json.loads(result.to_json())).to_dict() == result.to_dict()
    whole = json.loads(document([result], effort="quick", seed=7))
    assert whole["format"] == "provable-verification/1"
    assert set(whole["summary"]) == {
        "proved", "certified", "supported", "refuted_as_expected", "unexpected", "false_twins", "false_twins_refuted",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("@theorem.false_twin('t', without=('nope',))\ndef t(x):\n    return True\n", "there is no hypothesis 'nope'"),
        ("@theorem.without('nope')\ndef t():\n    return 0\n", "there is no hypothesis 'nope'"),
        ("@theorem.claim(arithmetics=())\ndef c(x):\n    return True\n", "names no arithmetic"),
        ("@theorem.claim\ndef c(x):\n    return True\n@theorem.claim\ndef d(x):\n    return True\n", "two claims"),
        ("@theorem.rate(exponent=1, sizes=(1, 2))\ndef r(size, rng):\n    return 1.0\n", "at least four sizes"),
        ("Theorem(statement='', source=Source(''), expected='true')\n", "expected verdict 'true'"),
    ],
)
def test_mistakes_of_authors_are_named(tmp_path, body, message):
    from provable.errors import InputError

    with pytest.raises(InputError, match=message):
        judge(tmp_path, body)


def test_an_undeclared_arithmetic_that_does_not_work_is_left_out_and_a_declared_one_is_an_error(tmp_path):
    claim = "def c(x):\n    return equal(np.sin(x), np.sin(x), operations=1)\n"
    assert judge(tmp_path, "import numpy as np\n@theorem.claim\n" + claim).verdict == "supported"
    declared = judge(tmp_path, "import numpy as np\n@theorem.claim(arithmetics=(FLOAT64, RATIONAL))\n" + claim)
    assert declared.verdict == "inconclusive" and "claim" in declared.reason
