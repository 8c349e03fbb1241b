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

- rank K + rank of W on the kernel I ⊗ N of K ≤ rank K + Cout·``images`` if ``images`` ≥ dim Y, Y being spanned by all
  restrictions of N to what one (a,b) sees, as vectors of the positions; each output of W on I ⊗ N lies in it. Y lies in
  ker D on the positions that see anything, so dim Y ≤ live - min(Cout, live) for D in general position. A class of pixels
  adds at most (number of (a,b) that see it)·(covered pixels - rank of its block of K̃), and classes that are seen alike add
  the same vectors; this needs that K attains the bound of its rank, which its rank at the drawn sensitivities shows.

*Samples.* With ``batch_size`` B, W becomes I_B ⊗ W and K̃ = [K̃⁽¹⁾ … K̃⁽ᴮ⁾], as the gradient is summed. The samples'
images count as parts of one image in all statements above; positions, pixels and sensitivities are numbered sample by
sample: the stream ``sensitivity`` is ordered (sample, o, p, q).

*Structured points.* Any point proves a lower bound, and any point shows dependencies. The optional key ``witness`` names
another one than above. Its ``groups`` make the weight block diagonal: ``count`` equal groups of ``inputs`` and ``outputs``
channels, taken in turn, whose outputs see their inputs only; the kernels of a group are those of the stream ``weight`` for
its own sizes, at the entries [c, a, b] in ``taps`` (a list per output; all entries if absent), and 0 elsewhere. Then U is
a direct sum over the groups, with the whole K̃ in every input channel. If there are ``positions``, the sensitivity of the
output channel o is 1 at the o-th of them and 0 elsewhere; K then spans the unit vectors of the pixels in the patches at
these positions, rank U = Cin·(number of such pixels) + rank of W on the other pixels, and the vectors above are the rows
of W at these positions.

If no two patches share a pixel and none reaches into the padding, patches are independent columns of a matrix P and the
vectors of the third item are w_o ⊗ D_o', so their generic rank is min(Cout, patch)·min(Cout, positions) without a witness.
Then both bounds agree: U P = 0 means wP = 0 and D Pᵀ = 0, whose solutions are ker w ⊗ ker D.
"""

from __future__ import annotations

import hashlib
from typing import Any

from flint import fmpz

from provable.checker import documents
from provable.checker.description import Layer, Shape, layer_at, layers_of, pair
from provable.checker.layer_system import Axis, System
from provable.checker.verdict import Invalid
from provable.checker.witness import Witness, read_point

_SIZES = ("in_channels", "height", "width", "out_channels")
_PAIRS = ("kernel", "stride", "padding")


def _sizes_of(architecture: tuple[list[Layer], Shape], path: str) -> list[Any]:
    """Channels, height, width, output channels, kernel, stride and padding of a layer."""
    layer, shape = layer_at(*architecture, path)
    if layer["type"] == "linear" and len(shape) == 1:
        features = documents.natural(layer.get("out_features"), "out_features", 1)
        return [shape[0], 1, 1, features, (1, 1), (1, 1), (0, 0)]
    if layer["type"] == "conv2d" and len(shape) == 3:
        channels = documents.natural(layer.get("out_channels"), "out_channels", 1)
        steps = (pair(layer, "kernel_size"), pair(layer, "stride", 1), pair(layer, "padding", 0, least=0))
        return [*shape, channels, *steps]
    raise Invalid(f"layer {ascii(path)[:40]} is neither linear nor conv2d, so it has no layer system")


def system_of(architecture: tuple[list[Layer], Shape], path: str) -> System:
    """Read the layer system of one layer for one sample.

    Parameters
    ----------
    architecture : tuple of (list of Layer, tuple of int)
        Layers and input shape.
    path : str
        The layer.

    Returns
    -------
    System
        Its sizes.

    Raises
    ------
    Invalid
        If the layer has no layer system.
    """
    channels, height, width, outputs, kernel, stride, padding = _sizes_of(architecture, path)
    axes = (Axis(height, kernel[0], stride[0], padding[0]), Axis(width, kernel[1], stride[1], padding[1]))
    return System(channels, outputs, axes, 1)


def rank_bound(system: System, data: dict[str, Any]) -> int:
    """Bound the generic rank of a layer system from above, by what `check_upper` accepts but for kernel images.

    Parameters
    ----------
    system : System
        The layer system.
    data : dict
        ``prime`` and ``seed`` of the witness at which dependencies are counted.

    Returns
    -------
    int
        The bound.

    Raises
    ------
    Invalid
        If the modulus is no prime below 2**64.
    """
    prime, seed = _modulus(data)
    if system.tiled():
        return system.tiled_rank()
    counted = system.weight_bound() + system.gradient_bound()
    if counted - system.outputs**2 >= system.covered:
        return system.covered
    return min(system.covered, counted - Witness(system, prime, seed).dependencies())


def _modulus(data: dict[str, Any]) -> tuple[int, int]:
    prime, seed = documents.natural(data["prime"], "prime", 2), documents.natural(data["seed"], "seed")
    if prime >= 2**64 or not fmpz(prime).is_prime():
        raise Invalid("the modulus is not a prime below 2**64")
    return prime, seed


def _system(data: dict[str, Any], subject: str) -> tuple[System, int, int]:
    """Read the sizes, compare them with the architecture's layer, and return them with prime and seed."""
    text, path = data["architecture"], data["layer"]
    if not isinstance(text, str) or not isinstance(path, str):
        raise Invalid("architecture or layer is not a text")
    if hashlib.sha256(text.encode()).hexdigest() != subject:
        raise Invalid("the subject is not the SHA-256 of the architecture")
    expected = _sizes_of(layers_of(text), path)
    sizes = [documents.natural(data[key], key, 1) for key in _SIZES]
    pairs = [pair(data, key, least=int(key != "padding")) for key in _PAIRS]
    if [*sizes, *pairs] != expected:
        raise Invalid(f"the sizes of the layer system are not those of layer {path}")
    prime, seed = _modulus(data)
    kernel, stride, padding = pairs
    axes = (
        Axis(sizes[1], kernel[0], stride[0], padding[0]),
        Axis(sizes[2], kernel[1], stride[1], padding[1]),
    )
    if min(axes[0].positions, axes[1].positions) < 1:
        raise Invalid("the kernel is larger than the padded input")
    samples = documents.natural(data.get("batch_size", 1), "batch_size", 1)
    return System(sizes[0], sizes[3], axes, samples), prime, seed


def _witness(data: dict[str, Any], system: System, prime: int, seed: int) -> Witness:
    if "witness" not in data:
        return Witness(system, prime, seed)
    return Witness(system, prime, seed, *read_point(data["witness"], system))


_OPTIONAL = {"batch_size", "witness"}
_LAYER_KEYS = {"architecture", "layer", "prime", "seed", *_SIZES, *_PAIRS}


def check_lower(data: dict[str, Any], subject: str) -> str:
    """Check a ``generic-rank-lower-bound`` claim.

    Parameters
    ----------
    data : dict
        The layer, prime, seed and ``rank``, perhaps ``batch_size`` and ``witness``.
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
    documents.keys(data, {*_LAYER_KEYS, "rank"}, _OPTIONAL)
    system, prime, seed = _system(data, subject)
    claimed = documents.natural(data["rank"], "rank")
    point = _witness(data, system, prime, seed)
    found = system.tiled_rank() if system.tiled() else point.rank(claimed)
    if found < claimed:
        raise Invalid(f"the rank at the witness is {found}, which proves no bound of {claimed}")
    return f"the generic rank of the layer system is at least {claimed}"


def check_upper(data: dict[str, Any], subject: str) -> str:
    """Check a ``generic-rank-upper-bound`` claim.

    Parameters
    ----------
    data : dict
        The layer, prime, seed, ``bound`` and the four numbers that it is made of: ``covered``, ``rank_weight_bound``,
        ``rank_gradient_bound``, ``dependencies``; perhaps ``images``, ``batch_size`` and ``witness``, the point at which
        dependencies are counted.
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
    documents.keys(data, {*_LAYER_KEYS, *numbers}, {*_OPTIONAL, "images"})
    system, prime, seed = _system(data, subject)
    point = _witness(data, system, prime, seed)
    bound, covered, weight, gradient, dependencies = (documents.natural(data[key], key) for key in numbers)
    if covered != system.covered:
        raise Invalid(f"covered is {covered}, and the patches cover {system.covered} inputs")
    if weight < system.weight_bound():
        raise Invalid(f"rank_weight_bound is {weight}, and counting gives {system.weight_bound()}")
    if gradient < system.gradient_bound():
        raise Invalid(f"rank_gradient_bound is {gradient}, and counting gives {system.gradient_bound()}")
    proved = covered
    if "images" in data:
        images = documents.natural(data["images"], "images")
        _check_images(images, system, prime, seed)
        proved = min(proved, gradient + system.outputs * images)
    if bound < proved and dependencies > 0:
        found = _dependencies(system, point)
        if found < dependencies:
            raise Invalid(f"dependencies is {dependencies}, and the witness shows {found}")
    proved = min(proved, weight + gradient - dependencies)
    if bound < proved:
        raise Invalid(f"bound is {bound}, and the numbers of the claim prove {proved}")
    return f"the generic rank of the layer system is at most {bound}"


def _check_images(images: int, system: System, prime: int, seed: int) -> None:
    if images >= system.image_bound(attained=False):
        return
    if images < system.image_bound(attained=True):
        raise Invalid(f"images is {images}, and counting gives {system.image_bound(attained=True)}")
    found = Witness(system, prime, seed).gradient_rank()
    if found < system.gradient_bound():
        raise Invalid(f"images needs rank K to be {system.gradient_bound()}, and the witness shows {found}")


def _dependencies(system: System, point: Witness) -> int:
    if system.tiled():
        return min(system.outputs, system.inputs * system.lags) * min(system.outputs, system.positions)
    return point.dependencies()
