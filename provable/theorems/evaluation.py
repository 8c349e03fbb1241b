"""Evaluating a claim on one instance: in one arithmetic, and, for a counterexample, in an arithmetic that proves it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from provable.arithmetic import Arithmetic
from provable.errors import ArithmeticUnsupported, TheoremError
from provable.theorems.checks import RATIO_LIMIT, Check, Outcome, evaluate, holds
from provable.theorems.theorem import Hypothesis

FLOAT_MARGIN = 1000.0
"""A float64 violation that no exact arithmetic can confirm must exceed the accepted ratio by this factor."""


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """A claim on one instance in one arithmetic.

    Parameters
    ----------
    arithmetic : Arithmetic
        Which numbers.
    outcomes : tuple of (Check, Outcome)
        Every check that the claim made.
    """

    arithmetic: Arithmetic
    outcomes: tuple[tuple[Check, Outcome], ...]

    @property
    def violation(self) -> tuple[Check, Outcome] | None:
        """The first violated check, or None."""
        return next((pair for pair in self.outcomes if pair[1].status == "violated"), None)

    @property
    def proves(self) -> bool:
        """Whether exact arithmetic decided every check in the claim's favour."""
        return self.arithmetic.is_exact and all(outcome.status == "proved" for _, outcome in self.outcomes)

    @property
    def worst_ratio(self) -> float:
        """The largest ratio to the stated float64 error among the equalities and inequalities."""
        ratios = [o.ratio for c, o in self.outcomes if c.relation in ("=", "<=", "<") and o.status != "open"]
        return max(ratios, default=0.0)

    @property
    def is_open(self) -> bool:
        """Whether some check stayed open."""
        return any(outcome.status == "open" for _, outcome in self.outcomes)


def evaluate_claim(
    claim: Callable[[Any], Any], instance: Any, arithmetic: Arithmetic, *, declared: bool = True
) -> Evaluation:
    """Evaluate a claim on one instance.

    Parameters
    ----------
    claim : callable
        The claim; it returns a `Check`, a bool, or an iterable of them.
    instance : object
        The instance as drawn, in float64.
    arithmetic : Arithmetic
        The numbers that it is converted to first.
    declared : bool, optional
        Whether the author declared this arithmetic. If not, an operation that does not exist in it is no mistake.

    Returns
    -------
    Evaluation
        All checks with their outcomes.

    Raises
    ------
    TheoremError
        If the claim makes no check, or hands over something else.
    ArithmeticUnsupported
        If an operation of the claim does not exist in this arithmetic.
    """
    with arithmetic.working(), np.errstate(all="ignore"):
        converted = arithmetic.convert(instance) if arithmetic.is_exact else instance
        try:
            checks = _as_checks(claim(converted))
        except (TypeError, AttributeError) as error:
            if declared or not arithmetic.is_exact:
                raise
            raise ArithmeticUnsupported(f"the claim does not run in {arithmetic.name} arithmetic: {error}") from error
        outcomes = []
        for check in checks:
            decided = evaluate(check)
            if arithmetic.is_exact and check.relation != "holds" and _is_float(check) and decided.status == "violated":
                # The claim left the exact numbers on its way, so a tolerance decided: that confirms nothing.
                decided = Outcome("open", decided.ratio)
            outcomes.append((check, decided))
    if not outcomes:
        raise TheoremError("the claim made no check on an instance; return or yield at least one")
    return Evaluation(arithmetic, tuple(outcomes))


def _is_float(check: Check) -> bool:
    return any(np.asarray(side).dtype.kind == "f" for side in (check.left, check.right))


def _as_checks(returned: Any) -> list[Check]:
    if isinstance(returned, Check):
        return [returned]
    if isinstance(returned, bool | np.bool_):
        return [holds(bool(returned), name="the claim")]
    if isinstance(returned, Iterable) and not isinstance(returned, str | bytes | np.ndarray):
        return [check for part in returned for check in _as_checks(part)]
    raise TheoremError(
        f"the claim returned a {type(returned).__name__}; checks (equal, at_most, holds, ...) are accepted"
    )


def meets(hypothesis: Hypothesis, instance: Any) -> bool:
    """Tell whether an instance meets a hypothesis.

    Parameters
    ----------
    hypothesis : Hypothesis
        The predicate and its arithmetic.
    instance : object
        The instance as drawn.

    Returns
    -------
    bool
        The predicate's value.
    """
    arithmetic = hypothesis.arithmetic
    with arithmetic.working(), np.errstate(all="ignore"):
        return bool(hypothesis.predicate(arithmetic.convert(instance) if arithmetic.is_exact else instance))


@dataclasses.dataclass(frozen=True)
class Confirmation:
    """A violation that was evaluated a second time, in an arithmetic that proves it where one exists.

    Parameters
    ----------
    arithmetic : str
        ``"rational"``, ``"modular"``, ``"ball"``, or ``"float64"`` when no exact arithmetic has the claim's operations.
    check : str
        What is violated.
    relation, left, right : str
        The relation that was claimed, and both sides.
    """

    arithmetic: str
    check: str
    relation: str
    left: str
    right: str


def confirm_violation(
    claim: Callable[[Any], Any], instance: Any, arithmetics: Sequence[Arithmetic], *, declared: bool = True
) -> Confirmation | None:
    """Decide whether an instance really violates a claim, trusting rounding as little as possible.

    Parameters
    ----------
    claim : callable
        The claim.
    instance : object
        The suspected counterexample.
    arithmetics : sequence of Arithmetic
        Where the claim can be evaluated. Rationals are asked first, then residues, then balls at their own and at twice the
        precision; float64 has the last word only if none of these has the claim's operations, and then needs a difference
        of `FLOAT_MARGIN` times the accepted ratio; a bare truth value has no such margin and stays unconfirmed.
    declared : bool, optional
        Whether the author declared the arithmetics.

    Returns
    -------
    Confirmation or None
        The confirmed violation, or None if it was not confirmed.
    """
    order = {"rational": 0, "modular": 1, "ball": 2}
    exact = sorted((a for a in arithmetics if a.is_exact), key=lambda a: order[a.name])
    doubled = [dataclasses.replace(a, bits=2 * a.bits) for a in exact if a.name == "ball"]
    for arithmetic in [*exact, *doubled]:
        try:
            evaluation = evaluate_claim(claim, instance, arithmetic, declared=declared)
        except (ArithmeticUnsupported, ZeroDivisionError):
            continue
        if evaluation.violation is not None:
            return _confirmation(arithmetic, *evaluation.violation)
        if not evaluation.is_open and arithmetic.name != "modular":
            return None
    floats = [a for a in arithmetics if not a.is_exact]
    if not floats:
        return None
    violation = evaluate_claim(claim, instance, floats[0]).violation
    if violation is None or violation[0].relation == "holds" or violation[1].ratio < FLOAT_MARGIN * RATIO_LIMIT:
        return None
    return _confirmation(floats[0], *violation)


def _confirmation(arithmetic: Arithmetic, check: Check, outcome: Outcome) -> Confirmation:
    if check.relation == "holds":
        return Confirmation(arithmetic.name, check.name, check.relation, "false", "true")
    left, right = np.broadcast_arrays(np.asarray(check.left), np.asarray(check.right))
    where = ""
    if check.relation != "!=":
        with arithmetic.working():
            for index in np.ndindex(left.shape):
                part = dataclasses.replace(check, left=left[index], right=right[index])
                if evaluate(part).status == "violated":
                    where = f" (entry {', '.join(map(str, index))})" if index else ""
                    left, right = left[index], right[index]
                    break
    return Confirmation(arithmetic.name, check.name + where, check.relation, _brief(left), _brief(right))


def _brief(value: Any) -> str:
    values = np.asarray(value)
    parts = [str(part) for part in values.reshape(-1)[:8]]
    text = ", ".join(part if len(part) <= 60 else part[:57] + "..." for part in parts)
    return f"[{text}{', ...' if values.size > 8 else ''}]" if values.shape else text
