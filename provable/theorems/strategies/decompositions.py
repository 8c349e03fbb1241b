"""Instances for theorems on canonical decompositions: pairs of decompositions of one tensor, the same or really different."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import flint
import numpy as np
from hypothesis import strategies as st

from provable.arithmetic import RATIONAL, Array, Float
from provable.theorems.strategies import readable_arrays


@dataclass(frozen=True)
class Decompositions:
    """Two decompositions into r terms, of one tensor or of two.

    Parameters
    ----------
    first, second, third : ndarray of shape (I, r), (J, r), (K, r)
        Factors of Σ_i u_i ⊗ v_i ⊗ w_i.
    other_first, other_second, other_third : ndarray of shape (I, s), (J, s), (K, s)
        Factors of the other decomposition.
    """

    first: Array
    second: Array
    third: Array
    other_first: Array
    other_second: Array
    other_third: Array

    @property
    def terms(self) -> Array:
        """The terms of the first decomposition.

        Returns
        -------
        ndarray of shape (r, I, J, K)
            u_i ⊗ v_i ⊗ w_i.
        """
        return outer_products(self.first, self.second, self.third)

    @property
    def other_terms(self) -> Array:
        """The terms of the other decomposition.

        Returns
        -------
        ndarray of shape (s, I, J, K)
            The rank-one tensors.
        """
        return outer_products(self.other_first, self.other_second, self.other_third)

    @property
    def disagree(self) -> bool:
        """Whether both give the same tensor with different terms: an ambiguity, decided by exact comparison.

        Returns
        -------
        bool
            False as well if they give different tensors.
        """
        same_tensor = bool(np.all(self.terms.sum(axis=0) == self.other_terms.sum(axis=0)))
        return same_tensor and unordered(self.terms) != unordered(self.other_terms)


def outer_products(first: Array, second: Array, third: Array) -> Array:
    """Rank-one tensors from matching columns.

    Parameters
    ----------
    first, second, third : ndarray of shape (I, r), (J, r), (K, r)
        Factors, in any arithmetic.

    Returns
    -------
    ndarray of shape (r, I, J, K)
        The tensors.
    """
    product: Array = first.T[:, :, None, None] * second.T[:, None, :, None] * third.T[:, None, None, :]
    return product


def unordered(arrays: Any) -> list[str]:
    """Numbers, vectors or tensors as sorted text, to compare collections of exact numbers without regard to order.

    Parameters
    ----------
    arrays : iterable of array_like
        The collection.

    Returns
    -------
    list of str
        Equal lists mean equal collections.
    """
    return sorted(str([str(number) for number in np.asarray(array).reshape(-1)]) for array in arrays)


def reordered(draw: st.DrawFn, first: Float, second: Float, third: Float) -> tuple[Float, Float, Float]:
    """Write the same terms in another order, with scalars moved between the vectors of a term.

    Parameters
    ----------
    draw : callable
        The function that Hypothesis hands to a composite strategy.
    first, second, third : ndarray of shape (I, r), (J, r), (K, r)
        Factors.

    Returns
    -------
    tuple of ndarray
        Factors of the same shapes. The scalars are powers of two, so that the terms are equal to the last bit.
    """
    count = first.shape[1]
    order = draw(st.permutations(range(count)))
    scales = draw(st.lists(st.sampled_from(((1.0, 1.0), (-1.0, 1.0), (2.0, -0.5))), min_size=count, max_size=count))
    s, t = np.array(scales).reshape(count, 2).T
    return first[:, order] * s, second[:, order] * t, third[:, order] / (s * t)


def mixed(first: Float, second: Float, g: float = 1.0, h: float = 1.0) -> tuple[Float, Float]:
    """Write u_1 v_1ᵀ + u_2 v_2ᵀ as another sum of two rank-one matrices.

    Parameters
    ----------
    first, second : ndarray of shape (I, 2), (J, 2)
        Columns u_1, u_2 and v_1, v_2.
    g, h : float, optional
        Integers that parametrise G = [[1, g], [h, 1 + gh]], whose determinant is one.

    Returns
    -------
    tuple of ndarray
        (u_1, u_2) G and (v_1, v_2) G⁻ᵀ.
    """
    return first @ np.array([[1.0, g], [h, 1.0 + g * h]]), second @ np.array([[1.0 + g * h, -h], [-g, 1.0]])


@st.composite
def parallel_third_factors(draw: st.DrawFn) -> Decompositions:
    """Two terms whose third vectors are parallel, and the second decomposition that this allows.

    Returns
    -------
    Decompositions
        Of a 2×2×2 tensor, with readable numbers.
    """
    first, second = draw(readable_arrays((8,))).reshape(2, 2, 2)
    factor, g, h = draw(st.sampled_from((1.0, -1.0, 2.0))), draw(st.integers(0, 2)), draw(st.integers(-1, 1))
    other = mixed(first, second * np.array([1.0, factor]), float(g), float(h))
    third, same = np.array([[1.0, factor], [2.0, 2.0 * factor]]), np.array([[1.0, 1.0], [2.0, 2.0]])
    return Decompositions(first, second, third, *other, same)


@st.composite
def coplanar_factors(draw: st.DrawFn) -> Decompositions:
    """Three terms with independent u_i but coplanar v_i and w_i, and a second decomposition of the same 3×2×2 tensor.

    Returns
    -------
    Decompositions
        In integers, if the v_i w_iᵀ are independent; otherwise both decompositions are the same.

    Notes
    -----
    The v_i w_iᵀ span {M : ⟨N, M⟩ = 0} for some 2×2 matrix N. That space holds x yᵀ for every x and every y orthogonal to
    Nᵀx, so three other rank-one matrices form a basis of it as well; the u_i follow by the change of basis. The k-ranks are
    (3, 2, 2) when no two v_i and no two w_i are parallel: one less than Kruskal's condition asks for.
    """
    second, third = draw(readable_arrays((12,), nonzero=True)).reshape(2, 2, 3)
    old = np.stack([np.outer(v, w).reshape(-1) for v, w in zip(second.T, third.T, strict=True)])
    minors = [(-1) ** k * np.linalg.det(np.delete(old, k, axis=1)) for k in range(4)]
    # sums of products of six quarters are multiples of 4^-6: rounding restores the exact determinants
    normal = np.round(np.array(minors) * 4096) / 4096
    normal = normal.reshape(2, 2)
    candidates = [np.array(x) for x in ((1.0, -1.0), (1.0, 2.0), (2.0, 1.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0))]
    for chosen in itertools.combinations(candidates, 3):
        orthogonal = [np.array([-y[1], y[0]]) for y in (normal.T @ x for x in chosen)]
        new = np.stack([np.outer(x, y).reshape(-1) for x, y in zip(chosen, orthogonal, strict=True)])
        basis = next((c for c in itertools.combinations(range(4), 3) if np.linalg.det(new[:, c]) != 0), None)
        if basis is not None and _rational(new[:, basis]).det() != 0:
            coordinates = _rational(old[:, basis]) * _rational(new[:, basis]).inv()
            integers, denominator = coordinates.numer_denom()
            first = np.array([[float(int(number)) for number in line] for line in integers.tolist()])
            factors = float(int(denominator)) * np.eye(3), second, third
            return Decompositions(*factors, first, np.stack(chosen, axis=1), np.stack(orthogonal, axis=1))
    return Decompositions(np.eye(3), second, third, np.eye(3), second, third)


def _rational(matrix: Float) -> Any:
    rows, columns = matrix.shape
    return flint.fmpq_mat(rows, columns, list(RATIONAL.convert(matrix).reshape(-1)))
