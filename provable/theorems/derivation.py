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

    difference = sympy.sympify(left) - sympy.sympify(right) if not hasattr(left, "shape") else left - right
    for entry in difference if hasattr(difference, "shape") else [difference]:
        if not _is_zero(entry):
            return Step(name, False, f"the difference does not normalise to zero: {str(entry)[:200]}")
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
