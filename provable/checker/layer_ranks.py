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

import hashlib
from typing import Any

from flint import fmpz

from provable.checker import documents
from provable.checker.description import layer_at, layers_of, pair
from provable.checker.layer_system import Axis, System
from provable.checker.verdict import Invalid
from provable.checker.witness import Witness

_SIZES = ("in_channels", "height", "width", "out_channels")
_PAIRS = ("kernel", "stride", "padding")


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
