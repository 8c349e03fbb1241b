r"""Rank of a layer system at a random point: every dependency that is not forced is avoided, at the price of elimination.

With random sensitivities the rank of K̃ is as large as it can be with probability almost one. K = I ⊗ K̃ up to the order of
rows, so its kernel is I ⊗ ker K̃ and

    rank U = in_channels · rank K̃ + rank (W restricted to I ⊗ ker K̃);                           (1)

the other way round rank U = rank W + rank (K restricted to ker W), where W is banded and is eliminated by a front
(`frontal`). A weight that is block diagonal, with channel groups g, splits the second term of (1)
(`structured_witness`):

    rank U = in_channels · rank K̃ + Σ_g rank (W_g restricted to I ⊗ ker K̃).                     (2)

Stride splits the pixels into classes that no two lags of K̃ share, so ker K̃ is found class by class.
"""

from __future__ import annotations

import numpy as np

from provable.leakage.layer_systems import frontal, residues, structured_witness
from provable.leakage.layer_systems.layer_system import LayerSystem
from provable.leakage.layer_systems.residues import Residues
from provable.leakage.layer_systems.sparse_rank import elimination_work
from provable.leakage.layer_systems.structured_witness import LARGEST_MATRIX, LARGEST_WORK, ChannelGroup
from provable.rigor.modular_rank import PRIME, witness_integers


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


def gradient_kernel(system: LayerSystem, sensitivity: Residues) -> Residues | None:
    """Null space of K̃ modulo 2⁶¹ - 1.

    Parameters
    ----------
    system : LayerSystem
        The layer system.
    sensitivity : ndarray of uint64, shape ``system.sensitivity_shape``
        Residues modulo 2⁶¹ - 1.

    Returns
    -------
    ndarray of uint64, shape (batch_size * pixels, batch_size * pixels - rank), or None
        Basis vectors as columns; None if the matrices are too large.
    """
    rows, pixels = system.out_channels * len(system.lags()), system.batch_size * system.pixels
    if max(rows, pixels) * pixels > LARGEST_MATRIX:
        return None
    block = system.gradient_block(sensitivity)
    vertical, horizontal = (np.arange(axis.pixels) % min(axis.stride, axis.pixels) for axis in system.axes)
    labels = np.tile(np.add.outer(vertical * system.stride[1], horizontal).ravel(), system.batch_size)
    parts = []
    for label in np.unique(labels):
        chosen = np.flatnonzero(labels == label)
        part = block[:, chosen]
        part = part[part.any(axis=1)]
        if elimination_work(*part.shape) > LARGEST_WORK:
            return None
        null = residues.kernel(part)
        embedded = np.zeros((pixels, null.shape[1]), dtype=np.uint64)
        embedded[chosen] = null
        parts.append(embedded)
    return np.hstack(parts)


def restricted(system: LayerSystem, weight: Residues, null: Residues) -> Residues:
    """Matrix of the kernels of some channels on I ⊗ N.

    Parameters
    ----------
    system : LayerSystem
        The layer system.
    weight : ndarray of uint64, shape (outputs, inputs, kernel height, kernel width)
        Kernels of as many channels as there are; residues modulo 2⁶¹ - 1.
    null : ndarray of uint64, shape (batch_size * pixels, width)
        N.

    Returns
    -------
    ndarray of uint64, shape (outputs * batch_size * positions, inputs * width)
        W restricted to I ⊗ N.
    """
    outputs, inputs = weight.shape[:2]
    places, width = system.batch_size * system.positions, null.shape[1]
    seen = np.zeros((len(system.lags()), places, width), dtype=np.uint64)
    for index, (row, column) in enumerate(system.lags()):
        positions, pixels = system.touched_in_batch(row, column)
        seen[index, positions] = null[pixels]
    values = residues.product(weight.reshape(outputs * inputs, -1), seen.reshape(len(seen), -1))
    table = values.reshape(outputs, inputs, places, width).transpose(0, 2, 1, 3)
    return table.reshape(outputs * places, inputs * width)


def restricted_work(system: LayerSystem, outputs: int, inputs: int, width: int) -> int:
    """Estimate `restricted` and the rank of its result.

    Parameters
    ----------
    system : LayerSystem
        The layer system.
    outputs, inputs : int
        Channels.
    width : int
        Dimension of N.

    Returns
    -------
    int
        Multiplications; more than `LARGEST_WORK` if a matrix is larger than `LARGEST_MATRIX`.
    """
    places = system.batch_size * system.positions
    largest = max(outputs * places * inputs * width, len(system.lags()) * places * width)
    return elimination_work(outputs * places, inputs * width) if largest <= LARGEST_MATRIX else LARGEST_WORK + 1


def split_work(system: LayerSystem, groups: tuple[ChannelGroup, ...], width: int) -> int:
    """Estimate `split_rank`.

    Parameters
    ----------
    system : LayerSystem
        The layer system.
    groups : tuple of ChannelGroup
        The split.
    width : int
        Dimension of ker K̃.

    Returns
    -------
    int
        Multiplications; more than `LARGEST_WORK` if that is larger than an elimination of the whole W by a front.
    """
    whole = system.batch_size * frontal.work(system)
    work = [restricted_work(system, group.outputs, group.inputs, width) for group in groups]
    return sum(work) if max(work) <= whole or whole > LARGEST_WORK else LARGEST_WORK + 1


def split_rank(system: LayerSystem, groups: tuple[ChannelGroup, ...], null: Residues, *, seed: int = 0) -> int | None:
    """Rank of U with a block diagonal weight, by (2).

    Parameters
    ----------
    system : LayerSystem
        The layer system.
    groups : tuple of ChannelGroup
        The blocks.
    null : ndarray of uint64, shape (batch_size * pixels, width)
        Null space of K̃ at the sensitivities.
    seed : int
        Seed of the stream ``"weight"``.

    Returns
    -------
    int or None
        The rank; None if an elimination is too large.
    """
    total: int = system.in_channels * (system.batch_size * system.pixels - null.shape[1])
    for group in groups:
        if restricted_work(system, group.outputs, group.inputs, null.shape[1]) > LARGEST_WORK:
            return None
        weight = structured_witness.kernels(system, group, seed=seed)
        total += group.count * residues.rank(restricted(system, weight, null))
    return total


def full_rank(
    system: LayerSystem, weight: Residues, sensitivity: Residues, null: Residues | None, target: int
) -> int | None:
    """Rank of U without any structure, by the cheaper of the two ways of (1).

    Parameters
    ----------
    system : LayerSystem
        The layer system.
    weight, sensitivity : ndarray of uint64
        The point, as `witness` gives it.
    null : ndarray of uint64, or None
        Null space of K̃, if it is known.
    target : int
        A rank at which the rest may be left out.

    Returns
    -------
    int or None
        The rank, or a part of it that is at least `target`; None if both ways are too long.
    """
    width = 0 if null is None else null.shape[1]
    alone = 0 if null is None else system.in_channels * (len(null) - width)
    if null is not None and (alone >= target or not width):
        return alone
    inputs = system.in_channels if null is None else min(-(-(target - alone) // width), system.in_channels)
    by_gradient = LARGEST_WORK + 1 if null is None else restricted_work(system, system.out_channels, inputs, width)
    if by_gradient > LARGEST_WORK // 100 and system.batch_size * frontal.work(system) <= LARGEST_WORK:
        steps = frontal.eliminate(system, weight)
        found = system.batch_size * sum(len(step.pivots) for step in steps)
        if found >= target:
            return found
        by_forward = frontal.gradient_work(system, steps)
        if by_forward <= min(by_gradient, LARGEST_WORK):
            return frontal.rank_with_gradient(system, steps, sensitivity)
    if null is None or by_gradient > LARGEST_WORK:
        return None
    rank: int = alone + residues.rank(restricted(system, weight[:, :inputs], null))
    if rank < target and inputs < system.in_channels:
        if restricted_work(system, system.out_channels, system.in_channels, width) > LARGEST_WORK:
            return rank
        rank = alone + residues.rank(restricted(system, weight, null))
    return rank
