"""The integer point modulo a prime at which ranks of layer systems are taken; see `layer_ranks`."""

from __future__ import annotations

import hashlib

from flint import nmod, nmod_mat

from provable.checker.layer_system import System
from provable.checker.verdict import Invalid

LARGEST_MATRIX = 3 * 10**7
"""Entries of the largest matrix that is eliminated."""


class Witness:
    """The integer point (w, D) modulo a prime, and the matrices there.

    Parameters
    ----------
    system : System
        Sizes.
    prime, seed : int
        Modulus and seed.
    """

    def __init__(self, system: System, prime: int, seed: int) -> None:
        self.system, self.prime = system, prime
        weights = system.outputs * system.inputs * system.lags
        self.weight = _integers(seed, "weight", weights, prime)  # rows (o, c), columns (a, b)
        self.sensitivity = _integers(seed, "sensitivity", system.outputs * system.positions, prime)

    def kernels(self) -> nmod_mat:
        """Arrange the weights as a matrix.

        Returns
        -------
        nmod_mat
            Rows (o, c), columns (a, b).
        """
        system = self.system
        return nmod_mat(system.outputs * system.inputs, system.lags, self.weight, self.prime)

    def block(self, output: int) -> list[list[int]]:
        """Write down the rows of K̃ that belong to one output channel.

        Parameters
        ----------
        output : int
            The channel.

        Returns
        -------
        list of list of int
            Rows (a, b), columns (i, j).
        """
        base = output * self.system.positions
        rows = []
        for pairs in self.system.seen():
            row = [0] * self.system.pixels
            for position, pixel in pairs:
                row[pixel] = self.sensitivity[base + position]
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
        system = self.system
        _limit(system.outputs * system.lags, system.pixels)
        entries = [entry for output in range(system.outputs) for row in self.block(output) for entry in row]
        shared = nmod_mat(system.outputs * system.lags, system.pixels, entries, self.prime)
        width = system.pixels - int(shared.rank())
        alone = system.inputs * (system.pixels - width)
        if alone >= enough or width == 0:
            return alone
        _limit(system.pixels, system.pixels)
        _limit(system.outputs * system.positions, system.inputs * width)
        _limit(system.lags, system.positions * width)
        null = [[int(entry) for entry in row[:width]] for row in shared.nullspace()[0].tolist()]
        patches: list[int] = []
        for pairs in system.seen():
            rows = [[0] * width for _ in range(system.positions)]
            for position, pixel in pairs:
                rows[position] = null[pixel]
            patches.extend(entry for row in rows for entry in row)
        images = self.kernels() * nmod_mat(system.lags, system.positions * width, patches, self.prime)
        table = images.tolist()  # rows (o, c), columns (p, null vector)
        # the first output channels that can suffice, and one more, are often enough; any part of the rows bounds the rank
        few = min(system.outputs, -(-(enough - alone) // system.positions) + 1)
        found = alone + self._restricted_rank(table, few, width)
        if found < enough and few < system.outputs:
            found = alone + self._restricted_rank(table, system.outputs, width)
        return found

    def _restricted_rank(self, table: list[list[nmod]], outputs: int, width: int) -> int:
        """Rank of W on I ⊗ ker K̃, for the first output channels."""
        system = self.system
        entries = [
            int(entry)
            for o in range(outputs)
            for p in range(system.positions)
            for c in range(system.inputs)
            for entry in table[o * system.inputs + c][p * width : (p + 1) * width]
        ]
        return int(nmod_mat(outputs * system.positions, system.inputs * width, entries, self.prime).rank())

    def dependencies(self) -> int:
        """Rank of the vectors Σ_p D[o',p] W[(o,p),:] at the witness.

        Returns
        -------
        int
            A lower bound of the generic dimension of R(W) ∩ R(K).
        """
        system = self.system
        _limit(system.outputs**2, system.inputs * system.pixels)
        kernels = self.kernels()
        vectors: list[int] = []
        for other in range(system.outputs):
            block = nmod_mat(system.lags, system.pixels, [e for row in self.block(other) for e in row], self.prime)
            vectors.extend(int(entry) for entry in (kernels * block).entries())
        return int(nmod_mat(system.outputs**2, system.inputs * system.pixels, vectors, self.prime).rank())


def _integers(seed: int, stream: str, count: int, prime: int) -> list[int]:
    texts = (f"provable-witness/1|{seed}|{stream}|{index}".encode("ascii") for index in range(count))
    return [int.from_bytes(hashlib.sha256(text).digest(), "big") % prime for text in texts]


def _limit(rows: int, columns: int) -> None:
    if rows * columns > LARGEST_MATRIX:
        raise Invalid(f"a matrix of {rows} by {columns} is needed, and at most {LARGEST_MATRIX} entries are eliminated")
