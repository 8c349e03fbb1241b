"""Certificates of every claim but ``isolated-recovery``, written from what was found; the checker proves them again."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import flint
import numpy as np

from provable.architectures import Architecture, Conv2d, Linear
from provable.architectures.layers import Layer, Residual, chain_shapes
from provable.errors import InputError
from provable.rigor.balls import encode_ball, encode_rational
from provable.rigor.certificates import Certificate, Refusal, data_sha256, library_versions
from provable.rigor.modular_rank import PRIME
from provable.rigor.positive_definite import certified_lower_eigenvalue, symmetric_balls

MOST_SUBSETS = 200_000
"""Sets of columns whose rank is computed for a k-rank at most; the checker has the same limit."""


def _layer_data(architecture: Architecture, layer: int | str, prime: int, seed: int) -> dict[str, Any]:
    found, shape = _layer_at(architecture.layers, architecture.input_shape, str(layer))
    if isinstance(found, Linear):
        sizes: tuple[Any, ...] = (shape[0], 1, 1, found.out_features, [1, 1], [1, 1], [0, 0])
    elif isinstance(found, Conv2d):
        sizes = (*shape, found.out_channels, list(found.kernel_size), list(found.stride), list(found.padding))
    else:
        raise InputError(f"layer {layer} ({found.type}): has no layer system; a linear or conv2d layer is accepted")
    names = ("in_channels", "height", "width", "out_channels", "kernel", "stride", "padding")
    sizes_by_name = dict(zip(names, sizes, strict=True))
    return {"architecture": architecture.to_json(), "layer": str(layer), "prime": prime, "seed": seed, **sizes_by_name}


def _layer_at(layers: Sequence[Layer], shape: tuple[int, ...], path: str) -> tuple[Layer, tuple[int, ...]]:
    first, _, rest = path.partition(".")
    if not first.isdigit() or int(first) >= len(layers):
        raise InputError(f"layer {path[:40]}: is not in the architecture; a path such as 2 or 3.1 is accepted")
    layer, entering = layers[int(first)], chain_shapes(tuple(layers), shape)[int(first)]
    if not rest:
        return layer, entering
    if not isinstance(layer, Residual):
        raise InputError(f"layer {path[:40]}: layer {first} ({layer.type}) has no layers inside; a residual one has")
    inside = layer.shortcut if rest.startswith("shortcut.") else layer.layers
    return _layer_at(inside, entering, rest.removeprefix("shortcut."))


def generic_rank_lower_bound(
    architecture: Architecture, layer: int | str, rank: int, *, seed: int, prime: int = PRIME
) -> Certificate:
    """Certificate that the layer system of a layer generically has at least a certain rank.

    Parameters
    ----------
    architecture : Architecture
        The architecture.
    layer : int or str
        Index or path of a linear or conv2d layer.
    rank : int
        The bound: the rank modulo `prime` at the witness of `seed`, or less.
    seed : int
        Seed of the witness: streams ``"weight"`` and ``"sensitivity"`` of `witness_integers`.
    prime : int
        The modulus.

    Returns
    -------
    Certificate
        Of claim ``generic-rank-lower-bound``.

    Raises
    ------
    InputError
        If there is no such layer.
    """
    data = _layer_data(architecture, layer, prime, seed) | {"rank": rank}
    return Certificate("generic-rank-lower-bound", data, architecture.sha256, library_versions(), seed)


def generic_rank_upper_bound(
    architecture: Architecture,
    layer: int | str,
    *,
    bound: int,
    covered: int,
    rank_weight_bound: int,
    rank_gradient_bound: int,
    dependencies: int,
    seed: int,
    prime: int = PRIME,
) -> Certificate:
    """Certificate that the layer system of a layer generically has at most a certain rank.

    Parameters
    ----------
    architecture : Architecture
        The architecture.
    layer : int or str
        Index or path of a linear or conv2d layer.
    bound : int
        At least ``min(covered, rank_weight_bound + rank_gradient_bound - dependencies)``.
    covered : int
        Number of inputs that some patch covers.
    rank_weight_bound, rank_gradient_bound : int
        Bounds of rank W and rank K by counting.
    dependencies : int
        Rank of the vectors common to both row spaces at the witness of `seed`, or less.
    seed : int
        Seed of the witness.
    prime : int
        The modulus.

    Returns
    -------
    Certificate
        Of claim ``generic-rank-upper-bound``.

    Raises
    ------
    InputError
        If there is no such layer.
    """
    data = _layer_data(architecture, layer, prime, seed) | {
        "bound": bound,
        "covered": covered,
        "rank_weight_bound": rank_weight_bound,
        "rank_gradient_bound": rank_gradient_bound,
        "dependencies": dependencies,
    }
    return Certificate("generic-rank-upper-bound", data, architecture.sha256, library_versions(), seed)


def global_fibre(
    architecture: Architecture, layer: int | str, vector: Any, *, weight: Any = None, sensitivity: Any = None
) -> Certificate:
    """Certificate of a direction in which the input can be changed without changing any gradient.

    Parameters
    ----------
    architecture : Architecture
        The architecture.
    layer : int or str
        Index of its first layer with parameters.
    vector : array_like
        The direction, of the shape of the input; floats and Fractions are taken as exact rationals.
    weight, sensitivity : array_like, optional
        The layer's weight, and ∂L/∂z at its output, between which and `vector` the equations hold exactly; both absent for
        a direction that no patch covers.

    Returns
    -------
    Certificate
        Of claim ``global-fibre``.
    """
    data: dict[str, Any] = {
        "architecture": architecture.to_json(),
        "layer": str(layer),
        "vector": _rational_texts(vector),
    }
    if weight is not None:
        data |= {"weight": _rational_texts(weight), "sensitivity": _rational_texts(sensitivity)}
    return Certificate("global-fibre", data, architecture.sha256, library_versions())


def _rational_texts(values: Any) -> list[str]:
    return [encode_rational(value) for value in np.asarray(values).ravel().tolist()]


def kernel_positive_definite(matrix: Any, *, bits: int = 128) -> Certificate | Refusal:
    """Prove that a kernel matrix is positive definite and write the certificate.

    Parameters
    ----------
    matrix : ndarray of float64 (n, n), pair (centre, radius) of such arrays, or arb_mat
        A symmetric matrix, or balls around one.
    bits : int
        Working precision.

    Returns
    -------
    Certificate or Refusal
        Of claim ``kernel-positive-definite``, with the lower bound of λ_min that was proved.
    """
    bound = certified_lower_eigenvalue(matrix, bits=bits)
    if not bound > 0:
        return Refusal(f"the smallest eigenvalue is only proved to exceed {bound:.3g}; a positive bound is needed")
    with flint.ctx.workprec(bits):
        rows = symmetric_balls(matrix)
    data = {
        "matrix": [
            [encode_ball(entry) if not entry.is_exact() else encode_ball(entry)[0] for entry in row] for row in rows
        ],
        "lower_bound": encode_rational(bound),
    }
    return Certificate("kernel-positive-definite", data, data_sha256(data), library_versions())


def kruskal_rank(matrix: Any, *, at_most: int | None = None) -> int:
    """Largest k such that every k columns of a matrix are linearly independent, exactly.

    Parameters
    ----------
    matrix : array_like of shape (m, n)
        Floats, integers or Fractions, taken as exact rationals.
    at_most : int, optional
        A k at which the search stops.

    Returns
    -------
    int
        The k-rank, or `at_most` if it is larger; always n if the columns are independent.

    Raises
    ------
    InputError
        If more than `MOST_SUBSETS` sets of columns of one size would be needed.
    """
    exact = _exact_matrix(matrix)
    columns = exact.transpose().tolist()
    if exact.rank() == len(columns):
        return len(columns)
    for size in range(1, min(exact.nrows(), len(columns), at_most or len(columns)) + 1):
        if math.comb(len(columns), size) > MOST_SUBSETS:
            raise InputError(
                f"k-rank: {math.comb(len(columns), size)} sets of {size} columns would be needed; at most {MOST_SUBSETS} are "
                "accepted"
            )
        if any(flint.fmpq_mat([list(c) for c in chosen]).rank() < size for chosen in combinations(columns, size)):
            return size - 1
    return min(exact.nrows(), at_most or len(columns))


def _exact_matrix(matrix: Any) -> flint.fmpq_mat:
    rows = np.asarray(matrix).tolist()
    entries = [flint.fmpq(*entry.as_integer_ratio()) for row in rows for entry in row]
    return flint.fmpq_mat(len(rows), len(rows[0]), entries)


def cp_uniqueness(factors: Sequence[Any]) -> Certificate | Refusal:
    """Prove that a tensor determines its rank-one terms and write the certificate.

    Parameters
    ----------
    factors : sequence of three array_like of shapes (I, R), (J, R), (K, R)
        The columns a_r, b_r, c_r of T = Σ a_r ⊗ b_r ⊗ c_r; floats are taken as the rationals that they are.

    Returns
    -------
    Certificate or Refusal
        Of claim ``cp-uniqueness``, by Jennrich's condition if the factors meet it in this order, else by Kruskal's.

    Raises
    ------
    InputError
        If there are not three matrices with equally many columns, or a k-rank is too expensive.
    """
    shapes = [np.shape(factor) for factor in factors]
    if len(shapes) != 3 or any(len(shape) != 2 for shape in shapes) or len({shape[1] for shape in shapes}) != 1:
        raise InputError(f"factors: shapes {shapes} were found; three matrices with equally many columns are accepted")
    terms = shapes[0][1]
    first, second, third = factors
    full = all(_exact_matrix(factor).rank() == terms for factor in (first, second))
    if full and kruskal_rank(third, at_most=2) >= min(2, terms):
        condition = "jennrich"
    elif terms >= 2 and sum(kruskal_rank(factor) for factor in factors) >= 2 * terms + 2:
        condition = "kruskal"
    else:
        return Refusal(f"the {terms} terms meet neither Jennrich's condition, in this order of factors, nor Kruskal's")
    texts = [[[encode_rational(entry) for entry in row] for row in np.asarray(factor).tolist()] for factor in factors]
    data = {"factors": texts, "condition": condition}
    return Certificate("cp-uniqueness", data, data_sha256(data), library_versions())


def counterexample(data: Mapping[str, Any], *, seed: int | None = None) -> Certificate:
    """Certificate of a counterexample.

    Parameters
    ----------
    data : mapping
        What `provable.theorems.counterexamples.record` returns.
    seed : int, optional
        The seed of the search that found it.

    Returns
    -------
    Certificate
        Of claim ``counterexample``.
    """
    return Certificate("counterexample", dict(data), data_sha256(data), library_versions(), seed)
