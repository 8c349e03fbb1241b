"""Symbolic steps hold when they hold, and fail when they do not."""

from __future__ import annotations

import sympy
from hypothesis import given
from hypothesis import strategies as st

from provable.theorems import fact, identity

x, y = sympy.symbols("x y")


@given(st.integers(-5, 5), st.integers(-5, 5), st.integers(1, 4))
def test_polynomial_identities_are_decided(a, b, power):
    left = (a * x + b * y) ** power
    assert identity("expansion", left, sympy.expand(left)).ok
    assert not identity("off by one", left, sympy.expand(left) + 1).ok


def test_transcendental_identities():
    assert identity("addition", sympy.sin(x) ** 2 + sympy.cos(x) ** 2, 1).ok
    assert identity("logistic", 1 / (1 + sympy.exp(-x)), sympy.exp(x) / (1 + sympy.exp(x))).ok
    failed = identity("wrong sign", sympy.tanh(x).diff(x), 1 + sympy.tanh(x) ** 2)
    assert not failed.ok and "does not normalise to zero" in failed.detail


def test_matrices_are_compared_entry_by_entry():
    matrix = sympy.Matrix([[x, y], [y, x]])
    assert identity("square", matrix * matrix, sympy.Matrix([[x**2 + y**2, 2 * x * y], [2 * x * y, x**2 + y**2]])).ok
    assert not identity("one entry off", matrix, sympy.Matrix([[x, y], [y, -x]])).ok


def test_facts_need_a_decided_truth():
    assert fact("true", True).ok
    assert fact("sympy's true", sympy.true).ok
    assert not fact("false", False).ok
    undecided = fact("undecided", x > 0)
    assert not undecided.ok and "x > 0" in undecided.detail
    assert not fact("truthy is not true", 1 + x).ok
