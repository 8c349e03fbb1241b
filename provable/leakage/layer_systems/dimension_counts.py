r"""Upper bounds of the generic rank of a layer system U = [W; K], by counting dimensions.

The generic rank is the largest rank over all real weights w and sensitivities D; it is attained outside a set of measure
zero, because the entries of U are linear in (w, D). With R for row spaces, at every point

    rank U = rank W + rank K - dim (R(W) ∩ R(K)).                                              (1)

Several samples are several images side by side: below, pixels and positions are those of all B samples of the batch.

Covered unknowns. A pixel that no patch contains is a zero column of U.

Equation count. The rows of W at one output position live on its patch: rank W <= r_W = Σ_positions min(out_channels,
in_channels · lags inside the image). Stride splits the pixels into classes by their residues; the rows (o,a,b) of K̃ live
on the class that the lag (a,b) sees, and for one lag they are combinations of as many vectors as there are positions:
rank K <= r_K = in_channels · Σ_classes min(Σ_lags min(out_channels, positions), covered pixels).

Dependency law. The out_channels² vectors v_{o,o'} = Σ_p D_{o'}(p) W_{(o,p),:} = Σ_{c,a,b} w[o,c,a,b] K_{(o',c,a,b),:} lie in
both row spaces, so the intersection in (1) is at least as large as their span, at every point. The dimension of a span
is at its largest at generic points, so the rank q of these vectors modulo a prime at one integer point bounds it there
from below, and generically rank U <= r_W + r_K - q.

Kernel images. K = I ⊗ K̃ up to the order of rows, so with N = ker K̃ on covered pixels

    rank U = in_channels · rank K̃ + rank (W restricted to I ⊗ N).                              (2)

The output channel w_o maps I ⊗ N into Y = Σ_lags S_lag N, where S_lag cuts what a lag sees out of an image. Y lies in
ker D on the positions that see anything, so dim Y <= live - min(out_channels, live) generically. Classes that are
seen through the same shifts have the same block of K̃ and the same part of Y, so dim Y <= Σ (number of shifts)(covered
pixels - rank of the block), summed over different classes only. Hence generically

    rank U <= r_K + out_channels · min(live - min(out_channels, live), Σ_different classes shifts · kernel),

the second term of the minimum only if rank K attains r_K, which its rank at one integer point proves.

Patches that tile. If no two patches share a pixel and none reaches into the padding, cutting the covered part of the
image into patches is a bijection onto all patch × positions matrices P, and U x = 0 reads weight P = 0, D Pᵀ = 0. The
solutions are ker weight ⊗ ker D, so the nullity on covered unknowns is (patch - rank weight)(positions - rank D):
exactly (patch - out_channels)₊ (positions - out_channels)₊ for generic weight and D.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from provable.leakage.layer_systems.layer_system import LayerSystem
from provable.leakage.layer_systems.structured_witness import StructuredWitness

TILED = "tiled patches"
DEPENDENCY = "dependency law"
IMAGES = "kernel images"
COVERED = "covered unknowns"
COUNT = "equation count"


@dataclasses.dataclass(frozen=True)
class UpperBound:
    """A proved upper bound of the generic rank, with the numbers that enter it.

    Parameters
    ----------
    value : int
        The generic rank is at most this.
    how : {"tiled patches", "dependency law", "kernel images", "covered unknowns", "equation count"}
        The argument.
    covered : int
        Number of unknowns that any output sees.
    forward, gradient : int
        Bounds of rank W and of rank K.
    dependencies : int
        dim (R(W) ∩ R(K)) is generically at least this; 0 if nothing was needed of it.
    witness : StructuredWitness or None
        The point at which dependencies were counted; None for the random one, or if none was needed.
    gradient_attained : bool
        Whether the bound needs that the generic rank of K is `gradient`, which the random point proves.
    """

    value: int
    how: str
    covered: int
    forward: int
    gradient: int
    dependencies: int = 0
    witness: StructuredWitness | None = None
    gradient_attained: bool = False


def covered_unknowns(system: LayerSystem) -> int:
    """Count the unknowns that any output sees.

    Parameters
    ----------
    system : LayerSystem
        The layer system.

    Returns
    -------
    int
        Number of columns of U that are not identically zero.
    """
    return system.unknowns - system.uncovered_unknowns


def forward_count(system: LayerSystem) -> int:
    """Bound rank W by counting, for all weights.

    Parameters
    ----------
    system : LayerSystem
        The layer system.

    Returns
    -------
    int
        r_W = Σ_positions min(out_channels, in_channels · lags inside), and at most the number of covered unknowns.
    """
    lags = np.multiply.outer(system.axes[0].inside, system.axes[1].inside)
    count = int(np.minimum(system.out_channels, system.in_channels * lags).sum())
    return min(system.batch_size * count, covered_unknowns(system))


def gradient_count(system: LayerSystem) -> int:
    """Bound rank K by counting, for all sensitivities.

    Parameters
    ----------
    system : LayerSystem
        The layer system.

    Returns
    -------
    int
        r_K = in_channels · Σ_classes min(Σ_lags min(out_channels, positions), covered pixels).
    """
    return system.in_channels * sum(rank for rank, _, _ in _blocks(system))


def _blocks(system: LayerSystem) -> list[tuple[int, int, object]]:
    """Per class of pixels: bound of the rank of its block of K̃, lags times kernel, and what makes it different."""
    vertical, horizontal = (axis.classes for axis in system.axes)
    result: list[tuple[int, int, object]] = []
    for rows in vertical:
        for columns in horizontal:
            seen = system.batch_size * np.multiply.outer(rows.seen, columns.seen)
            covered = system.batch_size * rows.covered * columns.covered
            rank = min(int(np.minimum(system.out_channels, seen).sum()), covered)
            result.append((rank, seen.size * (covered - rank), (rows, columns)))
    return result


def image_count(system: LayerSystem, *, gradient_attained: bool) -> int:
    """Bound the generic rank of U by what W can make of the kernel of K.

    Parameters
    ----------
    system : LayerSystem
        The layer system.
    gradient_attained : bool
        Whether the generic rank of K is known to be `gradient_count`.

    Returns
    -------
    int
        r_K + out_channels · (bound of dim Y).
    """
    live = system.batch_size * int(np.count_nonzero(np.multiply.outer(system.axes[0].inside, system.axes[1].inside)))
    image = live - min(system.out_channels, live)
    if gradient_attained:
        different = {look: size for _, size, look in _blocks(system)}
        image = min(image, sum(different.values()))
    return gradient_count(system) + system.out_channels * image


def tiled_rank(system: LayerSystem) -> int | None:
    """Give the generic rank in closed form where patches tile the covered part of the image.

    Parameters
    ----------
    system : LayerSystem
        The layer system.

    Returns
    -------
    int or None
        covered unknowns - (patch - out_channels)₊ (B positions - out_channels)₊, or None if patches overlap or reach into
        the padding.
    """
    if not all(axis.disjoint for axis in system.axes):
        return None
    places = system.batch_size * system.positions
    short = max(system.patch - system.out_channels, 0) * max(places - system.out_channels, 0)
    return covered_unknowns(system) - short


def counted_bound(system: LayerSystem, *, gradient_attained: bool) -> UpperBound:
    """Bound the generic rank of U from above without looking at any instance.

    Parameters
    ----------
    system : LayerSystem
        The layer system.
    gradient_attained : bool
        Whether the generic rank of K is known to be `gradient_count`.

    Returns
    -------
    UpperBound
        The smallest of the bounds above but for the dependency law, and its argument.
    """
    covered, forward, gradient = covered_unknowns(system), forward_count(system), gradient_count(system)
    tiled = tiled_rank(system)
    if tiled is not None:
        places = system.batch_size * system.positions
        shared = min(system.out_channels, system.patch) * min(system.out_channels, places)
        return UpperBound(tiled, TILED, covered, forward, gradient, shared)
    images = image_count(system, gradient_attained=gradient_attained)
    needed = image_count(system, gradient_attained=False) > images
    value, how = min((covered, COVERED), (forward + gradient, COUNT), (images, IMAGES), key=lambda pair: pair[0])
    return UpperBound(value, how, covered, forward, gradient, gradient_attained=needed and how == IMAGES)
