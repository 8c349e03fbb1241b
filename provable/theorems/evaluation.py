"""Evaluating a claim on one instance: in one arithmetic, and, for a counterexample, in an arithmetic that proves it."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from provable.arithmetic import FLOAT64, Arithmetic, kind
from provable.errors import ArithmeticUnsupported, TheoremError
from provable.theorems.checks import Check, Outcome, evaluate, holds
from provable.theorems.theorem import Hypothesis


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
        statuses = {outcome.status for _, outcome in self.outcomes} - {"empty"}
        return self.arithmetic.is_exact and statuses == {"proved"}

    @property
    def worst_ratio(self) -> float:
        """The largest ratio to the stated float64 error among the equalities and inequalities."""
        ratios = [o.ratio for c, o in self.outcomes if c.relation in ("=", "<=", "<") and o.status != "open"]
        return max(ratios, default=0.0)

    @property
    def is_open(self) -> bool:
        """Whether some check stayed open, or all of them were empty."""
        statuses = {outcome.status for _, outcome in self.outcomes}
        return "open" in statuses or statuses == {"empty"}


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
        # A claim that changes its instance in place must not change what the next evaluation sees.
        converted = arithmetic.convert(instance) if arithmetic.is_exact else copy.deepcopy(instance)
        try:
            checks = _as_checks(claim(converted))
        except (TheoremError, ZeroDivisionError, ArithmeticUnsupported):
            raise
        except Exception as error:
            if declared or not arithmetic.is_exact:
                raise
            raise ArithmeticUnsupported(f"the claim does not run in {arithmetic.name} arithmetic: {error}") from error
        # Integers are left alone by the conversion, so their quotients are floats whatever the arithmetic is called.
        truths_count = declared or not arithmetic.is_exact or arithmetic.changes(instance)
        outcomes = tuple((check, _decide(check, arithmetic, truths_count)) for check in checks)
    if not outcomes:
        raise TheoremError("the claim made no check on an instance; return or yield at least one")
    return Evaluation(arithmetic, outcomes)


def _decide(check: Check, arithmetic: Arithmetic, truths_count: bool) -> Outcome:
    decided = evaluate(check)
    if check.relation == "holds":
        return decided if truths_count else Outcome("open", decided.ratio)
    if arithmetic.is_exact and decided.status == "violated" and _is_float(check):
        # The claim left the exact numbers on its way, so a tolerance decided: that confirms nothing.
        return Outcome("open", decided.ratio)
    return decided


def _is_float(check: Check) -> bool:
    sides = [np.asarray(side) for side in (check.left, check.right)]
    return all(side.dtype.kind in "iub" or kind(side) == "float64" for side in sides) and any(
        side.dtype.kind not in "iub" for side in sides
    )


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


@dataclasses.dataclass(frozen=True)
class Judgement:
    """What a second look says about a suspected counterexample.

    Parameters
    ----------
    confirmation : Confirmation or None
        The violation, if an exact arithmetic proves it.
    cleared : bool
        Whether an exact arithmetic decided every check in the claim's favour.
    """

    confirmation: Confirmation | None
    cleared: bool


def confirm_violation(
    claim: Callable[[Any], Any],
    instance: Any,
    arithmetics: Sequence[Arithmetic],
    *,
    declared: bool = True,
    hypotheses: Iterable[Hypothesis] = (),
) -> Judgement:
    """Decide by exact arithmetic whether an instance violates a claim; float64 alone never confirms a violation.

    Rationals are asked first, then residues, then balls at their own and at twice the precision. Where rounding may have a
    part in the question, float64 has to see the violation too, beyond its stated error: if some hypothesis is decided in
    float64 (an instance that meets it up to rounding violates almost any exact equality), or if the author declared no
    arithmetic (the claim may hold rounded constants).

    Parameters
    ----------
    claim : callable
        The claim.
    instance : object
        The suspected counterexample.
    arithmetics : sequence of Arithmetic
        Where the claim can be evaluated.
    declared : bool, optional
        Whether the author declared the arithmetics.
    hypotheses : iterable of Hypothesis
        What the instance is demanded to meet. Those decided in float64 are asked again in the confirming arithmetic, as far
        as their operations allow.

    Returns
    -------
    Judgement
        The confirmed violation, or none, and whether the claim was cleared.
    """
    rounded = [hypothesis for hypothesis in hypotheses if not hypothesis.arithmetic.is_exact]
    order = {"rational": 0, "modular": 1, "ball": 2}
    exact = sorted((a for a in arithmetics if a.is_exact), key=lambda a: order[a.name])
    doubled = [dataclasses.replace(a, bits=2 * a.bits) for a in exact if a.name == "ball"]
    for arithmetic in [*exact, *doubled]:
        try:
            evaluation = evaluate_claim(claim, instance, arithmetic, declared=declared)
        except (ArithmeticUnsupported, ZeroDivisionError):
            continue
        if evaluation.violation is not None:
            if not all(_still_meets(hypothesis, instance, arithmetic) for hypothesis in rounded):
                return Judgement(None, False)
            if (rounded or not declared) and not _float_agrees(claim, instance):
                return Judgement(None, False)
            return Judgement(_confirmation(arithmetic, *evaluation.violation), False)
        if not evaluation.is_open and arithmetic.name != "modular":
            return Judgement(None, evaluation.proves)
    return Judgement(None, False)


def _still_meets(hypothesis: Hypothesis, instance: Any, arithmetic: Arithmetic) -> bool:
    """Whether a hypothesis decided in float64 holds for the exact numbers too; True where its operations do not exist."""
    try:
        return meets(dataclasses.replace(hypothesis, arithmetic=arithmetic), instance)
    except Exception:
        return True


def _float_agrees(claim: Callable[[Any], Any], instance: Any) -> bool:
    """Whether float64 sees a violation beyond its stated error; True where the claim does not run in float64."""
    try:
        return evaluate_claim(claim, instance, FLOAT64).violation is not None
    except Exception:
        return True


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
