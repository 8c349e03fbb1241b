"""Proved bounds of the generic rank of a layer system: a witness from below, counting and dependencies from above.

The generic rank of U = [W; K] is its largest rank over all real weights w and sensitivities D. The rank modulo a prime
at any integer point is at most the rational rank there, hence at most the generic rank: a witness proves a lower bound.
Points are tried in the order of what they cost, until one reaches the upper bound:

1. kernels with one entry each, which select pixels: W alone (`structured_witness`);
2. known patches with channels in groups and kernels with few entries or in normal form (the same module);
3. random sensitivities with channels in groups (`random_witness`);
4. a random point without any structure (the same module).

The first two need hardly any elimination and serve images of any size; the last two miss nothing, up to probability
10⁻¹⁴ or so, where they are affordable. The upper bounds and their proofs stand in `dimension_counts`; the
dependencies that one of them counts are counted at the same points.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator

import numpy as np

from provable.leakage.layer_systems import random_witness, residues, structured_witness, witness_search
from provable.leakage.layer_systems.dimension_counts import (
    COVERED,
    DEPENDENCY,
    IMAGES,
    TILED,
    UpperBound,
    counted_bound,
    covered_unknowns,
    gradient_count,
    image_count,
    tiled_rank,
)
from provable.leakage.layer_systems.layer_system import LayerSystem
from provable.leakage.layer_systems.random_witness import witness
from provable.leakage.layer_systems.sparse_rank import elimination_work
from provable.leakage.layer_systems.structured_witness import LARGEST_MATRIX, LARGEST_WORK, StructuredWitness

LARGEST_TABLE = 10**8
"""Entries of the largest table of patches (kernel entries × positions of all samples) that is set up."""

SMALL_WORK = 10**9
"""Multiplications of the longest elimination that is begun before random sensitivities are tried (about a second)."""

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
    witness : StructuredWitness or None
        The point; None for the random one, or if none was needed.
    """

    value: int
    how: str
    gradient: int | None = None
    witness: StructuredWitness | None = None


@dataclasses.dataclass(frozen=True)
class RankBounds:
    """What is proved of the generic rank of a layer system.

    Parameters
    ----------
    lower : LowerBound or None
        None if every point was too expensive to look at.
    upper : UpperBound
        Always there.
    """

    lower: LowerBound | None
    upper: UpperBound


def lower_bound(system: LayerSystem, *, seed: int = 0, target: int | None = None) -> LowerBound | None:
    """Bound the generic rank of U from below.

    Parameters
    ----------
    system : LayerSystem
        The layer system.
    seed : int
        Seed of the witnesses.
    target : int, optional
        The search ends at a point of this rank; by default at one where all covered unknowns are determined.

    Returns
    -------
    LowerBound or None
        The best bound found and its argument; None if every point was too expensive to look at.
    """
    tiled = tiled_rank(system)
    if tiled is not None:
        return LowerBound(tiled, TILED)
    goal = covered_unknowns(system) if target is None else min(target, covered_unknowns(system))
    best: LowerBound | None = None
    for found in _points(system, goal, seed):
        if best is None or found.value > best.value:
            best = found
        if best.value >= goal:
            break
    return best


def _points(system: LayerSystem, goal: int, seed: int) -> Iterator[LowerBound]:
    """Look at one point after the other, cheap ones first and those that cannot reach the goal last."""
    left: list[StructuredWitness] = []

    def promising(points: Iterable[StructuredWitness], most_work: int) -> Iterator[LowerBound]:
        for point in points:
            found: list[LowerBound] = []
            if witness_search.ceiling(system, point.groups, point.positions) >= goal:
                found = list(_structured(system, point, seed, most_work))
                yield from found
            if not found:
                left.append(point)

    splits = witness_search.splits(system)
    normal: list[list[StructuredWitness]] = [[] for _ in splits]
    if _table(system) <= LARGEST_TABLE:
        for point in witness_search.selections(system):
            yield from _structured(system, point, seed)
        places = list(witness_search.positions(system))
        for positions in places:
            yield from promising(witness_search.sparse_kernels(system, positions), SMALL_WORK)
        normal = [
            list(points) for points in zip(*(witness_search.normal_forms(system, p) for p in places), strict=True)
        ]
    whole: LowerBound | None = None
    null: residues.Residues | None = None
    random = max(len(system.lags()) * system.in_channels, _places(system)) * system.out_channels <= LARGEST_MATRIX
    if random:
        weight, sensitivity = witness(system, seed=seed)
        null = random_witness.gradient_kernel(system, sensitivity)
    gradient = None if null is None else system.in_channels * (len(null) - null.shape[1])
    spent = 0
    for groups, points in zip(splits, normal, strict=True):
        yield from promising(points, SMALL_WORK)
        if null is None or witness_search.ceiling(system, groups, None) < goal:
            continue
        work = random_witness.split_work(system, groups, null.shape[1])
        if spent + work <= LARGEST_WORK:
            spent += work
            value = random_witness.split_rank(system, groups, null, seed=seed)
            if value is not None:
                yield LowerBound(value, WITNESS, gradient, StructuredWitness(groups, None))
    if random:
        value = random_witness.full_rank(system, weight, sensitivity, null, goal)
        if value is not None:
            whole = LowerBound(value, WITNESS, gradient)
            yield whole
    if whole is None:
        for point in left:
            yield from _structured(system, point, seed, SMALL_WORK * 5)


def _structured(
    system: LayerSystem, point: StructuredWitness, seed: int, most_work: int = LARGEST_WORK
) -> Iterator[LowerBound]:
    value = structured_witness.rank(system, point, seed=seed, most_work=most_work)
    if value is not None:
        assert point.positions is not None
        known = structured_witness.known_pixels(system, point.positions)
        yield LowerBound(value, WITNESS, system.in_channels * int(np.count_nonzero(known)), point)


def _places(system: LayerSystem) -> int:
    return system.batch_size * system.positions


def _table(system: LayerSystem) -> int:
    return len(system.lags()) * max(_places(system), system.batch_size * system.pixels)


def dependency_rank(system: LayerSystem, *, seed: int = 0) -> int | None:
    """Bound the generic dimension of R(W) ∩ R(K) from below, at a random point.

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
    outputs, columns = system.out_channels, system.batch_size * system.pixels
    if outputs**2 * system.unknowns > LARGEST_MATRIX or len(system.lags()) * outputs * columns > LARGEST_MATRIX:
        return None
    weight, sensitivity = witness(system, seed=seed)
    block = system.gradient_block(sensitivity).reshape(outputs, -1, columns)
    vectors = np.empty((outputs, outputs, system.in_channels, columns), dtype=np.uint64)
    kernels = weight.reshape(outputs * system.in_channels, -1)
    for other in range(outputs):
        vectors[:, other] = residues.product(kernels, block[other]).reshape(outputs, system.in_channels, -1)
    return residues.rank(vectors.reshape(outputs**2, system.unknowns))


def dependencies(
    system: LayerSystem, *, seed: int = 0, most_work: int = LARGEST_WORK
) -> tuple[int, StructuredWitness | None]:
    """Bound the generic dimension of R(W) ∩ R(K) from below, at the cheapest points that will do.

    Parameters
    ----------
    system : LayerSystem
        The layer system.
    seed : int
        Seed of the witnesses.
    most_work : int
        Multiplications of the longest elimination that is begun at the random point.

    Returns
    -------
    found : int
        The bound; 0 if every point was too expensive.
    point : StructuredWitness or None
        Where; None for the random point.
    """
    most = system.out_channels * min(system.out_channels, _places(system))
    best: tuple[int, StructuredWitness | None] = (0, None)
    if _table(system) <= LARGEST_TABLE:
        positions = witness_search.chosen_positions(system)
        proposals = (witness_search.sparse_kernels(system, positions), witness_search.normal_forms(system, positions))
        for point in itertools.chain.from_iterable(proposals):
            found = structured_witness.dependencies(system, point, seed=seed)
            if found is not None and found > best[0]:
                best = (found, point)
            if best[0] >= most:
                return best
    if elimination_work(system.out_channels**2, system.unknowns) > most_work:
        return best
    found = dependency_rank(system, seed=seed)
    return (found, None) if found is not None and found > best[0] else best


def upper_bound(
    system: LayerSystem, *, seed: int = 0, gradient: int | None = None, most_work: int = LARGEST_WORK
) -> UpperBound:
    """Bound the generic rank of U from above.

    Parameters
    ----------
    system : LayerSystem
        The layer system.
    seed : int
        Seed of the witness at which dependencies are counted.
    gradient : int, optional
        A proved lower bound of the generic rank of K; looked for if it is not given and matters.
    most_work : int
        Multiplications of the longest elimination that is begun for the dependencies at a random point.

    Returns
    -------
    UpperBound
        The bound and its argument; the dependency law is named where it gives the same bound as another argument but
        counting covered unknowns.
    """
    bound = counted_bound(system, gradient_attained=False)
    if bound.how == TILED or (bound.value == bound.covered and bound.covered <= bound.forward):
        return bound
    count = bound.forward + bound.gradient
    images = image_count(system, gradient_attained=True)
    shared, point = 0, None
    if count - system.out_channels * min(system.out_channels, _places(system)) <= bound.value - (bound.how == COVERED):
        shared, point = dependencies(system, seed=seed, most_work=most_work)
    if images < min(bound.value, count - shared):
        attained = gradient if gradient is not None else gradient_rank(system, seed=seed)
        if attained == gradient_count(system):
            bound = dataclasses.replace(bound, value=images, how=IMAGES, gradient_attained=True)
    if shared > 0 and count - shared <= bound.value - (bound.how == COVERED):
        return dataclasses.replace(bound, value=count - shared, how=DEPENDENCY, dependencies=shared, witness=point)
    return bound


def gradient_rank(system: LayerSystem, *, seed: int = 0) -> int | None:
    """Bound the generic rank of K from below, at a random point.

    Parameters
    ----------
    system : LayerSystem
        The layer system.
    seed : int
        Seed of the stream ``"sensitivity"``.

    Returns
    -------
    int or None
        The rank of K modulo 2⁶¹ - 1; None if the elimination is too large.
    """
    if system.out_channels * _places(system) > LARGEST_MATRIX:
        return None
    null = random_witness.gradient_kernel(system, witness(system, seed=seed)[1])
    return None if null is None else system.in_channels * (len(null) - null.shape[1])


def rank_bounds(system: LayerSystem, *, seed: int = 0) -> RankBounds:
    """Bound the generic rank of a layer system from both sides.

    Parameters
    ----------
    system : LayerSystem
        The layer system.
    seed : int
        Seed of the witnesses.

    Returns
    -------
    RankBounds
        Lower and upper bound, each with its argument.
    """
    upper = upper_bound(system, seed=seed, most_work=SMALL_WORK)
    lower = lower_bound(system, seed=seed, target=upper.value)
    if lower is None or lower.value < upper.value:
        upper = upper_bound(system, seed=seed)
    return RankBounds(lower, upper)
