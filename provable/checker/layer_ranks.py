r"""The claims ``generic-rank-lower-bound`` and ``generic-rank-upper-bound`` of a layer system U = [W; K].

For a convolution with kernels w (o, c, a, b), stride s, padding p₀, and sensitivities D (o, p, q) of its output, the rows
and columns of U are W[(o,p,q),(c,i,j)] = w[o,c,a,b] and K[(o,c,a,b),(c',i,j)] = [c = c'] D[o,p,q], both for
i = s·p + a - p₀, j = s·q + b - p₀. A linear layer is a 1×1 kernel on a 1×1 image. Entries are polynomials in the free
numbers (w, D) with integer coefficients, so every rank below means: outside the zero set of one nonzero polynomial.

*Lower bound.* A minor that is not 0 modulo a prime at one integer point is not the zero polynomial; so the rank modulo the
prime at the witness bounds the generic rank. K consists of one and the same block K̃ (rows (o,a,b), columns (i,j)) per input
channel, hence rank U = Cin·rank K̃ + rank of W restricted to I ⊗ ker K̃ (the rank of stacked matrices is that of one plus
that of the other on its kernel). The witness: the integer at position INDEX of the stream STREAM, ``weight`` in the order
(o,c,a,b) or ``sensitivity`` in the order (o,p,q), is the SHA-256 of ``provable-witness/1|SEED|STREAM|INDEX`` (ASCII,
decimal), read as a big-endian number, modulo the prime.

*Upper bound.* rank U = rank W + rank K - dim(R(W) ∩ R(K)) with R for row spaces, and rank U ≤ number of inputs that any
patch covers, the others being zero columns. Every term by an argument that holds at all points or at generic ones:

- rank W ≤ Σ_(p,q) min(Cout, inputs in the patch at (p,q)), because the Cout rows of one position live on its patch;
- rank K = Cin·rank K̃ ≤ Cin·Σ_phases min(Σ_(a,b) min(Cout, positions), covered pixels), because a row (o,a,b) touches only
  pixels with (i + p₀, j + p₀) ≡ (a, b) modulo the stride, and the rows of one (a,b) are, for all o, Cout vectors with the
  entries D[o,p,q] of the positions whose pixel lies inside;
- dim(R(W) ∩ R(K)) ≥ rank of the Cout² vectors Σ_p D[o',p] W[(o,p),:] = Σ_(c,a,b) w[o,c,a,b] K[(o',c,a,b),:], which lie in
  both; generically that rank is at least its value modulo the prime at the witness.

If no two patches share a pixel and none reaches into the padding, patches are independent columns of a matrix P and the
vectors of the last item are w_o ⊗ D_o', so their generic rank is min(Cout, patch)·min(Cout, positions) without a witness.
Then both bounds agree: U P = 0 means wP = 0 and D Pᵀ = 0, whose solutions are ker w ⊗ ker D.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator
from typing import Any

from flint import fmpz, nmod, nmod_mat

from provable.checker import documents
from provable.checker.description import layer_at, layers_of, pair
from provable.checker.verdict import Invalid

LARGEST_MATRIX = 3 * 10**7
"""Entries of the largest matrix that is eliminated."""

_SIZES = ("in_channels", "height", "width", "out_channels")
_PAIRS = ("kernel", "stride", "padding")


@dataclasses.dataclass(frozen=True)
class Axis:
    """One axis of the image: its extent, the kernel's, stride and padding."""

    extent: int
    lags: int
    stride: int
    padding: int

    @property
    def positions(self) -> int:
        """Number of output positions."""
        return (self.extent + 2 * self.padding - self.lags) // self.stride + 1

    def pixel(self, position: int, lag: int) -> int | None:
        """The pixel that an output position sees through a lag; None in the padding."""
        place = self.stride * position + lag - self.padding
        return place if 0 <= place < self.extent else None

    def seen(self, lag: int) -> list[tuple[int, int]]:
        """Pairs of position and pixel of one lag."""
        pairs = ((position, self.pixel(position, lag)) for position in range(self.positions))
        return [(position, pixel) for position, pixel in pairs if pixel is not None]

    def covered(self) -> set[int]:
        """Pixels that some position sees."""
        return {pixel for lag in range(self.lags) for _, pixel in self.seen(lag)}

    def inside(self) -> list[int]:
        """For every position, how many lags stay inside the image."""
        return [
            sum(self.pixel(position, lag) is not None for lag in range(self.lags)) for position in range(self.positions)
        ]

    def tiled(self) -> bool:
        """Whether no pixel is seen twice and no padding is seen."""
        return sum(self.inside()) == self.lags * self.positions == len(self.covered())

    def phases(self) -> dict[int, tuple[list[int], int]]:
        """For every phase of the stride: positions inside per lag, and covered pixels."""
        covered = self.covered()
        result: dict[int, tuple[list[int], int]] = {}
        for lag in range(self.lags):
            phase = (lag - self.padding) % self.stride
            pixels = sum(pixel % self.stride == phase for pixel in covered)
            result.setdefault(phase, ([], pixels))[0].append(len(self.seen(lag)))
        return result


@dataclasses.dataclass(frozen=True)
class System:
    """Sizes of a layer system."""

    inputs: int
    outputs: int
    axes: tuple[Axis, Axis]

    @property
    def pixels(self) -> int:
        """Pixels of one channel."""
        return self.axes[0].extent * self.axes[1].extent

    @property
    def positions(self) -> int:
        """Output positions."""
        return self.axes[0].positions * self.axes[1].positions

    @property
    def lags(self) -> int:
        """Kernel entries."""
        return self.axes[0].lags * self.axes[1].lags

    @property
    def covered(self) -> int:
        """Inputs that some patch covers."""
        return self.inputs * len(self.axes[0].covered()) * len(self.axes[1].covered())

    def seen(self) -> Iterator[list[tuple[int, int]]]:
        """For every kernel entry in row-major order: pairs of flat position and flat pixel."""
        across = self.axes[1].positions
        for a in range(self.axes[0].lags):
            for b in range(self.axes[1].lags):
                yield [
                    (p * across + q, i * self.axes[1].extent + j)
                    for p, i in self.axes[0].seen(a)
                    for q, j in self.axes[1].seen(b)
                ]

    def tiled(self) -> bool:
        """Whether the patches are disjoint and complete."""
        return all(axis.tiled() for axis in self.axes)

    def tiled_rank(self) -> int:
        """Generic rank if the patches are disjoint and complete."""
        patch = self.inputs * self.lags
        return self.covered - max(patch - self.outputs, 0) * max(self.positions - self.outputs, 0)

    def weight_bound(self) -> int:
        """Upper bound of rank W."""
        counts = [self.inputs * v * h for v in self.axes[0].inside() for h in self.axes[1].inside()]
        return min(self.covered, sum(min(self.outputs, count) for count in counts))

    def gradient_bound(self) -> int:
        """Upper bound of rank K."""
        total = 0
        for vertical, rows in self.axes[0].phases().values():
            for horizontal, columns in self.axes[1].phases().values():
                vectors = sum(min(self.outputs, v * h) for v in vertical for h in horizontal)
                total += min(vectors, rows * columns)
        return self.inputs * total


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
        """The weights, rows (o, c), columns (a, b)."""
        system = self.system
        return nmod_mat(system.outputs * system.inputs, system.lags, self.weight, self.prime)

    def block(self, output: int) -> list[list[int]]:
        """The rows (a, b) of K̃ that belong to one output channel."""
        base = output * self.system.positions
        rows = []
        for pairs in self.system.seen():
            row = [0] * self.system.pixels
            for position, pixel in pairs:
                row[pixel] = self.sensitivity[base + position]
            rows.append(row)
        return rows

    def rank(self, enough: int) -> int:
        """Rank of U, or a lower bound of it that is at least `enough`."""
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
        """Rank of the vectors Σ_p D[o',p] W[(o,p),:]."""
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


def _system(data: dict[str, Any], subject: str) -> tuple[System, int, int]:
    """Read the sizes, compare them with the architecture's layer, and return them with prime and seed."""
    text, path = data["architecture"], data["layer"]
    if not isinstance(text, str) or not isinstance(path, str):
        raise Invalid("architecture or layer is not a text")
    if hashlib.sha256(text.encode()).hexdigest() != subject:
        raise Invalid("the subject is not the SHA-256 of the architecture")
    layer, shape = layer_at(*layers_of(text), path)
    if layer["type"] == "linear" and len(shape) == 1:
        features = documents.natural(layer.get("out_features"), "out_features", 1)
        expected: list[Any] = [shape[0], 1, 1, features, (1, 1), (1, 1), (0, 0)]
    elif layer["type"] == "conv2d" and len(shape) == 3:
        channels = documents.natural(layer.get("out_channels"), "out_channels", 1)
        steps = (pair(layer, "kernel_size"), pair(layer, "stride", 1), pair(layer, "padding", 0, least=0))
        expected = [*shape, channels, *steps]
    else:
        raise Invalid(f"layer {ascii(path)[:40]} is neither linear nor conv2d, so it has no layer system")
    sizes = [documents.natural(data[key], key, 1) for key in _SIZES]
    pairs = [pair(data, key, least=int(key != "padding")) for key in _PAIRS]
    if [*sizes, *pairs] != expected:
        raise Invalid(f"the sizes of the layer system are not those of layer {path}")
    prime, seed = documents.natural(data["prime"], "prime", 2), documents.natural(data["seed"], "seed")
    if prime >= 2**64 or not fmpz(prime).is_prime():
        raise Invalid("the modulus is not a prime below 2**64")
    kernel, stride, padding = pairs
    axes = (
        Axis(sizes[1], kernel[0], stride[0], padding[0]),
        Axis(sizes[2], kernel[1], stride[1], padding[1]),
    )
    if min(axes[0].positions, axes[1].positions) < 1:
        raise Invalid("the kernel is larger than the padded input")
    return System(sizes[0], sizes[3], axes), prime, seed


_LAYER_KEYS = {"architecture", "layer", "prime", "seed", *_SIZES, *_PAIRS}


def check_lower(data: dict[str, Any], subject: str) -> str:
    """Check a ``generic-rank-lower-bound`` claim.

    Parameters
    ----------
    data : dict
        The layer, prime, seed and ``rank``.
    subject : str
        SHA-256 of the architecture's text.

    Returns
    -------
    str
        What was proved.

    Raises
    ------
    Invalid
        If the claim is not proved.
    """
    documents.keys(data, {*_LAYER_KEYS, "rank"})
    system, prime, seed = _system(data, subject)
    claimed = documents.natural(data["rank"], "rank")
    found = system.tiled_rank() if system.tiled() else Witness(system, prime, seed).rank(claimed)
    if found < claimed:
        raise Invalid(f"the rank at the witness is {found}, which proves no bound of {claimed}")
    return f"the generic rank of the layer system is at least {claimed}"


def check_upper(data: dict[str, Any], subject: str) -> str:
    """Check a ``generic-rank-upper-bound`` claim.

    Parameters
    ----------
    data : dict
        The layer, prime, seed, ``bound`` and the four numbers that it is made of: ``covered``, ``rank_weight_bound``,
        ``rank_gradient_bound``, ``dependencies``.
    subject : str
        SHA-256 of the architecture's text.

    Returns
    -------
    str
        What was proved.

    Raises
    ------
    Invalid
        If the claim is not proved.
    """
    numbers = ("bound", "covered", "rank_weight_bound", "rank_gradient_bound", "dependencies")
    documents.keys(data, {*_LAYER_KEYS, *numbers})
    system, prime, seed = _system(data, subject)
    bound, covered, weight, gradient, dependencies = (documents.natural(data[key], key) for key in numbers)
    if covered != system.covered:
        raise Invalid(f"covered is {covered}, and the patches cover {system.covered} inputs")
    if weight < system.weight_bound():
        raise Invalid(f"rank_weight_bound is {weight}, and counting gives {system.weight_bound()}")
    if gradient < system.gradient_bound():
        raise Invalid(f"rank_gradient_bound is {gradient}, and counting gives {system.gradient_bound()}")
    if bound < min(covered, weight + gradient - dependencies):
        raise Invalid(f"bound is {bound}, below min(covered, rank_weight_bound + rank_gradient_bound - dependencies)")
    if dependencies > 0 and bound < covered:
        found = _dependencies(system, prime, seed)
        if found < dependencies:
            raise Invalid(f"dependencies is {dependencies}, and the witness shows {found}")
    return f"the generic rank of the layer system is at most {bound}"


def _dependencies(system: System, prime: int, seed: int) -> int:
    if system.tiled():
        return min(system.outputs, system.inputs * system.lags) * min(system.outputs, system.positions)
    return Witness(system, prime, seed).dependencies()
