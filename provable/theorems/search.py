"""Drawing instances with Hypothesis: sampling a claim, and hunting for a counterexample that is small and re-checked."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable
from typing import Any

import hypothesis
from hypothesis import HealthCheck, Phase, Verbosity
from hypothesis import strategies as st
from hypothesis.errors import HypothesisException, Unsatisfiable

from provable.arithmetic import Arithmetic
from provable.errors import ArithmeticUnsupported, TheoremError
from provable.theorems.evaluation import Confirmation, Evaluation, confirm_violation, evaluate_claim, meets
from provable.theorems.theorem import ANY_ARITHMETIC, Hypothesis


@dataclasses.dataclass(frozen=True)
class Effort:
    """How much work a verification may do.

    Parameters
    ----------
    name : str
        ``"quick"``, ``"standard"`` or ``"deep"``.
    draws : int
        Instances drawn for the claim.
    hunting_draws : int
        Instances drawn at most to refute a false twin.
    repetitions : int
        Measurements per size of a rate, and a hundredth of the trials of a tail.
    search_seconds : float
        After this processor time a search ends (it has then fewer draws, which the report says); after half of it the
        arithmetics behind the first one are left out. A net for slow theorems: one that is caught in it is not repeatable.
    shrinking_draws : int
        Instances tried at most to make a counterexample small. (A count and no time, so that results are repeatable.)
    budget_seconds : float
        After this time a theorem is stopped and judged inconclusive.
    """

    name: str
    draws: int
    hunting_draws: int
    repetitions: int
    shrinking_draws: int
    search_seconds: float
    budget_seconds: float


EFFORTS = {
    effort.name: effort
    for effort in (
        Effort("quick", 25, 200, 8, 300, 15.0, 90.0),
        Effort("standard", 200, 1000, 20, 1500, 60.0, 400.0),
        Effort("deep", 2000, 10000, 100, 20000, 1200.0, 7200.0),
    )
}


@dataclasses.dataclass(frozen=True)
class Counterexample:
    """An instance that violates a claim, with the confirmation of the violation."""

    instance: Any
    confirmation: Confirmation


@dataclasses.dataclass(frozen=True)
class Suspicion:
    """An instance that seems to violate a claim; `cleared` if exact arithmetic decided in the claim's favour."""

    instance: Any
    cleared: bool


@dataclasses.dataclass(frozen=True)
class Sample:
    """What drawing instances has shown about a claim.

    Parameters
    ----------
    tried : int
        Draws that met the hypotheses.
    counted : int
        Those of them that were not degenerate.
    rejected : int
        Draws that did not meet the hypotheses.
    worst_ratio : float
        Largest ratio of a float64 difference to its stated unit.
    exact : dict
        For each exact arithmetic: instances evaluated, and on how many of them every check was proved.
    open_instances : int
        Draws on which no arithmetic could decide every check; they do not count.
    counterexample : Counterexample or None
        A confirmed violation, shrunk.
    suspicion : Suspicion or None
        An instance that seems to violate the claim, without any arithmetic confirming it.
    exhausted : bool
        Whether the strategy has no other instances than those drawn.
    """

    tried: int
    counted: int
    rejected: int
    worst_ratio: float
    exact: dict[str, tuple[int, int]]
    open_instances: int
    counterexample: Counterexample | None
    suspicion: Suspicion | None
    exhausted: bool


class _WorkUsedUp(BaseException):
    """Raised inside a draw to end the search; Hypothesis lets what is no `Exception` pass."""


class _Violated(Exception):
    """Raised inside a draw to let Hypothesis shrink it."""


@dataclasses.dataclass
class _Tally:
    tried: int = 0
    counted: int = 0
    rejected: int = 0
    open_instances: int = 0
    worst_ratio: float = 0.0
    exact: dict[str, tuple[int, int]] = dataclasses.field(default_factory=dict)
    counterexample: Counterexample | None = None
    suspicion: Suspicion | None = None
    shrinks: int = 0


def sample(
    claim: Callable[[Any], Any],
    strategy: st.SearchStrategy[Any],
    *,
    hypotheses: Iterable[Hypothesis],
    arithmetics: tuple[Arithmetic, ...] | None,
    effort: Effort,
    seed: int,
    is_degenerate: Callable[[Any], bool] | None = None,
    hunt: bool = False,
) -> Sample:
    """Draw instances, evaluate the claim on those that meet the hypotheses, and shrink the first confirmed violation.

    Parameters
    ----------
    claim : callable
        The claim.
    strategy : SearchStrategy
        Where instances come from.
    hypotheses : iterable of Hypothesis
        What every instance has to meet.
    arithmetics : tuple of Arithmetic or None
        The arithmetics declared by the author; None tries float64, rationals and balls.
    effort : Effort
        How many draws.
    seed : int
        Seed of the draws.
    is_degenerate : callable, optional
        Which instances do not count.
    hunt : bool, optional
        For false twins: evaluate only as far as a violation shows, and skip the exact evaluations of satisfied claims.

    Returns
    -------
    Sample
        Counts, worst ratio and the counterexample if there is one.
    """
    tally = _Tally()
    demanded = tuple(hypotheses)
    declared = arithmetics is not None
    tried_arithmetics = ANY_ARITHMETIC if arithmetics is None else arithmetics
    start = time.process_time()

    def body(instance: Any) -> None:
        elapsed = time.process_time() - start
        if elapsed > effort.search_seconds or tally.shrinks > effort.shrinking_draws:
            raise _WorkUsedUp
        shrinking = tally.counterexample is not None
        tally.shrinks += shrinking
        if not all(meets(each, instance) for each in demanded):
            tally.rejected += not shrinking
            hypothesis.reject()
        brief = hunt or elapsed > effort.search_seconds / 2
        evaluations = list(_evaluations(claim, instance, tried_arithmetics, declared, brief))
        if not shrinking:
            _count(tally, evaluations, is_degenerate is not None and is_degenerate(instance))
        if not any(evaluation.violation for evaluation in evaluations):
            return
        judged = confirm_violation(claim, instance, tried_arithmetics, declared=declared, hypotheses=demanded)
        if judged.confirmation is None:
            if tally.suspicion is None:
                tally.suspicion = Suspicion(instance, judged.cleared)
            return
        tally.counterexample = Counterexample(instance, judged.confirmation)
        raise _Violated

    draws = effort.hunting_draws if hunt else effort.draws
    finished = _drive(body, strategy, draws, seed, tally)
    return Sample(
        tally.tried,
        tally.counted,
        tally.rejected,
        tally.worst_ratio,
        tally.exact,
        tally.open_instances,
        tally.counterexample,
        tally.suspicion,
        exhausted=finished and tally.tried + tally.rejected < draws,
    )


def _evaluations(
    claim: Callable[[Any], Any],
    instance: Any,
    arithmetics: tuple[Arithmetic, ...],
    declared: bool,
    brief: bool,
) -> Iterable[Evaluation]:
    cheapest, undecided = arithmetics[0], True
    for arithmetic in arithmetics:
        if arithmetic is not cheapest and brief and not undecided:
            continue
        try:
            evaluation = evaluate_claim(claim, instance, arithmetic, declared=declared)
            undecided = evaluation.is_open
            yield evaluation
        except ArithmeticUnsupported:
            if declared and arithmetic is cheapest:
                raise
        except ZeroDivisionError:
            if not arithmetic.is_exact:
                raise


def _count(tally: _Tally, evaluations: list[Evaluation], degenerate: bool) -> None:
    decided = any(not evaluation.is_open for evaluation in evaluations)
    tally.tried += 1
    tally.open_instances += not decided
    tally.counted += decided and not degenerate
    for evaluation in evaluations:
        if not evaluation.arithmetic.is_exact:
            if evaluation.violation is None:
                tally.worst_ratio = max(tally.worst_ratio, evaluation.worst_ratio)
            continue
        evaluated, proved = tally.exact.get(evaluation.arithmetic.name, (0, 0))
        tally.exact[evaluation.arithmetic.name] = (evaluated + 1, proved + evaluation.proves)


def _drive(body: Callable[[Any], None], strategy: st.SearchStrategy[Any], draws: int, seed: int, tally: _Tally) -> bool:
    """Run the search; False if it was cut short."""
    run = hypothesis.given(strategy)(body)
    run = hypothesis.seed(seed)(run)
    run = hypothesis.settings(
        max_examples=draws,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
        verbosity=Verbosity.quiet,
        report_multiple_bugs=False,
        print_blob=False,
    )(run)
    try:
        run()
    except (_Violated, _WorkUsedUp):
        return False
    except Unsatisfiable:
        # Too few draws met the hypotheses; the tally says how few.
        pass
    except HypothesisException as error:
        if tally.counterexample is None:
            raise TheoremError(f"the strategy of instances is at fault: {error}") from error
    return True
