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


def test_a_stated_error_that_is_too_small_is_named_and_is_no_counterexample(tmp_path):
    result = judge(
        tmp_path,
        """
        @theorem.claim(arithmetics=(FLOAT64, RATIONAL))
        def careless(x):
            y = x * constant(0.1, x) + constant(1, x)
            return equal((y + 1) * (y + 1) - y * y - 2 * y, constant(1, x), operations=1, magnitude=1e-20)
        """,
    )
    assert result.verdict == "inconclusive" and result.counterexample is None
    assert "float64 differs by more than the stated error, where exact arithmetic agrees" in result.reason


# True theorems with a trap: none may be refuted, whatever rounding says.
TRUE_WITH_TRAPS = {
    "quotients of integers are floats": """
        theorem.instances(st.tuples(st.integers(1, 99), st.integers(1, 99)))

        @theorem.claim
        def c(pair):
            a, b = pair
            return (a / b) * b == a
        """,
    "a Hilbert matrix is regular": """
        import scipy.linalg
        theorem.instances(st.integers(1, 14))

        @theorem.claim
        def c(n):
            return holds(rank(scipy.linalg.hilbert(n)) == n, name="rank n")
        """,
    "floats in an object array": """
        import numpy as np

        @theorem.claim
        def c(x):
            y = np.array([float(x) / 3], dtype=object)
            return equal(y / 10 + 2 * y / 10, 3 * y / 10, operations=3)
        """,
    "a rounded constant": """
        @theorem.claim
        def c(x):
            return equal(x / 3, x * (1 / 3), operations=3)
        """,
    "unit vectors up to rounding": """
        import numpy as np
        theorem.instances(sphere_points(2, 3))

        @theorem.hypothesis("unit")
        def unit(p):
            return bool(np.all(abs((p * p).sum(axis=1) - 1) < 1e-14))

        @theorem.claim
        def c(p):
            difference = p[0] - p[1]
            return equal((difference * difference).sum(), 2 - 2 * (p[0] @ p[1]), operations=12, magnitude=4.0)
        """,
    "a sum that holds in floats": """
        import numpy as np

        @theorem.instances
        def triples(draw):
            a = draw(gaussian_arrays((2,)))
            return np.array([a[0], a[1], a[0] + a[1]])

        @theorem.hypothesis("sum")
        def sums(p):
            return p[0] + p[1] == p[2]

        @theorem.claim
        def c(p):
            return equal(p[0], p[2] - p[1], operations=3, magnitude=abs(p).sum())
        """,
    "an inverse without its condition number": """
        import numpy as np
        theorem.instances(conditioned_matrices(4, 4, max_log10_condition=12))

        @theorem.claim
        def c(a):
            return equal(np.linalg.inv(a) @ a, np.eye(4), operations=4)
        """,
    "cancellation without its magnitude": """
        theorem.instances(st.floats(1e6, 1e9))

        @theorem.claim(arithmetics=(FLOAT64,))
        def c(x):
            return equal((x + 1) ** 2 - x**2 - 2 * x, 1.0, operations=6)
        """,
    "a magnitude that is no number": """
        @theorem.claim(arithmetics=(FLOAT64,))
        def c(x):
            return equal(x / 3 * 3, x + 0.0, operations=1, magnitude=float("nan"))
        """,
}


@pytest.mark.parametrize("trap", TRUE_WITH_TRAPS)
@pytest.mark.parametrize("seed", [0, 1])
def test_a_true_theorem_is_never_refuted(tmp_path, trap, seed):
    result = judge(tmp_path, TRUE_WITH_TRAPS[trap], effort="standard", seed=seed)
    assert result.verdict != "refuted"
    assert result.counterexample is None


# Evidence that decides nothing: no good verdict may come of it.
WITHOUT_EVIDENCE = {
    "not a number": """
        @theorem.claim
        def c(x):
            return equal(log(x - 10), 5.0, operations=1)
        """,
    "an infinite error unit": """
        @theorem.claim(arithmetics=(FLOAT64,))
        def c(x):
            return equal(x, x + 1, operations=1, condition=float("inf"))
        """,
    "empty arrays": """
        import numpy as np

        @theorem.claim
        def c(x):
            return equal(np.ones(0), np.zeros(0), operations=1)
        """,
    "a strict inequality within rounding": """
        @theorem.claim(arithmetics=(FLOAT64,))
        def c(x):
            return less(1.0, 1.0 + 2**-52, operations=1)
        """,
    "single precision": """
        import numpy as np

        @theorem.claim(arithmetics=(FLOAT64,))
        def c(x):
            return equal(np.float32(x), np.float32(x), operations=1)
        """,
    "a rational unequal to every float": """
        @theorem.claim(arithmetics=(RATIONAL,))
        def c(x):
            return different(x, 0.0, operations=1)
        """,
    "a derivation in floats": """
        @theorem.derivation
        def steps():
            yield identity("sum", 1.0 + 1e-20, 1.0)
        """,
    "a derivation about nothing": """
        @theorem.derivation
        def steps():
            import sympy
            yield identity("empty", sympy.zeros(0, 2), sympy.zeros(0, 2))
        """,
}


@pytest.mark.parametrize("case", WITHOUT_EVIDENCE)
def test_what_decides_nothing_earns_no_verdict(tmp_path, case):
    result = judge(tmp_path, WITHOUT_EVIDENCE[case])
    assert result.verdict not in ("proved", "certified", "supported")
    assert not result.as_expected


def test_a_quota_of_zero_is_refused(tmp_path):
    from provable.errors import InputError

    with pytest.raises(InputError, match="would accept no evidence"):
        judge(tmp_path, "Theorem(statement='', source=Source(''), quota=0)\n")


def test_literals_are_compared_exactly(tmp_path):
    body = """
        @theorem.claim(arithmetics=(FLOAT64, RATIONAL, BALL))
        def c(x):
            return at_most(x * x, {limit}, operations=2)
        """
    assert judge(tmp_path, body.format(limit=9.0), effort="standard").verdict == "certified"
    assert judge(tmp_path, body.format(limit=8.75), effort="standard").verdict == "refuted"


def test_a_claim_that_changes_its_instance_is_still_refuted(tmp_path):
    result = judge(
        tmp_path,
        """
        theorem.instances(readable_arrays((2,)))

        @theorem.claim(arithmetics=(FLOAT64, RATIONAL))
        def c(x):
            total = x.sum()
            x *= 0
            return equal(total, constant(0, x), operations=2)
        """,
    )
    assert result.verdict == "refuted"


def test_instances_may_be_named_tuples_sets_and_mappings(tmp_path):
    result = judge(
        tmp_path,
        """
        from typing import NamedTuple

        class Pair(NamedTuple):
            number: float
            names: dict

        theorem.instances(st.builds(Pair, readable_numbers(), st.just({1: frozenset({2.0})})))

        @theorem.claim(arithmetics=(RATIONAL,))
        def c(pair):
            return equal(pair.number, 0, operations=1)
        """,
    )
    assert result.verdict == "refuted", result.reason


def test_a_truth_value_that_only_float64_doubts_is_inconclusive(tmp_path):
    result = judge(
        tmp_path,
        """
        @theorem.claim(arithmetics=(FLOAT64,))
        def doubtful(x):
            return holds(bool(0.1 + 0.2 == 0.3), name="decimal addition")
        """,
    )
    assert result.verdict == "inconclusive" and "no exact arithmetic confirms it" in result.reason


def test_a_tolerance_inside_an_exact_claim_confirms_nothing(tmp_path):
    result = judge(
        tmp_path,
        """
        @theorem.claim(arithmetics=(FLOAT64, RATIONAL))
        def leaves_the_rationals(x):
            return equal(float(x), float(x) + 1e-9, operations=1, magnitude=1.0)
        """,
    )
    assert result.verdict == "inconclusive" and "no exact arithmetic confirms it" in result.reason


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
