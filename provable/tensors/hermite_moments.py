r"""Moments of a network's output against Hermite tensors of its Gaussian weights, orders one to four.

For w ~ N(0, I) and g(w) = Σ_i r_i σ(w·x_i), E[g(w) H_k(w)] = Σ_i r_i E[σ^(k)(‖x_i‖Z)] x_i^{⊗k} and, with y = ∇g(w),
E[y ⊗ H_{k-1}(w)] is the same tensor (theorem ``foundations.stein_hermite``; Z. Wang, J. D. Lee, Q. Lei, AISTATS 2023,
Lemma 4.1 and Appendix B). Here H_1 = w, H_2 = w⊗w - I, H_3 = w⊗w⊗w - w ⊗̃ I, H_4 likewise.

The tensors are wanted in a subspace only: T(V, …, V) is the moment with the points z_j = Vᵀw_j, which are standard normal as
well, so that `hermite_moment` costs O(m pᵏ) in p projected coordinates and nothing of size d³ or m·d² is formed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy.special
from numpy.typing import ArrayLike

from provable.arithmetic import Float
from provable.errors import InputError

HIGHEST_ORDER = 4
"""The largest order of a moment."""

CHUNK = 2_000_000
"""Numbers in the largest temporary array, about."""


def hermite_moment(points: ArrayLike, values: ArrayLike, order: int) -> Float:
    r"""(1/m) Σ_j g_j H_k(z_j), a symmetric tensor.

    Parameters
    ----------
    points : array_like of shape (m, p)
        The z_j: standard normal weights, or their coordinates W V in an orthonormal basis V of a subspace.
    values : array_like of shape (m,)
        The g_j, or what `provable.tensors.detrended` leaves of them.
    order : {1, 2, 3, 4}
        k.

    Returns
    -------
    ndarray of shape (p,) * k
        The moment.

    Raises
    ------
    InputError
        If the shapes do not match, a number is not finite or the order is out of range.
    """
    points, values = checked(points, values, name="values")
    return np.asarray(_raw_moment(points, values[:, None], _order(order, 1))[0])


def slope_moment(points: ArrayLike, slopes: ArrayLike, order: int) -> Float:
    r"""(1/m) Σ_j Sym(y_j ⊗ H_{k-1}(z_j)), the moment of order k from the gradients y_j of g at the weights.

    Parameters
    ----------
    points : array_like of shape (m, p)
        The z_j = Vᵀw_j.
    slopes : array_like of shape (m, p)
        The Vᵀy_j. For f = Σ_j a_j σ(w_j·x) the gradient of the loss by w_j is a_j y_j.
    order : {1, 2, 3, 4}
        k. Order 2 comes from first-order Stein, E[y wᵀ]; order 3 is the tensor of Wang, Lee, Lei 2023, Appendix B.

    Returns
    -------
    ndarray of shape (p,) * k
        The moment, symmetrised over the k places of y.

    Raises
    ------
    InputError
        If the shapes do not match, a number is not finite or the order is out of range.
    """
    points, slopes = checked(points, slopes, name="slopes")
    if slopes.shape != points.shape:
        raise InputError(f"slopes: found shape {slopes.shape}; {points.shape}, the shape of the points, is accepted")
    raw = _raw_moment(points, slopes, _order(order, 1) - 1)
    return np.asarray(sum(np.moveaxis(raw, 0, place) for place in range(order)) / order)


@dataclass(frozen=True)
class MomentError:
    """The statistical error of a Hermite moment, measured on the sample itself.

    Attributes
    ----------
    error : float
        Estimate of √(E ‖T̂ - T‖²_F).
    low, high : float
        Ends of a confidence interval for it.
    """

    error: float
    low: float
    high: float


def moment_error(points: ArrayLike, values: ArrayLike, order: int, *, confidence: float = 0.99) -> MomentError:
    r"""Standard error of `hermite_moment` in the Frobenius norm, without forming any tensor of order k.

    Parameters
    ----------
    points : array_like of shape (m, p)
        As for `hermite_moment`.
    values : array_like of shape (m,)
        As for `hermite_moment`; of detrended values it is the error up to O(1/m).
    order : {1, 2, 3, 4}
        k.
    confidence : float
        Of the interval, between 0 and 1; asymptotic, from the fourth moments of the sample.

    Returns
    -------
    MomentError
        √(Var/m) with Var = E ‖g H_k‖² - ‖T‖², where ‖H_k(z)‖² is a polynomial in ‖z‖².

    Raises
    ------
    InputError
        If the shapes do not match, there are fewer than two points, the order or the confidence is out of range.
    """
    points, values = checked(points, values, name="values")
    count, dimension = points.shape
    if count < 2:
        raise InputError(f"points: found {count} of them; at least two are accepted")
    if not 0 < confidence < 1:
        raise InputError(f"confidence: found {confidence!r:.40}; a number between 0 and 1 is accepted")
    squares = values**2 * _squared_norm(np.einsum("ji,ji->j", points, points), dimension, _order(order, 1))
    mean = float(np.linalg.norm(hermite_moment(points, values, order))) ** 2
    variance = max(float(squares.mean()) - mean, 0.0) * count / (count - 1)
    margin = float(scipy.special.ndtri((1 + confidence) / 2)) * float(squares.std(ddof=1)) / math.sqrt(count)
    ends = (math.sqrt(max(variance + sign * margin, 0.0) / count) for sign in (-1, 1))
    return MomentError(math.sqrt(variance / count), *ends)


def checked(points: ArrayLike, values: ArrayLike, *, name: str) -> tuple[Float, Float]:
    """Check points and what was observed at them.

    Parameters
    ----------
    points : array_like of shape (m, p)
        Finite numbers.
    values : array_like of shape (m,) or (m, q)
        Finite numbers.
    name : str
        What the values are called in messages.

    Returns
    -------
    points, values : ndarray
        As float64.

    Raises
    ------
    InputError
        If the shapes do not match or a number is not finite.
    """
    rows, observed = np.asarray(points), np.asarray(values)
    if rows.ndim != 2 or rows.dtype.kind not in "fiu" or rows.shape[0] == 0:
        raise InputError(
            f"points: found shape {rows.shape} of {rows.dtype}; (m, p) real numbers with m > 0 are accepted"
        )
    if observed.ndim not in (1, 2) or observed.dtype.kind not in "fiu" or len(observed) != len(rows):
        raise InputError(
            f"{name}: found shape {observed.shape} of {observed.dtype}; real numbers for {len(rows)} points are accepted"
        )
    for array, called in ((rows, "points"), (observed, name)):
        if not np.all(np.isfinite(array)):
            raise InputError(f"{called}: found a number that is not finite; finite numbers are accepted")
    return rows.astype(np.float64), observed.astype(np.float64)


def _order(order: int, lowest: int) -> int:
    if isinstance(order, bool) or not isinstance(order, int | np.integer) or not lowest <= order <= HIGHEST_ORDER:
        raise InputError(f"order: found {order!r:.40}; an integer from {lowest} to {HIGHEST_ORDER} is accepted")
    return int(order)


def _raw_moment(points: Float, values: Float, order: int) -> Float:
    """(1/m) Σ_j v_j ⊗ H_k(z_j) of shape (q, p, …, p), for values of shape (m, q)."""
    if values.ndim != 2:
        raise InputError(f"values: found shape {values.shape}; one number per point is accepted")
    count, dimension = points.shape
    lower = [_power_moment(points, values, k) / count for k in range(order % 2, order + 1, 2)]
    result = lower[-1]
    identity = np.eye(dimension)
    if order in (2, 3):
        result = result - _with_pair(lower[0], identity, order)
    elif order == 4:
        result = result - _with_pair(lower[1], identity, order)
        # (I ⊗ I) over the three perfect matchings: as pairs, each would come twice
        double = _with_pair(_with_pair(lower[0], identity, 2), identity, 4) / 2
        result = result + double
    return np.asarray(result)


def _power_moment(points: Float, values: Float, order: int) -> Float:
    """Σ_j v_j ⊗ z_j ⊗ … ⊗ z_j."""
    count, dimension = points.shape
    width = values.shape[1]
    left_order = (order + 1) // 2 if order < 3 else order - 2
    columns = max(width * dimension**left_order, dimension ** (order - left_order))
    total = np.zeros((width * dimension**left_order, dimension ** (order - left_order)))
    step = max(CHUNK // columns, 1)
    for start in range(0, count, step):
        rows = points[start : start + step]
        left, right = values[start : start + step], np.ones((len(rows), 1))
        for _ in range(left_order):
            left = (left[:, :, None] * rows[:, None, :]).reshape(len(rows), -1)
        for _ in range(order - left_order):
            right = (right[:, :, None] * rows[:, None, :]).reshape(len(rows), -1)
        total += left.T @ right
    return total.reshape(width, *(dimension,) * order)


def _with_pair(tensor: Float, identity: Float, order: int) -> Float:
    """The sum over pairs of places of I in the pair and the tensor, of order two less, in the other places."""
    product = np.multiply.outer(tensor, identity)  # axes: q, the other places, the pair
    total = np.zeros(product.shape)
    for first in range(1, order):
        for second in range(first + 1, order + 1):
            total += np.moveaxis(product, (order - 1, order), (first, second))
    return total


def _squared_norm(squares: Float, p: int, order: int) -> Float:
    """‖H_k(z)‖²_F as a polynomial in q = ‖z‖²."""
    q = squares
    if order == 1:
        return q
    if order == 2:
        return q**2 - 2 * q + p
    if order == 3:
        return q**3 - 6 * q**2 + 3 * (p + 2) * q
    return q**4 - 12 * q**3 + 6 * (p + 6) * q**2 - 12 * (p + 2) * q + 3 * p * (p + 2)
