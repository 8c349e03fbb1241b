"""Proved bounds of the generic rank of a layer system: a witness from below, counting and dependencies from above.

The generic rank of U = [W; K] is its largest rank over all real weights w and sensitivities D. The rank modulo a prime
at any integer point is at most the rational rank there, hence at most the generic rank: a witness proves a lower bound.
U itself is never formed. K = I ⊗ K̃ up to the order of rows, so its kernel is I ⊗ ker K̃ and

    rank U = in_channels · rank K̃ + rank (W restricted to I ⊗ ker K̃);

W is banded and is eliminated by a front (`provable.leakage.frontal`), so the other way round

    rank U = rank W + rank (K restricted to ker W).

Whichever needs less work is taken, after rank K alone and rank W alone have been tried against the upper bound. The
upper bounds and their proofs stand in `provable.leakage.dimension_counts`.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from provable.leakage import frontal, residues
from provable.leakage.dimension_counts import (
    DEPENDENCY,
    TILED,
    UpperBound,
    counted_bound,
    covered_unknowns,
    gradient_count,
    tiled_rank,
)
from provable.leakage.layer_system import LayerSystem
from provable.leakage.residues import Residues
from provable.rigor.modular_rank import PRIME, witness_integers

LARGEST_MATRIX = 3 * 10**7
"""Entries of the largest matrix that is eliminated (about 1.5 GB)."""

LARGEST_WORK = 5 * 10**11
"""Multiplications of the longest elimination that is begun (some minutes)."""

WITNESS = "witness mod p"


@dataclasses.dataclass(frozen=True)
class LowerBound:
    """A proved lower bound of the generic rank.

    Parameters
    ----------
    value : int
        The generic rank is at least this.
    how : {"witness mod p", "tiled patches"}
        The argument.
    gradient : int or None
        The generic rank of K is at least this; None if it was not looked at.
    """

    value: int
    how: str
    gradient: int | None = None


@dataclasses.dataclass(frozen=True)
class RankBounds:
    """What is proved of the generic rank of a layer system.

    Parameters
    ----------
    lower : LowerBound or None
        None if every elimination was too large to begin.
    upper : UpperBound
        Always there.
    """

    lower: LowerBound | None
    upper: UpperBound


def witness(system: LayerSystem, *, seed: int = 0) -> tuple[Residues, Residues]:
    """Draw the integer point at which ranks are evaluated.

    Parameters
    ----------
    system : LayerSystem
        The layer system.
    seed : int
        Seed of the streams ``"weight"`` and ``"sensitivity"``.

    Returns
    -------
    weight : ndarray of uint64, shape (out_channels, in_channels, kernel height, kernel width)
        Residues modulo 2⁶¹ - 1, row-major from their stream.
    sensitivity : ndarray of uint64, shape (out_channels, output height, output width)
        The same for D.
    """
    streams = (
        np.array(witness_integers(seed, stream, int(np.prod(shape)), PRIME), dtype=np.uint64).reshape(shape)
        for stream, shape in (("weight", system.weight_shape), ("sensitivity", system.sensitivity_shape))
    )
    weight, sensitivity = streams
    return weight, sensitivity


def dependency_rank(system: LayerSystem, *, seed: int = 0) -> int | None:
    """Bound the generic dimension of R(W) ∩ R(K) from below.

    Parameters
    ----------
    system : LayerSystem
        The layer system.
    seed : int
        Seed of the witness.

    Returns
    -------
    int or None
        The rank modulo 2⁶¹ - 1 of the out_channels² vectors Σ_p D_{o'}(p) W_{(o,p),:}; None if they are too many.
    """
    outputs = system.out_channels
    if outputs**2 * system.unknowns > LARGEST_MATRIX:
        return None
    weight, sensitivity = witness(system, seed=seed)
    block = system.gradient_block(sensitivity).reshape(outputs, -1, system.pixels)
    vectors = np.empty((outputs, outputs, system.in_channels, system.pixels), dtype=np.uint64)
    kernels = weight.reshape(outputs * system.in_channels, -1)
    for other in range(outputs):
        vectors[:, other] = residues.product(kernels, block[other]).reshape(outputs, system.in_channels, -1)
    return residues.rank(vectors.reshape(outputs**2, system.unknowns))


def _restricted(weight: Residues, null: Residues, system: LayerSystem, inputs: int) -> Residues:
    """Matrix of W on I ⊗ ker K̃, for the first `inputs` input channels."""
    width = null.shape[1]
    seen = np.zeros((len(system.lags()), system.positions, width), dtype=np.uint64)
    for index, (row, column) in enumerate(system.lags()):
        positions, pixels = system.touched(row, column)
        seen[index, positions] = null[pixels]
    kernels = weight[:, :inputs].reshape(system.out_channels * inputs, -1)
    values = residues.product(kernels, seen.reshape(len(seen), -1))
    table = values.reshape(system.out_channels, inputs, system.positions, width).transpose(0, 2, 1, 3)
    return table.reshape(system.forward_equations, inputs * width)


def lower_bound(system: LayerSystem, *, seed: int = 0, target: int | None = None) -> LowerBound | None:
    """Bound the generic rank of U from below.

    Parameters
    ----------
    system : LayerSystem
        The layer system.
    seed : int
        Seed of the witness.
    target : int, optional
        As soon as a part of U reaches this rank the rest is left out; by default everything is eliminated that can
        raise the rank.

    Returns
    -------
    LowerBound or None
        The bound and its argument; None if every elimination was too large to begin.
    """
    tiled = tiled_rank(system)
    if tiled is not None:
        return LowerBound(tiled, TILED)
    goal = covered_unknowns(system) if target is None else min(target, covered_unknowns(system))
    rows, pixels = system.out_channels * len(system.lags()), system.pixels
    small, banded = max(rows, pixels) * pixels <= LARGEST_MATRIX, frontal.work(system) <= LARGEST_WORK
    if not small and not banded:
        return None
    weight, sensitivity = witness(system, seed=seed)
    null: Residues | None = None
    steps: list[frontal.Step] | None = None
    best, gradient = 0, None
    if small:
        null = residues.kernel(system.gradient_block(sensitivity))
        best = gradient = system.in_channels * (pixels - null.shape[1])
    if best < goal and banded:
        steps = frontal.eliminate(system, weight)
        best = max(best, sum(len(step.pivots) for step in steps))
    if best < goal:
        best = max(best, _combined_rank(system, weight, sensitivity, null, steps, goal) or 0)
    return LowerBound(best, WITNESS, gradient)


def _combined_rank(
    system: LayerSystem,
    weight: Residues,
    sensitivity: Residues,
    null: Residues | None,
    steps: list[frontal.Step] | None,
    target: int,
) -> int | None:
    """Rank of U from an elimination of K or of W, by the cheaper of the two ways that are affordable."""
    through_forward = LARGEST_WORK + 1 if steps is None else frontal.gradient_work(system, steps)
    alone, width = (0, 0) if null is None else (system.in_channels * (system.pixels - null.shape[1]), null.shape[1])
    inputs = system.in_channels if not width else min(-(-(target - alone) // width), system.in_channels)
    through_gradient = _elimination_work(system.forward_equations, inputs * width) if width else LARGEST_WORK + 1
    if min(through_forward, through_gradient) > LARGEST_WORK:
        return None
    if steps is not None and through_forward <= through_gradient:
        return frontal.rank_with_gradient(system, steps, sensitivity)
    assert null is not None
    rank = alone + residues.rank(_restricted(weight, null, system, inputs))
    whole = _elimination_work(system.forward_equations, system.in_channels * width)
    if rank < target and inputs < system.in_channels and whole <= LARGEST_WORK:
        rank = alone + residues.rank(_restricted(weight, null, system, system.in_channels))
    return rank


def _elimination_work(rows: int, columns: int) -> int:
    """Multiplications of a dense elimination, moving the matrix to FLINT included; too many if it is too large."""
    if rows * columns > LARGEST_MATRIX:
        return LARGEST_WORK + 1
    return rows * columns * (min(rows, columns) // 3 + residues.CONVERSION)


def upper_bound(system: LayerSystem, *, seed: int = 0, gradient: int | None = None) -> UpperBound:
    """Bound the generic rank of U from above.

    Parameters
    ----------
    system : LayerSystem
        The layer system.
    seed : int
        Seed of the witness at which dependencies are counted.
    gradient : int, optional
        A proved lower bound of the generic rank of K.

    Returns
    -------
    UpperBound
        The bound and its argument; the dependency law is named where it gives the same bound as another argument but
        counting equations.
    """
    bound = counted_bound(system, gradient_attained=gradient == gradient_count(system))
    count = bound.forward + bound.gradient
    if bound.how == TILED or bound.value == bound.covered:
        return bound
    shared = dependency_rank(system, seed=seed)
    if shared is None or count - shared > bound.value:
        return bound
    return dataclasses.replace(bound, value=count - shared, how=DEPENDENCY, dependencies=shared)


def rank_bounds(system: LayerSystem, *, seed: int = 0) -> RankBounds:
    """Bound the generic rank of a layer system from both sides.

    Parameters
    ----------
    system : LayerSystem
        The layer system.
    seed : int
        Seed of the witness.

    Returns
    -------
    RankBounds
        Lower and upper bound, each with its argument.
    """
    goal = counted_bound(system, gradient_attained=True).value
    lower = lower_bound(system, seed=seed, target=goal)
    upper = upper_bound(system, seed=seed, gradient=None if lower is None else lower.gradient)
    if lower is not None and goal <= lower.value < upper.value:
        lower = lower_bound(system, seed=seed, target=upper.value)
    return RankBounds(lower, upper)
