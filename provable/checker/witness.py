"""The integer points modulo a prime at which ranks of layer systems are taken; see `layer_ranks`."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections import Counter
from collections.abc import Iterable
from typing import Any

from flint import nmod_mat

from provable.checker import documents, sparse_rank
from provable.checker.layer_system import System
from provable.checker.sparse_rank import limit
from provable.checker.verdict import Invalid


@dataclasses.dataclass(frozen=True)
class Group:
    """Equal groups of channels: how many, their inputs and outputs, and which kernel entries are used (None: all)."""

    count: int
    inputs: int
    outputs: int
    taps: tuple[frozenset[int], ...] | None = None


def read_point(value: Any, system: System) -> tuple[list[Group], list[int] | None]:
    """Read the key ``witness`` of a claim.

    Parameters
    ----------
    value : object
        JSON values.
    system : System
        Sizes.

    Returns
    -------
    groups : list of Group
        They use up all channels exactly.
    positions : list of int, or None
        Different positions, at most as many as output channels.

    Raises
    ------
    Invalid
        If the value has another form.
    """
    if not isinstance(value, dict):
        raise Invalid("witness is not an object")
    documents.keys(value, {"groups"}, {"positions"})
    if not isinstance(value["groups"], list):
        raise Invalid("witness.groups is not a list")
    groups = [_read_group(group, system) for group in value["groups"]]
    for channels, used in (
        (system.inputs, sum(group.count * group.inputs for group in groups)),
        (system.outputs, sum(group.count * group.outputs for group in groups)),
    ):
        if used != channels:
            raise Invalid(f"the groups of the witness have {used} channels where the layer has {channels}")
    if "positions" not in value:
        return groups, None
    positions = value["positions"]
    if not isinstance(positions, list) or len(positions) > system.outputs:
        raise Invalid("witness.positions is not a list of at most as many positions as there are output channels")
    for position in positions:
        if documents.natural(position, "a position of the witness") >= system.positions:
            raise Invalid(f"the witness names position {position}, and there are {system.positions}")
    if len(set(positions)) < len(positions):
        raise Invalid("the witness names a position twice")
    return groups, positions


def _read_group(value: Any, system: System) -> Group:
    if not isinstance(value, dict):
        raise Invalid("a group of the witness is not an object")
    documents.keys(value, {"count", "inputs", "outputs"}, {"taps"})
    sizes = [documents.natural(value[key], f"{key} of a group", 1) for key in ("count", "inputs", "outputs")]
    count, inputs, outputs = sizes
    if inputs > system.inputs or outputs > system.outputs:
        raise Invalid("a group of the witness has more channels than the layer")
    if "taps" not in value:
        return Group(count, inputs, outputs)
    taps = value["taps"]
    if not isinstance(taps, list) or len(taps) != outputs:
        raise Invalid("the taps of a group are not a list with one entry per output")
    return Group(count, inputs, outputs, tuple(_read_taps(entry, inputs, system) for entry in taps))


def _read_taps(value: Any, inputs: int, system: System) -> frozenset[int]:
    if not isinstance(value, list):
        raise Invalid("the taps of an output are not a list")
    sizes = (inputs, system.axes[0].lags, system.axes[1].lags)
    result = set()
    for tap in value:
        if not isinstance(tap, list) or len(tap) != 3:
            raise Invalid("a tap is not a list of three integers")
        place = 0
        for entry, size in zip(tap, sizes, strict=True):
            if documents.natural(entry, "a tap") >= size:
                raise Invalid("a tap lies outside of the kernel")
            place = place * size + int(entry)
        result.add(place)
    return frozenset(result)


class Witness:
    """An integer point (w, D) modulo a prime, and the matrices there.

    Parameters
    ----------
    system : System
        Sizes.
    prime, seed : int
        Modulus and seed.
    groups : list of Group, optional
        Blocks of the weight; one block by default.
    positions : list of int, optional
        Positions at which one sensitivity each is 1; by default sensitivities are drawn.
    """

    def __init__(
        self,
        system: System,
        prime: int,
        seed: int,
        groups: list[Group] | None = None,
        positions: list[int] | None = None,
    ) -> None:
        self.system, self.prime, self.seed, self.positions = system, prime, seed, positions
        self.groups = [Group(1, system.inputs, system.outputs)] if groups is None else groups

    @functools.cached_property
    def sensitivity(self) -> list[int]:
        """The drawn sensitivities, ordered (sample, o, p, q)."""
        return _integers(self.seed, "sensitivity", self.system.outputs * self.system.positions, self.prime)

    @functools.cached_property
    def _pairs(self) -> list[list[tuple[int, int]]]:
        limit(self.system.lags, self.system.positions // self.system.samples)
        return list(self.system.seen_once())

    def kernels(self, group: Group) -> list[int]:
        """Draw the weights of a group.

        Parameters
        ----------
        group : Group
            The group.

        Returns
        -------
        list of int
            Ordered (o, c, a, b).
        """
        entries = group.inputs * self.system.lags
        values = _integers(self.seed, "weight", group.outputs * entries, self.prime)
        if group.taps is None:
            return values
        return [value if index % entries in group.taps[index // entries] else 0 for index, value in enumerate(values)]

    def block(self, output: int) -> list[list[int]]:
        """Write down the rows of K̃ that belong to one output channel, at drawn sensitivities.

        Parameters
        ----------
        output : int
            The channel.

        Returns
        -------
        list of list of int
            Rows (a, b), columns (sample, i, j).
        """
        places = self.system.positions // self.system.samples
        rows = []
        for pairs in self.system.seen():
            row = [0] * self.system.pixels
            for position, pixel in pairs:
                sample, place = divmod(position, places)
                row[pixel] = self.sensitivity[(sample * self.system.outputs + output) * places + place]
            rows.append(row)
        return rows

    def rank(self, enough: int) -> int:
        """Rank of U at the witness.

        Parameters
        ----------
        enough : int
            A rank at which elimination may stop.

        Returns
        -------
        int
            The rank, or a lower bound of it that is at least `enough`.
        """
        if self.positions is not None:
            return self._rank_with_known_patches(self.positions)
        system = self.system
        shared = self._gradient_block()
        width = system.pixels - int(shared.rank())
        alone = system.inputs * (system.pixels - width)
        if alone >= enough or width == 0:
            return alone
        limit(system.pixels, system.pixels)
        limit(system.lags, system.positions * width)
        null = [[int(entry) for entry in row[:width]] for row in shared.nullspace()[0].tolist()]
        patches: list[int] = []
        for pairs in system.seen():
            rows = [[0] * width for _ in range(system.positions)]
            for position, pixel in pairs:
                rows[position] = null[pixel]
            patches.extend(entry for row in rows for entry in row)
        seen = nmod_mat(system.lags, system.positions * width, patches, self.prime)
        found = alone
        for group in self.groups:
            rest = -(-(enough - found) // group.count)
            found += group.count * self._restricted_rank(group, seen, width, rest)
        return found

    def gradient_rank(self) -> int:
        """Rank of K at the witness.

        Returns
        -------
        int
            The rank, at drawn sensitivities.
        """
        return self.system.inputs * int(self._gradient_block().rank())

    def _gradient_block(self) -> nmod_mat:
        system = self.system
        limit(system.outputs * system.lags, system.pixels)
        entries = [entry for output in range(system.outputs) for row in self.block(output) for entry in row]
        return nmod_mat(system.outputs * system.lags, system.pixels, entries, self.prime)

    def _restricted_rank(self, group: Group, seen: nmod_mat, width: int, enough: int) -> int:
        """Rank of W on I ⊗ ker K̃ for one group, or that of its first outputs if it is enough."""
        positions = self.system.positions
        limit(group.outputs * positions, group.inputs * width)
        table = nmod_mat(group.outputs * group.inputs, self.system.lags, self.kernels(group), self.prime) * seen
        images = table.tolist()  # rows (o, c), columns (p, null vector)

        def rank(outputs: int) -> int:
            entries = [
                int(entry)
                for o in range(outputs)
                for p in range(positions)
                for c in range(group.inputs)
                for entry in images[o * group.inputs + c][p * width : (p + 1) * width]
            ]
            return int(nmod_mat(outputs * positions, group.inputs * width, entries, self.prime).rank())

        # the first output channels that can suffice, and one more, are often enough; any part of the rows bounds the rank
        few = min(group.outputs, -(-max(enough, 1) // positions) + 1)
        found = rank(few)
        return found if found >= enough or few == group.outputs else rank(group.outputs)

    def _rank_with_known_patches(self, positions: list[int]) -> int:
        """K spans the unit vectors of the pixels in the patches; what is left of W is sparse, and equal in equal samples."""
        system = self.system
        places, pixels = system.positions // system.samples, system.pixels // system.samples
        chosen: dict[int, list[int]] = {}
        for position in positions:
            chosen.setdefault(position % places, []).append(position // places * pixels)
        known = {first + pixel for pairs in self._pairs for place, pixel in pairs for first in chosen.get(place, ())}
        samples = _equal_samples(known, pixels, system.samples)
        found = system.inputs * len(known)
        for group in self.groups:
            for without, times in samples.items():
                found += group.count * times * self._forward_rank(group, without, None)
        return found

    def dependencies(self) -> int:
        """Rank of the vectors Σ_p D[o',p] W[(o,p),:] at the witness.

        Returns
        -------
        int
            A lower bound of the generic dimension of R(W) ∩ R(K).

        Raises
        ------
        Invalid
            If sensitivities are drawn and the weight has several blocks, or a matrix is too large.
        """
        system = self.system
        if self.positions is not None:  # then they are the rows of W at these positions
            samples = _equal_samples(set(self.positions), system.positions // system.samples, system.samples)
            return sum(
                group.count * times * self._forward_rank(group, frozenset(), only)
                for group in self.groups
                for only, times in samples.items()
            )
        if len(self.groups) != 1:
            raise Invalid("dependencies are counted at drawn sensitivities for a weight of one block only")
        limit(system.outputs**2, system.inputs * system.pixels)
        limit(system.outputs, system.positions)
        kernels = nmod_mat(system.outputs * system.inputs, system.lags, self.kernels(self.groups[0]), self.prime)
        vectors: list[int] = []
        for other in range(system.outputs):
            block = nmod_mat(system.lags, system.pixels, [e for row in self.block(other) for e in row], self.prime)
            vectors.extend(int(entry) for entry in (kernels * block).entries())
        return int(nmod_mat(system.outputs**2, system.inputs * system.pixels, vectors, self.prime).rank())

    def _forward_rank(self, group: Group, without: frozenset[int], only: frozenset[int] | None) -> int:
        """Rank of W of a group in one sample without some pixels, at some positions only (None: at all)."""
        system = self.system
        places, pixels = system.positions // system.samples, system.pixels // system.samples
        limit(group.outputs * group.inputs * system.lags, 1)
        weight = self.kernels(group)
        rows: list[dict[int, int]] = [{} for _ in range(group.outputs * places)]
        for lag, pairs in enumerate(self._pairs):
            used = [(index, value) for index, value in enumerate(weight[lag :: system.lags]) if value]
            left = [(p, i) for p, i in pairs if i not in without and (only is None or p in only)] if used else []
            for index, value in used:
                o, c = divmod(index, group.inputs)
                for p, i in left:
                    rows[o * places + p][c * pixels + i] = value
        return sparse_rank.rank([row for row in rows if row], self.prime)


def _equal_samples(numbers: Iterable[int], size: int, samples: int) -> Counter[frozenset[int]]:
    """Split numbers that count on through the samples, and count equal samples."""
    parts: list[set[int]] = [set() for _ in range(samples)]
    for number in numbers:
        parts[number // size].add(number % size)
    return Counter(frozenset(part) for part in parts)


def _integers(seed: int, stream: str, count: int, prime: int) -> list[int]:
    texts = (f"provable-witness/1|{seed}|{stream}|{index}".encode("ascii") for index in range(count))
    return [int.from_bytes(hashlib.sha256(text).digest(), "big") % prime for text in texts]
