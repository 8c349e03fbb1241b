"""Certificates of fibres, kernels, tensors and counterexamples, written from what was found and proved by the checker."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import flint
import numpy as np

from provable.architectures import Architecture
from provable.arithmetic import RATIONAL, rank
from provable.errors import InputError
from provable.rigor.certificates import Certificate, Refusal, data_sha256, library_versions
from provable.rigor.positive_definite import certified_lower_eigenvalue, symmetric_balls
from provable.rigor.rational_texts import encode_ball, encode_rational
from provable.tensors import kruskal_rank


def global_fibre(
    architecture: Architecture, layer: int, vector: Any, *, weight: Any = None, sensitivity: Any = None
) -> Certificate:
    """Certificate of a direction in which the input can be changed without changing any gradient.

    Parameters
    ----------
    architecture : Architecture
        The architecture.
    layer : int
        Index of its first layer with parameters.
    vector : array_like
        The direction, of the shape of the input; floats and Fractions are taken as exact rationals.
    weight, sensitivity : array_like, optional
        The layer's weight, and ∂L/∂z at its output, which annihilate `vector` exactly; both absent for a direction that lives
        on inputs that no patch covers.

    Returns
    -------
    Certificate
        Of claim ``global-fibre``; it is as true as the checker finds it.
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
        pairs = [[encode_ball(entry) for entry in row] for row in symmetric_balls(matrix)]
    entries = [[middle if radius == "0" else [middle, radius] for middle, radius in row] for row in pairs]
    data = {"matrix": entries, "lower_bound": encode_rational(bound)}
    return Certificate("kernel-positive-definite", data, data_sha256(data), library_versions())


def cp_uniqueness(factors: Sequence[Any]) -> Certificate | Refusal:
    """Prove that a tensor determines its rank-one terms and write the certificate.

    Parameters
    ----------
    factors : sequence of three array_like of shapes (I, R), (J, R), (K, R)
        The columns a_r, b_r, c_r of T = Σ a_r ⊗ b_r ⊗ c_r: rationals, or floats, which are taken as the rationals that they
        are. For a symmetric tensor they come from `provable.tensors.third_order_factors`.

    Returns
    -------
    Certificate or Refusal
        Of claim ``cp-uniqueness``, by Jennrich's condition if the factors meet it in this order, else by Kruskal's.

    Raises
    ------
    InputError
        If there are not three matrices with equally many columns.
    """
    arrays = [np.asarray(factor) for factor in factors]
    arrays = [array if _all_rational(array) else np.asarray(array, dtype=np.float64) for array in arrays]
    shapes = [array.shape for array in arrays]
    if len(shapes) != 3 or any(len(shape) != 2 or 0 in shape for shape in shapes) or len({s[1] for s in shapes}) != 1:
        raise InputError(f"factors: shapes {shapes} were found; three matrices with equally many columns are accepted")
    terms = shapes[0][1]
    if all(rank(RATIONAL.convert(array)) == terms for array in arrays[:2]) and _no_two_parallel(arrays[2]):
        condition = "jennrich"
    elif terms >= 2 and sum(kruskal_rank(array) for array in arrays) >= 2 * terms + 2:
        condition = "kruskal"
    else:
        return Refusal(f"the {terms} terms meet neither Jennrich's condition, in this order of factors, nor Kruskal's")
    exact = [RATIONAL.convert(array).tolist() for array in arrays]
    texts = [[[encode_rational(Fraction(int(x.p), int(x.q))) for x in row] for row in rows] for rows in exact]
    data = {"factors": texts, "condition": condition}
    return Certificate("cp-uniqueness", data, data_sha256(data), library_versions())


def _all_rational(array: Any) -> bool:
    return array.dtype == object and all(isinstance(entry, flint.fmpq) for entry in array.reshape(-1))


def _no_two_parallel(matrix: Any) -> bool:
    exact = RATIONAL.convert(matrix)
    columns = range(exact.shape[1])
    sets = itertools.combinations(columns, 2) if len(columns) > 1 else [(0,)]
    return all(rank(exact[:, list(chosen)]) == len(chosen) for chosen in sets)


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
