"""A theorem: its statement, and the functions that make it a thing one can run.

The class only collects; the engines that draw, evaluate, refute and judge live beside it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from hypothesis import strategies as st

from provable.arithmetic import BALL, FLOAT64, RATIONAL, Arithmetic
from provable.errors import TheoremError

PROVED, CERTIFIED, SUPPORTED = "proved", "certified", "supported"
REFUTED, VACUOUS, INCONCLUSIVE = "refuted", "vacuous", "inconclusive"
VERDICTS = (PROVED, CERTIFIED, SUPPORTED, REFUTED, VACUOUS, INCONCLUSIVE)

ANY_ARITHMETIC = (FLOAT64, RATIONAL, BALL)
"""What is tried when the author of a claim declares nothing."""

EVERY_INSTANCE = "every instance"
"""The scope of a derivation whose symbols stand for every instance that meets the hypotheses."""

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclasses.dataclass(frozen=True)
class Source:
    """Where a statement comes from.

    Parameters
    ----------
    work : str
        An arXiv identifier with its version, a short bibliographic reference, or ``"derived"``.
    place : str, optional
        The theorem, lemma, equation or section there.
    note : str, optional
        How the wording is known (read, reconstructed from code, derived) or what it is used against.
    """

    work: str
    place: str = ""
    note: str = ""

    def __str__(self) -> str:
        return ", ".join(part for part in (self.work, self.place) if part)


@dataclasses.dataclass(frozen=True)
class Hypothesis:
    """One hypothesis of a theorem: a predicate on instances, and what is known of its necessity."""

    name: str
    predicate: Callable[[Any], Any]
    arithmetic: Arithmetic
    necessity_unknown: bool


@dataclasses.dataclass(frozen=True)
class FalseTwin:
    """A wrong variant of the claim, which the engine has to refute."""

    name: str
    claim: Callable[[Any], Any]
    without: tuple[str, ...]
    instances: st.SearchStrategy[Any] | None
    arithmetics: tuple[Arithmetic, ...] | None


@dataclasses.dataclass(frozen=True)
class Derivation:
    """A generator of named symbolic steps, and the instances that it speaks of."""

    steps: Callable[[], Iterable[Any]]
    covers: str


@dataclasses.dataclass(frozen=True)
class Rate:
    """A measured quantity that should follow a power law in a size."""

    measure: Callable[..., float]
    exponent: float
    sizes: tuple[int, ...]
    false_exponents: tuple[tuple[str, float], ...]


@dataclasses.dataclass(frozen=True)
class Tail:
    """A random event whose probability should not exceed a bound."""

    event: Callable[..., bool]
    bound: float
    false_bounds: tuple[tuple[str, float], ...]


class Theorem:
    """A statement together with its evidence; a theorem file assigns one to the name ``theorem``.

    Parameters
    ----------
    statement : str
        The statement with its hypotheses, in words and LaTeX.
    source : Source
        Where it comes from.
    title : str, optional
        One line; default: the first line of the theorem file's docstring.
    expected : {"proved", "certified", "supported", "refuted"}, optional
        The verdict expected at standard effort. A conjecture leaves it out: then `proved`, `certified` and `supported` are
        all good news.
    corrected_by : str, optional
        For a statement that is false as printed: the identifier of the entry with the corrected statement.
    does_not_say : str, optional
        What a reader could wrongly take this entry's verdict to mean.
    quota : int, optional
        How many draws must meet the hypotheses; default: a quarter of the draws of the effort. Set it only when the space of
        instances is small and finite.

    Raises
    ------
    TheoremError
        If `expected` is no verdict, or the quota is below one.
    """

    def __init__(
        self,
        *,
        statement: str,
        source: Source,
        title: str = "",
        expected: str | None = None,
        corrected_by: str | None = None,
        does_not_say: str = "",
        quota: int | None = None,
    ) -> None:
        if expected is not None and expected not in (PROVED, CERTIFIED, SUPPORTED, REFUTED):
            raise TheoremError(f"expected verdict '{expected}' is not one of proved, certified, supported, refuted")
        if quota is not None and quota < 1:
            raise TheoremError(f"a quota of {quota} draws would accept no evidence; at least 1 is accepted")
        self.statement = " ".join(statement.split())
        self.source = source
        self.title = title
        self.expected = expected
        self.corrected_by = corrected_by
        self.does_not_say = does_not_say
        self.quota = quota
        self.strategy: st.SearchStrategy[Any] | None = None
        self.hypotheses: dict[str, Hypothesis] = {}
        self.claim_function: Callable[[Any], Any] | None = None
        self.arithmetics: tuple[Arithmetic, ...] | None = None
        self.derivations: list[Derivation] = []
        self.counterexamples: dict[str, Callable[[], Any]] = {}
        self.witness: Callable[[], Any] | None = None
        self.twins: list[FalseTwin] = []
        self.rates: list[Rate] = []
        self.tails: list[Tail] = []
        self.is_degenerate: Callable[[Any], bool] | None = None

    def instances(self, function: Callable[..., Any] | st.SearchStrategy[Any]) -> Any:
        """Say how instances are drawn: typical ones, degenerate ones, nearly degenerate ones.

        Parameters
        ----------
        function : callable or SearchStrategy
            Either a Hypothesis strategy, or a function of ``draw`` in the manner of `hypothesis.strategies.composite`.

        Returns
        -------
        object
            What was given, so that the method serves as a decorator.
        """
        self.strategy = function if isinstance(function, st.SearchStrategy) else st.composite(function)()
        return function

    def hypothesis(
        self, name: str, *, arithmetic: Arithmetic = FLOAT64, necessity_unknown: bool = False
    ) -> Callable[[Function], Function]:
        """Register a hypothesis: a predicate that every draw is checked against.

        Parameters
        ----------
        name : str
            The hypothesis in words.
        arithmetic : Arithmetic, optional
            In which numbers the predicate is evaluated; rational ones decide ranks and equalities without rounding.
        necessity_unknown : bool, optional
            Declare that no counterexample is known once the hypothesis is dropped.

        Returns
        -------
        callable
            A decorator for the predicate ``instance -> bool``.

        Raises
        ------
        TheoremError
            If the name is taken.
        """
        if name in self.hypotheses:
            raise TheoremError(f"hypothesis '{name}' is registered twice")

        def register(predicate: Function) -> Function:
            self.hypotheses[name] = Hypothesis(name, predicate, arithmetic, necessity_unknown)
            return predicate

        return register

    def claim(
        self, function: Callable[[Any], Any] | None = None, *, arithmetics: Sequence[Arithmetic] | None = None
    ) -> Any:
        """Register the claim: it computes both sides on an instance and returns or yields checks.

        Parameters
        ----------
        function : callable
            ``instance -> Check`` or an iterable of them, or a bool.
        arithmetics : sequence of Arithmetic, optional
            Where the claim's operations exist; it is evaluated in each of them, and one that turns out not to work is an
            error. Left out: float64, and rationals and balls as far as the operations allow.

        Returns
        -------
        callable
            The function, or a decorator for it.

        Raises
        ------
        TheoremError
            If the theorem has a claim already, or no arithmetic is given.
        """
        if self.claim_function is not None:
            raise TheoremError("the theorem has two claims; yield several checks from one claim instead")
        if arithmetics is not None and not arithmetics:
            raise TheoremError("the claim names no arithmetic; at least one is needed")
        self.arithmetics = None if arithmetics is None else tuple(arithmetics)

        def register(claim: Callable[[Any], Any]) -> Callable[[Any], Any]:
            self.claim_function = claim
            return claim

        return register if function is None else register(function)

    def derivation(self, function: Callable[[], Any] | None = None, *, covers: str = EVERY_INSTANCE) -> Any:
        """Register a symbolic derivation: a generator of named exact steps.

        Parameters
        ----------
        function : callable
            Takes nothing and yields the steps made by `provable.theorems.derivation`.
        covers : str, optional
            The instances that the symbols stand for. Only a derivation that covers `EVERY_INSTANCE` earns the verdict
            `proved`.

        Returns
        -------
        callable
            The function, or a decorator for it.
        """

        def register(steps: Callable[[], Any]) -> Callable[[], Any]:
            self.derivations.append(Derivation(steps, covers))
            return steps

        return register if function is None else register(function)

    def without(self, name: str) -> Callable[[Function], Function]:
        """Register the counterexample that shows a hypothesis to be needed.

        Parameters
        ----------
        name : str
            The hypothesis that is dropped.

        Returns
        -------
        callable
            A decorator for a function that takes nothing and returns an instance on which this hypothesis fails, every other
            one holds, and the claim is false; the engine checks all three.

        Raises
        ------
        TheoremError
            If there is no such hypothesis.
        """
        self._known(name)

        def register(function: Function) -> Function:
            self.counterexamples[name] = function
            return function

        return register

    def counterexample(self, function: Function) -> Function:
        """Register an explicit counterexample to a statement that is expected to be refuted.

        Parameters
        ----------
        function : callable
            Takes nothing and returns an instance that meets every hypothesis.

        Returns
        -------
        callable
            The function.
        """
        self.witness = function
        return function

    def false_twin(
        self,
        name: str,
        *,
        without: Sequence[str] = (),
        instances: st.SearchStrategy[Any] | Callable[..., Any] | None = None,
        arithmetics: Sequence[Arithmetic] | None = None,
    ) -> Callable[[Function], Function]:
        """Register a wrong variant of the claim; the default budget has to refute it.

        Parameters
        ----------
        name : str
            What is wrong in it, in words.
        without : sequence of str, optional
            Hypotheses that the variant drops.
        instances : SearchStrategy or callable, optional
            Other instances than the theorem's.
        arithmetics : sequence of Arithmetic, optional
            Other arithmetics than the claim's.

        Returns
        -------
        callable
            A decorator for the wrong claim. To drop a hypothesis and keep the claim, decorate a function that calls it.

        Raises
        ------
        TheoremError
            If the name is taken or a dropped hypothesis is unknown.
        """
        for hypothesis in without:
            self._known(hypothesis)
        if any(twin.name == name for twin in self.twins):
            raise TheoremError(f"false twin '{name}' is registered twice")
        strategy = instances
        if strategy is not None and not isinstance(strategy, st.SearchStrategy):
            strategy = st.composite(strategy)()
        chosen = None if arithmetics is None else tuple(arithmetics)

        def register(claim: Function) -> Function:
            self.twins.append(FalseTwin(name, claim, tuple(without), strategy, chosen))
            return claim

        return register

    def rate(
        self, *, exponent: float, sizes: Sequence[int], false_exponents: dict[str, float] | None = None
    ) -> Callable[[Function], Function]:
        """Register a power law: a measured error ~ size**exponent.

        Parameters
        ----------
        exponent : float
            The stated exponent; the 99 % confidence interval of the fitted one must contain it.
        sizes : sequence of int
            At least four sizes.
        false_exponents : dict, optional
            False twins: a name and an exponent that the interval must exclude.

        Returns
        -------
        callable
            A decorator for ``measure(size, rng) -> float``, one positive error per call.

        Raises
        ------
        TheoremError
            If fewer than four sizes are given.
        """
        if len(sizes) < 4:
            raise TheoremError(f"a rate needs at least four sizes, {len(sizes)} were given")

        def register(measure: Function) -> Function:
            self.rates.append(Rate(measure, exponent, tuple(sizes), tuple((false_exponents or {}).items())))
            return measure

        return register

    def tail(self, *, bound: float, false_bounds: dict[str, float] | None = None) -> Callable[[Function], Function]:
        """Register a bound on the probability of an event.

        Parameters
        ----------
        bound : float
            The stated probability; the event's frequency must not contradict it at 99 % confidence.
        false_bounds : dict, optional
            False twins: a name and a smaller bound that the frequency must contradict.

        Returns
        -------
        callable
            A decorator for ``event(rng) -> bool``.
        """

        def register(event: Function) -> Function:
            self.tails.append(Tail(event, bound, tuple((false_bounds or {}).items())))
            return event

        return register

    def degenerate(self, function: Callable[[Any], bool]) -> Callable[[Any], bool]:
        """Register which instances are trivial: they are tried, but do not count against the vacuity quota.

        Parameters
        ----------
        function : callable
            ``instance -> bool``.

        Returns
        -------
        callable
            The function.
        """
        self.is_degenerate = function
        return function

    def _known(self, name: str) -> None:
        if name not in self.hypotheses:
            known = ", ".join(f"'{known}'" for known in self.hypotheses) or "none"
            raise TheoremError(f"there is no hypothesis '{name}'; registered before this line: {known}")
