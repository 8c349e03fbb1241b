"""Conversions between arithmetics, elementary functions, and exact linear algebra."""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from typing import Any, NamedTuple

import flint
import numpy as np
import pytest
import scipy.special
from hypothesis import given
from hypothesis import strategies as st

from provable import arithmetic
from provable.arithmetic import BALL, DEFAULT_PRIME, EPSILON, FLOAT64, MODULAR, RATIONAL, Arithmetic
from provable.errors import ArithmeticUnsupported

EVERY = [FLOAT64, RATIONAL, MODULAR, BALL]
names = [system.name for system in EVERY]
finite = st.floats(allow_nan=False, allow_infinity=False)
moderate = st.floats(-1e6, 1e6)
matrices = st.builds(
    lambda seed, rows, columns: np.random.default_rng(seed).integers(-4, 5, (rows, columns)).astype(float),
    st.integers(0, 2**32 - 1),
    st.integers(1, 4),
    st.integers(1, 4),
)


class Pair(NamedTuple):
    """A named tuple to convert."""

    left: Any
    right: Any


@dataclasses.dataclass(frozen=True)
class Box:
    """A dataclass to convert."""

    content: Any
    label: str = "box"


@given(finite)
def test_a_float_is_the_rational_number_that_it_is(x: float) -> None:
    numerator, denominator = x.as_integer_ratio()
    rational = RATIONAL.number(x)
    assert (int(rational.p), int(rational.q)) == (numerator, denominator)
    assert arithmetic.to_float(np.array([rational], dtype=object))[0] == x
    assert FLOAT64.number(x) == x
    residue = MODULAR.number(x)
    assert (int(residue) * denominator - numerator) % DEFAULT_PRIME == 0
    with Arithmetic("ball", bits=2200).working():  # enough for every float, subnormal ones included
        ball = BALL.number(x)
        assert ball.contains(rational)
        assert float(ball.mid()) == x


@given(st.fractions(), st.integers(-(10**30), 10**30))
def test_fractions_and_integers_are_numbers_too(fraction: Fraction, integer: int) -> None:
    assert RATIONAL.number(fraction) == flint.fmpq(fraction.numerator, fraction.denominator)
    assert RATIONAL.number(integer) == integer and int(MODULAR.number(integer)) == integer % DEFAULT_PRIME
    assert BALL.number(fraction).contains(RATIONAL.number(fraction))


@pytest.mark.parametrize("system", EVERY, ids=names)
def test_nested_structures_keep_their_form(system: Arithmetic) -> None:
    array = np.arange(6.0).reshape(2, 3)
    value = {"a": [array, (1.5, 2, True, "text", None)], "b": Box(Pair(array[0], 0.5)), "c": np.float64(2.0)}
    with system.working():
        found = system.convert(value)
    assert list(found) == ["a", "b", "c"] and found["a"][1][1:] == (2, True, "text", None)
    assert isinstance(found["b"], Box) and isinstance(found["b"].content, Pair) and found["b"].label == "box"
    assert found["a"][0].shape == (2, 3) and arithmetic.kind(found["a"][0]) == system.name
    for part in (found["a"][1][0], found["b"].content.right, found["c"]):
        assert arithmetic.kind(np.array([part])) == system.name
    integers = np.arange(3)
    assert system.convert(integers) is integers
    assert system.convert(np.zeros((0, 2))).shape == (0, 2)


def test_objects_may_decide_what_their_numbers_are() -> None:
    class Stubborn:
        def map_numbers(self, function: Any) -> Any:
            return function((1.5, 2)), "kept"

    assert RATIONAL.convert([Stubborn()]) == [((flint.fmpq(3, 2), 2), "kept")]


def test_balls_work_at_their_own_precision_only_inside() -> None:
    before = flint.ctx.prec
    with Arithmetic("ball", bits=500).working():
        assert flint.ctx.prec == 500
    for system in EVERY[:3]:
        with system.working():
            assert flint.ctx.prec == before
    with pytest.raises(ZeroDivisionError), Arithmetic("ball", bits=500).working():
        raise ZeroDivisionError
    assert flint.ctx.prec == before
    assert [system.is_exact for system in EVERY] == [False, True, True, True]


@pytest.mark.parametrize("system", EVERY, ids=names)
def test_constants_take_the_arithmetic_of_the_array(system: Arithmetic) -> None:
    like = system.convert(np.array([[2.0]]))
    for value in (0.25, 3, Fraction(1, 4)):
        constant = arithmetic.constant(value, like)
        assert arithmetic.kind(np.array([constant])) == system.name
        assert constant == system.number(value)
    filled = arithmetic.full((2, 0, 3), 1.5, like), arithmetic.full((2, 3), 1.5, like)
    assert filled[0].shape == (2, 0, 3) and (filled[1] == system.number(1.5)).all()
    assert arithmetic.kind(filled[1]) == system.name


def test_constants_take_the_modulus_of_the_array() -> None:
    like = Arithmetic("modular", prime=101).convert(np.array([1.0]))
    assert int(arithmetic.constant(0.5, like)) == 51 and arithmetic.constant(0.5, like).modulus() == 101


@given(matrices, st.integers(0, 2**32 - 1))
def test_products_and_sums_agree_in_every_arithmetic(left: Any, seed: int) -> None:
    right = np.random.default_rng(seed).integers(-4, 5, (left.shape[1], 3)).astype(float)
    expected = left @ right + left.sum()  # exact: small integers
    for system in EVERY:
        a, b = system.convert((left, right))
        assert (a @ b + a.sum() == system.convert(expected)).all()
        assert (np.tensordot(a, b, axes=(1, 0)) + a.sum() == system.convert(expected)).all()


FUNCTIONS: list[tuple[Any, Any, float, float]] = [
    (arithmetic.exp, np.exp, -20.0, 20.0),
    (arithmetic.log, np.log, 1e-6, 1e6),
    (arithmetic.sqrt, np.sqrt, 0.0, 1e6),
    (arithmetic.tanh, np.tanh, -20.0, 20.0),
    (arithmetic.erf, scipy.special.erf, -6.0, 6.0),
    (arithmetic.arccos, np.arccos, -0.99, 0.99),
]


@pytest.mark.parametrize(("function", "library", "low", "high"), FUNCTIONS, ids=[f[0].__name__ for f in FUNCTIONS])
@given(data=st.data())
def test_balls_enclose_what_floats_approximate(
    function: Any, library: Any, low: float, high: float, data: st.DataObject
) -> None:
    x = np.array([[data.draw(st.floats(low, high))]])
    floats = function(x)
    assert floats.dtype == np.float64 and (floats == library(x)).all()
    with BALL.working():
        balls = function(BALL.convert(x))
        error = abs(arithmetic.to_float(balls - BALL.convert(floats)))
        size = abs(arithmetic.to_float(balls))
    assert (balls.shape == (1, 1) and balls[0, 0].rel_accuracy_bits() > 200) or size[0, 0] == 0
    # library functions err by less than 2 ulp; the largest condition number met is that of arccos near 1, below 8,
    # but its argument is exact here
    assert (error <= 30 * EPSILON * size).all()
    assert function(1.0 if low > -1 else 0.5) == pytest.approx(
        float(library(1.0 if low > -1 else 0.5)), rel=30 * EPSILON
    )
    for system in (RATIONAL, MODULAR):
        with pytest.raises(ArithmeticUnsupported, match=f"{function.__name__} has no value in {system.name}"):
            function(system.convert(x))


@given(st.lists(moderate, max_size=5))
def test_signs_are_exact(numbers: list[float]) -> None:
    array = np.array(numbers)
    for system in (FLOAT64, RATIONAL, BALL):
        assert (arithmetic.positive(system.convert(array)) == (array > 0)).all()


def test_signs_that_are_open_are_refused() -> None:
    with pytest.raises(ArithmeticUnsupported, match="have no order"):
        arithmetic.positive(MODULAR.convert(np.ones(1)))
    with pytest.raises(ArithmeticUnsupported, match="straddles zero"):
        arithmetic.positive(np.array([flint.arb(0, 2.0**-300)], dtype=object))
    with pytest.raises(ArithmeticUnsupported, match="no real value"):
        arithmetic.to_float(MODULAR.convert(np.ones(1)))


def fraction_rank(matrix: Any) -> int:
    """Rank by elimination in the standard library's fractions."""
    rows = [[Fraction(entry) for entry in row] for row in matrix]
    rank = 0
    for column in range(len(rows[0])):
        pivot = next((i for i in range(rank, len(rows)) if rows[i][column]), None)
        if pivot is None:
            continue
        rows[rank], rows[pivot] = rows[pivot], rows[rank]
        for i in range(rank + 1, len(rows)):
            factor = rows[i][column] / rows[rank][column]
            rows[i] = [a - factor * b for a, b in zip(rows[i], rows[rank], strict=True)]
        rank += 1
    return rank


@given(st.integers(0, 4), st.integers(1, 5), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_ranks_agree(inner: int, rows: int, columns: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    matrix = (rng.integers(-3, 4, (rows, inner)) @ rng.integers(-3, 4, (inner, columns))).astype(float)
    expected = fraction_rank(matrix)
    # a prime of 61 bits divides no nonzero minor of these small integers, and nonzero singular values are above 1e-6
    assert [arithmetic.rank(system.convert(matrix)) for system in EVERY[:3]] == [expected] * 3
    with pytest.raises(ArithmeticUnsupported, match="no rank"):
        arithmetic.rank(BALL.convert(matrix))


def test_numerical_rank_is_relative() -> None:
    assert arithmetic.rank(1e-200 * np.eye(3)) == 3
    assert arithmetic.rank(np.diag([1.0, 1e-3, 1e-17])) == 2
    assert arithmetic.rank(np.diag([1.0, 1e-3, 1e-17]), relative_tolerance=1e-2) == 1
    assert arithmetic.rank(np.zeros((2, 2))) == 0 and arithmetic.rank(np.zeros((0, 3))) == 0


@given(st.integers(1, 4), st.integers(0, 2**32 - 1), st.booleans())
def test_determinants_and_solutions(n: int, seed: int, vector: bool) -> None:
    rng = np.random.default_rng(seed)
    matrix = rng.integers(-4, 5, (n, n)).astype(float)
    solution = rng.integers(-4, 5, (n,) if vector else (n, 2)).astype(float)
    exact = arithmetic.determinant(RATIONAL.convert(matrix))
    if exact == 0:
        with pytest.raises(ZeroDivisionError):
            arithmetic.solve(RATIONAL.convert(matrix), RATIONAL.convert(matrix @ solution))
        return
    # integers below 4**4 * 24; LU errs by a few ε times the product of the row norms
    assert abs(arithmetic.determinant(matrix) - float(exact)) <= 30 * EPSILON * np.prod(np.linalg.norm(matrix, axis=1))
    assert int(arithmetic.determinant(MODULAR.convert(matrix))) == int(exact.p) % DEFAULT_PRIME
    for system in (RATIONAL, MODULAR):
        found = arithmetic.solve(*system.convert((matrix, matrix @ solution)))
        assert found.shape == solution.shape and (found == system.convert(solution)).all()
    with BALL.working():
        balls = arithmetic.solve(*BALL.convert((matrix, matrix @ solution)))
        assert all(ball.contains(int(x)) for ball, x in zip(balls.flat, solution.flat, strict=True))
        assert arithmetic.determinant(BALL.convert(matrix)).contains(exact)
    error = np.linalg.norm(arithmetic.solve(matrix, matrix @ solution) - solution)
    assert error <= 30 * n * EPSILON * np.linalg.cond(matrix) * np.linalg.norm(solution)


def test_singular_floats_are_refused() -> None:
    with pytest.raises(ZeroDivisionError, match="singular"):
        arithmetic.solve(np.zeros((2, 2)), np.ones(2))


def test_padded_integers_do_not_hide_the_arithmetic():
    padded = np.array([[0, MODULAR.number(2)], [MODULAR.number(1), 0]], dtype=object)
    assert arithmetic.kind(padded) == "modular" and arithmetic.rank(padded) == 2
    assert arithmetic.kind(np.array([0, 1], dtype=object)) == "rational"
    assert int(arithmetic.constant(0.5, padded) * 2) == 1
