"""Functions of one number as polynomials in x and in functions of such, to recognise activations written in pieces.

Exporters write GELU as 0.5 x (1 + erf(x/√2)) and SiLU as x sigmoid(x), in several orders. Expanding products makes
equal orders equal: an expression is a sum of coefficients times monomials, a monomial a product of powers of atoms,
and an atom is x or a function of an expression.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

from provable.architectures.activations import (
    GELU,
    LONGEST_POLYNOMIAL,
    Activation,
    Erf,
    Identity,
    Polynomial,
    Sigmoid,
    SiLU,
    Softplus,
)

LARGEST_EXPRESSION = 64
"""Atoms in an expression, nested ones counted as often as they occur; larger ones are not recognised."""

SOFTPLUS_THRESHOLD = 20.0
"""From here on log(1 + exp(x)) is x up to 2.1e-9, less than half a unit in the last place of a float32."""


@dataclass(frozen=True)
class Function:
    """A function of an expression.

    Parameters
    ----------
    name : str or Activation
        ``"exp"``, ``"log"``, ``"reciprocal"``, ``"greater"`` (than zero), or an activation.
    argument : Expression
        What it is applied to.
    """

    name: str | Activation
    argument: Expression


Monomial = frozenset[tuple[str | Function, int]]


@dataclass(frozen=True)
class Expression:
    """A sum of coefficients times monomials.

    Parameters
    ----------
    terms : frozenset of (Monomial, float)
        Nonzero coefficients, each monomial once; a monomial is a set of atoms with positive powers.
    """

    terms: frozenset[tuple[Monomial, float]]

    @cached_property
    def size(self) -> int:
        """The number of atoms, nested ones included.

        Returns
        -------
        int
            How large the expression would be on paper.
        """
        atoms = [atom for monomial, _ in self.terms for atom, _ in monomial]
        return len(self.terms) + sum(1 if isinstance(atom, str) else 1 + atom.argument.size for atom in atoms)

    @cached_property
    def constant(self) -> float | None:
        """The value of an expression that does not depend on x.

        Returns
        -------
        float or None
            The number, or None if x occurs.
        """
        if not self.terms:
            return 0.0
        ((monomial, coefficient),) = self.terms if len(self.terms) == 1 else ((None, 0.0),)
        return coefficient if monomial is not None and not monomial else None


def _sum(terms: Iterable[tuple[Monomial, float]]) -> Expression:
    total: defaultdict[Monomial, float] = defaultdict(float)
    for monomial, coefficient in terms:
        total[monomial] += coefficient
    return Expression(frozenset((monomial, value) for monomial, value in total.items() if value != 0.0))


def number(value: float) -> Expression:
    """Make a constant.

    Parameters
    ----------
    value : float
        The number.

    Returns
    -------
    Expression
        The constant function.
    """
    return _sum([(frozenset(), value)])


X = Expression(frozenset({(frozenset({("x", 1)}), 1.0)}))
"""The function x itself."""


def _apply(name: str | Activation, argument: Expression) -> Expression:
    return Expression(frozenset({(frozenset({(Function(name, argument), 1)}), 1.0)}))


def _add(left: Expression, right: Expression) -> Expression:
    return _sum([*left.terms, *right.terms])


def _scaled(expression: Expression, factor: float) -> Expression:
    return _sum((monomial, factor * coefficient) for monomial, coefficient in expression.terms)


def _subtract(left: Expression, right: Expression) -> Expression:
    return _add(left, _scaled(right, -1.0))


def _multiply(left: Expression, right: Expression) -> Expression:
    terms = []
    for first, a in left.terms:
        for second, b in right.terms:
            powers = dict(first)
            for atom, power in second:
                powers[atom] = powers.get(atom, 0) + power
            terms.append((frozenset(powers.items()), a * b))
    return _sum(terms)


def _exponential_minus(expression: Expression) -> Expression | None:
    """Return e if the expression is 1 + exp(e)."""
    rest = _subtract(expression, number(1.0)).terms
    if len(rest) != 1:
        return None
    ((monomial, coefficient),) = rest
    if coefficient != 1.0 or len(monomial) != 1:
        return None
    ((atom, power),) = monomial
    return atom.argument if isinstance(atom, Function) and atom.name == "exp" and power == 1 else None


def _log(argument: Expression) -> Expression:
    exponent = _exponential_minus(argument)
    return _apply("log", argument) if exponent is None else _apply(Softplus(), exponent)


def _reciprocal(argument: Expression) -> Expression | None:
    if argument.constant is not None:
        return number(1.0 / argument.constant) if argument.constant else None
    exponent = _exponential_minus(argument)
    return _apply("reciprocal", argument) if exponent is None else _apply(Sigmoid(), _scaled(exponent, -1.0))


def _divide(left: Expression, right: Expression) -> Expression | None:
    inverse = _reciprocal(right)
    return None if inverse is None else _multiply(left, inverse)


def _power(base: Expression, exponent: Expression) -> Expression | None:
    degree = exponent.constant
    if degree is None or not 0 <= degree < LONGEST_POLYNOMIAL or degree != int(degree):
        return None
    result = number(1.0)
    for _ in range(int(degree)):
        result = _multiply(result, base)
        if result.size > LARGEST_EXPRESSION:
            return None
    return result


def _where(condition: Expression, upper: Expression, lower: Expression) -> Expression | None:
    """Softplus with a linear tail, as PyTorch computes it; nothing else."""
    for threshold in _thresholds(condition, upper):
        if threshold >= SOFTPLUS_THRESHOLD and lower == _apply(Softplus(), upper):
            return lower
    return None


def _thresholds(condition: Expression, value: Expression) -> list[float]:
    atoms = [atom for monomial, _ in condition.terms for atom, _ in monomial]
    found = [
        _subtract(value, atom.argument).constant
        for atom in atoms
        if isinstance(atom, Function) and atom.name == "greater" and condition == _apply("greater", atom.argument)
    ]
    return [threshold for threshold in found if threshold is not None]


OPERATIONS: dict[str, Callable[..., Expression | None]] = {
    "add": _add,
    "subtract": _subtract,
    "multiply": _multiply,
    "divide": _divide,
    "power": _power,
    "negate": lambda argument: _scaled(argument, -1.0),
    "exp": lambda argument: _apply("exp", argument),
    "log": _log,
    "reciprocal": _reciprocal,
    "greater": lambda left, right: _apply("greater", _subtract(left, right)),
    "where": _where,
}
"""The operations on numbers that graphs may contain beside the activations."""


def evaluate(operation: str | Activation, operands: list[Expression]) -> Expression | None:
    """Carry out an operation on expressions.

    Parameters
    ----------
    operation : str or Activation
        A name of `OPERATIONS`, or an activation of one operand.
    operands : list of Expression
        In the operation's order.

    Returns
    -------
    Expression or None
        The result; None if it is too large, not finite or beyond what is recognised.
    """
    if isinstance(operation, Identity):
        return operands[0]
    if isinstance(operation, Activation):
        result: Expression | None = _apply(operation, operands[0])
    else:
        result = OPERATIONS[operation](*operands)
    if result is None or result.size > LARGEST_EXPRESSION:
        return None
    return result if all(math.isfinite(coefficient) for _, coefficient in result.terms) else None


def _rounded(expression: Expression) -> Expression:
    """Round the coefficients to six digits, so that constants stored as float32 match their exact values."""

    def atom(value: str | Function) -> str | Function:
        return value if isinstance(value, str) else Function(value.name, _rounded(value.argument))

    return _sum(
        (frozenset((atom(value), power) for value, power in monomial), float(f"{coefficient:.5e}"))
        for monomial, coefficient in expression.terms
    )


def _known() -> dict[Expression, Activation]:
    gaussian = _add(number(1.0), _apply(Erf(), _scaled(X, math.sqrt(0.5))))
    forms = [(_multiply(_scaled(X, 0.5), gaussian), GELU()), (_multiply(X, _apply(Sigmoid(), X)), SiLU())]
    return {_rounded(form): activation for form, activation in forms}


KNOWN = _known()
"""Composite activations by their expression, coefficients rounded to six digits."""


def activation_of(expression: Expression) -> Activation | None:
    """Find the activation that an expression is.

    Parameters
    ----------
    expression : Expression
        A function of x.

    Returns
    -------
    Activation or None
        Identity for x itself, an activation by name, a polynomial; None if there is none.
    """
    if expression == X:
        return Identity()
    coefficients = [0.0]
    for monomial, coefficient in expression.terms:
        degree = sum(power for _, power in monomial)
        if any(atom != "x" for atom, _ in monomial) or degree >= LONGEST_POLYNOMIAL:
            break
        coefficients += [0.0] * (degree + 1 - len(coefficients))
        coefficients[degree] = coefficient
    else:
        return Polynomial(tuple(coefficients))
    if len(expression.terms) == 1:
        ((monomial, coefficient),) = expression.terms
        ((atom, power), *others) = monomial
        if coefficient == 1.0 and power == 1 and not others and isinstance(atom, Function) and atom.argument == X:
            return atom.name if isinstance(atom.name, Activation) else None
    return KNOWN.get(_rounded(expression))
