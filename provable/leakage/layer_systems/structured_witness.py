r"""Integer points at which a layer system falls apart, so that its rank is known without a large elimination.

The rank of U = [W; K] at any integer point, taken modulo a prime, is at most the generic rank. So the point may be
chosen for convenience, as long as it is good enough to reach an upper bound. Two choices make U fall apart:

Channel groups. Let the weight be block diagonal: input and output channels are split into groups g, and the outputs of a
group see the inputs of the same group only. The columns of U fall into the same groups; K = I ⊗ K̃ has one block K̃, with
all out_channels sensitivities, per input channel. Hence

    U = ⊕_g [W_g ; I ⊗ K̃],     rank U = Σ_g rank [W_g ; I ⊗ K̃],                               (1)

and groups of equal shape may carry equal kernels, so one computation serves all of them.

Known patches. Let the sensitivity D_o of every output channel o be one at a single position s_o (of some sample) and zero
elsewhere. The row (o,c,a,b) of K is then the unit vector of the pixel that s_o sees through (a,b), or zero in the
padding: the row space of K is spanned by the unit vectors of all pixels in the patches at S = {s_o}, in every channel.
They are pivot columns, so in every group, with F the pixels outside of these patches,

    rank [W_g ; I ⊗ K̃] = inputs_g · (number of pixels in the patches of S) + rank (W_g on F),  (2)

where the rows at S vanish. W_g is block diagonal over the samples. What remains is sparse (`sparse_rank`).

Nothing is lost by (2) in the dependency law: the vectors v_{o,o'} = Σ_p D_{o'}(p) W_{(o,p),:} are the rows (o, s_{o'}) of W.
Their rank is Σ_g of the rank of the rows of W_g at S.

Kernels. An invertible matrix applied to the outputs of a group changes no row space. So one may take the kernels of a
group as one on a main entry each, zero on the main entries of the others, and random elsewhere (``taps`` lists the
entries that are not zero). With as many outputs as entries, all kernels are unit vectors and W_g selects pixels.
"""

from __future__ import annotations

import collections
import dataclasses

import numpy as np
from numpy.typing import NDArray

from provable.leakage.layer_systems import sparse_rank
from provable.leakage.layer_systems.layer_system import LayerSystem
from provable.leakage.layer_systems.residues import Residues
from provable.rigor.modular_rank import PRIME, witness_integers

LARGEST_MATRIX = 3 * 10**7
"""Entries of the largest matrix that is eliminated (about 1.5 GB)."""

LARGEST_WORK = 3 * 10**10
"""Multiplications of the longest elimination that is begun (less than a minute)."""

Tap = tuple[int, int, int]
Bools = NDArray[np.bool_]


@dataclasses.dataclass(frozen=True)
class ChannelGroup:
    """Groups of channels of the same shape with the same kernels.

    Parameters
    ----------
    count : int
        How many such groups there are.
    inputs, outputs : int
        Channels of one of them.
    taps : tuple of tuple of (int, int, int), or None
        Per output, which entries (input of the group, row, column) of its kernel are not zero; None for all. Their values
        are those of the stream ``"weight"`` for the shape (outputs, inputs, kernel height, kernel width).
    """

    count: int
    inputs: int
    outputs: int
    taps: tuple[tuple[Tap, ...], ...] | None = None


@dataclasses.dataclass(frozen=True)
class StructuredWitness:
    """An integer point (w, D) with channel groups and, if positions are given, known patches.

    Parameters
    ----------
    groups : tuple of ChannelGroup
        All channels, split.
    positions : tuple of int, or None
        D_o is the unit vector of ``positions[o]``, numbered through the samples, and zero for the channels left over. None
        for the stream ``"sensitivity"``.
    """

    groups: tuple[ChannelGroup, ...]
    positions: tuple[int, ...] | None

    def to_json(self) -> dict[str, object]:
        """Write the witness as certificates carry it.

        Returns
        -------
        dict
            JSON values.
        """
        groups = [
            {"count": group.count, "inputs": group.inputs, "outputs": group.outputs}
            | ({} if group.taps is None else {"taps": [[list(tap) for tap in taps] for taps in group.taps]})
            for group in self.groups
        ]
        return {"groups": groups} | ({} if self.positions is None else {"positions": list(self.positions)})


def patch_table(system: LayerSystem) -> NDArray[np.intp]:
    """List the pixels of all patches of one sample.

    Parameters
    ----------
    system : LayerSystem
        The layer system.

    Returns
    -------
    ndarray of int, shape (positions, lags)
        The pixel that a position sees through a kernel entry, -1 in the padding.
    """
    table = np.full((system.positions, len(system.lags())), -1, dtype=np.intp)
    for index, (row, column) in enumerate(system.lags()):
        positions, pixels = system.touched(row, column)
        table[positions, index] = pixels
    return table


def known_pixels(system: LayerSystem, positions: tuple[int, ...]) -> Bools:
    """Mark the pixels in the patches at some positions.

    Parameters
    ----------
    system : LayerSystem
        The layer system.
    positions : tuple of int
        Numbered through the samples.

    Returns
    -------
    ndarray of bool, shape (batch_size, pixels)
        Which pixels the patches contain.
    """
    known = np.zeros((system.batch_size, system.pixels + 1), dtype=np.bool_)
    samples, places = np.divmod(np.array(positions, dtype=np.intp), system.positions)
    known[samples[:, None], patch_table(system)[places]] = True
    return known[:, :-1]


def kernels(system: LayerSystem, group: ChannelGroup, *, seed: int) -> Residues:
    """Give the kernels of a group.

    Parameters
    ----------
    system : LayerSystem
        The layer system.
    group : ChannelGroup
        The group.
    seed : int
        Seed of the stream ``"weight"``.

    Returns
    -------
    ndarray of uint64, shape (outputs, inputs, kernel height, kernel width)
        Residues modulo 2⁶¹ - 1.
    """
    shape = (group.outputs, group.inputs, *system.kernel_size)
    values = np.array(witness_integers(seed, "weight", int(np.prod(shape))), dtype=np.uint64).reshape(shape)
    if group.taps is None:
        return values
    chosen = np.zeros(shape, dtype=np.bool_)
    for output, taps in enumerate(group.taps):
        for tap in taps:
            chosen[(output, *tap)] = True
    return np.where(chosen, values, np.uint64(0))


def rank(system: LayerSystem, point: StructuredWitness, *, seed: int = 0, most_work: int = LARGEST_WORK) -> int | None:
    """Rank of U at a point with known patches, modulo 2⁶¹ - 1.

    Parameters
    ----------
    system : LayerSystem
        The layer system.
    point : StructuredWitness
        The point, with positions.
    seed : int
        Seed of the stream ``"weight"``.
    most_work : int
        Multiplications of the longest elimination that is begun.

    Returns
    -------
    int or None
        The rank, by (1) and (2); None if an elimination is too large.
    """
    assert point.positions is not None
    free = ~known_pixels(system, point.positions)
    total = system.in_channels * int(np.count_nonzero(~free))
    everywhere = np.ones(system.positions, dtype=np.bool_)
    for group in point.groups:
        weight = kernels(system, group, seed=seed)
        for pixels, times in _distinct(free):
            found = _forward_rank(system, weight, pixels, everywhere, most_work)
            if found is None:
                return None
            total += group.count * times * found
    return total


def dependencies(system: LayerSystem, point: StructuredWitness, *, seed: int = 0) -> int | None:
    """Rank of the vectors Σ_p D_{o'}(p) W_{(o,p),:} at a point with known patches, modulo 2⁶¹ - 1.

    Parameters
    ----------
    system : LayerSystem
        The layer system.
    point : StructuredWitness
        The point, with positions.
    seed : int
        Seed of the stream ``"weight"``.

    Returns
    -------
    int or None
        The rank of the rows of W at these positions; None if an elimination is too large.
    """
    assert point.positions is not None
    used = np.zeros(system.batch_size * system.positions, dtype=np.bool_)
    used[list(point.positions)] = True
    everywhere = np.ones(system.pixels, dtype=np.bool_)
    total = 0
    for group in point.groups:
        weight = kernels(system, group, seed=seed)
        for places, times in _distinct(used.reshape(system.batch_size, -1)):
            found = _forward_rank(system, weight, everywhere, places, LARGEST_WORK)
            if found is None:
                return None
            total += group.count * times * found
    return total


def _distinct(samples: Bools) -> list[tuple[Bools, int]]:
    """The different rows of a table and how often each occurs."""
    counts = collections.Counter(row.tobytes() for row in samples)
    return [(np.frombuffer(row, dtype=np.bool_), times) for row, times in counts.items()]


def _forward_rank(system: LayerSystem, weight: Residues, pixels: Bools, positions: Bools, most_work: int) -> int | None:
    """Rank of the rows of W at some positions of one sample on some of its pixels."""
    rows, columns, values = [], [], []
    for row, column in system.lags():
        places, seen = system.touched(row, column)
        used = positions[places] & pixels[seen]
        places, seen = places[used], seen[used]
        for output, channel in np.argwhere(weight[:, :, row, column] % np.uint64(PRIME)).tolist():
            rows.append(output * system.positions + places)
            columns.append(channel * system.pixels + seen)
            values.append(np.full(len(places), weight[output, channel, row, column]))
    if not rows:
        return 0
    return sparse_rank.rank(
        np.concatenate(rows),
        np.concatenate(columns),
        np.concatenate(values),
        largest=LARGEST_MATRIX,
        most_work=most_work,
    )
