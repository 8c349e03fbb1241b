"""Named steps of a symbolic derivation; each is decided exactly by SymPy or by exact numbers, never by sampling."""

from __future__ import annotations

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class Step:
    """One step of a derivation.

    Parameters
    ----------
    name : str
        What the step says.
    ok : bool
        Whether it was decided and holds.
    detail : str
        What was left over when it does not.
    """

    name: str
    ok: bool
    detail: str = ""


def identity(name: str, left: Any, right: Any = 0) -> Step:
    """A step that says: two symbolic expressions are equal for all values of their symbols.

    Parameters
    ----------
    name : str
        What the step says.
    left, right : sympy expression or matrix, or exact number
        Both sides.

    Returns
    -------
    Step
        It holds if the difference normalises to the literal zero (expanded, cancelled or simplified).
    """
    import sympy

    if hasattr(left, "shape") or hasattr(right, "shape"):
        rows, columns = (left if hasattr(left, "shape") else right).shape
        both = [
            list(sympy.Matrix(side) if hasattr(side, "shape") else sympy.ones(rows, columns) * sympy.sympify(side))
            for side in (left, right)
        ]
        if len(both[0]) != len(both[1]) or not both[0]:
            return Step(name, False, f"the sides have {len(both[0])} and {len(both[1])} entries")
        pairs = list(zip(*both, strict=True))
    else:
        pairs = [(sympy.sympify(left), sympy.sympify(right))]
    for one, other in pairs:
        if one.has(sympy.Float) or other.has(sympy.Float):
            return Step(name, False, "a floating-point number stands in an exact step")
        if not _is_zero(one - other):
            return Step(name, False, f"the difference does not normalise to zero: {str(one - other)[:200]}")
    return Step(name, True)


def _is_zero(expression: Any) -> bool:
    import sympy

    if expression == 0:
        return True
    for normalise in (sympy.expand, lambda e: sympy.cancel(sympy.together(e)), sympy.simplify):
        try:
            if normalise(expression) == 0:
                return True
        except (NotImplementedError, sympy.PolynomialError):
            continue
    return False


def fact(name: str, truth: Any, detail: str = "") -> Step:
    """A step decided by an exact computation of the author's own: signs of exact numbers, a finite case check, a limit.

    Parameters
    ----------
    name : str
        What the step says.
    truth : object
        True (or SymPy's true) if it holds. Anything else, an undecided relational included, fails the step.
    detail : str, optional
        What was found otherwise.

    Returns
    -------
    Step
        The step.
    """
    import sympy

    decided = truth is True or truth == sympy.true
    return Step(name, bool(decided), "" if decided else (detail or f"it evaluates to {truth}"))
