"""What a claim hands to the engine: relations between computed numbers, with the error that float64 may show.

In float64 the error of an equality is stated, LAPACK's way, as ``operations * 2**-52 * condition * magnitude``; the ratio of
the observed difference to that unit must stay below 30. In rationals and modulo a prime a relation holds or fails. In balls
an inequality is proved, disproved or open; an equality is disproved by disjoint balls and can only be enclosed otherwise.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from provable.arithmetic import EPSILON, constant, kind, to_float
from provable.errors import TheoremError

RATIO_LIMIT = 30.0
"""Largest accepted ratio of an observed float64 difference to its stated unit."""


@dataclasses.dataclass(frozen=True)
class Check:
    """One relation between computed numbers.

    Parameters
    ----------
    relation : {"=", "!=", "<=", "<", "holds"}
        The relation that is claimed, elementwise for arrays.
    left, right : object
        Numbers or arrays of one arithmetic; for ``"holds"`` `left` is a bool.
    name : str
        What is compared, in a few words.
    operations : int
        Length of the longest chain of rounding errors, the k of k·ε·κ.
    magnitude : float or None
        Size of the terms whose cancellation loses digits; default: the largest absolute value on either side.
    condition : float
        Condition number κ of what is computed.
    """

    relation: str
    left: Any
    right: Any
    name: str = ""
    operations: int = 1
    magnitude: float | None = None
    condition: float = 1.0


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What one arithmetic says about one check.

    Parameters
    ----------
    status : {"proved", "within", "violated", "open", "empty"}
        ``"proved"`` by exact arithmetic, ``"within"`` the stated error or enclosure, ``"violated"``, ``"open"``, or
        ``"empty"`` for arrays without entries, which say nothing.
    ratio : float
        float64 only: the difference in units of k·ε·κ·magnitude (0 elsewhere; infinite for a violated truth value).
    """

    status: str
    ratio: float = 0.0


def equal(
    left: Any,
    right: Any,
    *,
    operations: int,
    magnitude: Any = None,
    condition: float = 1.0,
    name: str = "both sides agree",
) -> Check:
    """Claim that two numbers or arrays are equal.

    Parameters
    ----------
    left, right : array_like
        Both sides, in one arithmetic.
    operations : int
        k of the error unit k·ε·κ·magnitude: the length of the longest chain of rounding errors.
    magnitude : array_like, optional
        Size of the terms that cancel; default: the largest absolute value on either side.
    condition : float, optional
        κ of the error unit.
    name : str, optional
        What is compared.

    Returns
    -------
    Check
        The relation, to be returned or yielded by a claim.
    """
    return Check("=", left, right, name, operations, _size(magnitude), float(condition))


def different(
    left: Any,
    right: Any,
    *,
    operations: int,
    magnitude: Any = None,
    condition: float = 1.0,
    name: str = "both sides differ",
) -> Check:
    """Claim that two numbers or arrays differ in at least one entry.

    Parameters
    ----------
    left, right : array_like
        Both sides, in one arithmetic.
    operations, magnitude, condition, name
        As in `equal`; in float64 the difference must exceed 30 units.

    Returns
    -------
    Check
        The relation.
    """
    return Check("!=", left, right, name, operations, _size(magnitude), float(condition))


def at_most(
    left: Any,
    right: Any,
    *,
    operations: int,
    magnitude: Any = None,
    condition: float = 1.0,
    name: str = "the left side is at most the right side",
) -> Check:
    """Claim ``left <= right``, elementwise.

    Parameters
    ----------
    left, right : array_like
        Both sides, in one arithmetic with an order.
    operations, magnitude, condition, name
        As in `equal`.

    Returns
    -------
    Check
        The relation.
    """
    return Check("<=", left, right, name, operations, _size(magnitude), float(condition))


def less(
    left: Any,
    right: Any,
    *,
    operations: int,
    magnitude: Any = None,
    condition: float = 1.0,
    name: str = "the left side is below the right side",
) -> Check:
    """Claim ``left < right``, elementwise.

    Parameters
    ----------
    left, right : array_like
        Both sides, in one arithmetic with an order.
    operations, magnitude, condition, name
        As in `equal`; in float64 a gap below 30 units leaves the check open.

    Returns
    -------
    Check
        The relation.
    """
    return Check("<", left, right, name, operations, _size(magnitude), float(condition))


def holds(truth: bool, *, name: str) -> Check:
    """Claim a truth value, for instance about ranks, signs or sets.

    Inside an exact claim compare exact numbers with integers or with `provable.arithmetic.constant`: python-flint takes a
    rational for different from every float, so ``x != 0.5`` is always true of a rational x.

    Parameters
    ----------
    truth : bool
        Whether it holds.
    name : str
        What holds.

    Returns
    -------
    Check
        The relation.
    """
    return Check("holds", bool(truth), True, name)


def _size(magnitude: Any) -> float | None:
    if magnitude is None or kind(magnitude) == "modular":
        return None
    values = np.abs(to_float(magnitude))
    return float(values.max()) if values.size else 0.0


def evaluate(check: Check) -> Outcome:
    """Decide one check in the arithmetic of its numbers.

    Parameters
    ----------
    check : Check
        The relation.

    Returns
    -------
    Outcome
        Its status, and the ratio in float64.

    Raises
    ------
    TheoremError
        If the two sides have different shapes.
    """
    if check.relation == "holds":
        return Outcome("proved" if check.left else "violated", 0.0 if check.left else math.inf)
    left, right = np.asarray(check.left), np.asarray(check.right)
    if left.shape != right.shape and left.shape != () and right.shape != ():
        raise TheoremError(
            f"check '{check.name}' compares shapes {left.shape} and {right.shape}; equal shapes are accepted"
        )
    left, right = np.broadcast_arrays(left, right)
    if left.size == 0:
        return Outcome("empty")
    for side in (left, right):
        if side.dtype.kind not in "fiubO" or side.dtype in (np.float16, np.float32):
            raise TheoremError(
                f"check '{check.name}' compares numbers of type {side.dtype}; float64 and exact are accepted"
            )
    left, right = (side.astype(object) if side.dtype.kind in "iub" else side for side in (left, right))
    kinds = {kind(side) for side in (left, right) if not all(isinstance(entry, int) for entry in side.reshape(-1))}
    if kinds == {"float64"}:
        return _evaluate_float(check, left.astype(np.float64), right.astype(np.float64))
    if "float64" in kinds:
        return _evaluate_mixed(check, left, right)
    if kinds == {"ball"}:
        return _evaluate_ball(check.relation, left.reshape(-1), right.reshape(-1))
    return _evaluate_exact(check.relation, left.reshape(-1), right.reshape(-1))


def _evaluate_mixed(check: Check, left: np.ndarray[Any, Any], right: np.ndarray[Any, Any]) -> Outcome:
    """Exact numbers against machine numbers, such as a literal 0.5: these are exact too, unless they were rounded before."""
    exact_left = kind(left) != "float64"
    floats = (right if exact_left else left).astype(np.float64)
    if not np.all(np.isfinite(floats)):
        return Outcome("open")
    like = left if exact_left else right
    lifted = np.empty(floats.shape, dtype=object)
    for index in np.ndindex(floats.shape):
        lifted[index] = constant(float(floats[index]), like)
    pair = (left, lifted) if exact_left else (lifted, right)
    outcome = evaluate(dataclasses.replace(check, left=pair[0], right=pair[1]))
    if kind(like) == "modular" or outcome.status not in ("proved", "violated"):
        return outcome
    gaps = np.abs(to_float(pair[0] - pair[1]))
    if np.any((gaps > 0) & (gaps <= 2 * EPSILON * np.abs(floats))):
        return Outcome("open")
    return outcome


def _evaluate_float(check: Check, left: np.ndarray[Any, Any], right: np.ndarray[Any, Any]) -> Outcome:
    if not (np.all(np.isfinite(left)) and np.all(np.isfinite(right))):
        return Outcome("open", math.inf)
    magnitude = check.magnitude
    if magnitude is None:
        magnitude = float(max(np.abs(left).max(), np.abs(right).max()))
    unit = check.operations * EPSILON * check.condition * magnitude
    if not (math.isfinite(unit) and check.operations >= 0 and check.condition >= 0):
        return Outcome("open", math.inf)
    difference = left - right
    if check.relation in ("=", "!="):
        gap = float(np.abs(difference).max())
        ratio = gap / unit if unit > 0 else (0.0 if gap == 0 else math.inf)
        if check.relation == "=":
            return Outcome("within" if ratio <= RATIO_LIMIT else "violated", ratio)
        return Outcome("within" if ratio > RATIO_LIMIT else "violated" if gap == 0 else "open", ratio)
    excess = float(difference.max())
    ratio = excess / unit if unit > 0 else (0.0 if excess == 0 else math.copysign(math.inf, excess))
    if check.relation == "<=":
        return Outcome("within" if ratio <= RATIO_LIMIT else "violated", max(ratio, 0.0))
    if ratio < -RATIO_LIMIT:
        return Outcome("within", 0.0)
    return Outcome("violated" if ratio > RATIO_LIMIT or excess == 0 else "open", max(ratio, 0.0))


def _evaluate_exact(relation: str, left: np.ndarray[Any, Any], right: np.ndarray[Any, Any]) -> Outcome:
    pairs = list(zip(left, right, strict=True))
    if relation == "=":
        truth = all(a == b for a, b in pairs)
    elif relation == "!=":
        truth = any(a != b for a, b in pairs)
    elif relation == "<=":
        truth = all(a <= b for a, b in pairs)
    else:
        truth = all(a < b for a, b in pairs)
    return Outcome("proved" if truth else "violated", 0.0 if truth else math.inf)


def _evaluate_ball(relation: str, left: np.ndarray[Any, Any], right: np.ndarray[Any, Any]) -> Outcome:
    differences = [a - b for a, b in zip(left, right, strict=True)]
    if not all(d.is_finite() for d in differences):
        return Outcome("open")
    if relation == "=":
        if any(not d.contains(0) for d in differences):
            return Outcome("violated", math.inf)
        return Outcome("proved" if all(d.is_zero() for d in differences) else "within")
    if relation == "!=":
        if any(not d.contains(0) for d in differences):
            return Outcome("proved")
        return Outcome("violated" if all(d.is_zero() for d in differences) else "open")
    if relation == "<=":
        if all(d <= 0 for d in differences):
            return Outcome("proved")
        return Outcome("violated", math.inf) if any(d > 0 for d in differences) else Outcome("within")
    if all(d < 0 for d in differences):
        return Outcome("proved")
    return Outcome("violated", math.inf) if any(d >= 0 for d in differences) else Outcome("open")
