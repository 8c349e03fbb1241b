"""Search for integer points at which a layer system falls apart and its rank is as large as it can be.

Any point proves a lower bound (`structured_witness`), so nothing here needs to be right, only good.
"""

from __future__ import annotations

import collections
import dataclasses
import itertools
import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from provable.leakage.layer_systems.dimension_counts import covered_unknowns, forward_count, gradient_count
from provable.leakage.layer_systems.layer_system import LayerSystem
from provable.leakage.layer_systems.structured_witness import (
    Bools,
    ChannelGroup,
    StructuredWitness,
    Tap,
    known_pixels,
    patch_table,
)

ENTRIES = 4
"""Entries per output of the kernels that are neither selections nor in normal form."""

NOTHING = -(2**62)
"""Gain of a position that adds no pixel."""


def splits(system: LayerSystem) -> list[tuple[ChannelGroup, ...]]:
    """Split the channels into groups.

    Parameters
    ----------
    system : LayerSystem
        The layer system.

    Returns
    -------
    list of tuple of ChannelGroup
        First as many groups as possible, with one input or one output each; then fewer and larger ones, as equal as they
        can be, among them the finest split into equal groups. A single group only where there is a single channel.
    """
    most = min(system.in_channels, system.out_channels)
    numbers = {most // 2**halvings for halvings in range(most.bit_length())}
    numbers.add(math.gcd(system.in_channels, system.out_channels))
    return [_groups(system, number) for number in sorted(numbers, reverse=True) if number > 1 or number == most]


def _groups(system: LayerSystem, number: int) -> tuple[ChannelGroup, ...]:
    """Split into a number of groups, those with more inputs being those with more outputs."""
    shares = [
        [channels // number + (place < channels % number) for place in range(number)]
        for channels in (system.in_channels, system.out_channels)
    ]
    sizes = collections.Counter(zip(*shares, strict=True))
    return tuple(ChannelGroup(count, *size) for size, count in sizes.items())


def ceiling(system: LayerSystem, groups: tuple[ChannelGroup, ...], positions: tuple[int, ...] | None) -> int:
    """Bound the rank that a split can have, by counting.

    Parameters
    ----------
    system : LayerSystem
        The layer system.
    groups : tuple of ChannelGroup
        The split.
    positions : tuple of int, or None
        Positions of known patches; None for random sensitivities.

    Returns
    -------
    int
        No kernels of this split have a larger rank there.
    """
    if positions is None:
        total = 0
        for group in groups:
            alone = dataclasses.replace(system, in_channels=group.inputs, out_channels=group.outputs)
            known = gradient_count(system) // system.in_channels * group.inputs
            total += group.count * min(covered_unknowns(alone), forward_count(alone) + known)
        return total
    free = ~known_pixels(system, positions)
    table = patch_table(system)
    seen = np.where(table >= 0, free[:, table], False).sum(axis=2)
    total = system.in_channels * int(np.count_nonzero(~free))
    for group in groups:
        equations = np.minimum(group.outputs, group.inputs * seen).sum(axis=1)
        total += group.count * int(np.minimum(group.inputs * free.sum(axis=1), equations).sum())
    return total


def chosen_positions(system: LayerSystem) -> tuple[int, ...]:
    """Choose positions for known patches, one after the other.

    Parameters
    ----------
    system : LayerSystem
        The layer system.

    Returns
    -------
    tuple of int
        At most out_channels positions, numbered through the samples; each adds a pixel. Each makes the estimate
        in_channels · known pixels + Σ_positions min(out_channels, in_channels · free pixels of the patch) as large as it
        can; among equally good ones the first is taken.
    """
    table = patch_table(system)
    inside = table >= 0
    patches = [row[row >= 0] for row in table]
    owners = np.repeat(np.arange(system.positions), inside.sum(axis=1))
    order = np.argsort(table[inside], kind="stable")
    bounds = np.searchsorted(table[inside][order], np.arange(system.pixels + 1))
    seen_by = [owners[order[first:last]] for first, last in itertools.pairwise(bounds.tolist())]
    known = np.zeros((system.batch_size, system.pixels), dtype=np.bool_)
    unseen = np.tile(inside.sum(axis=1), (system.batch_size, 1))

    def equations(places: NDArray[np.intp]) -> NDArray[np.intp]:
        return np.minimum(system.out_channels, system.in_channels * places)

    def gain(sample: int, place: int) -> int:
        fresh = [pixel for pixel in patches[place].tolist() if not known[sample, pixel]]
        if not fresh:
            return NOTHING
        others, losses = np.unique(np.concatenate([seen_by[pixel] for pixel in fresh]), return_counts=True)
        before = unseen[sample, others]
        return system.in_channels * len(fresh) - int((equations(before) - equations(before - losses)).sum())

    gains = np.tile(_first_gains(system, unseen[0]), (system.batch_size, 1))
    result: list[int] = []
    while len(result) < system.out_channels:
        sample, place = divmod(int(gains.argmax()), system.positions)
        if gains[sample, place] == NOTHING:
            break
        result.append(sample * system.positions + place)
        fresh = [pixel for pixel in patches[place].tolist() if not known[sample, pixel]]
        known[sample, fresh] = True
        others, losses = np.unique(np.concatenate([seen_by[pixel] for pixel in fresh]), return_counts=True)
        unseen[sample, others] -= losses
        near = {pixel for other in others.tolist() for pixel in patches[other].tolist()}
        for other in np.unique(np.concatenate([seen_by[pixel] for pixel in near])).tolist():
            gains[sample, other] = gain(sample, other)
    return tuple(result)


def _first_gains(system: LayerSystem, inside: NDArray[np.intp]) -> NDArray[np.intp]:
    """By how much one position alone changes the estimate of `chosen_positions`, given the sizes of all patches."""
    height, width = system.output_size
    sizes = inside.reshape(height, width)
    shared = []
    for axis in system.axes:
        seen = np.zeros((axis.positions, axis.pixels), dtype=np.intp)
        for lag in range(axis.lags):
            seen[axis.touched(lag)] = 1
        shared.append(seen @ seen.T)
    gains = system.in_channels * sizes
    down, across = (np.flatnonzero(table.any(axis=0)) for table in map(_diagonals, shared))
    for drop in np.concatenate([-down[:0:-1], down]).tolist() if len(down) else []:
        for shift in np.concatenate([-across[:0:-1], across]).tolist() if len(across) else []:
            rows, columns = (
                slice(max(0, -step), min(size, size - step)) for step, size in ((drop, height), (shift, width))
            )
            others = sizes[max(0, drop) : height + min(0, drop), max(0, shift) : width + min(0, shift)]
            lost = np.outer(np.diagonal(shared[0], drop), np.diagonal(shared[1], shift))
            before, after = (np.minimum(system.out_channels, system.in_channels * n) for n in (others, others - lost))
            gains[rows, columns] -= before - after
    gains[sizes == 0] = NOTHING
    return gains.ravel()


def _diagonals(table: NDArray[np.intp]) -> NDArray[np.intp]:
    """The diagonals from the main one upwards, as columns, filled up with zeros."""
    size = len(table)
    result = np.zeros((size, size), dtype=np.intp)
    for offset in range(size):
        result[: size - offset, offset] = np.diagonal(table, offset)
    return result


def positions_for(system: LayerSystem, wanted: Bools) -> tuple[int, ...]:
    """Choose positions whose patches contain as many pixels of a given set as possible.

    Parameters
    ----------
    system : LayerSystem
        The layer system.
    wanted : ndarray of bool, shape (pixels,)
        The set, the same in every sample.

    Returns
    -------
    tuple of int
        At most out_channels positions, numbered through the samples, the most useful first.
    """
    table = patch_table(system)
    missing = np.append(wanted, False)
    chosen: list[int] = []
    while len(chosen) * system.batch_size < system.out_channels:
        gains = missing[table].sum(axis=1)
        best = int(gains.argmax())
        if not gains[best]:
            break
        chosen.append(best)
        missing[table[best][table[best] >= 0]] = False
    samples = range(system.batch_size)
    every = [sample * system.positions + place for place in chosen for sample in samples]
    return tuple(every[: system.out_channels])


def spread_positions(system: LayerSystem) -> tuple[int, ...]:
    """Spread positions for known patches evenly over the samples and over the image.

    Parameters
    ----------
    system : LayerSystem
        The layer system.

    Returns
    -------
    tuple of int
        out_channels positions, or all there are, numbered through the samples.
    """
    height, width = system.output_size
    per_sample = min(-(-system.out_channels // system.batch_size), height * width)
    down = min(max(math.isqrt(per_sample * height // width), -(-per_sample // width), 1), height)
    across = -(-per_sample // down)
    rows, columns = (
        [(2 * place + 1) * size // (2 * number) for place in range(number)]
        for size, number in ((height, down), (width, across))
    )
    places = [row * width + column for row in rows for column in columns]
    every = [sample * system.positions + place for place in places for sample in range(system.batch_size)]
    return tuple(every[: system.out_channels])


def positions(system: LayerSystem) -> Iterator[tuple[int, ...]]:
    """Propose positions for known patches.

    Parameters
    ----------
    system : LayerSystem
        The layer system.

    Yields
    ------
    tuple of int
        `chosen_positions`, `spread_positions`.
    """
    yield chosen_positions(system)
    yield spread_positions(system)


def main_taps(system: LayerSystem, group: ChannelGroup, free: Bools, live: Bools) -> tuple[list[Tap], int]:
    """Choose kernel entries, one per output, through which a group sees as many free pixels as possible.

    Parameters
    ----------
    system : LayerSystem
        The layer system.
    group : ChannelGroup
        The group.
    free : ndarray of bool, shape (batch_size, pixels)
        Pixels that are not known.
    live : ndarray of bool, shape (batch_size, positions)
        Positions whose equations are used.

    Returns
    -------
    taps : list of (int, int, int)
        At most ``group.outputs`` different entries, the most useful first.
    useful : int
        How many of them see a pixel that the earlier ones do not see.
    """
    views = []
    for row, column in system.lags():
        positions, pixels = system.touched(row, column)
        view = np.zeros_like(free)
        view[:, pixels] = live[:, positions]
        views.append(((row, column), view & free))
    missing = [free.copy() for _ in range(group.inputs)]
    candidates = [(channel, index) for channel in range(group.inputs) for index in range(len(views))]
    gains = [int(np.count_nonzero(views[index][1])) for _, index in candidates]
    chosen: list[Tap] = []
    useful = 0
    while candidates and len(chosen) < group.outputs:
        best = max(range(len(candidates)), key=gains.__getitem__)
        channel, index = candidates.pop(best)
        useful += gains.pop(best) > 0
        chosen.append((channel, *views[index][0]))
        missing[channel] &= ~views[index][1]
        for place, (other, lag) in enumerate(candidates):
            if other == channel and gains[place]:
                gains[place] = int(np.count_nonzero(views[lag][1] & missing[channel]))
    return chosen, useful


def selections(system: LayerSystem) -> Iterator[StructuredWitness]:
    """Propose points whose kernels have one entry each, so that W selects pixels.

    Parameters
    ----------
    system : LayerSystem
        The layer system.

    Yields
    ------
    StructuredWitness
        Without known patches; with known patches that contain what is not selected.
    """
    groups = splits(system)[0]
    everything = np.ones((system.batch_size, system.pixels), dtype=np.bool_)
    everywhere = np.ones((system.batch_size, system.positions), dtype=np.bool_)
    mains = [main_taps(system, group, everything, everywhere) for group in groups]
    selected = tuple(_selecting(group, main) for group, main in zip(groups, mains, strict=True))
    yield StructuredWitness(selected, ())
    missing = system.covered.flatten()
    for group, main in zip(groups, mains, strict=True):
        for channel in range(group.inputs):
            left = system.covered.flatten()
            for tap in main[0]:
                if tap[0] == channel:
                    left[system.touched(*tap[1:])[1]] = False
            missing = left if np.count_nonzero(left) < np.count_nonzero(missing) else missing
    # the input channel that misses least: where even that is too much there is nothing to be gained
    yield StructuredWitness(selected, positions_for(system, missing))


def sparse_kernels(system: LayerSystem, positions: tuple[int, ...]) -> Iterator[StructuredWitness]:
    """Propose points with given known patches whose kernels have few entries.

    Parameters
    ----------
    system : LayerSystem
        The layer system.
    positions : tuple of int
        The positions of the patches.

    Yields
    ------
    StructuredWitness
        Kernels with one entry each; with a few.
    """
    free, live = _free_and_live(system, positions)
    groups = splits(system)[0]
    mains = [main_taps(system, group, free, live) for group in groups]
    selected = tuple(_selecting(group, main) for group, main in zip(groups, mains, strict=True))
    yield StructuredWitness(selected, positions)
    if len(system.lags()) > 1:
        yield StructuredWitness(tuple(_sparse(system, group, free, live) for group in groups), positions)


def normal_forms(system: LayerSystem, positions: tuple[int, ...]) -> Iterator[StructuredWitness]:
    """Propose points with given known patches whose kernels are as good as random ones.

    Parameters
    ----------
    system : LayerSystem
        The layer system.
    positions : tuple of int
        The positions of the patches.

    Yields
    ------
    StructuredWitness
        Kernels in normal form, for every split.
    """
    free, live = _free_and_live(system, positions)
    for groups in splits(system):
        mains = [main_taps(system, group, free, live)[0] for group in groups]
        normal = (_normal_form(system, group, main) for group, main in zip(groups, mains, strict=True))
        yield StructuredWitness(tuple(normal), positions)


def _free_and_live(system: LayerSystem, positions: tuple[int, ...]) -> tuple[Bools, Bools]:
    """Pixels outside of the known patches, and the other positions, both sample by sample."""
    live = np.ones(system.batch_size * system.positions, dtype=np.bool_)
    live[list(positions)] = False
    return ~known_pixels(system, positions), live.reshape(system.batch_size, -1)


def _selecting(group: ChannelGroup, main: tuple[list[Tap], int]) -> ChannelGroup:
    taps, useful = main
    return dataclasses.replace(group, taps=tuple((tap,) for tap in taps[:useful]) + ((),) * (group.outputs - useful))


def _sparse(system: LayerSystem, group: ChannelGroup, free: Bools, live: Bools) -> ChannelGroup:
    """Few entries for every output, so that an equation stays alive where a known patch covers one of them."""
    if group.inputs == 1:
        single = dataclasses.replace(group, outputs=ENTRIES * group.outputs)
        taps = main_taps(system, single, free, live)[0]
        return dataclasses.replace(
            group, taps=tuple(tuple(taps[place :: group.outputs]) for place in range(group.outputs))
        )
    height, width = system.kernel_size
    centre = (height - 1, width - 1)  # twice the middle: corners come first, each followed by the opposite one
    order = sorted(
        system.lags(),
        key=lambda lag: (
            -abs(2 * lag[0] - centre[0]) - abs(2 * lag[1] - centre[1]),
            min(lag, (centre[0] - lag[0], centre[1] - lag[1])),
        ),
    )
    middle = (0, centre[0] // 2, centre[1] // 2)  # where corners lie in the padding
    taps = [(channel, *order[channel % len(order)]) for channel in range(group.inputs)]
    return dataclasses.replace(group, taps=(tuple(dict.fromkeys([*taps, middle])),) + ((),) * (group.outputs - 1))


def _normal_form(system: LayerSystem, group: ChannelGroup, main: list[Tap]) -> ChannelGroup:
    others = [
        (channel, row, column)
        for channel in range(group.inputs)
        for row, column in system.lags()
        if (channel, row, column) not in main
    ]
    taps = tuple((tap, *others) for tap in main) + ((),) * (group.outputs - len(main))
    return dataclasses.replace(group, taps=taps)
