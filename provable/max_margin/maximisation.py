"""The two-layer ReLU network of largest margin, by column generation over activation patterns."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from provable.architectures import Architecture, Linear, ReLU
from provable.arithmetic import Float
from provable.errors import InputError, UnsupportedError
from provable.max_margin.activation_patterns import (
    Patterns,
    all_patterns,
    patterns_of,
    sampled_patterns,
    without_repetitions,
)
from provable.max_margin.clarke_weights import KKTResidual, clarke_weights, kkt_residual
from provable.max_margin.convex_program import RestrictedOptimum, solve_restricted
from provable.max_margin.dependencies import integer_rows
from provable.max_margin.dual_tree import DualTree, Tree, leaves
from provable.max_margin.extreme_solution import extreme_neurons, joined_neurons
from provable.max_margin.feasibility import require_feasible
from provable.max_margin.newton_finish import ActiveSet, solutions
from provable.max_margin.optimality import bracket
from provable.max_margin.result import MaxMarginNetwork
from provable.networks import Parameters

_ROUNDS = 40

_RETRIES = 3
"""Solutions by other patterns where Newton's method finds none that is good."""

_NEW_PATTERNS = 40
"""Violated patterns that are added at most in one round."""

_TOLERANCES = (1e-8, 1e-6, 1e-5, 1e-7, 1e-4, 1e-3)
"""What counts as active, tried in this order: the solver is good to 1e-8 or better."""

_SAME = (1e-7, 1e-5, 1e-3)
"""Distances up to which neurons are joined, tried in this order."""

_NEGLIGIBLE = (1e-5, 1e-7, 1e-3, 1e-9)
"""Shares of the largest ratio of length to dual slack up to which neurons are left out, tried in this order."""

_VIOLATED = 1e-7
"""Excess of a dual constraint at which its pattern is added, above the accuracy of the interior-point solver."""

_LARGEST = 1e100
"""Largest entry of a sample: squares of norms are formed."""

_GOOD = 1e-10
"""Residual and dual excess at which Newton's solution is accepted at once."""


@dataclass(frozen=True, eq=False)
class _Candidate:
    """A network with multipliers, and how good they are."""

    hidden: Float
    outer: Float
    multipliers: Float
    weights: Float
    residual: KKTResidual


def maximise_margin(
    points: Any,
    labels: Any,
    *,
    bias: bool = True,
    patterns: int | str = 64,
    rng: int | np.random.Generator | None = None,
    largest_tree: int = 200_000,
) -> MaxMarginNetwork:
    """Find the two-layer ReLU network with the smallest ½‖θ‖² among all with margins y_i f(x_i) ≥ 1, and prove it.

    Parameters
    ----------
    points : array_like of shape (n, d)
        Samples; a one-dimensional array is taken for n samples with one feature.
    labels : array_like of shape (n,)
        ±1.
    bias : bool, optional
        Whether the first layer has a bias. The second one has none, so f(θ; x) is homogeneous of degree 2 in θ.
    patterns : int or "all", optional
        How many random neurons give the first activation patterns, or the patterns of all cells (for small n and d). Patterns
        that are missing are found and added in both cases.
    rng : int or Generator, optional
        Seed or generator of the random patterns; default 0, since the optimum does not depend on it.
    largest_tree : int, optional
        Cones that the dual check may bound at most, for one sign.

    Returns
    -------
    MaxMarginNetwork
        The width is what the optimum needs, at most n. `is_proved` says whether exact bounds enclose the optimum to a
        relative 1e-9. Samples of different labels that are closer than about 1e-5 of their size may be too much for float64:
        then the residual and the gap say so, and the network is the interior-point method's, with more neurons.

    Raises
    ------
    InputError
        If the shapes are wrong, a label is not ±1, or no network separates the samples; these are named.
    UnsupportedError
        If the dual check would take more than `largest_tree` cones.

    Notes
    -----
    1. the convex program over some patterns (`convex_program`);
    2. the dual constraint over all neurons by branch and bound (`dual_tree`); violated patterns are added and 1 repeated;
    3. at most n neurons by a linear program (`extreme_solution`), Newton's method for the KKT equations (`newton_finish`),
       Clarke weights by bounded least squares (`clarke_weights`);
    4. the dual constraint again, for the new multipliers, and both bounds in exact arithmetic (`optimality`).
    """
    samples, signs = _checked(points, labels)
    require_feasible(samples, signs, bias=bias)
    inputs = np.hstack([samples, np.ones((len(samples), 1))]) if bias else samples
    generator = np.random.default_rng(0 if rng is None else rng)
    search = _Search(inputs, signs, integer_rows(inputs), largest_tree)
    found = search.run(_first_patterns(inputs, patterns, generator), generator)
    trees = search.trees(found.multipliers, target=1.0 + 1e-12)
    enclosure = bracket(inputs, signs, found.hidden, found.outer, found.multipliers, trees)
    layers = (Linear(len(found.outer), bias=bias), ReLU(), Linear(1, bias=False))
    architecture = Architecture("largest margin", (samples.shape[1],), layers, "logistic")
    arrays = {"0/weight": found.hidden[:, : samples.shape[1]], "2/weight": found.outer[None]}
    if bias:
        arrays["0/bias"] = found.hidden[:, -1]
    margins = signs * (np.maximum(inputs @ found.hidden.T, 0.0) @ found.outer)
    return MaxMarginNetwork(
        architecture,
        Parameters(architecture, arrays),
        samples,
        signs,
        found.multipliers,
        found.weights,
        margins,
        found.residual,
        enclosure,
    )


def _checked(points: Any, labels: Any) -> tuple[Float, Float]:
    samples = np.asarray(points, dtype=np.float64)
    samples = samples[:, None] if samples.ndim == 1 else samples
    signs = np.asarray(labels, dtype=np.float64)
    if samples.ndim != 2 or 0 in samples.shape:
        raise InputError(f"points: shape {np.shape(points)} was found; (n, d) with n and d from 1 on is accepted")
    if not np.all(np.isfinite(samples)):
        raise InputError("points: a number that is not finite was found; finite ones are accepted")
    largest = float(np.abs(samples).max())
    if largest > _LARGEST:
        raise InputError(f"points: a largest entry of {largest:.1e} was found; at most {_LARGEST:.0e} is accepted")
    if signs.shape != samples.shape[:1]:
        raise InputError(
            f"labels: shape {signs.shape} was found; ({len(samples)},) is accepted, one label for each sample"
        )
    wrong = np.flatnonzero(np.abs(signs) != 1.0)
    if len(wrong):
        raise InputError(f"labels: {signs[wrong[0]]} was found at sample {wrong[0]}; 1 and -1 are accepted")
    return samples, signs


def _first_patterns(inputs: Float, patterns: int | str, rng: np.random.Generator) -> Patterns:
    if patterns == "all":
        every = all_patterns(inputs)
        if every is None:
            raise UnsupportedError(
                f"patterns: more than 20000 cells for {len(inputs)} samples; a number of patterns is accepted"
            )
        return every
    if isinstance(patterns, str) or patterns < 1:
        raise InputError(f"patterns: {patterns!r} was found; a positive number or 'all' is accepted")
    return sampled_patterns(inputs, int(patterns), rng)


class _Search:
    """Column generation."""

    def __init__(self, inputs: Float, labels: Float, rows: list[list[int]], largest_tree: int) -> None:
        self.inputs, self.labels, self.rows, self.largest_tree = inputs, labels, rows, largest_tree

    def trees(self, multipliers: Float, *, target: float) -> tuple[Tree, Tree]:
        """The dual check for both signs."""
        built = [
            DualTree(
                self.inputs, self.rows, sign * multipliers * self.labels, target=target, at_most=self.largest_tree
            ).build()
            for sign in (1, -1)
        ]
        return built[0], built[1]

    def run(self, patterns: Patterns, rng: np.random.Generator) -> _Candidate:
        """Solve, check and add until nothing is violated."""
        best: _Candidate | None = None
        optimum: RestrictedOptimum | None = None
        lowest, retries = np.inf, 0
        for _ in range(_ROUNDS):
            optimum = solve_restricted(self.inputs, self.labels, patterns)
            if optimum is None:
                patterns = without_repetitions(patterns, sampled_patterns(self.inputs, 2 * len(patterns) + 64, rng))
                continue
            violated, _ = self._violated(optimum.multipliers, _VIOLATED)
            more = without_repetitions(patterns, violated)
            if len(more) == len(patterns):  # nothing is missing, or the solver is not good enough to tell
                candidate = self._finished(optimum)
                violated, excess = self._violated(candidate.multipliers, _GOOD)
                score = max(candidate.residual.largest, excess)
                if score < lowest:
                    best, lowest = candidate, score
                if score <= _GOOD or retries == _RETRIES:
                    break
                more = without_repetitions(patterns, violated)
                if len(more) == len(patterns):
                    # other patterns lead the interior-point method along another path to the optimum
                    more = without_repetitions(patterns, sampled_patterns(self.inputs, 64, rng))
                    retries += 1
            patterns = more
        if best is None and optimum is None:
            raise UnsupportedError(
                f"points: with {len(patterns)} patterns the interior-point solver finds no network; "
                "samples that float64 tells apart are accepted, farther apart or of sizes closer to one another and to 1"
            )
        if best is None:
            raise UnsupportedError(
                f"patterns: after {_ROUNDS} rounds constraints are still violated; more patterns are accepted"
            )
        return best

    def _violated(self, multipliers: Float, tolerance: float) -> tuple[Patterns, float]:
        """Patterns on which the dual constraint is violated most, and the largest excess."""
        target = 1.0 + tolerance
        found = [leaf for tree in self.trees(multipliers, target=target) for leaf in leaves(tree)]
        beyond = sorted((leaf for leaf in found if leaf.bound > target), key=lambda leaf: -leaf.bound)[:_NEW_PATTERNS]
        excess = max(leaf.bound for leaf in found) - 1.0
        if not beyond:
            return np.zeros((0, len(self.inputs)), dtype=np.bool_), excess
        return patterns_of(np.array([leaf.direction for leaf in beyond]), self.inputs), excess

    def _finished(self, optimum: RestrictedOptimum) -> _Candidate:
        """The best of Newton's solutions for several readings of the active set."""
        # the solver's own solution, whose margins are good to many digits: nothing worse is accepted
        every = np.linalg.norm(optimum.neurons, axis=1) > 0
        best = self._candidate(optimum.neurons[every], optimum.signs[every], optimum.multipliers)
        tried = set()
        # complementary slackness: of a multiplier and the margin's excess the larger one is not zero
        values = np.maximum(self.inputs @ optimum.neurons.T, 0.0)
        excess = np.abs(self.labels * (values @ optimum.signs) - 1.0)
        support = optimum.multipliers > excess * optimum.multipliers.max()
        for neurons, signs, tolerance in self._starts(optimum):
            constraints = ActiveSet.near(self.inputs, neurons, support, tolerance)
            key = (neurons.tobytes(), constraints.kinks.tobytes(), constraints.support.tobytes())
            if key in tried:
                continue
            tried.add(key)
            for solution in solutions(self.inputs, self.labels, neurons, signs, optimum.multipliers, constraints):
                candidate = self._candidate(*solution)
                if candidate.residual.largest < best.residual.largest and candidate.residual.margin < 0.5:
                    best = candidate
                if best.residual.largest <= _GOOD / 100:
                    return best
        return best

    def _starts(self, optimum: RestrictedOptimum) -> Iterator[tuple[Float, Float, float]]:
        lengths = np.maximum(np.linalg.norm(optimum.neurons, axis=1), np.finfo(np.float64).tiny)
        values = np.maximum(optimum.neurons @ self.inputs.T, 0.0) @ (optimum.multipliers * self.labels)
        heights = optimum.signs * values / lengths
        for same, negligible in itertools.product(_SAME, _NEGLIGIBLE):
            neurons, signs = joined_neurons(optimum.neurons, optimum.signs, heights, same=same, negligible=negligible)
            extreme = extreme_neurons(self.inputs, self.labels, neurons, signs)
            for tolerance in _TOLERANCES:
                yield *extreme, tolerance
                if len(neurons) <= len(self.labels):
                    yield neurons, signs, tolerance

    def _candidate(self, neurons: Float, signs: Float, multipliers: Float) -> _Candidate:
        roots = np.sqrt(np.linalg.norm(neurons, axis=1))
        hidden, outer = neurons / roots[:, None], signs * roots
        positive = np.maximum(multipliers, 0.0)
        weights = clarke_weights(self.inputs, positive * self.labels, hidden, outer)
        residual = kkt_residual(self.inputs, self.labels, positive, hidden, outer, weights)
        return _Candidate(hidden, outer, positive, weights, residual)
